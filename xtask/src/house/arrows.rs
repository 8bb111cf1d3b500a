//! Which crate may know which, and who may use what of others.

use std::{collections::BTreeSet, path::Path};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::shell::{capture, cargo};

/// A crate of ours and those of ours it may know. A crate without a row may not exist: add one together with it.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("tool", &[]),
    ("state", &["tool"]),
    ("audit", &["tool"]),
    ("change", &["tool", "state"]),
    ("gate", &["tool", "state", "audit", "change"]),
    ("store", &["tool", "state"]),
    ("admin", &["tool", "state"]),
    ("serve", &["tool", "state", "gate", "mcp"]),
    ("sql", &["tool", "state"]),
    ("place", &[]),
    ("web", &["tool", "state", "place"]),
    ("files", &["tool", "state"]),
    ("content", &["tool", "mcp"]),
    ("lab", &["tool"]),
    ("telemetry", &["tool"]),
    ("mcp", &["tool"]),
    ("child", &[]),
    ("textfsm", &[]),
    ("ssh", &["tool"]),
    ("device", &["tool", "ssh", "textfsm"]),
    ("inventory", &[]),
    ("upstream", &["tool", "state", "mcp", "place", "child"]),
    ("testkit", &["tool", "state"]),
    ("fixture", &[]),
    (
        "portcullis",
        &[
            "tool",
            "state",
            "audit",
            "change",
            "child",
            "gate",
            "store",
            "admin",
            "mcp",
            "place",
            "serve",
            "sql",
            "web",
            "files",
            "content",
            "device",
            "inventory",
            "lab",
            "telemetry",
            "textfsm",
            "upstream",
        ],
    ),
    ("bench", &[]),
    ("xtask", &["tool"]),
];

/// What tests of any crate may know besides.
const TESTS_MAY_KNOW: &[&str] = &["testkit", "store", "lab"];

/// Dependencies that belong to some crates alone, and why.
const FENCED: &[(&str, &[&str], &str)] = &[
    ("sqlx", &["store", "sql"], "only the store and the sql room talk to databases"),
    ("rusqlite", &["store", "sql"], "only the store and the sql room talk to databases"),
    (
        "rmcp",
        &["upstream", "fixture"],
        "the wire layer is our own; rmcp is for upstream's OAuth client and for tests",
    ),
    (
        "reqwest",
        &["web", "telemetry"],
        "one guarded client for what callers name; collectors are the operator's own",
    ),
    ("hyper-rustls", &["upstream"], "one guarded client for tool servers, which are the operator's own"),
    ("tokio-rustls", &["upstream"], "one guarded client for tool servers, which are the operator's own"),
    ("landlock", &["child"], "programs are confined in one place"),
    ("seccompiler", &["child"], "programs are confined in one place"),
    ("nix", &["child"], "rustix does what it can; namespaces and users are what it has no safe call for"),
    (
        "russh",
        &["ssh", "lab"],
        "one client that never connects to a host key it does not know, and devices to try it on",
    ),
    ("vte", &["device"], "what devices print is read in one place"),
    ("clap", &["portcullis"], "only the binary has a command line"),
    ("anyhow", &["portcullis", "bench", "xtask"], "rooms say what went wrong with a type"),
    ("jsonschema", &["gate", "portcullis"], "arguments are validated on the road, once"),
    ("cel", &["gate"], "rules are evaluated on the road, once"),
];

/// Crates without IO and without a runtime: what they may not depend on.
const PURE: (&[&str], &[&str]) =
    (&["tool", "state", "mcp", "place"], &["tokio", "hyper", "reqwest", "sqlx", "rusqlite", "rustix"]);

/// Arrows that should not be, in the workspace at `root`.
pub(super) fn broken(root: &Path) -> Result<Vec<String>> {
    let args = ["metadata", "--no-deps", "--format-version", "1", "--offline"];
    let metadata = capture(cargo(&args).current_dir(root))?;
    wrong(&serde_json::from_str(&metadata).context("cargo metadata is not JSON")?)
}

/// The same, of what `cargo metadata` said.
pub(super) fn wrong(metadata: &Value) -> Result<Vec<String>> {
    let packages = metadata["packages"].as_array().context("cargo metadata names no packages")?;
    let ours: BTreeSet<&str> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
    let mut wrong = Vec::new();
    for package in packages {
        let name = package["name"].as_str().context("a package has no name")?;
        let row = MAY_KNOW.iter().find(|(crate_name, _)| *crate_name == name);
        let Some((_, may_know)) = row else {
            wrong.push(format!(
                "crate {name} has no row in MAY_KNOW (xtask/src/house/arrows.rs): say whom it may know"
            ));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let target = dependency["name"].as_str().context("a dependency has no name")?;
            let in_tests = dependency["kind"] == "dev";
            if ours.contains(target) {
                let known = may_know.contains(&target) || (in_tests && TESTS_MAY_KNOW.contains(&target));
                if !known {
                    wrong.push(format!(
                        "crate {name} may not know {target}; ARCHITECTURE.md has the table of arrows"
                    ));
                }
            } else if !in_tests {
                wrong.extend(fence(name, target));
            }
        }
    }
    Ok(wrong)
}

fn fence(name: &str, target: &str) -> Option<String> {
    if PURE.0.contains(&name) && PURE.1.contains(&target) {
        return Some(format!("crate {name} may not depend on {target}: it has no IO and no runtime"));
    }
    let (_, crates, why) = FENCED.iter().find(|(fenced, _, _)| *fenced == target)?;
    (!crates.contains(&name)).then(|| format!("crate {name} may not depend on {target}: {why}"))
}
