//! `portcullis probe`: what a tool server speaks, offers and answers, and what is wrong with it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::Args;
use serde_json::{Value, json};
use tool::{Meter, Parts};
use upstream::{Report, Trial, Tried, UpstreamConfig};

use super::{Exit, Failure, Globals, Out, out::plain};
use crate::{clock::WallClock, data, secrets::SecretStore};

/// What a driver of the MCP conformance suite says of the scenario: its name, and what is to be called.
const SCENARIO: &str = "MCP_CONFORMANCE_SCENARIO";
const CONTEXT: &str = "MCP_CONFORMANCE_CONTEXT";

/// The most of an answer that is shown, in characters.
const SHOWN_CHARS_MAX: usize = 200;

/// Try a tool server out, with the client that calls go through: connect, list, call.
///
/// Called are the tools that say they only look, with arguments made up from their schemas; --call says otherwise.
/// Forms that it asks for are filled in with what stands there anyway. Nothing is kept.
#[derive(Debug, Args)]
pub(crate) struct ProbeArgs {
    /// The server, such as https://mcp.example.com/mcp
    #[arg(required_unless_present = "command", conflicts_with = "command")]
    url: Option<String>,
    /// Or the program that is one, and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
    /// Which tools are called: `none`, `all`, or the name of one; several times for several
    #[arg(long, value_name = "TOOL")]
    call: Vec<String>,
    /// The arguments of the one tool that is called
    #[arg(long, value_name = "JSON", value_parser = object, requires = "call")]
    arguments: Option<Value>,
    /// Which protocol: auto, modern, legacy or jsonl
    #[arg(long, value_name = "PROTOCOL", default_value = "auto")]
    protocol: String,
    /// The environment variable with a token for `Authorization: Bearer`
    #[arg(long, value_name = "NAME")]
    bearer_env: Option<String>,
    /// Who we are to the authorization server of a server that wants a login [default: registers anew]
    #[arg(long, value_name = "ID", conflicts_with = "bearer_env")]
    client_id: Option<String>,
    /// The environment variable with the secret of that client
    #[arg(long, value_name = "NAME", requires = "client_id")]
    client_secret_env: Option<String>,
    /// The file with the private key of that client, in PEM
    #[arg(long, value_name = "FILE", requires = "client_id", conflicts_with = "client_secret_env")]
    client_key: Option<PathBuf>,
    /// What that key signs with: ES256, ES384, RS256, RS384 or RS512
    #[arg(long, value_name = "NAME", requires = "client_key", default_value = "ES256")]
    client_key_algorithm: String,
    /// The https URL of a document that says who we are
    #[arg(long, value_name = "URL", conflicts_with_all = ["client_id", "bearer_env"])]
    client_metadata_url: Option<String>,
    /// Whom the authorization server asks: authorization_code, or client_credentials for nobody
    #[arg(long, value_name = "GRANT", default_value = "authorization_code", conflicts_with = "bearer_env")]
    grant: String,
    /// What is asked of it; several times for several [default: what the server says it needs]
    #[arg(long, value_name = "SCOPE", conflicts_with = "bearer_env")]
    scope: Vec<String>,
    /// Keep everything from the program but what libraries need
    #[arg(long, requires = "command")]
    strict: bool,
    /// How long it may take to connect, and each call, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
}

fn object(text: &str) -> Result<Value, String> {
    let value: Value = serde_json::from_str(text).map_err(|e| e.to_string())?;
    if value.is_object() {
        Ok(value)
    } else {
        Err("expected a JSON object, such as {\"name\": \"Ada\"}".to_owned())
    }
}

