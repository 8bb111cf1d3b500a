//! `portcullis devices`: network devices.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use clap::{Args, Subcommand};
use futures_util::{StreamExt as _, stream};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use super::{Exit, Failure, Globals, Out, out::plain};
use crate::reach::Reach;

/// The longest wait while a transcript is played.
const REPLAY_WAIT_MAX: Duration = Duration::from_secs(2);
/// How many devices are asked at once, at most; the server has a bound of its own.
const AT_ONCE: usize = 50;

#[derive(Debug, Subcommand)]
pub(crate) enum DevicesCommand {
    /// List the devices of the inventory
    List(ChooseArgs),
    /// Run commands that show something on many devices
    Run(RunArgs),
    /// Find the platforms of devices by asking them what they are
    Detect(DetectArgs),
    /// Trust the host key that a device shows, after comparing it
    Trust(TrustArgs),
    /// Play what was typed and printed in the sessions of a call
    Replay(ReplayArgs),
    /// List the platforms that are known
    Platforms,
}

#[derive(Debug, Args)]
pub(crate) struct ChooseArgs {
    /// Only devices of this group
    #[arg(long)]
    group: Option<String>,
    /// Only devices of this platform
    #[arg(long)]
    platform: Option<String>,
    /// Only devices with this label; may be given several times
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The devices, by name or address; those that are chosen below where none is named
    devices: Vec<String>,
    /// A command; may be given several times
    #[arg(long = "command", short, value_name = "COMMAND", required = true)]
    commands: Vec<String>,
    /// Make outputs into records, where there is a template for the command
    #[arg(long)]
    parse: bool,
    /// The longest that one device may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: u64,
    /// Every device of the inventory
    #[arg(long, conflicts_with = "devices")]
    all: bool,
    #[command(flatten)]
    choose: ChooseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DetectArgs {
    /// The devices, by name or address; those that are chosen below where none is named
    devices: Vec<String>,
    /// Every device of the inventory
    #[arg(long, conflicts_with = "devices")]
    all: bool,
    #[command(flatten)]
    choose: ChooseArgs,
    /// Write what is found into the files that `portcullis inventory import` wrote
    #[arg(long)]
    write: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TrustArgs {
    /// The devices, by name or address; those that are chosen below where none is named
    devices: Vec<String>,
    /// The fingerprint that the key of the one device must have, as it shows it itself; then nobody is asked
    #[arg(long, value_name = "SHA256:..")]
    fingerprint: Option<String>,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Every device of the inventory
    #[arg(long, conflicts_with = "devices")]
    all: bool,
    #[command(flatten)]
    choose: ChooseArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// The request id of the call, as `portcullis audit tail` shows it
    request_id: String,
    /// Do not wait as long as it took then
    #[arg(long)]
    fast: bool,
}

pub(super) fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

pub(super) async fn run(command: DevicesCommand, globals: &Globals, out: &Out) -> Result<(), Failure> {
    if let DevicesCommand::Platforms = command {
        platforms(out);
        return Ok(());
    }
    let reach = Reach::connect(globals, out).await?;
    let done = match &command {
        DevicesCommand::List(args) => list(&reach, args, out).await,
        DevicesCommand::Run(args) => ask(&reach, args, out).await,
        DevicesCommand::Detect(args) => detect(&reach, args, globals, out).await,
        DevicesCommand::Trust(args) => trust(&reach, args, out).await,
        DevicesCommand::Replay(args) => replay(&reach, args, out).await,
        DevicesCommand::Platforms => Ok(()),
    };
    reach.close().await;
    done.map_err(|failure| {
        let text = match failure.text.strip_prefix("Tool not found: ") {
            None => return failure,
            Some("session_transcript") => {
                "transcripts are administration: they take a role that allows `session_transcript` or `group:admin`"
            }
            Some("devices_trust") => {
                "trusting host keys is administration: it takes a role that allows `devices_trust` or `group:admin`"
            }
            Some(_) => "there are no devices, or they are not yours to ask; `devices` in the configuration names them",
        };
        Failure::new(failure.exit, text)
    })
}

fn platforms(out: &Out) {
    let all = device::platforms();
    let lines = all
        .iter()
        .map(|(name, title, aliases)| vec![(*name).to_owned(), (*title).to_owned(), aliases.join(", ")]);
    let row = |(name, title, aliases): &(&str, &str, &[&str])| json!({ "name": name, "title": title, "aliases": aliases });
    out.table(&["platform", "what it is", "also known as"], lines.collect(), &all.iter().map(row).collect());
}

async fn chosen(reach: &Reach, args: &ChooseArgs) -> Result<Vec<Value>, Failure> {
    let labels: serde_json::Map<String, Value> =
        args.labels.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
    let mut arguments = json!({ "labels": labels });
    for (name, value) in [("group", &args.group), ("platform", &args.platform)] {
        if let Some(value) = value {
            arguments[name] = Value::from(value.as_str());
        }
    }
    let mut answer = reach.call("list_devices", arguments).await?;
    Ok(answer["devices"].as_array_mut().map(std::mem::take).unwrap_or_default())
}

/// The devices that a command is about, by name.
async fn named(
    reach: &Reach,
    devices: &[String],
    all: bool,
    choose: &ChooseArgs,
) -> Result<Vec<String>, Failure> {
    if !devices.is_empty() {
        return Ok(devices.to_vec());
    }
    let is_chosen = all || choose.group.is_some() || choose.platform.is_some() || !choose.labels.is_empty();
    if !is_chosen {
        let text = "name devices, or choose them with --group, --label, --platform or --all";
        return Err(Failure::new(Exit::Usage, text));
    }
    Ok(chosen(reach, choose).await?.iter().map(|device| text(&device["id"])).collect())
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => plain(text),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

async fn list(reach: &Reach, args: &ChooseArgs, out: &Out) -> Result<(), Failure> {
    let devices = chosen(reach, args).await?;
    let line = |device: &Value| {
        let labels = device["labels"].as_object().into_iter().flatten();
        let labels = labels.map(|(name, value)| format!("{}={}", plain(name), text(value)));
        let groups = device["groups"].as_array().into_iter().flatten().map(text);
        vec![
            text(&device["id"]),
            format!("{}:{}", text(&device["host"]), device["port"]),
            text(&device["platform"]),
            groups.collect::<Vec<_>>().join(", "),
            labels.collect::<Vec<_>>().join(", "),
        ]
    };
    let header = ["device", "address", "platform", "groups", "labels"];
    out.table(&header, devices.iter().map(line).collect(), &json!(devices));
    Ok(())
}

/// Asks every device by a call of its own, and shows how far that is; what came of them, in the order of their names.
async fn each(names: Vec<String>, out: &Out, ask: impl AsyncFn(String) -> Value) -> Vec<Value> {
    let bar = progress(names.len(), out);
    let one = async |name: String| {
        let result = ask(name.clone()).await;
        bar.inc(1);
        bar.set_message(name);
        result
    };
    let mut results: Vec<Value> = stream::iter(names).map(one).buffer_unordered(AT_ONCE).collect().await;
    bar.finish_and_clear();
    results.sort_by_key(|result| text(&result["device"]));
    results
}

/// How a command about many devices ends. A program finds what is wrong in what is printed already.
fn ended(failed: usize, all: usize, what: &str, out: &Out) -> Result<(), Failure> {
    match failed {
        0 => Ok(()),
        _ if out.json => Err(Failure::said(Exit::Failed)),
        _ => Err(Failure::new(Exit::Failed, format!("{failed} of {all} {what}"))),
    }
}

/// Runs commands on every device.
async fn ask(reach: &Reach, args: &RunArgs, out: &Out) -> Result<(), Failure> {
    let names = named(reach, &args.devices, args.all, &args.choose).await?;
    let began = Instant::now();
    let results = each(names, out, async |name| {
        let arguments = json!({
            "device_ip": name, "commands": args.commands, "timeout": args.timeout, "parse": args.parse,
        });
        result(name, reach.call("query_device", arguments).await)
    })
    .await;
    let failed = results.iter().filter(|result| result["success"] == false).count();
    if out.json {
        out.line(
            &json!({
                "total_devices": results.len(), "successful": results.len() - failed, "failed": failed,
                "results": results, "total_execution_time_ms": began.elapsed().as_secs_f64() * 1000.0,
            })
            .to_string(),
        );
    } else {
        show(&results, out);
    }
    ended(failed, results.len(), "devices failed", out)
}

/// What came of one device, in the form of `run_show_commands`.
fn result(name: String, answer: Result<Value, Failure>) -> Value {
    match answer {
        Ok(answer) => json!({
            "device": answer["device"], "success": answer["status"] == "success", "results": answer["results"],
            "execution_time_ms": answer["execution_time_ms"],
        }),
        Err(failure) => json!({ "device": name, "success": false, "results": [], "error": failure.text }),
    }
}

/// Asks every device what it is, and shows where that is not what the inventory says.
async fn detect(reach: &Reach, args: &DetectArgs, globals: &Globals, out: &Out) -> Result<(), Failure> {
    let names = named(reach, &args.devices, args.all, &args.choose).await?;
    let results = each(names, out, async |name| {
        let answer = reach.call("detect_platform", json!({ "device_ip": name })).await;
        answer.unwrap_or_else(|failure| json!({ "device": name, "platform": null, "error": failure.text }))
    })
    .await;
    let line = |result: &Value| {
        let why = match (&result["error"], &result["shown"]["line"]) {
            (Value::String(error), _) => error.clone(),
            (_, Value::String(line)) => line.clone(),
            _ => format!("nothing tells; its prompt is {}", text(&result["prompt"])),
        };
        let also = result["also"].as_array().into_iter().flatten().map(text).collect::<Vec<_>>();
        let found = [vec![text(&result["platform"])], also].concat().join(" or ");
        vec![text(&result["device"]), text(&result["configured"]), found, why]
    };
    out.table(&["device", "configured", "found", "by"], results.iter().map(line).collect(), &json!(results));
    let differs =
        |result: &&Value| result["platform"].is_string() && result["platform"] != result["configured"];
    let found =
        results.iter().filter(differs).map(|result| (text(&result["device"]), text(&result["platform"])));
    let found: BTreeMap<String, String> = found.collect();
    if args.write {
        write_platforms(&found, globals, out)?;
    }
    let lost = results.iter().filter(|result| result["platform"].is_null()).count();
    ended(lost, results.len(), "platforms were not found", out)
}

/// Puts platforms into the files that an import wrote; the others are the operator's own to edit.
fn write_platforms(found: &BTreeMap<String, String>, globals: &Globals, out: &Out) -> Result<(), Failure> {
    let mut left = found.clone();
    for (file, mut inventory) in super::inventory::written(globals, out)? {
        let before = inventory.clone();
        for (name, members) in &mut inventory.devices {
            if let Some(platform) = left.remove(name) {
                members.insert("platform".to_owned(), Value::from(platform));
            }
        }
        if inventory != before {
            super::inventory::write_inventory(&file, &inventory.text())?;
            out.note(&format!("written into {}", file.display()));
        }
    }
    for (name, platform) in &left {
        out.note(&format!("{name}: {platform} is not written; it stands where no import wrote it"));
    }
    Ok(())
}

fn progress(devices: usize, out: &Out) -> ProgressBar {
    let bar = ProgressBar::new(devices as u64);
    if out.json || !out.interactive() || devices < 2 {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    // A template that does not parse would be a bar without one.
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} devices, {elapsed}  {msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// The outputs of each device, and a table of all of them at the end.
fn show(results: &[Value], out: &Out) {
    for result in results {
        for one in result["results"].as_array().into_iter().flatten() {
            out.note(&format!("\n{} # {}", text(&result["device"]), text(&one["command"])));
            match &one["parsed"]["records"] {
                Value::Array(records) if !records.is_empty() => table(records, out),
                _ => out.note(plain(one["output"].as_str().unwrap_or_default()).trim_end()),
            }
            if one["truncated"] == true {
                out.note(&format!("(cut: {} bytes in all)", one["bytes"]));
            }
        }
    }
    let line = |result: &Value| {
        let told = result["results"].as_array().into_iter().flatten().find(|one| one["status"] == "error");
        let why = told.map_or_else(|| text(&result["error"]), |one| text(&one["error"]));
        let took =
            result["execution_time_ms"].as_f64().map_or_else(|| "-".to_owned(), |ms| format!("{ms:.0} ms"));
        let state = if result["success"] == true { "ok" } else { "failed" };
        vec![text(&result["device"]), state.to_owned(), took, why]
    };
    out.note("");
    out.table(&["device", "state", "took", "why"], results.iter().map(line).collect(), &Value::Null);
}

/// Records as a table.
fn table(records: &[Value], out: &Out) {
    let Some(first) = records.first().and_then(Value::as_object) else { return };
    let header: Vec<&str> = first.keys().map(String::as_str).collect();
    let cell = |value: &Value| match value {
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(" "),
        other => text(other),
    };
    let line = |record: &Value| header.iter().map(|name| cell(&record[*name])).collect();
    out.table(&header, records.iter().map(line).collect(), &Value::Null);
}

/// Trusts the keys of several devices, one after the other; one that cannot be trusted is not in the way of the others.
async fn trust(reach: &Reach, args: &TrustArgs, out: &Out) -> Result<(), Failure> {
    let names = named(reach, &args.devices, args.all, &args.choose).await?;
    if let [name] = names.as_slice() {
        let trusted = trust_one(reach, name, args, out).await?;
        if out.json {
            out.line(&trusted.to_string());
        }
        return Ok(());
    }
    if args.fingerprint.is_some() {
        return Err(Failure::new(Exit::Usage, "a fingerprint is that of one device; name one"));
    }
    let mut all = Vec::new();
    for name in &names {
        match trust_one(reach, name, args, out).await {
            Ok(trusted) => all.push(trusted),
            Err(failure) => {
                if !out.json {
                    out.note(&format!("{name}: {}", plain(&failure.text)));
                }
                all.push(json!({ "device": name, "error": failure.text }));
            }
        }
    }
    let failed = all.iter().filter(|one| one["error"].is_string()).count();
    if out.json {
        out.line(&json!(all).to_string());
    }
    ended(failed, names.len(), "devices are not trusted", out)
}

/// Shows the key, asks where a person sits there, and trusts exactly the one that was shown.
async fn trust_one(reach: &Reach, device: &str, args: &TrustArgs, out: &Out) -> Result<Value, Failure> {
    let fingerprint = match &args.fingerprint {
        Some(fingerprint) => fingerprint.clone(),
        None => {
            let shown = reach.call("device_reachability", json!({ "device_ip": device })).await?;
            let Some(key) = shown["host_key"].as_str() else {
                return Err(Failure::new(Exit::Later, text(&shown["error"])));
            };
            if !out.json {
                let host = text(&shown["host"]);
                out.note(&format!("{device} ({host}) shows the host key\n  {}", plain(key)));
            }
            if !args.yes {
                let instead = "give --fingerprint, or say --yes";
                out.confirm("is that what the device itself shows?", "nothing trusted", instead)?;
            }
            key.rsplit(' ').next().unwrap_or_default().to_owned()
        }
    };
    let answer =
        reach.call("devices_trust", json!({ "device_ip": device, "fingerprint": fingerprint })).await?;
    if !out.json {
        out.note(&format!("trusted for {}: {}", text(&answer["host"]), text(&answer["host_key"])));
    }
    Ok(answer)
}

/// Plays a transcript as a terminal would have shown it: what is printed holds the echo of what was typed.
async fn replay(reach: &Reach, args: &ReplayArgs, out: &Out) -> Result<(), Failure> {
    let answer = reach.call("session_transcript", json!({ "request_id": args.request_id })).await?;
    if out.json {
        out.line(&answer.to_string());
        return Ok(());
    }
    let mut before = 0;
    for line in answer["lines"].as_array().into_iter().flatten() {
        if line["device"].is_string() {
            out.note(&format!(
                "{} at {}, for {} ({})",
                text(&line["device"]),
                text(&line["started"]),
                text(&line["principal"]),
                text(&line["tool"])
            ));
            continue;
        }
        let at = line["at_ms"].as_u64().unwrap_or(before);
        let wait = Duration::from_millis(at.saturating_sub(before)).min(REPLAY_WAIT_MAX);
        before = at;
        if !args.fast && out.interactive() {
            tokio::time::sleep(wait).await;
        }
        if let Some(printed) = line["printed"].as_str() {
            out.data(&plain(&printed.replace('\r', "")));
        }
    }
    out.line("");
    Ok(())
}
