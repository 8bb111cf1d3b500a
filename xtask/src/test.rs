//! `cargo xtask test`: the set-up of the beds, then every test there is.

use anyhow::Result;

use crate::{
    beds, fuzz,
    shell::{cargo, run, step},
};

/// Set-up and tests. With [`BEDS`] a test that lacks what it needs fails instead of saying that it skips.
pub(crate) fn all() -> Result<()> {
    beds::prepare()?;
    step("build", || run(&mut cargo(&["test", "--workspace", "--locked", "--no-run"])))?;
    step("tests", || {
        run(cargo(&["test", "--workspace", "--locked", "--no-fail-fast"]).env(BEDS, "required"))
    })?;
    fuzz::run_all(fuzz::BRIEFLY)
}

/// The variable that makes the beds a must.
pub(crate) const BEDS: &str = "PORTCULLIS_BEDS";
