//! `portcullis check`: everything that is wrong with a configuration, whichever step finds it.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{Exit, Failure, Globals, Out};
use crate::{app, config::Problems, data};

/// Say everything that is wrong with a configuration: keys, types, names, statements. Nothing is started or
/// changed.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The file; --config or ./portcullis.yaml where none is given
    file: Option<PathBuf>,
}

pub(super) async fn run(args: &CheckArgs, globals: &Globals, out: &Out) -> Result<(), Failure> {
    let file = args.file.as_deref().or(globals.config.as_deref());
    let checked = match data::examine(file) {
        Ok(examined) => {
            let dir = data::folder_of(&examined.loaded, globals);
            app::check(examined, &dir).await
        }
        Err(problems) => Err(problems),
    };
    match checked {
        Ok(name) if out.json => out.line(&json!({ "file": name, "problems": [] }).to_string()),
        Ok(name) => out.note(&format!("{name}: good")),
        Err(problems) => return Err(say(&problems, out)),
    }
    Ok(())
}

fn say(problems: &Problems, out: &Out) -> Failure {
    out.problems(problems);
    Failure::said(Exit::Failed)
}
