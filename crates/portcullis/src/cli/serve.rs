//! `portcullis serve`: the server.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;

use super::{Exit, Failure, Globals, Out};
use crate::{
    data,
    log::LogTo,
    serving::{self, Start},
};

/// Start the server. Logs go to standard output.
///
/// Without a file, ./portcullis.yaml is taken; where there is none, the configuration is built from the environment
/// (and a .env in the working folder): see .env.example.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The configuration
    file: Option<PathBuf>,
    /// Listen here instead of at `server.listen`
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
}

pub(super) async fn run(args: ServeArgs, globals: &Globals, out: &Out) -> Result<(), Failure> {
    let file = args.file.as_deref().or(globals.config.as_deref());
    let loaded = data::load(file).map_err(|problems| {
        out.problems(&problems);
        Failure::said(Exit::Failed)
    })?;
    let dir = data::folder_of(&loaded, globals);
    let start = Start { loaded, dir: &dir, listen: args.listen, log_to: LogTo::Stdout, log_format: None };
    serving::run(start, out, |ready| {
        for key in ready.shown {
            out.note(&format!("key {:?}, shown this once: {}", key.label, key.secret.expose()));
        }
    })
    .await
}
