//! `portcullis stdio`: MCP over standard input and output.

use std::path::PathBuf;

use clap::Args;
use tool::Secret;

use super::{Exit, Failure, Globals, Out};
use crate::{
    bridge, data,
    log::LogTo,
    reach::Client,
    serving::{self, Start},
};

/// The variable that holds the key.
const KEY: &str = "PORTCULLIS_KEY";

/// The most bytes of a file with a key.
const KEY_BYTES_MAX: u64 = 4_096;

/// Speak MCP over standard input and output, for clients that start their servers themselves. Standard output
/// carries only the protocol; the log goes to standard error.
///
/// Who calls is said by a key in PORTCULLIS_KEY or in a file. Where a server runs on the data folder, the messages are
/// passed on to it; else this process is the server, as long as its input stays open.
#[derive(Debug, Args)]
pub(crate) struct StdioArgs {
    /// Take the key from this file instead of from PORTCULLIS_KEY
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Show this toolset instead of all that there is
    #[arg(long, value_name = "NAME", value_parser = super::install::server_name)]
    toolset: Option<String>,
}

pub(super) async fn run(args: StdioArgs, globals: &Globals, out: &Out) -> Result<(), Failure> {
    let key = key(&args)?;
    let loaded = data::load(globals.config.as_deref()).map_err(|problems| {
        out.problems(&problems);
        Failure::said(Exit::Failed)
    })?;
    let dir = data::folder_of(&loaded, globals);
    let client = Client::socket(data::socket(&dir));
    if client.answers().await {
        return bridge::run(&data::socket(&dir), &key, args.toolset.as_deref()).await;
    }
    let start = Start { loaded, dir: &dir, listen: None, log_to: LogTo::Stderr, log_format: None };
    serving::pipes(start, key, args.toolset.as_deref(), out).await
}

fn key(args: &StdioArgs) -> Result<Secret, Failure> {
    let wrong = |text: String| Failure::new(Exit::Usage, text);
    let text = match &args.key_file {
        Some(file) => {
            let size = std::fs::metadata(file).map_err(|e| wrong(format!("cannot read {}: {e}", file.display())))?.len();
            if size > KEY_BYTES_MAX {
                return Err(wrong(format!("{} is longer than a key", file.display())));
            }
            std::fs::read_to_string(file).map_err(|e| wrong(format!("cannot read {}: {e}", file.display())))?
        }
        None => data::environment(KEY).ok_or_else(|| {
            wrong(format!("who calls? put a key into {KEY}, or name a file with --key-file; portcullis keys create makes one"))
        })?,
    };
    Ok(Secret::new(text.trim().to_owned()))
}