pub(super) async fn run(args: ProbeArgs, _globals: &Globals, out: &Out) -> Result<(), Failure> {
    let (section, trial) = (section(&args)?, trial(&args)?);
    let config: UpstreamConfig = serde_json::from_value(section)
        .map_err(|e| Failure::new(Exit::Usage, format!("this cannot be tried: {e}")))?;
    let tell = |tried: &Tried| {
        if !out.json {
            show_call(tried, out);
        }
    };
    let probed = upstream::probe(config, &parts(Path::new(".")), &trial, tell).await;
    let report = probed.map_err(|faults| {
        let said: Vec<String> = faults.iter().map(|fault| fault.text.clone()).collect();
        Failure::new(Exit::Usage, said.join("; "))
    })?;
    if out.json {
        out.line(&json!(report).to_string());
    } else {
        show(&report, out);
        if report.problem.is_none() && report.calls.is_empty() {
            out.note("no tool was called; --call all calls every one of them, --call NAME one");
        }
    }
    if report.is_good() { Ok(()) } else { Err(Failure::said(Exit::Failed)) }
}

/// The server as the configuration would have it.
fn section(args: &ProbeArgs) -> Result<Value, Failure> {
    let wrong = |text: String| Failure::new(Exit::Usage, text);
    let ms = args.timeout * 1_000;
    let mut section = json!({
        "protocol": args.protocol, "timeout_ms": ms, "call_ms_max": ms, "connect_timeout_ms": ms, "alive_ms": 0,
    });
    let Some(url) = &args.url else {
        section["command"] = json!(args.command);
        section["cwd"] = json!(std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")));
        if args.strict {
            section["sandbox"] = json!({ "mode": "strict" });
        }
        return Ok(section);
    };
    section["url"] = json!(url);
    // Whoever types an address means that place.
    if let Some(place) = place_of(url) {
        section["allow_private"] = json!([place]);
    }
    if let Some(name) = &args.bearer_env {
        let token =
            data::environment(name).ok_or_else(|| wrong(format!("the variable {name} is not set")))?;
        section["headers"] = json!({ "Authorization": format!("Bearer {}", token.trim()) });
    } else if args.protocol != "jsonl" {
        section["oauth"] = oauth(args)?;
    }
    Ok(section)
}

/// How a token is got where the server wants one.
fn oauth(args: &ProbeArgs) -> Result<Value, Failure> {
    let wrong = |text: String| Failure::new(Exit::Usage, text);
    let mut oauth = json!({ "grant": args.grant, "scopes": args.scope });
    if let Some(id) = &args.client_id {
        oauth["client_id"] = json!(id);
    }
    if let Some(url) = &args.client_metadata_url {
        oauth["client_metadata_url"] = json!(url);
    }
    if let Some(name) = &args.client_secret_env {
        let secret =
            data::environment(name).ok_or_else(|| wrong(format!("the variable {name} is not set")))?;
        oauth["client_secret"] = json!(secret.trim());
    }
    if let Some(file) = &args.client_key {
        let key = std::fs::read_to_string(file)
            .map_err(|e| wrong(format!("cannot read {}: {e}", file.display())))?;
        oauth["private_key"] = json!(key);
        oauth["signing_algorithm"] = json!(args.client_key_algorithm);
    }
    if args.client_id.is_none() && data::environment(SCENARIO).is_some() {
        of_suite_client(&mut oauth);
    }
    Ok(oauth)
}

/// Who we are in a scenario of the suite, where it says so.
fn of_suite_client(oauth: &mut Value) {
    let context = suite_context();
    for (member, said) in
        [("client_id", "client_id"), ("client_secret", "client_secret"), ("private_key", "private_key_pem")]
    {
        if let Some(text) = context[said].as_str() {
            oauth[member] = json!(text);
        }
    }
    if let Some(algorithm) = context["signing_algorithm"].as_str() {
        oauth["signing_algorithm"] = json!(algorithm);
    }
    if data::environment(SCENARIO).is_some_and(|name| name.contains("client-credentials")) {
        oauth["grant"] = json!("client_credentials");
    }
}

fn suite_context() -> Value {
    data::environment(CONTEXT).and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}

/// The host and port of a URL; what is none is told later, by who reads it.
pub(super) fn place_of(url: &str) -> Option<String> {
    if let Ok(url) = place::parse_url(url) {
        return Some(format!("{}:{}", url.host_str()?, place::port(&url)));
    }
    Some(url.strip_prefix("tls://")?.trim_end_matches('/').to_owned())
}

fn trial(args: &ProbeArgs) -> Result<Trial, Failure> {
    let names: Vec<&str> = args.call.iter().map(String::as_str).collect();
    Ok(match names.as_slice() {
        // The suite has its own tools, and wants them called.
        [] if data::environment(SCENARIO).is_some() => of_suite(),
        [] => Trial::Looking,
        ["none"] => Trial::Nothing,
        ["all"] => Trial::Everything,
        [one] => Trial::These(vec![((*one).to_owned(), args.arguments.clone())]),
        _ if args.arguments.is_some() => {
            let text = "--arguments are those of one tool; name it alone with --call";
            return Err(Failure::new(Exit::Usage, text));
        }
        several => Trial::These(several.iter().map(|name| ((*name).to_owned(), None)).collect()),
    })
}

/// What the suite says is to be called; everything where it does not.
fn of_suite() -> Trial {
    let context = suite_context();
    let calls = context["toolCalls"].as_array().into_iter().flatten();
    let calls: Vec<_> = calls
        .filter_map(|call| Some((call["name"].as_str()?.to_owned(), call.get("arguments").cloned())))
        .collect();
    if calls.is_empty() { Trial::Everything } else { Trial::These(calls) }
}

/// What a room is opened with where there is no server.
pub(super) fn parts(base_dir: &Path) -> Parts {
    Parts {
        secrets: Arc::new(SecretStore::new(base_dir, true)),
        meter: Arc::new(Unmeasured),
        clock: Arc::new(WallClock),
        base_dir: base_dir.to_owned(),
        notify: Arc::new(|_| {}),
        child_env: data::child_env(),
        keeper: Arc::from(data::keeper()),
    }
}

struct Unmeasured;

impl Meter for Unmeasured {
    fn db_query(&self, _query_name: &str, _took: Duration) {}

    fn api_error(&self, _source: &str, _status_code: &str) {}
}

fn show_call(tried: &Tried, out: &Out) {
    let how = match (&tried.error, tried.ok) {
        (Some(error), _) => format!("no answer: {error}"),
        (None, ok) => {
            let shown = tried.result.as_ref().map(Value::to_string).unwrap_or_default();
            format!("{}{}", if ok { "" } else { "failed: " }, shortened(&shown))
        }
    };
    out.note(&format!("{} {} ({} ms)", plain(&tried.tool), tried.arguments, tried.elapsed_ms));
    if !tried.asked.is_empty() || tried.progress > 0 || tried.log > 0 {
        let asked = if tried.asked.is_empty() { "nothing".to_owned() } else { tried.asked.join(", ") };
        out.note(&format!(
            "  asked {}, {} reports of progress, {} lines of log",
            plain(&asked),
            tried.progress,
            tried.log
        ));
    }
    out.note(&format!("  {}", plain(&how)));
}

fn shortened(text: &str) -> String {
    let start: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    if start.len() < text.len() { start + ".." } else { start }
}

pub(super) fn show(report: &Report, out: &Out) {
    if let Some(version) = report.protocol_version {
        let Report { tools, prompts, resources, templates, .. } = report;
        out.line(&format!(
            "speaks {version}: {tools} tools, {prompts} prompts, {resources} resources, {templates} templates"
        ));
    }
    if report.left_out > 0 {
        out.line(&format!(
            "{} of these do not fit and would be left out; RUST_LOG=warn says why",
            report.left_out
        ));
    }
    for (tool, what) in &report.suspicious {
        out.line(&format!("{} says something that is meant for a model: {}", plain(tool), what.join(", ")));
    }
    if let Some(problem) = &report.problem {
        out.line(&format!("cannot be used: {}", plain(problem)));
        if let Some(hint) = &report.hint {
            out.line(&format!("  {hint}"));
        }
        for line in report.stderr.iter().rev().take(10).rev() {
            out.line(&format!("  stderr: {}", plain(line)));
        }
    }
}
