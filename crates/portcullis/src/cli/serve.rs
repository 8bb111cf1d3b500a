//! `portcullis serve`: the server.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::Value;

use super::{
    Exit, Failure, Globals, Out,
    whole::{self, Made},
};
use crate::{
    data::{self, CONFIG_FILE},
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
    /// Instead of a configuration: put every server of this file behind the gate
    ///
    /// The file is one of an MCP client: JSON with `mcpServers`, or with `servers` as VS Code has it. One key is made and
    /// printed, which may call every tool of theirs; `--json` prints the line of `demo --json`. The configuration is
    /// written to the data folder (a fresh one, unless --data names one), where you can change it while the server runs.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["file", "config"])]
    mcp_json: Option<PathBuf>,
    /// Listen here instead of at `server.listen`
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
}

/// The configuration of `--mcp-json`: an ordinary one.
const GATEWAY: &str = include_str!("../../../../examples/gateway/portcullis.yaml");

pub(super) async fn run(args: ServeArgs, globals: &Globals, out: &Out) -> Result<(), Failure> {
    if let Some(file) = &args.mcp_json {
        return run_gateway(file, args.listen, globals, out).await;
    }
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

/// Serves what a client's file of servers names.
async fn run_gateway(
    file: &Path,
    listen: Option<SocketAddr>,
    globals: &Globals,
    out: &Out,
) -> Result<(), Failure> {
    let cannot =
        |e: std::io::Error| Failure::new(Exit::Failed, format!("{} cannot be read: {e}", file.display()));
    let path = file.canonicalize().map_err(cannot)?;
    let path = path.to_str().ok_or_else(|| {
        Failure::new(Exit::Failed, format!("the path {} is not UTF-8 text", file.display()))
    })?;
    // A text of JSON is one of YAML.
    let quoted = Value::from(path.replace("${", "$${")).to_string();
    let text = || {
        let text = GATEWAY.replace("\nmcp_json: mcp.json\n", &format!("\nmcp_json: {quoted}\n"));
        // The folder of the file is the data folder itself.
        text.replace("\ndata_dir: data\n", "\ndata_dir: .\n")
    };
    whole::run(Made { name: "gateway", text: &text, try_it: &try_it }, listen, globals, out).await
}

fn try_it(url: &str, key: &str, dir: &str) -> String {
    format!(
        "Point a client at it:

  portcullis install claude-code --url {url}/mcp     (or another client; PORTCULLIS_KEY={key})

Then, in another terminal:

  portcullis tools                          what can be called
  portcullis health                         how the servers are
  portcullis audit tail -n 3                who did what
  $EDITOR {dir}/{CONFIG_FILE}               changes hold at once
"
    )
}
