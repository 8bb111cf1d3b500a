//! `portcullis config`: the schema, and the configuration as it is taken.

use clap::Subcommand;
use serde_json::Value;

use super::{Exit, Failure, Globals, Out};
use crate::{config, data};

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print the JSON Schema of the configuration, for editors
    Schema,
    /// Print the configuration as it is taken, with what came from the environment masked
    Show,
}

pub(super) fn run(command: &ConfigCommand, globals: &Globals, out: &Out) -> Result<(), Failure> {
    match command {
        ConfigCommand::Schema => out.line(&format!("{:#}", config::schema())),
        ConfigCommand::Show => {
            let loaded = data::load(globals.config.as_deref()).map_err(|problems| {
                out.problems(&problems);
                Failure::said(Exit::Failed)
            })?;
            out.value(&masked(loaded.shown));
        }
    }
    Ok(())
}

/// Masks what looks like a secret although it stands in the file.
fn masked(value: Value) -> Value {
    audit::redact(&value, &[])
}
