//! `portcullis install`: what to write into the configuration of an MCP client, and where.
//!
//! The snippet goes to standard output and what to do with it to standard error, so that it can be piped. Nothing is
//! written into anybody's files, and no key is shown that was not given.

mod clients;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use http::Uri;
use serde_json::{Value, json};

use self::clients::Snippet;
use super::{Exit, Failure, Globals, Out};
use crate::data;

/// The variable that `portcullis stdio` takes its key from.
const KEY_VARIABLE: &str = "PORTCULLIS_KEY";

/// Where a server listens that says nothing else.
const USUAL_URL: &str = "http://127.0.0.1:8000";

/// The path of the MCP endpoint.
const MCP_PATH: &str = "/mcp";

/// Print what an MCP client needs in its configuration to reach this server.
///
/// Over HTTP, by the server's URL and a key; or with --stdio, where the client starts `portcullis stdio` itself. The
/// snippet is printed, and nothing is written.
#[derive(Debug, Args)]
pub(crate) struct InstallArgs {
    /// The client
    client: ClientName,
    /// Let the client start `portcullis stdio` instead of calling a server
    #[arg(long, conflicts_with = "url")]
    stdio: bool,
    /// The server; the one on the data folder where none is given
    #[arg(long, value_name = "URL", value_parser = mcp_url)]
    url: Option<String>,
    /// What the client calls the server: letters, digits, `_` and `-`
    #[arg(long, value_name = "NAME", default_value = "portcullis", value_parser = server_name)]
    name: String,
    /// Reach this toolset instead of all that there is
    #[arg(long, value_name = "NAME", conflicts_with = "url", value_parser = server_name)]
    toolset: Option<String>,
    /// The environment variable that holds the key; PORTCULLIS_KEY where the client reads variables
    #[arg(long, value_name = "NAME", conflicts_with = "key", value_parser = variable_name)]
    key_env: Option<String>,
    /// The key itself: the snippet then shows it in clear
    #[arg(long, value_name = "KEY", value_parser = key_text)]
    key: Option<String>,
}

/// An MCP client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ClientName {
    /// Claude Code
    ClaudeCode,
    /// Claude Desktop
    ClaudeDesktop,
    /// Cursor
    Cursor,
    /// Visual Studio Code
    #[value(name = "vscode")]
    VsCode,
    /// Codex, the command line and the IDE extension
    Codex,
    /// Gemini CLI
    Gemini,
    /// Any other client that takes `mcpServers`
    Json,
}

/// How the client reaches the gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// By a URL.
    Http {
        /// Of the MCP endpoint.
        url: String,
    },
    /// By starting this program.
    Stdio {
        /// Its path.
        program: String,
        /// Its arguments.
        args: Vec<String>,
    },
}

/// Where the key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// It was given, to be shown.
    Clear(String),
    /// It is in this variable of the environment.
    Variable(String),
    /// Nothing was said.
    Unsaid,
}

pub(super) fn run(args: &InstallArgs, globals: &Globals, out: &Out) -> Result<(), Failure> {
    let way = if args.stdio { stdio(args, globals)? } else { Way::Http { url: url(args, globals) } };
    let key = match (&args.key, &args.key_env) {
        (Some(key), _) => Key::Clear(key.clone()),
        (None, Some(name)) => Key::Variable(name.clone()),
        (None, None) => Key::Unsaid,
    };
    let snippet = clients::snippet(args.client, &args.name, &way, &key);
    if out.json {
        out.line(&as_json(&snippet, args, &way).to_string());
    } else {
        out.note(&about(&snippet));
        out.line(&snippet.text);
    }
    Ok(())
}

/// The named server, or the one that runs, or ran last, on the data folder.
fn url(args: &InstallArgs, globals: &Globals) -> String {
    let noted = || data::find(globals).ok().and_then(|dir| data::noted_url(&dir));
    match &args.url {
        Some(url) => url.clone(),
        // An address that stands for all of them is one to listen on, not to call.
        None => {
            noted().map_or_else(
                || USUAL_URL.to_owned(),
                |url| url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:"),
            ) + MCP_PATH
                + &args.toolset.as_ref().map(|name| format!("/toolsets/{name}")).unwrap_or_default()
        }
    }
}

