//! The tools of this room.

use std::{sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde_json::{Value, json};
use tool::{Audience, Breaks, Effect, Hygiene, Repeats, Tool, ToolName};

use crate::{
    Config,
    shapes::{
        AlertArguments, AlertResult, AlertsArguments, AlertsResult, BackupArguments, BackupResult,
        BackupShowArguments, BackupShowResult, ConfigArguments, ConfigResult, DetectResult, GrepArguments,
        GrepResult, InterfaceArguments, InterfaceResult, ListArguments, ListResult, LogArguments, LogResult,
        QueryArguments, QueryAsArguments, QueryResult, ReachArguments, ReachResult, RouteArguments,
        RouteResult, RunArguments, RunResult, TranscriptArguments, TranscriptResult, TrustArguments,
        TrustResult,
    },
};

/// The source of every tool here.
pub(crate) const SOURCE: &str = "devices";
pub(crate) const LIST: &str = "list_devices";
pub(crate) const QUERY: &str = "query_device";
pub(crate) const QUERY_AS: &str = "query_device_as";
pub(crate) const RUN: &str = "run_show_commands";
pub(crate) const REACH: &str = "device_reachability";
pub(crate) const DETECT: &str = "detect_platform";
pub(crate) const ALERT: &str = "device_alert";
pub(crate) const ALERTS: &str = "list_alerts";
pub(crate) const GREP: &str = "output_grep";
pub(crate) const TRUST: &str = "devices_trust";
pub(crate) const TRANSCRIPT: &str = "session_transcript";
pub(crate) const CONFIG: &str = "get_device_config";
pub(crate) const INTERFACE: &str = "check_interface_status";
pub(crate) const ROUTES: &str = "analyze_routing_table";
pub(crate) const LOGS: &str = "search_logs";
pub(crate) const BACKUP: &str = "backup_config";
pub(crate) const BACKUP_SHOW: &str = "backup_show";
pub(crate) const BACKUP_RAW: &str = "backup_show_raw";

/// What a caller may ask one device with.
pub(crate) const REACHING: [&str; 8] = [QUERY, CONFIG, INTERFACE, ROUTES, LOGS, BACKUP, DETECT, REACH];

/// The most commands of one call.
const COMMANDS_MAX: u64 = 50;
/// Calls that run beside batches.
const PLACES: usize = 64;
/// The most devices that a call names.
const DEVICES_MAX: u64 = 1000;
/// How long a call over many devices may take.
const BATCH_MAX: Duration = Duration::from_secs(600);
/// How long finding a platform may take.
const DETECT_MAX: Duration = Duration::from_secs(120);
/// How long a call to one device may take, where its caller does not say.
pub(crate) const QUERY_SECONDS: u64 = 30;
const QUERY_SECONDS_MAX: u64 = 600;

/// The tools, as the configuration has them.
pub(crate) fn table(config: &Config) -> Arc<[Arc<Tool>]> {
    let tools = [
        list(),
        query(config),
        query_as(config),
        run(),
        reach(config),
        detect(),
        alert(),
        alerts(),
        grep(),
        trust(config),
        transcript(),
    ];
    let tools = tools.into_iter().chain(looks(config));
    // Each device is bounded by itself, and a batch by how many it asks at once; beside one there is room for others.
    let places = u32::try_from(config.devices_at_once_max.saturating_mul(2).saturating_add(PLACES)).ok();
    let tools = tools.map(|tool| Tool { source_concurrent_max: places, ..tool });
    tools.map(Arc::new).collect()
}

fn list() -> Tool {
    let about = "Lists the network devices of the inventory: names, hosts, platforms, groups and labels.";
    let mut tool = base(LIST, "List network devices", about, schema::<ListArguments>());
    tool.output = Some(Arc::new(schema::<ListResult>()));
    tool.examples = vec![json!({}), json!({"platform": "cisco_ios", "labels": {"site": "fra"}})];
    tool
}

fn query(config: &Config) -> Tool {
    let about = "Runs commands that show something on one network device. Outputs come bounded, with secrets masked, and \
                 as records where `parse` asks for them.";
    query_named(QUERY, config, about)
}

fn query_named(name: &str, config: &Config, about: &str) -> Tool {
    let mut input = schema::<QueryArguments>();
    bound_commands(&mut input);
    let mut tool = base(name, "Ask a network device", about, input);
    tool.output = Some(Arc::new(schema::<QueryResult>()));
    tool.examples = vec![json!({"device_ip": "r1", "commands": ["show version"]})];
    tool.time_max = Duration::from_secs(QUERY_SECONDS_MAX);
    tool.bytes_max = config.answer_chars_max.saturating_mul(8).max(4 * 1024 * 1024);
    tool.breaks = Breaks::ByTarget;
    tool
}

fn query_as(config: &Config) -> Tool {
    let about = "Runs commands that show something on one network device, with a login that came with the call and is forgotten \
                 after it. `POST /execute-commands` carries logins.";
    let mut input = schema::<QueryAsArguments>();
    bound_commands(&mut input);
    let input = Arc::new(input);
    let examples = vec![json!({"device_ip": "192.0.2.7", "user": "netops", "commands": ["show version"]})];
    // A wrong password of one caller says nothing about the device.
    let breaks = Breaks::Never;
    Tool { input, examples, audience: Audience::Admins, breaks, ..query_named(QUERY_AS, config, about) }
}

fn run() -> Tool {
    let about = "Runs commands that show something on many network devices at once, chosen by name, group or label. Every \
                 device appears in the answer, with its outputs or the reason why there are none.";
    let mut input = schema::<RunArguments>();
    bound_commands(&mut input);
    input["properties"]["devices"]["maxItems"] = json!(DEVICES_MAX);
    input["properties"]["logins"]["maxItems"] = json!(DEVICES_MAX);
    let mut tool = base(RUN, "Ask many network devices", about, input);
    tool.output = Some(Arc::new(schema::<RunResult>()));
    tool.examples = vec![
        json!({"devices": ["r1", "r2"], "commands": ["show version"]}),
        json!({"groups": ["core"], "commands": ["show ip bgp summary"], "parse": true}),
    ];
    tool.time_max = BATCH_MAX;
    tool.bytes_max = 16 * 1024 * 1024;
    tool.breaks = Breaks::Never;
    tool
}

fn reach(config: &Config) -> Tool {
    let about = "Says whether a network device answers now as SSH does, and how fast.";
    let mut tool = base(REACH, "Is a network device there", about, schema::<ReachArguments>());
    tool.output = Some(Arc::new(schema::<ReachResult>()));
    tool.examples = vec![json!({"device_ip": "r1"})];
    tool.time_max = Duration::from_millis(config.connect_timeout_ms.saturating_mul(3));
    tool.breaks = Breaks::Never;
    tool
}

fn detect() -> Tool {
    let about = "Finds the platform of a network device by asking it what it is, in the words of the platforms whose prompt it \
                 shows.";
    let mut tool = base(DETECT, "What platform is a network device of", about, schema::<ReachArguments>());
    tool.output = Some(Arc::new(schema::<DetectResult>()));
    tool.examples = vec![json!({"device_ip": "r1"})];
    tool.time_max = DETECT_MAX;
    tool.breaks = Breaks::ByTarget;
    tool
}

fn alert() -> Tool {
    let about = "Takes an alert about a network device, as `POST /webhook/device-alert` does, and keeps it for `list_alerts`.";
    let mut tool = base(ALERT, "Take an alert", about, schema::<AlertArguments>());
    tool.output = Some(Arc::new(schema::<AlertResult>()));
    tool.examples =
        vec![json!({"alert": {"device": "r1", "severity": "critical", "message": "power supply 2 failed"}})];
    tool.effect = Effect::Changes;
    tool.repeats = Repeats::Counts;
    tool.audience = Audience::Admins;
    tool.breaks = Breaks::Never;
    tool
}

fn alerts() -> Tool {
    let about = "Lists the alerts about network devices that were received last, the newest first. What they say is their \
                 senders', not ours.";
    let mut tool = base(ALERTS, "List alerts", about, schema::<AlertsArguments>());
    tool.output = Some(Arc::new(schema::<AlertsResult>()));
    tool.examples = vec![json!({}), json!({"device_ip": "r1", "limit": 10})];
    tool.hygiene = Hygiene::Strict;
    tool.breaks = Breaks::Never;
    tool
}

fn grep() -> Tool {
    let about = "Searches or pages through an output that was too long for its answer, by its handle.";
    let mut tool = base(GREP, "Search an output", about, schema::<GrepArguments>());
    tool.output = Some(Arc::new(schema::<GrepResult>()));
    tool.examples = vec![json!({"handle": "out_1f0c..", "pattern": "(?i)err-disabled"})];
    tool.breaks = Breaks::Never;
    tool
}

/// What is asked of devices of every platform alike.
fn looks(config: &Config) -> Vec<Tool> {
    let one = |name, title, about, input, output, example| {
        let mut tool = base(name, title, about, input);
        tool.output = Some(Arc::new(output));
        tool.examples = vec![example];
        tool.time_max = Duration::from_millis(config.command_timeout_ms.saturating_mul(2));
        tool.breaks = Breaks::ByTarget;
        tool
    };
    let mut backup = one(
        BACKUP,
        "Back a configuration up",
        "Keeps the configuration of a network device as a new version, and says what differs from the last one.",
        schema::<BackupArguments>(),
        schema::<BackupResult>(),
        json!({"device_ip": "r1"}),
    );
    backup.effect = Effect::Changes;
    backup.repeats = Repeats::Safe;
    let mut raw = one(
        BACKUP_RAW,
        "Show a backup with its secrets",
        "Shows a backup of the configuration of a network device as it was read, passwords and keys included.",
        schema::<BackupShowArguments>(),
        schema::<BackupShowResult>(),
        json!({"device_ip": "r1"}),
    );
    raw.audience = Audience::Admins;
    raw.hygiene = Hygiene::Standard;
    vec![
        one(
            CONFIG,
            "Read a configuration",
            "Reads the running or the startup configuration of a network device, secrets masked.",
            schema::<ConfigArguments>(),
            schema::<ConfigResult>(),
            json!({"device_ip": "r1", "config_type": "running"}),
        ),
        one(
            INTERFACE,
            "Check interfaces",
            "Says how the interfaces of a network device are, in one form for every vendor.",
            schema::<InterfaceArguments>(),
            either(&schema::<InterfaceResult>()),
            json!({"device_ip": "r1", "interface_name": "GigabitEthernet0/1"}),
        ),
        one(
            ROUTES,
            "Read and analyse routes",
            "Reads the IPv4 routes of a network device in one form for every vendor, and says what stands out: default \
             routes, equal-cost paths, next hops that nothing leads to.",
            schema::<RouteArguments>(),
            schema::<RouteResult>(),
            json!({"device_ip": "r1", "protocol": "bgp"}),
        ),
        one(
            LOGS,
            "Search a log",
            "Searches the log of a network device by a pattern and by how bad messages are.",
            schema::<LogArguments>(),
            schema::<LogResult>(),
            json!({"device_ip": "r1", "search_pattern": "BGP", "severity": "warning"}),
        ),
        backup,
        one(
            BACKUP_SHOW,
            "Show a backup",
            "Shows a backup of the configuration of a network device, secrets masked, and which versions there are.",
            schema::<BackupShowArguments>(),
            schema::<BackupShowResult>(),
            json!({"device_ip": "r1"}),
        ),
        raw,
    ]
}

/// The schema of an object that is one of several; MCP wants it to say that it is an object.
fn either(schema: &Value) -> Value {
    let mut schema = schema.clone();
    schema["type"] = json!("object");
    schema
}

fn transcript() -> Tool {
    let about = "Shows what was typed and printed in the sessions of a call on network devices, with times, secrets masked.";
    let mut tool = base(TRANSCRIPT, "Show a transcript", about, schema::<TranscriptArguments>());
    tool.output = Some(Arc::new(schema::<TranscriptResult>()));
    tool.examples = vec![json!({"request_id": "01a21f18-7532-714d-9438-2f6e6f9560d7"})];
    tool.audience = Audience::Admins;
    tool.bytes_max = 16 * 1024 * 1024;
    tool.breaks = Breaks::Never;
    tool
}

fn trust(config: &Config) -> Tool {
    let about = "Trusts the host key that a network device shows now, if it has this fingerprint, in the place of the one \
                 that was trusted before.";
    let mut tool = base(TRUST, "Trust a host key", about, schema::<TrustArguments>());
    tool.output = Some(Arc::new(schema::<TrustResult>()));
    tool.examples = vec![json!({"device_ip": "r1", "fingerprint": "SHA256:.."})];
    tool.effect = Effect::Changes;
    tool.audience = Audience::Admins;
    tool.time_max = Duration::from_millis(config.connect_timeout_ms.saturating_mul(3));
    tool.breaks = Breaks::Never;
    tool
}

fn bound_commands(input: &mut Value) {
    input["properties"]["commands"]["maxItems"] = json!(COMMANDS_MAX);
    input["properties"]["commands"]["items"]["minLength"] = json!(1);
    input["properties"]["commands"]["items"]["maxLength"] = json!(crate::platform::COMMAND_BYTES_MAX);
    input["properties"]["timeout"]["minimum"] = json!(1);
    input["properties"]["timeout"]["maximum"] = json!(QUERY_SECONDS_MAX);
}

fn base(name: &str, title: &str, about: &str, input: Value) -> Tool {
    // A constant that a test reads.
    let name = ToolName::parse(name).unwrap_or_else(|error| unreachable!("{error}"));
    let mut tool = Tool::reading(name, SOURCE, about, input);
    tool.title = Some(title.into());
    tool.labels = vec!["network".into()];
    tool
}

fn schema<T: JsonSchema>() -> Value {
    tool::json::without_rust_formats(schemars::schema_for!(T).to_value())
}
