//! `portcullis upstream add`: another tool server in the configuration, after it was tried.

use std::path::Path;

use clap::Args;
use serde_json::{Map, Value, json};
use upstream::{Trial, UpstreamConfig};

use super::{
    Exit, Failure, Globals, Out,
    out::plain,
    probe::{parts, place_of, show},
};
use crate::{
    config::{self, Loaded, add},
    data,
};

/// Write a tool server into the configuration, after it was tried. A server that runs takes it up by itself.
#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// What it is called here: its tools are NAME_tool
    name: String,
    /// Where it is, such as https://mcp.example.com/mcp
    #[arg(long, required_unless_present = "command", conflicts_with = "command")]
    url: Option<String>,
    /// Or the program that is one, and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
    /// What the program finds in its environment, such as 'TOKEN=${DOCS_TOKEN}'; several times for several
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair::<'='>, requires = "command")]
    env: Vec<(String, String)>,
    /// A header of every request, such as 'Authorization: Bearer ${DOCS_TOKEN}'; several times for several
    #[arg(long, value_name = "NAME: VALUE", value_parser = pair::<':'>, requires = "url")]
    header: Vec<(String, String)>,
    /// It wants a login: `portcullis upstream login NAME` comes next
    #[arg(long, requires = "url")]
    oauth: bool,
    /// Which of its tools only look, as globs; several times for several
    #[arg(long, value_name = "GLOB")]
    reads: Vec<String>,
    /// Keep everything from the program but what libraries need
    #[arg(long, requires = "command")]
    strict: bool,
    /// Do not try it first
    #[arg(long)]
    no_probe: bool,
    /// Print what would be written, and write nothing
    #[arg(long)]
    print: bool,
}

fn pair<const BETWEEN: char>(text: &str) -> Result<(String, String), String> {
    let (name, value) =
        text.split_once(BETWEEN).ok_or_else(|| format!("expected a name, {BETWEEN:?} and a value"))?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

pub(super) async fn run(args: &AddArgs, globals: &Globals, out: &Out) -> Result<(), Failure> {
    let failed = |text: String| Failure::new(Exit::Failed, text);
    let server = section(args);
    if args.print {
        out.line(add::lines(&args.name, &server, 2).trim_end());
        return Ok(());
    }
    let Some(file) = data::config_file(globals.config.as_deref()) else {
        let text =
            "there is no configuration here to write it into; --config names one, --print shows the lines";
        return Err(failed(text.to_owned()));
    };
    let shown = file.display();
    let text = std::fs::read_to_string(&file).map_err(|e| failed(format!("{shown} cannot be read: {e}")))?;
    let edited = add::with_upstream(&text, &args.name, &server)
        .map_err(|why| failed(format!("{shown}: {why}; --print shows the lines to add by hand")))?;
    let loaded = check(&file, &edited, out)?;
    if !args.no_probe && !args.oauth {
        try_out(&loaded, &args.name, out).await?;
    }
    data::replace(&file, edited.as_bytes()).map_err(|e| failed(format!("{shown} cannot be written: {e}")))?;
    if out.json {
        out.line(&json!({ "server": args.name, "file": file, "added": server }).to_string());
        return Ok(());
    }
    out.note(&format!("{} is in {shown}; roles reach it as source:mcp:{}", args.name, args.name));
    if args.oauth {
        out.note(&format!("log in to it with `portcullis upstream login {}`", args.name));
    }
    Ok(())
}

/// The server as it is written.
fn section(args: &AddArgs) -> Map<String, Value> {
    let all =
        |pairs: &[(String, String)]| pairs.iter().cloned().collect::<std::collections::BTreeMap<_, _>>();
    let mut server = Map::new();
    let mut put = |member: &str, value: Value| server.insert(member.to_owned(), value);
    match &args.url {
        Some(url) => {
            put("url", json!(url));
            if url.starts_with("tls:") {
                put("protocol", json!("jsonl"));
            }
            // Whoever types an address of our own network means that place.
            if let Some(place) = place_of(url).filter(|_| leads_home(url)) {
                put("allow_private", json!([place]));
            }
        }
        None => {
            put("command", json!(args.command));
        }
    }
    if !args.env.is_empty() {
        put("env", json!(all(&args.env)));
    }
    if !args.header.is_empty() {
        put("headers", json!(all(&args.header)));
    }
    if args.oauth {
        put("oauth", json!({}));
    }
    if args.strict {
        put("sandbox", json!({ "mode": "strict" }));
    }
    if !args.reads.is_empty() {
        put("reads", json!(args.reads));
    }
    server
}

/// True for a URL with an address of our own network, or the name of this machine.
fn leads_home(url: &str) -> bool {
    let Ok(url) = place::parse_url(&url.replacen("tls:", "https:", 1)) else { return false };
    let is_private = |address| place::address::forbidden(address).is_some();
    place::literal(&url).map_or(url.host_str() == Some("localhost"), is_private)
}

/// The file as it would be, which has to be as good as it was.
fn check(file: &Path, edited: &str, out: &Out) -> Result<Loaded, Failure> {
    config::load_as(file, edited, &data::environment).map_err(|problems| {
        out.problems(&problems);
        Failure::new(Exit::Failed, "nothing is written: the configuration would not be good with it")
    })
}

/// Connects to it once, as it would be written.
async fn try_out(loaded: &Loaded, name: &str, out: &Out) -> Result<(), Failure> {
    let failed = |text: String| Failure::new(Exit::Failed, text);
    let found = loaded.config.upstreams.as_ref().and_then(|all| all.0.get(name));
    let server: UpstreamConfig =
        found.cloned().ok_or_else(|| failed(format!("{name:?} is not in the configuration")))?;
    let report = upstream::probe(server, &parts(&loaded.base_dir), &Trial::Nothing, |_| {}).await;
    let report = report.map_err(|faults| {
        let said: Vec<String> = faults.iter().map(|fault| fault.text.clone()).collect();
        failed(said.join("; "))
    })?;
    if let Some(problem) = &report.problem {
        let hint = report.hint.as_deref().map(|hint| format!("; {hint}")).unwrap_or_default();
        let stderr = report.stderr.last().map(|line| format!("; it said {:?}", plain(line)));
        let text = format!("nothing is written: {}{hint}{}", plain(problem), stderr.unwrap_or_default());
        return Err(failed(format!("{text}; --no-probe writes it all the same")));
    }
    if !out.json {
        show(&report, out);
    }
    Ok(())
}
