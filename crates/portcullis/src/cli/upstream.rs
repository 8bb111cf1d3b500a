//! `portcullis upstream`: the tool servers behind the gate.

use std::{io::BufRead as _, time::Duration};

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::{
    Exit, Failure, Globals, Out,
    add::{self, AddArgs},
    callback::Callback,
    out::plain,
};
use crate::reach::Reach;

#[derive(Debug, Subcommand)]
pub(crate) enum UpstreamCommand {
    /// List the tool servers, and which of their tools are held back
    List,
    /// Write another tool server into the configuration, after it was tried
    Add(AddArgs),
    /// Take tools that are held back as they are now, after reading what differs
    Approve(ApproveArgs),
    /// Connect to a server anew; a program is started anew
    Restart(OneArgs),
    /// Show what the program of a server said last on standard error
    Logs(OneArgs),
    /// Log in to a server that wants it: opens a page for you to say yes on
    Login(LoginArgs),
    /// Forget the login to a server
    Logout(OneArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ApproveArgs {
    /// The server, by its name in the configuration
    server: String,
    /// Its tools, by their names there; all that are held back where none is given
    tools: Vec<String>,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct OneArgs {
    /// The server, by its name in the configuration
    server: String,
}

#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// The server, by its name in the configuration
    server: String,
    /// Where the page leads back to on this machine; any free port where it is left out
    #[arg(long, value_name = "PORT", default_value_t = 0, hide_default_value = true)]
    port: u16,
    /// Do not wait for the page to lead back here: ask for the address that the browser ends on
    #[arg(long)]
    paste: bool,
    /// How long to wait for it, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
}

pub(super) async fn run(command: UpstreamCommand, globals: &Globals, out: &Out) -> Result<(), Failure> {
    if let UpstreamCommand::Add(args) = &command {
        return add::run(args, globals, out).await;
    }
    let reach = Reach::connect(globals, out).await?;
    let done = match &command {
        UpstreamCommand::Add(_) => Ok(()),
        UpstreamCommand::List => list(&reach, out).await,
        UpstreamCommand::Approve(args) => approve(&reach, args, out).await,
        UpstreamCommand::Restart(args) => restart(&reach, args, out).await,
        UpstreamCommand::Logs(args) => logs(&reach, args, out).await,
        UpstreamCommand::Login(args) => login(&reach, args, out).await,
        UpstreamCommand::Logout(args) => logout(&reach, args, out).await,
    };
    reach.close().await;
    done.map_err(|failure| match failure.text.starts_with("Tool not found: upstream_") {
        true => Failure::new(
            failure.exit,
            "there are no tool servers, or they are not yours to administer; `upstreams` in the configuration names them",
        ),
        false => failure,
    })
}

async fn list(reach: &Reach, out: &Out) -> Result<(), Failure> {
    let answer = reach.call("upstream_list", json!({})).await?;
    let servers = &answer["servers"];
    let text = |value: &Value| value.as_str().map_or_else(|| "-".to_owned(), str::to_owned);
    let all = servers.as_array().map(Vec::as_slice).unwrap_or_default();
    let lines = all.iter().map(|server| {
        vec![
            text(&server["server"]),
            text(&server["state"]),
            text(&server["protocol_version"]),
            server["tools"].to_string(),
            text(&server["pin"]),
            held(server).len().to_string(),
            server.get("restarts").map_or_else(|| "-".to_owned(), Value::to_string),
            kept_in(&server["sandbox"]),
            text(&server["login"]),
        ]
    });
    let header = ["server", "state", "protocol", "tools", "pin", "held back", "restarts", "sandbox", "login"];
    out.table(&header, lines.collect(), servers);
    if !out.json {
        for server in all {
            if let Some(why) = server["why"].as_str() {
                out.note(&format!("\n{} does not run: {}", plain(&text(&server["server"])), plain(why)));
            }
            for (tool, what) in server["suspicious"].as_object().into_iter().flatten() {
                let what: Vec<&str> =
                    what.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                out.note(&format!(
                    "\n{} {} says something that is meant for a model: {}",
                    plain(&text(&server["server"])),
                    plain(tool),
                    what.join(", ")
                ));
            }
            show_held(server, held(server).iter(), out);
        }
    }
    Ok(())
}

/// What keeps a program in, in a few words.
fn kept_in(sandbox: &Value) -> String {
    let mut words = Vec::new();
    if sandbox["tree"] == "namespace" {
        words.push("namespace".to_owned());
    }
    if let Some(landlock) = sandbox["landlock"].as_str().filter(|how| *how != "none") {
        words.push(format!("landlock ({landlock})"));
    }
    if sandbox["seccomp"] == true {
        words.push("seccomp".to_owned());
    }
    if sandbox["own_network"] == true {
        words.push("no network".to_owned());
    }
    if let Some(uid) = sandbox["uid"].as_u64() {
        words.push(format!("uid {uid}"));
    }
    if words.is_empty() { "-".to_owned() } else { words.join(", ") }
}

fn held(server: &Value) -> &[Value] {
    server["held"].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn show_held<'a>(server: &Value, held: impl Iterator<Item = &'a Value>, out: &Out) {
    let name = server["server"].as_str().unwrap_or_default();
    for held in held {
        let tool = held["tool"].as_str().unwrap_or_default();
        out.note(&format!(
            "\n{} {} is {}:",
            plain(name),
            plain(tool),
            held["why"].as_str().unwrap_or_default()
        ));
        out.note(plain(held["diff"].as_str().unwrap_or_default()).trim_end());
    }
}

/// Shows what differs, asks where a person sits there, and takes exactly what was shown: by its digests.
async fn approve(reach: &Reach, args: &ApproveArgs, out: &Out) -> Result<(), Failure> {
    let answer = reach.call("upstream_list", json!({})).await?;
    let servers = answer["servers"].as_array().map(Vec::as_slice).unwrap_or_default();
    // A server that is not there is told by the call below.
    let server = servers.iter().find(|server| server["server"] == json!(args.server)).unwrap_or(&Value::Null);
    let is_meant = |held: &&Value| {
        args.tools.is_empty() || args.tools.iter().any(|tool| held["tool"].as_str() == Some(tool))
    };
    let meant: Vec<&Value> = held(server).iter().filter(is_meant).collect();
    if !out.json {
        show_held(server, meant.iter().copied(), out);
    }
    if !args.yes && !meant.is_empty() {
        let question = format!("take {} as they are now?", if meant.len() == 1 { "it" } else { "them" });
        out.confirm(&question, "nothing taken", "say --yes")?;
    }
    let digests: Map<String, Value> = meant
        .iter()
        .filter_map(|held| Some((held["tool"].as_str()?.to_owned(), held["digest"].clone())))
        .collect();
    let mut arguments = json!({ "server": args.server, "digests": digests });
    if !args.tools.is_empty() {
        arguments["tools"] = json!(args.tools);
    }
    let answer = reach.call("upstream_approve", arguments).await?;
    if out.json {
        out.line(&answer.to_string());
        return Ok(());
    }
    let taken: Vec<&str> =
        answer["taken"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    out.note(&match taken.as_slice() {
        [] => format!("nothing of {} is held back", args.server),
        taken => format!("taken as they are now: {}", plain(&taken.join(", "))),
    });
    Ok(())
}

/// Says that something is done: the whole answer for programs, a sentence for people.
fn told(out: &Out, answer: &Value, sentence: &str) {
    if out.json {
        out.line(&answer.to_string());
    } else {
        out.note(sentence);
    }
}

async fn restart(reach: &Reach, args: &OneArgs, out: &Out) -> Result<(), Failure> {
    let answer = reach.call("upstream_restart", json!({ "server": args.server })).await?;
    told(out, &answer, &format!("{} is connected anew", args.server));
    Ok(())
}

async fn login(reach: &Reach, args: &LoginArgs, out: &Out) -> Result<(), Failure> {
    let callback = Callback::listen(args.port)
        .await
        .map_err(|e| Failure::new(Exit::Failed, format!("cannot listen on port {}: {e}", args.port)))?;
    let begun = json!({ "server": args.server, "redirect_uri": callback.uri() });
    let page = reach.call("upstream_login", begun).await?;
    let page = page["authorization_url"].as_str().unwrap_or_default();
    if out.json {
        out.line(&json!({ "authorization_url": page }).to_string());
    } else {
        out.note("open this page, and say yes there:");
        out.line(&plain(page));
    }
    let back = if args.paste {
        out.note("paste the address that your browser ends on:");
        let mut back = String::new();
        let _ = std::io::stdin().lock().read_line(&mut back);
        back.trim().to_owned()
    } else {
        let waiting = tokio::time::timeout(Duration::from_secs(args.timeout), callback.wait()).await;
        waiting.map_err(|_| {
            let text = format!("nobody came back within {} s; nothing has changed", args.timeout);
            Failure::new(Exit::Failed, text)
        })?
    };
    let answer =
        reach.call("upstream_login_finish", json!({ "server": args.server, "callback_url": back })).await?;
    told(out, &answer, &format!("logged in to {}", args.server));
    Ok(())
}

async fn logout(reach: &Reach, args: &OneArgs, out: &Out) -> Result<(), Failure> {
    let answer = reach.call("upstream_logout", json!({ "server": args.server })).await?;
    told(out, &answer, &format!("the login to {} is forgotten", args.server));
    Ok(())
}

async fn logs(reach: &Reach, args: &OneArgs, out: &Out) -> Result<(), Failure> {
    let answer = reach.call("upstream_logs", json!({ "server": args.server })).await?;
    if out.json {
        out.line(&answer.to_string());
        return Ok(());
    }
    let lines = answer["lines"].as_array().map(Vec::as_slice).unwrap_or_default();
    if lines.is_empty() {
        out.note(&format!("{} has said nothing on standard error", args.server));
    }
    for line in lines.iter().filter_map(Value::as_str) {
        out.line(&plain(line));
    }
    Ok(())
}
