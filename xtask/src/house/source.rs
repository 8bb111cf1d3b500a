//! Rules about the text of the sources: what may not be written where, and how long things may get.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// Something that may not be written, but in some places.
struct Ban {
    /// The text.
    text: &'static str,
    /// Path prefixes where it may be written.
    except: &'static [&'static str],
    /// True where tests may write it.
    tests_may: bool,
    /// Why not.
    why: &'static str,
}

const BANS: &[Ban] = &[
    ban(
        "std::env",
        &["crates/portcullis/src/", "crates/fixture/src/", "crates/testkit/src/", "bench/src/"],
        true,
        "only the binary reads the environment",
    ),
    ban(
        "env::var",
        &["crates/portcullis/src/", "crates/testkit/src/", "crates/device/build.rs", "bench/src/"],
        true,
        "only the binary reads the environment",
    ),
    ban("SystemTime::now", &["crates/portcullis/src/clock.rs"], true, "the wall clock is read in one place"),
    ban("Utc::now", &["crates/portcullis/src/clock.rs"], true, "the wall clock is read in one place"),
    ban("Local::now", &["crates/portcullis/src/clock.rs"], true, "the wall clock is read in one place"),
    ban(
        "tokio::spawn",
        &["crates/gate/src/", "crates/serve/src/", "crates/portcullis/src/"],
        true,
        "a room owns its tasks (JoinSet) or has none, so that a drain can wait for them",
    ),
    ban(
        "tokio::process",
        &["crates/portcullis/src/", "crates/upstream/src/stdio.rs"],
        true,
        "no room starts processes, but for tool servers that are programs",
    ),
    ban(
        "GateSeal::mint",
        &["crates/portcullis/src/", "crates/testkit/src/"],
        false,
        "the binary mints the seal, once; tests borrow testkit::seal()",
    ),
    ban(
        "Permit::grant",
        &["crates/gate/src/", "crates/testkit/src/"],
        false,
        "only authorize makes a permit",
    ),
    ban("Caller::vouch", &["crates/gate/src/", "crates/testkit/src/"], true, "only identify makes a caller"),
    ban("Default for Caller", &[], false, "nobody is somebody by default"),
    ban(".run(permit", &["crates/gate/src/"], true, "nothing but the gate runs a provider"),
    ban("Provider::run(", &["crates/gate/src/"], true, "nothing but the gate runs a provider"),
    ban("std::process::exit", &[], false, "return from main, so that what was opened is closed"),
    ban("#[ignore", &[], false, "a test that does not run proves nothing; a skip says so"),
    ban("todo!(", &[], false, "leave a thing out whole, or do it"),
    ban("unimplemented!(", &[], false, "leave a thing out whole, or do it"),
    ban("// TODO", &[], false, "open an issue, or do it"),
    ban("// FIXME", &[], false, "open an issue, or do it"),
    ban(
        ".unwrap()",
        &["crates/testkit/src/"],
        true,
        "use `?`, or `expect` with the reason why it cannot fail",
    ),
    ban("allow(dead_code)", &[], false, "take it out"),
];

const fn ban(text: &'static str, except: &'static [&'static str], tests_may: bool, why: &'static str) -> Ban {
    Ban { text, except, tests_may, why }
}

/// How many lines a file outside tests may have. A long table is fine: [`LONG_TABLES`].
const FILE_LINES_MAX: usize = 700;

/// How many lines a function outside tests may have.
const FUNCTION_LINES_MAX: usize = 100;

/// Files that are one table.
const LONG_TABLES: &[&str] = &[];

/// What is written where it may not be, below `root`.
pub(super) fn broken(root: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for folder in ["crates", "bench"] {
        if root.join(folder).is_dir() {
            gather(&root.join(folder), &mut files)?;
        }
    }
    let mut sources = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let path = file.strip_prefix(root).unwrap_or(&file).to_string_lossy().into_owned();
        sources.push((path, text));
    }
    Ok(wrong(&sources))
}

