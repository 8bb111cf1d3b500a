//! Rules about every tracked file: nothing of one developer's machine, nothing that looks like a real secret.

use std::{fs, path::Path};

use anyhow::Result;

use crate::shell::{capture, program};

/// Top folders under which people keep their work: a path below one of them is a path of one machine.
const FOLDERS_OF_ONE_MACHINE: &[&str] = &["home", "root", "work", "Users", "mnt"];

/// How secrets of other houses begin, with how many characters follow at least.
const SECRETS: &[(&str, usize)] = &[
    ("AKIA", 16),
    ("ghp_", 36),
    ("xoxb-", 20),
    ("-----BEGIN RSA PRIVATE", 0),
    ("-----BEGIN OPENSSH PRIVATE", 0),
];

/// Files that may hold such texts: lists of other people's words, and tests of what recognises them.
const EXCEPT: &[&str] = &[
    "Cargo.lock",
    "crates/serve/assets/",
    "crates/audit/src/redact",
    "crates/gate/src/hygiene",
    "xtask/src/house/",
];

/// How large a file the tree takes, in bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// What the tracked files below `root` should not hold.
pub(super) fn broken(root: &Path) -> Result<Vec<String>> {
    let tracked = capture(program("git", &["ls-files", "-z"]).current_dir(root))?;
    let mut broken = Vec::new();
    for path in tracked.split('\0').filter(|path| !path.is_empty()) {
        let Ok(size) = fs::metadata(root.join(path)).map(|meta| meta.len()) else { continue };
        if size > FILE_BYTES_MAX {
            broken.push(format!("{path}: {size} bytes; the tree takes files of at most {FILE_BYTES_MAX}"));
            continue;
        }
        let Ok(text) = fs::read_to_string(root.join(path)) else { continue };
        broken.extend(wrong(path, &text));
    }
    Ok(broken)
}

/// The same, of one file in memory.
pub(super) fn wrong(path: &str, text: &str) -> Vec<String> {
    if EXCEPT.iter().any(|place| path.starts_with(place)) {
        return Vec::new();
    }
    let lines = text.lines().enumerate();
    lines.flat_map(|(i, line)| wrong_in(line).map(move |what| format!("{path}:{}: {what}", i + 1))).collect()
}

fn wrong_in(line: &str) -> impl Iterator<Item = String> + '_ {
    let machine = FOLDERS_OF_ONE_MACHINE.iter().filter(|top| names_folder(line, top));
    let machine = machine.map(|top| {
        format!("a path below /{top} is a path of one machine; name it relative to the repository")
    });
    let secrets = SECRETS.iter().filter(|(start, length)| has_secret(line, start, *length));
    machine.chain(secrets.map(|(start, _)| format!("`{start}..` looks like a real secret")))
}

/// Whether a line names an absolute path below this top folder, with at least one letter after it.
fn names_folder(line: &str, top: &str) -> bool {
    let needle = format!("/{top}/");
    line.match_indices(&needle).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + needle.len()..].chars().next();
        before.is_none_or(|c| c.is_whitespace() || "\"'`(=:[,".contains(c))
            && after.is_some_and(|c| c.is_ascii_alphanumeric())
    })
}

fn has_secret(line: &str, start: &str, length: usize) -> bool {
    line.match_indices(start).any(|(at, _)| {
        let rest = &line[at + start.len()..];
        rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-' || *c == '_').count() >= length
    })
}
