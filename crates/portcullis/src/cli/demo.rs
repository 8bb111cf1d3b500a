//! `portcullis demo`: `serve` with the configuration of `examples/quickstart`, in a folder of its own.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::{Value, json};

use super::{Exit, Failure, Globals, Out};
use crate::{
    app::first_key,
    config::{self, LogFormat, ShownAs},
    data::{self, CONFIG_FILE},
    log::LogTo,
    serving::{self, Ready, Start},
};

/// The configuration of the demo: an ordinary one.
const QUICKSTART: &str = include_str!("../../../../examples/quickstart/portcullis.yaml");

/// The port of the sample API in [`QUICKSTART`]; another one is written into the file where this one is taken.
const SHOP_PORT: u16 = 8098;

/// Start a whole server to try: a sample shop as an SQL database and as a REST API, a folder, and two keys.
///
/// Its configuration is written to the data folder, where you can change it while the server runs.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Listen here
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
}

pub(super) async fn run(args: DemoArgs, globals: &Globals, out: &Out) -> Result<(), Failure> {
    let dir = match &globals.data {
        Some(dir) => dir.clone(),
        None => fresh_folder()?,
    };
    let file = prepare(&dir)?;
    let loaded = config::load(&file, &data::environment).map_err(|problems| {
        out.problems(&problems);
        Failure::said(Exit::Failed)
    })?;
    let listen = args.listen.or_else(|| free_by_default(loaded.config.server.listen));
    let start = Start { loaded, dir: &dir, listen, log_to: LogTo::Stderr, log_format: format(out) };
    serving::run(start, out, |ready| announce(ready, out)).await
}

/// People read text; programs read what the configuration says.
fn format(out: &Out) -> Option<LogFormat> {
    (!out.json).then_some(LogFormat::Text)
}

/// Any free port, where the usual one is taken and nobody asked for it by name.
fn free_by_default(usual: SocketAddr) -> Option<SocketAddr> {
    TcpListener::bind(usual).err().map(|_| SocketAddr::new(usual.ip(), 0))
}

fn fresh_folder() -> Result<PathBuf, Failure> {
    let mut random = [0; 6];
    getrandom::fill(&mut random)
        .map_err(|e| Failure::new(Exit::Failed, format!("no random numbers: {e}")))?;
    let name: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(std::env::temp_dir().join(format!("portcullis-demo-{name}")))
}

/// Writes the configuration into the folder, unless there is one already.
fn prepare(dir: &Path) -> Result<PathBuf, Failure> {
    let fail =
        |e: std::io::Error| Failure::new(Exit::Failed, format!("cannot set up {}: {e}", dir.display()));
    let mut builder = fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(builder.recursive(true), 0o700);
    builder.create(dir).map_err(fail)?;
    let dir = dir.canonicalize().map_err(fail)?;
    let file = dir.join(CONFIG_FILE);
    if !file.exists() {
        let text = QUICKSTART.replace(&format!(":{SHOP_PORT}"), &format!(":{}", shop_port()));
        // The folder of the file is the data folder itself.
        let text = text.replace("\ndata_dir: data\n", "\ndata_dir: .\n");
        fs::write(&file, text).map_err(fail)?;
    }
    Ok(file)
}

/// The sample API's usual port, or a free one where that is taken.
fn shop_port() -> u16 {
    let free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port))?.local_addr().map(|addr| addr.port());
    free(SHOP_PORT).or_else(|_| free(0)).unwrap_or(SHOP_PORT)
}

fn announce(ready: &Ready<'_>, out: &Out) {
    let key = first_key(ready.shown, ShownAs::Key).map(|key| key.secret.expose());
    let viewer = first_key(ready.shown, ShownAs::ViewerKey).map(|key| key.secret.expose());
    if out.json {
        out.line(&as_json(ready, key, viewer).to_string());
    } else {
        out.data(&as_text(ready, key, viewer));
    }
}

fn as_json(ready: &Ready<'_>, key: Option<&str>, viewer: Option<&str>) -> Value {
    json!({
        "url": ready.url,
        "mcp_url": format!("{}/mcp", ready.url),
        "key": key,
        "viewer_key": viewer,
        "data_dir": ready.dir,
    })
}

fn as_text(ready: &Ready<'_>, key: Option<&str>, viewer: Option<&str>) -> String {
    let (url, dir) = (&ready.url, ready.dir.display());
    let shown = key.unwrap_or("<the key of the first start; `portcullis keys rotate demo` makes a new one>");
    let viewer = viewer.map(|key| format!("  viewer key  {key}  (reads only)\n")).unwrap_or_default();
    format!(
        "Portcullis is ready.

  url         {url}
  docs        {url}/docs
  key         {shown}  (shown this once)
{viewer}  data        {dir}

Call a tool:

  curl -H 'Authorization: Bearer {shown}' {url}/v1/mcp/get_customer -d '{{\"customer_id\": 42}}'

Then, in another terminal:

  portcullis tools                          what can be called
  portcullis call get_top_customers limit=3
  portcullis audit tail -n 3                who did what
  $EDITOR {dir}/{CONFIG_FILE}               changes hold at once

Stop it with Ctrl-C.
"
    )
}
