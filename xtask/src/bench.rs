//! `cargo xtask bench`: what a call down the whole road costs, beside a bare server that answers the same.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use crate::{
    beds,
    shell::{capture, cargo, copied, program, root, run, step},
};

/// Builds both servers as a newcomer does, and runs `bench/rest_call` on them.
pub(crate) fn all(write: bool) -> Result<()> {
    step("build", || {
        run(&mut cargo(&["build", "--release", "--locked", "--package", "portcullis", "--package", "bench"]))
    })?;
    let mut args =
        vec!["run", "--release", "--locked", "--quiet", "--package", "bench", "--bin", "rest_call"];
    if write {
        args.extend(["--", "--write"]);
    }
    step("rest_call", || run(&mut cargo(&args)))?;
    let (mut text, parsed) = step("textfsm", textfsm)?;
    let (more, asked) = step("devices", devices)?;
    text.push_str(&more);
    if write {
        fs::write(root().join("bench/DEVICES.md"), page(&text)?).context("cannot write bench/DEVICES.md")?;
        println!("wrote bench/DEVICES.md");
    }
    parsed.and(asked)
}

/// What the measurements of devices and of their outputs printed, as a page.
fn page(text: &str) -> Result<String> {
    let commit = capture(&mut program("git", &["rev-parse", "--short", "HEAD"]))?;
    let rows: Vec<String> = text.lines().map(|line| format!("- {}\n", line.trim())).collect();
    Ok(format!(
        "# What asking devices costs\n\n`bench/textfsm_python.py` and `bench/devices_python.py`, the last steps of `cargo xtask bench --write`, at commit {}. Medians of three pairs, each measured \
         right after the other; clients, devices and their lines share the cores of one machine.\n\n{}",
        commit.trim(),
        rows.concat()
    ))
}

/// What others ask devices with, pinned, and what for.
const PEERS: &[(&str, &str)] = &[
    ("netmiko==4.8.0", "what most programs in Python ask devices with"),
    ("scrapli==2026.10.14", "the fastest library for that in Python"),
];

/// netmiko, scrapli and ours on the same emulated devices.
fn devices() -> Result<(String, Result<()>)> {
    let venv = root().join(".beds/peers");
    beds::python(&venv, PEERS)?;
    copied(
        Command::new(venv.join("bin/python"))
            .arg("-u")
            .arg(root().join("bench/devices_python.py"))
            .arg(root().join("target/release/portcullis")),
    )
}

/// Python's engine and ours on the same recorded outputs, where there are any: they are not part of the project.
fn textfsm() -> Result<(String, Result<()>)> {
    let places = beds::places(&root().join(".beds"));
    let place = |name: &str| {
        places[name].as_str().with_context(|| format!("there is no {name}; `cargo xtask beds` installs it"))
    };
    let usual = || root().join("../shared/corpus");
    let corpus = std::env::var_os("PORTCULLIS_CORPUS").map_or_else(usual, PathBuf::from);
    let cases = corpus.join("textfsm-cases.jsonl");
    if !cases.is_file() {
        println!("    skipped: there is no {}; PORTCULLIS_CORPUS names the folder", cases.display());
        return Ok((String::new(), Ok(())));
    }
    copied(
        Command::new(place("python")?)
            .arg("-u")
            .arg(root().join("bench/textfsm_python.py"))
            .arg(root().join("target/release/portcullis"))
            .arg(cases)
            .arg(place("ntc_templates")?),
    )
}
