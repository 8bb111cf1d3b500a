//! `cargo xtask proof`: the batteries, longer than the tests run them, and docs/PROOF.md of what came of them.

use std::{fmt::Write as _, fs};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::shell::{capture, cargo, program, root, run, step, target_dir};

/// A battery: the filter of its tests, and the rounds it runs normally and with `--long`.
const BATTERIES: &[(&str, u32, u32)] = &[
    ("change::kill", 100, 1_000),
    ("audit::kill", 20, 200),
    ("tenants::no_tenant", 200, 2_000),
    ("tenants::kills", 40, 400),
    ("devices::storm", 1_000, 10_000),
    ("bad_input::", 1, 1),
    ("auth_matrix::", 1, 1),
];

/// Runs every battery and writes docs/PROOF.md, also where one failed.
pub(crate) fn run_all(long: bool) -> Result<()> {
    let folder = target_dir().join("proof");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).context("cannot make the folder of the results")?;
    let seed = capture(&mut program("date", &["+%s"]))?.trim().to_owned();
    let mut failed = Vec::new();
    for (filter, rounds, rounds_long) in BATTERIES {
        let rounds = if long { rounds_long } else { rounds };
        let done = step(&format!("battery {filter}"), || {
            let test = ["test", "--locked", "--package", "portcullis", "--test", "it", "--", filter];
            run(cargo(&test)
                .env("PORTCULLIS_PROOF", &folder)
                .env("PORTCULLIS_ROUNDS", rounds.to_string())
                .env("PORTCULLIS_SEED", &seed))
        });
        if let Err(error) = done {
            failed.push(format!("{error:#}"));
        }
    }
    fs::write(root().join("docs/PROOF.md"), page(&folder, &seed)?).context("cannot write docs/PROOF.md")?;
    println!("wrote docs/PROOF.md");
    if !failed.is_empty() {
        bail!("{}", failed.join("; "));
    }
    Ok(())
}

fn page(folder: &std::path::Path, seed: &str) -> Result<String> {
    let commit = capture(&mut program("git", &["rev-parse", "--short", "HEAD"]))?;
    let mut page = format!(
        "# Proof\n\nWhat the batteries found. Made by `cargo xtask proof` at commit {}, seed {seed}; the tests are in \
         `crates/portcullis/tests/it`.\n\n| battery | goal | cases | failures |\n| --- | --- | --- | --- |\n",
        commit.trim()
    );
    let mut files: Vec<_> = fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    for file in files {
        let row: Value = serde_json::from_slice(&fs::read(&file)?)
            .with_context(|| format!("{} is broken", file.display()))?;
        let word = |name: &str| row[name].as_str().unwrap_or("?").to_owned();
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} |",
            word("battery"),
            word("goal"),
            row["cases"],
            row["failures"]
        );
    }
    Ok(page)
}
