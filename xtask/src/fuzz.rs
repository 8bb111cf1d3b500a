//! `cargo xtask fuzz`: a fuzzer at what reads other people's bytes, for some seconds a target, from the seeds in
//! `fuzz/seeds` and what earlier runs found below the target folder.

use std::{fs, num::NonZeroU32, path::Path};

use anyhow::{Context, Result, bail};

use crate::shell::{cargo, program, root, run, step, target_dir};

/// The targets in `fuzz/targets`.
const TARGETS: &[&str] = &["envelope", "headers", "sse", "template"];

/// What a run among the tests takes for each target, in seconds.
pub(crate) const BRIEFLY: NonZeroU32 = NonZeroU32::new(10).unwrap();

/// Long enough for any message that is read as a whole in a test; a fuzzer finds more in short ones.
const BYTES_MAX: u32 = 4096;

/// One input may take so long before it counts as a hang.
const INPUT_SECONDS_MAX: u32 = 10;

/// What cargo-fuzz tells the compiler, less the address sanitizer: that one needs a nightly compiler, and the rooms
/// that are fuzzed forbid unsafe code.
/// Source: the SanitizerCoverage page of clang's documentation.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
                     -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Builds the targets and runs each for as many seconds as the command line says.
pub(crate) fn run_for(seconds: &str) -> Result<()> {
    run_all(seconds.parse().with_context(|| format!("{seconds:?} is no number of seconds from 1 on"))?)
}

/// Builds the targets and runs each for `seconds`, of which the fuzzer would take 0 for all the time there is.
pub(crate) fn run_all(seconds: NonZeroU32) -> Result<()> {
    let build = target_dir().join("fuzz");
    step("build of the fuzz targets", || {
        run(cargo(&[
            "build",
            "--release",
            "--locked",
            "--manifest-path",
            "fuzz/Cargo.toml",
            "--target",
            HOST,
        ])
        .env("CARGO_TARGET_DIR", &build)
        .env("RUSTFLAGS", FLAGS))
    })?;
    for target in TARGETS {
        step(&format!("fuzz {target}"), || one(target, seconds, &build))?;
    }
    Ok(())
}

/// Named, so that build scripts and macros are not built for the fuzzer.
#[cfg(target_arch = "aarch64")]
const HOST: &str = "aarch64-unknown-linux-gnu";
#[cfg(not(target_arch = "aarch64"))]
const HOST: &str = "x86_64-unknown-linux-gnu";

fn one(target: &str, seconds: NonZeroU32, build: &Path) -> Result<()> {
    let found = build.join("found").join(target);
    let broken = build.join("broken");
    for folder in [&found, &broken] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let mut fuzzer = program(build.join(HOST).join("release").join(target), &[]);
    fuzzer
        .arg(&found)
        .arg(root().join("fuzz/seeds").join(target))
        .arg(format!("-dict={}", root().join("fuzz/mcp.dict").display()))
        .arg(format!("-artifact_prefix={}/{target}-", broken.display()))
        .args([format!("-max_total_time={seconds}"), format!("-max_len={BYTES_MAX}")])
        .args([format!("-timeout={INPUT_SECONDS_MAX}"), "-rss_limit_mb=2048".to_owned()])
        .args(["-verbosity=0", "-print_final_stats=1"]);
    let output = fuzzer.output().with_context(|| format!("cannot start the fuzzer of {target}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!(
            "{}\n{target} broke ({}); the input lies in {}, and `{} FILE` runs it again; once mended, make it a case \
             of crates/mcp/src/fuzz.rs",
            said.trim_end(),
            output.status,
            broken.display(),
            build.join(HOST).join("release").join(target).display()
        );
    }
    let tried = said.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    println!("    {} inputs, nothing broke", tried.map_or("?", str::trim));
    Ok(())
}