/// The same, of sources in memory: (path, text).
pub(super) fn wrong(sources: &[(String, String)]) -> Vec<String> {
    let tests: BTreeSet<String> = sources.iter().flat_map(|(path, text)| test_modules(path, text)).collect();
    sources.iter().flat_map(|(path, text)| wrong_in(path, text, &tests)).collect()
}

fn wrong_in(path: &str, text: &str, tests: &BTreeSet<String>) -> Vec<String> {
    let apart = ["/tests/it/", "/examples/"].iter().any(|folder| path.contains(folder));
    let all_tests = apart || tests.iter().any(|module| path.starts_with(module.as_str()));
    let lines: Vec<&str> = text.lines().collect();
    let tests_from = if all_tests { 0 } else { tests_start(&lines) };
    let mut wrong = Vec::new();
    for (i, line) in lines.iter().enumerate() {
        let code = if line.trim_start().starts_with("//!") || line.trim_start().starts_with("///") {
            ""
        } else {
            line
        };
        for ban in BANS {
            let may =
                ban.except.iter().any(|place| path.starts_with(place)) || (ban.tests_may && i >= tests_from);
            if !may && code.contains(ban.text) {
                wrong.push(format!("{path}:{}: `{}`: {}", i + 1, ban.text, ban.why));
            }
        }
    }
    if tests_from > FILE_LINES_MAX && !LONG_TABLES.contains(&path) {
        wrong.push(format!("{path}: {tests_from} lines; a file is one thought of at most {FILE_LINES_MAX}"));
    }
    wrong.extend(long_functions(path, &lines[..tests_from]));
    wrong
}

/// The paths of the modules that a file declares for tests alone: `a/b.rs` and `a/b/`.
fn test_modules(path: &str, text: &str) -> Vec<String> {
    let folder =
        match path.strip_suffix("/lib.rs").or(path.strip_suffix("/main.rs")).or(path.strip_suffix("/mod.rs"))
        {
            Some(folder) => folder.to_owned(),
            None => path.trim_end_matches(".rs").to_owned(),
        };
    let mut found = Vec::new();
    let mut for_tests = false;
    for line in text.lines() {
        if line.starts_with("#[cfg(test)]") || line.starts_with("#[cfg(any(test") {
            for_tests = true;
        } else if for_tests && !line.starts_with("#[") {
            let name = line.trim_start_matches("pub ").trim_start_matches("pub(crate) ").strip_prefix("mod ");
            if let Some(name) = name.and_then(|rest| rest.strip_suffix(';')) {
                found.push(format!("{folder}/{name}.rs"));
                found.push(format!("{folder}/{name}/"));
            }
            for_tests = false;
        }
    }
    found
}

/// The line where `mod tests {` starts; tests come last in a file.
fn tests_start(lines: &[&str]) -> usize {
    let starts = |i: usize| {
        lines[i].starts_with("#[cfg(test)]")
            && lines[i..].iter().find(|line| !line.starts_with("#[")).is_some_and(|line| line.ends_with('{'))
    };
    (0..lines.len()).find(|&i| starts(i)).unwrap_or(lines.len())
}

/// rustfmt puts a function's closing brace under its first letter, so no parser is needed.
fn long_functions(path: &str, lines: &[&str]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (i, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let indent = line.len() - line.trim_start().len();
        let close = format!("{}}}", " ".repeat(indent));
        let Some(length) = lines[i..].iter().position(|line| *line == close) else { continue };
        if length > FUNCTION_LINES_MAX && !line.trim_end().ends_with(';') {
            wrong.push(format!("{path}:{}: {name} has {length} lines; a function fits a screen", i + 1));
        }
    }
    wrong
}

fn function_name(line: &str) -> Option<&str> {
    let mut rest = line.trim_start();
    for word in ["pub(crate) ", "pub(super) ", "pub ", "const ", "async "] {
        rest = rest.strip_prefix(word).unwrap_or(rest);
    }
    let name = rest.strip_prefix("fn ")?;
    name.split(['(', '<']).next()
}

fn gather(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            gather(&path, files)?;
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            files.push(path);
        }
    }
    Ok(())
}
