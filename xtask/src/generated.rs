//! Files that are made from the code: written by `cargo xtask generate`, compared by `cargo xtask check`.

use std::{fmt::Write as _, fs};

use anyhow::{Context, Result, bail};
use tool::{Blame, Code};

use crate::{
    docs,
    shell::{capture, cargo, root},
};

/// Makes the text of a generated file.
type Make = fn() -> Result<String>;

/// Every generated file: its path and what makes it.
const FILES: &[(&str, Make)] = &[
    ("docs/faults.md", || Ok(faults())),
    ("docs/cli.md", command_line),
    ("docs/configuration.md", || docs::configuration(&portcullis(&["config", "schema"])?)),
    ("schema/portcullis.schema.json", || portcullis(&["config", "schema"])),
];

/// Writes every generated file.
pub(crate) fn write() -> Result<()> {
    for (path, make) in FILES {
        let text = make()?;
        let file = root().join(path);
        fs::create_dir_all(file.parent().context("a generated file lies in a folder")?)?;
        fs::write(&file, text).with_context(|| format!("cannot write {path}"))?;
        println!("wrote {path}");
    }
    Ok(())
}

/// Compares every generated file with what would be written now.
pub(crate) fn check() -> Result<()> {
    let mut stale = Vec::new();
    for (path, make) in FILES {
        if fs::read_to_string(root().join(path)).unwrap_or_default() != make()? {
            stale.push(*path);
        }
    }
    if !stale.is_empty() {
        bail!("{} not current; run `cargo xtask generate` and read the diff", stale.join(", "));
    }
    Ok(())
}

fn faults() -> String {
    let mut page = "# Faults\n\nEvery answer that is not a result has one of these codes. REST answers with the HTTP status and the body \
         `{error, status, detail, code, request_id}`, or as RFC 9457 with `Accept: application/problem+json`. \
         Made by `cargo xtask generate` from `crates/tool/src/fault.rs`.\n\n\
         | code | HTTP | status | who can mend it | what it means, and what to do |\n| --- | --- | --- | --- | --- |\n"
        .to_owned();
    for row in Code::table() {
        let blame = match row.blame {
            Blame::Caller => "the caller",
            Blame::Source => "the source",
            Blame::Us => "we",
        };
        let _ = writeln!(
            page,
            "| `{}` | {} | `{}` | {blame} | {} |",
            row.name,
            row.http,
            row.status.as_str(),
            row.about
        );
    }
    page
}

fn command_line() -> Result<String> {
    let mut page =
        "# The command line\n\nMade by `cargo xtask generate` from `portcullis --help`.\n".to_owned();
    add_command(&mut page, &[])?;
    Ok(page)
}

/// Adds the help of a command, and of those below it.
fn add_command(page: &mut String, command: &[&str]) -> Result<()> {
    let help = portcullis(&[command, &["--help"]].concat())?;
    let help: Vec<&str> = help.lines().map(str::trim_end).collect();
    let name = [&["portcullis"], command].concat().join(" ");
    let _ = write!(page, "\n## `{name}`\n\n```text\n{}\n```\n", help.join("\n").trim_end());
    let listed = help.iter().skip_while(|line| **line != "Commands:").skip(1);
    // Two blanks stand before a command, and more before what its description goes on with.
    let listed = listed.map_while(|line| line.strip_prefix("  ")).filter(|line| !line.starts_with(' '));
    for below in listed.filter_map(|line| line.split(' ').next()).filter(|below| *below != "help") {
        add_command(page, &[command, &[below]].concat())?;
    }
    Ok(())
}

fn portcullis(args: &[&str]) -> Result<String> {
    let run = ["run", "--quiet", "--locked", "--package", "portcullis", "--"];
    capture(
        cargo(&[&run[..], args].concat())
            .env("NO_COLOR", "1")
            .env("COLUMNS", "100")
            .env_remove("PORTCULLIS_DATA"),
    )
}
