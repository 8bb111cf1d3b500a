//! What the tests need beside cargo: installed once, in the system where only the system has it (apt), else in
//! `.beds`. `.beds/env.json` tells the tests where it is.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result};
use serde_json::json;

use crate::shell::{capture, has, program, root, run, step};

/// A program of the system that the tests use: its name, Debian's package, and what for.
const PROGRAMS: &[(&str, &str, &str)] = &[
    ("git", "git", "the house test asks it which files are tracked"),
    ("python3", "python3", "runs the judges of the OpenAPI document"),
    ("chromium", "chromium", "opens the documentation pages as a reader does"),
];

/// Packages from PyPI, pinned, and what for.
const PYTHON: &[(&str, &str)] = &[
    ("openapi-spec-validator==0.9.0", "says whether /openapi.json is OpenAPI 3.1"),
    (
        "schemathesis==4.32.5",
        "calls every operation of /openapi.json with what it allows and what it does not",
    ),
];

/// Installs what is missing and says where everything is.
pub(crate) fn prepare() -> Result<()> {
    step("what the tests need", || {
        let missing: Vec<_> = PROGRAMS.iter().filter(|(name, _, _)| !has(name)).collect();
        for (name, package, why) in &missing {
            println!("    {name} is missing (it {why}); installing the Debian package {package}");
        }
        let mut packages: Vec<&str> = missing.iter().map(|(_, package, _)| *package).collect();
        if !venv_works() {
            println!(
                "    python3 cannot make virtual environments; installing the Debian package python3-venv"
            );
            packages.push("python3-venv");
        }
        apt(&packages)?;
        let venv = root().join(".beds/venv");
        python(&venv)?;
        let bin = venv.join("bin");
        let places = json!({
            "python": bin.join("python"),
            "openapi_spec_validator": bin.join("openapi-spec-validator"),
            "schemathesis": bin.join("schemathesis"),
            "chromium": "chromium",
        });
        fs::write(root().join(".beds/env.json"), places.to_string()).context("cannot write .beds/env.json")
    })
}

fn venv_works() -> bool {
    capture(&mut program("python3", &["-c", "import venv, ensurepip"])).is_ok()
}

fn apt(packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let root_user = capture(&mut program("id", &["-u"]))?.trim() == "0";
    let apt = |args: &[&str]| {
        let words = if root_user { vec!["apt-get"] } else { vec!["sudo", "-n", "apt-get"] };
        let words: Vec<&str> = words.into_iter().chain(args.iter().copied()).collect();
        let mut command = program(words[0], &words[1..]);
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    let install = [&["install", "-y", "-q", "--no-install-recommends"], packages].concat();
    twice(|| {
        run(&mut apt(&["update", "-q"]))?;
        run(&mut apt(&install))
    })
    .with_context(|| {
        format!(
            "apt cannot install {}; is this Debian, with root or sudo and its mirrors in reach?",
            packages.join(" ")
        )
    })
}

fn python(venv: &Path) -> Result<()> {
    let wanted: Vec<&str> = PYTHON.iter().map(|(package, _)| *package).collect();
    let note = venv.join("installed.txt");
    if fs::read_to_string(&note).is_ok_and(|installed| installed == wanted.join("\n")) {
        return Ok(());
    }
    for (package, why) in PYTHON {
        println!("    {package} ({why}) goes into .beds/venv");
    }
    run(program("python3", &["-m", "venv", "--clear"]).arg(venv))?;
    twice(|| run(Command::new(venv.join("bin/pip")).args(["install", "--quiet"]).args(&wanted)))
        .context("pip cannot install what judges the OpenAPI document; is PyPI in reach?")?;
    fs::write(note, wanted.join("\n")).context("cannot note what was installed")
}

/// Once more, where a mirror did not answer.
fn twice(work: impl Fn() -> Result<()>) -> Result<()> {
    work().or_else(|error| {
        println!("    {error:#}; once more");
        work()
    })
}
