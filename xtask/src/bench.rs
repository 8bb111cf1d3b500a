//! `cargo xtask bench`: what a call down the whole road costs, beside a bare server that answers the same.

use anyhow::Result;

use crate::shell::{cargo, run, step};

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
    step("rest_call", || run(&mut cargo(&args)))
}
