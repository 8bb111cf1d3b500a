//! `cargo xtask check`: everything that can be said about the tree without running its tests.

use std::{path::PathBuf, process::Command};

use anyhow::{Result, bail};

use crate::{
    generated, house,
    shell::{capture, cargo, has, program, root, run, step, target_dir},
};

/// The version that is installed where there is no cargo-deny.
const DENY_VERSION: &str = "0.20.2";

/// All the checks, the quickest first.
pub(crate) fn all() -> Result<()> {
    step("format", || {
        run(&mut cargo(&["fmt", "--all", "--check"]))?;
        run(&mut cargo(&["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"]))
    })?;
    step("house", check_house)?;
    step("licences, bans, sources", deny)?;
    step("lints", || {
        run(&mut cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))
    })?;
    step("generated files", generated::check)
}

fn check_house() -> Result<()> {
    let broken = house::broken(root())?;
    for sentence in &broken {
        println!("    {sentence}");
    }
    if !broken.is_empty() {
        bail!("{} rules of the house are broken", broken.len());
    }
    Ok(())
}

fn deny() -> Result<()> {
    let deny = deny_program()?;
    let with = |args: &[&str]| {
        let mut command = Command::new(&deny);
        command.current_dir(root()).args(["--log-level", "error", "--workspace", "--locked"]).args(args);
        command
    };
    let checks = ["check", "--hide-inclusion-graph", "bans", "licenses", "sources"];
    run(&mut with(&checks))?;
    run(with(&["--manifest-path", "fuzz/Cargo.toml"]).args(["--config", "deny.toml"]).args(checks))?;
    // The list of advisories lies in a git repository that not every place can reach.
    match capture(&mut with(&["fetch", "db"])) {
        Ok(_) => run(&mut with(&["check", "--disable-fetch", "advisories"])),
        Err(error) => {
            println!(
                "    skipped: advisories, whose list cannot be fetched from here: {}",
                last_line(&error)
            );
            Ok(())
        }
    }
}

fn last_line(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    text.lines().next_back().unwrap_or_default().trim().to_owned()
}

/// The cargo-deny on the path, else the one below the target folder, built on first use (about 90 s on two cores).
fn deny_program() -> Result<PathBuf> {
    if has("cargo-deny") {
        return Ok("cargo-deny".into());
    }
    let tools = target_dir().join("tools");
    let found = tools.join(format!("cargo-deny-{DENY_VERSION}/bin/cargo-deny"));
    if !found.is_file() {
        println!("    there is no cargo-deny on the path; building {DENY_VERSION} into {}", tools.display());
        let into = tools.join(format!("cargo-deny-{DENY_VERSION}"));
        let build = tools.join("build");
        let args =
            ["install", "--quiet", "--locked", "--debug", "cargo-deny", "--version", DENY_VERSION, "--root"];
        let mut install = cargo(&args);
        install.arg(&into).env("CARGO_TARGET_DIR", &build).env("CARGO_PROFILE_DEV_DEBUG", "0");
        run(&mut install)?;
        std::fs::remove_dir_all(&build)?;
    }
    // It reads the workspace through cargo.
    run(program(&found, &["--version"]).current_dir(root()))?;
    Ok(found)
}
