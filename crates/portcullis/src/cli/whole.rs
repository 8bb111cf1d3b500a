//! A whole server from one command: `portcullis demo` and `portcullis serve --mcp-json`. Its configuration is an ordinary
//! one, which is written to a folder of its own.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{Exit, Failure, Globals, Out};
use crate::{
    app::first_key,
    config::{self, LogFormat, ShownAs},
    data::{self, CONFIG_FILE},
    log::LogTo,
    serving::{self, Ready, Start},
};

/// What server is made.
pub(super) struct Made<'a> {
    /// What it is, for the name of its folder and of its key.
    pub(super) name: &'a str,
    /// The text of its configuration, where its folder has none yet.
    pub(super) text: &'a (dyn Fn() -> String + Send + Sync),
    /// What to do with it: given its URL, its key and its folder.
    pub(super) try_it: &'a (dyn Fn(&str, &str, &str) -> String + Send + Sync),
}

/// Starts the server, in the data folder that is named or in a fresh one, and says how it is reached.
pub(super) async fn run(
    made: Made<'_>,
    listen: Option<SocketAddr>,
    globals: &Globals,
    out: &Out,
) -> Result<(), Failure> {
    let dir = match &globals.data {
        Some(dir) => dir.clone(),
        None => fresh_folder(made.name)?,
    };
    let file = prepare(&dir, made.text)?;
    let loaded = config::load(&file, &data::environment).map_err(|problems| {
        out.problems(&problems);
        Failure::said(Exit::Failed)
    })?;
    let listen = listen.or_else(|| free_by_default(loaded.config.server.listen));
    let start = Start { loaded, dir: &dir, listen, log_to: LogTo::Stderr, log_format: format(out) };
    serving::run(start, out, |ready| announce(&made, ready, out)).await
}

/// People read text; programs read what the configuration says.
fn format(out: &Out) -> Option<LogFormat> {
    (!out.json).then_some(LogFormat::Text)
}

/// Any free port, where the usual one is taken and nobody asked for it by name.
fn free_by_default(usual: SocketAddr) -> Option<SocketAddr> {
    TcpListener::bind(usual).err().map(|_| SocketAddr::new(usual.ip(), 0))
}

fn fresh_folder(name: &str) -> Result<PathBuf, Failure> {
    let mut random = [0; 6];
    getrandom::fill(&mut random)
        .map_err(|e| Failure::new(Exit::Failed, format!("no random numbers: {e}")))?;
    let random: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(std::env::temp_dir().join(format!("portcullis-{name}-{random}")))
}

/// Writes the configuration into the folder, unless there is one already.
fn prepare(dir: &Path, text: &dyn Fn() -> String) -> Result<PathBuf, Failure> {
    let fail =
        |e: std::io::Error| Failure::new(Exit::Failed, format!("cannot set up {}: {e}", dir.display()));
    let mut builder = fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(builder.recursive(true), 0o700);
    builder.create(dir).map_err(fail)?;
    let dir = dir.canonicalize().map_err(fail)?;
    let file = dir.join(CONFIG_FILE);
    if !file.exists() {
        fs::write(&file, text()).map_err(fail)?;
    }
    Ok(file)
}

fn announce(made: &Made<'_>, ready: &Ready<'_>, out: &Out) {
    let key = first_key(ready.shown, ShownAs::Key).map(|key| key.secret.expose());
    let viewer = first_key(ready.shown, ShownAs::ViewerKey).map(|key| key.secret.expose());
    if out.json {
        out.line(&as_json(ready, key, viewer).to_string());
    } else {
        out.data(&as_text(made, ready, key, viewer));
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

fn as_text(made: &Made<'_>, ready: &Ready<'_>, key: Option<&str>, viewer: Option<&str>) -> String {
    let (url, dir) = (&ready.url, ready.dir.display().to_string());
    let known =
        format!("<the key of the first start; `portcullis keys rotate {}` makes a new one>", made.name);
    let shown = key.unwrap_or(&known);
    let viewer = viewer.map(|key| format!("  viewer key  {key}  (reads only)\n")).unwrap_or_default();
    let try_it = (made.try_it)(url, shown, &dir);
    format!(
        "Portcullis is ready.

  url         {url}
  docs        {url}/docs
  key         {shown}  (shown this once)
{viewer}  data        {dir}

{try_it}
Stop it with Ctrl-C.
"
    )
}
