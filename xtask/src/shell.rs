//! Running other programs, and saying so.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// The folder of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the repository")
}

/// Where cargo builds: `CARGO_TARGET_DIR`, else `target`.
pub(crate) fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// A program to be run in the repository's folder.
pub(crate) fn program(name: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> Command {
    let mut command = Command::new(name);
    command.args(args).current_dir(root()).stdin(Stdio::null());
    command
}

/// The cargo that runs us.
pub(crate) fn cargo(args: &[&str]) -> Command {
    program(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), args)
}

/// Runs it with its output on ours; an error where it fails or cannot be started.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = line(command);
    println!("$ {line}");
    let status = command.status().with_context(|| format!("cannot start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed: {status}");
    }
    Ok(())
}

/// Runs it and gives back its standard output; an error holds what it said.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let line = line(command);
    let Output { status, stdout, stderr } =
        command.output().with_context(|| format!("cannot start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed: {status}\n{}", String::from_utf8_lossy(&stderr).trim_end());
    }
    String::from_utf8(stdout).with_context(|| format!("`{line}` printed something that is not text"))
}

/// Runs it with its output on ours, and gives back what it printed and how it ended.
pub(crate) fn copied(command: &mut Command) -> Result<(String, Result<()>)> {
    let line = line(command);
    println!("$ {line}");
    let starting = command.stdout(Stdio::piped()).spawn();
    let mut child = starting.with_context(|| format!("cannot start `{line}`"))?;
    let mut text = String::new();
    for printed in child.stdout.take().map(BufReader::new).into_iter().flat_map(BufRead::lines) {
        let printed = printed.with_context(|| format!("`{line}` printed something that is not text"))?;
        println!("{printed}");
        text.push_str(&printed);
        text.push('\n');
    }
    let status = child.wait()?;
    let ended = status.success().then_some(()).with_context(|| format!("`{line}` failed: {status}"));
    Ok((text, ended))
}

/// Whether a program of this name can be started.
pub(crate) fn has(name: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|dir| dir.join(name).is_file())
}

/// Does a step under a heading and says how long it took; an error names the step.
pub(crate) fn step<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    println!("==> {name}");
    let started = Instant::now();
    let done = work().with_context(|| name.to_owned())?;
    println!("    {name}: {}", seconds(started.elapsed()));
    Ok(done)
}

/// A duration for people: `12.3 s`.
pub(crate) fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
