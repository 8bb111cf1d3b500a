//! `portcullis health`: is a server ready?

use clap::Args;
use serde_json::Value;

use super::{Exit, Failure, Globals, Out};
use crate::{data, reach::Client};

/// Ask whether a server is ready.
#[derive(Debug, Args)]
pub(crate) struct HealthArgs {
    /// The server, such as http://127.0.0.1:8000; the one on the data folder where none is given
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Show every source, not only whether the server is ready
    #[arg(long)]
    detailed: bool,
}

pub(super) async fn run(args: HealthArgs, globals: &Globals, out: &Out) -> Result<(), Failure> {
    let client = match &args.url {
        Some(url) => Client::http(url)?,
        None => match data::find(globals).ok().filter(|dir| data::socket(dir).exists()) {
            Some(dir) => Client::socket(data::socket(&dir)),
            None => Client::http("http://127.0.0.1:8000")?,
        },
    };
    let path = if args.detailed { "/health/detailed" } else { "/health/ready" };
    let (status, body) = client.get(path).await?;
    if status == 200 {
        out.value(&body);
        return Ok(());
    }
    if args.detailed && body.get("status").is_some_and(Value::is_string) {
        out.value(&body);
        return Err(Failure::said(Exit::Failed));
    }
    let text = body["error"].as_str().or_else(|| body.as_str()).unwrap_or("not ready").to_owned();
    Err(Failure::new(Exit::Failed, text))
}
