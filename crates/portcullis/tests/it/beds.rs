//! Where the beds are: what `cargo xtask beds` wrote down.

use std::{path::Path, process::Command};

use serde_json::Value;

/// A program of the beds; as [`place`].
pub(crate) fn program(name: &str) -> Option<Command> {
    place(name).map(Command::new)
}

/// Where something of the beds is. Without beds the test skips and says so; under `cargo xtask test` that is a failure.
pub(crate) fn place(name: &str) -> Option<String> {
    let places = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.beds/env.json");
    let places: Option<Value> =
        std::fs::read(places).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let found = places.as_ref().and_then(|places| places[name].as_str()).map(str::to_owned);
    if found.is_none() {
        assert!(std::env::var("PORTCULLIS_BEDS").is_err(), "there is no {name}; run `cargo xtask beds`");
        eprintln!("skipped: there is no {name}; `cargo xtask beds` installs it");
    }
    found
}