fn stdio(args: &InstallArgs, globals: &Globals) -> Result<Way, Failure> {
    let known = || data::config_for(globals, &data::find(globals).ok()?);
    let Some(file) = globals.config.clone().or_else(known) else {
        let text =
            "no configuration is known that `portcullis stdio` could work with; name one with --config";
        return Err(Failure::new(Exit::Usage, text));
    };
    let toolset = args.toolset.as_ref();
    let mut args = vec!["stdio".to_owned(), "--config".to_owned(), absolute(&file)?];
    if let Some(dir) = &globals.data {
        args.extend(["--data".to_owned(), absolute(dir)?]);
    }
    if let Some(toolset) = toolset {
        args.extend(["--toolset".to_owned(), toolset.clone()]);
    }
    // A client has a working folder and a path of its own.
    let program = std::env::current_exe().ok().and_then(|path| path.to_str().map(str::to_owned));
    Ok(Way::Stdio { program: program.unwrap_or_else(|| "portcullis".to_owned()), args })
}

fn absolute(path: &Path) -> Result<String, Failure> {
    let absolute: PathBuf = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let text = absolute.to_str().filter(|text| !text.chars().any(char::is_control)).map(str::to_owned);
    text.ok_or_else(|| Failure::new(Exit::Usage, format!("{} cannot be written as text", path.display())))
}

/// What to do with a snippet.
fn about(snippet: &Snippet) -> String {
    let width = snippet.files.iter().map(|(path, _)| path.len()).max().unwrap_or_default();
    let these = if snippet.files.len() == 1 { "this" } else { "these" };
    let mut lines = vec![format!("{} reads {these}; add the lines below to what is there", snippet.title)];
    lines.extend(snippet.files.iter().map(|(path, scope)| format!("  {path:width$}  {scope}")));
    if let Some(command) = &snippet.command {
        lines.extend(["or run".to_owned(), format!("  {command}")]);
    }
    lines.extend(snippet.notes.iter().cloned());
    lines.join("\n") + "\n"
}

fn as_json(snippet: &Snippet, args: &InstallArgs, way: &Way) -> Value {
    let files: Vec<Value> =
        snippet.files.iter().map(|(path, scope)| json!({ "path": path, "scope": scope })).collect();
    json!({
        "client": args.client.to_possible_value().map(|value| value.get_name().to_owned()),
        "name": args.name,
        "transport": match way { Way::Http { .. } => "http", Way::Stdio { .. } => "stdio" },
        "files": files,
        "format": snippet.format,
        "snippet": snippet.document,
        "text": snippet.text,
        "command": snippet.command,
        "notes": snippet.notes,
    })
}

/// The URL of the MCP endpoint; the usual path where none is in it.
fn mcp_url(text: &str) -> Result<String, String> {
    let wrong = || "write http:// or https://, a host, and perhaps a port and a path".to_owned();
    let uri: Uri = text.parse().map_err(|_| wrong())?;
    let is_http =
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty());
    let is_plain = !uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
    match is_http && is_plain {
        true if matches!(uri.path(), "" | "/") && uri.query().is_none() => {
            Ok(text.trim_end_matches('/').to_owned() + MCP_PATH)
        }
        true => Ok(text.to_owned()),
        false => Err(wrong()),
    }
}

pub(super) fn server_name(text: &str) -> Result<String, String> {
    let is_one = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    let fits = (1..=64).contains(&text.len()) && text.bytes().all(is_one);
    fits.then(|| text.to_owned()).ok_or_else(|| "use 1 to 64 letters, digits, '_' or '-'".to_owned())
}

fn variable_name(text: &str) -> Result<String, String> {
    let is_one = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let fits = (1..=128).contains(&text.len())
        && text.bytes().all(is_one)
        && !text.starts_with(|c: char| c.is_ascii_digit());
    fits.then(|| text.to_owned()).ok_or_else(|| "use the name of a variable, not the key itself".to_owned())
}

fn key_text(text: &str) -> Result<String, String> {
    let fits = (1..=512).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    fits.then(|| text.to_owned())
        .ok_or_else(|| "a key is 1 to 512 printable characters without spaces".to_owned())
}
