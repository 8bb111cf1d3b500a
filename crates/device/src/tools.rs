//! The tools of this room.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tool::{Audience, Breaks, Effect, Timestamp, Tool, ToolName};

use crate::Config;

/// The source of every tool here.
pub(crate) const SOURCE: &str = "devices";
pub(crate) const LIST: &str = "list_devices";
pub(crate) const QUERY: &str = "query_device";
pub(crate) const RUN: &str = "run_show_commands";
pub(crate) const REACH: &str = "device_reachability";
pub(crate) const GREP: &str = "output_grep";
pub(crate) const TRUST: &str = "devices_trust";

/// The most commands of one call.
const COMMANDS_MAX: u64 = 50;
/// The most devices that a call names.
const DEVICES_MAX: u64 = 1000;
/// How long a call over many devices may take.
const BATCH_MAX: Duration = Duration::from_secs(600);
/// How long a call to one device may take, where its caller does not say.
const QUERY_SECONDS: u64 = 30;
const QUERY_SECONDS_MAX: u64 = 600;

/// The tools, as the configuration has them.
pub(crate) fn table(config: &Config) -> Arc<[Arc<Tool>]> {
    let tools = [list(), query(config), run(), reach(config), grep(), trust(config)];
    tools.into_iter().map(Arc::new).collect()
}

/// What `list_devices` takes.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ListArguments {
    /// Only devices of this group.
    #[schemars(with = "String")]
    pub(crate) group: Option<String>,
    /// Only devices of this platform, by any of its names.
    #[schemars(with = "String")]
    pub(crate) platform: Option<String>,
    /// Only devices with all of these labels.
    pub(crate) labels: BTreeMap<String, String>,
    /// Only devices with this text in their name, host or labels; case does not count.
    #[schemars(with = "String")]
    pub(crate) search: Option<String>,
}

/// What `list_devices` answers.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ListResult {
    /// The devices, by name.
    pub(crate) devices: Vec<Value>,
    /// How many those are.
    pub(crate) total: usize,
}

/// What `query_device` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct QueryArguments {
    /// The device: its name in the inventory, its host or its address.
    #[schemars(length(min = 1, max = 255))]
    pub(crate) device_ip: String,
    /// Commands that show something, in order. They may be abbreviated; what counts is what they stand for.
    #[schemars(length(min = 1))]
    pub(crate) commands: Vec<String>,
    /// The longest that all of it may take, in seconds.
    #[serde(default = "query_seconds")]
    pub(crate) timeout: u64,
    /// Makes outputs into records, where there is a template for the command.
    #[serde(default)]
    pub(crate) parse: bool,
}

fn query_seconds() -> u64 {
    QUERY_SECONDS
}

/// How a device answered.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct QueryResult {
    /// The device, as it was asked for.
    pub(crate) device_ip: String,
    /// Its name in the inventory.
    pub(crate) device: Arc<str>,
    /// `success`, or `error` where a command failed.
    pub(crate) status: Status,
    /// What came of each command, in order.
    pub(crate) results: Vec<CommandResult>,
    /// When it was asked.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub(crate) timestamp: Timestamp,
    /// How long it took from the wait for a session to the last prompt, in milliseconds.
    pub(crate) execution_time_ms: f64,
    /// How long a session was waited for or made, in milliseconds.
    pub(crate) session_ms: f64,
    /// True where a session was there already.
    pub(crate) session_reused: bool,
}

/// Whether something went well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// It did.
    Success,
    /// It did not.
    Error,
}

/// What came of a command.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct CommandResult {
    /// The command, written out in full.
    pub(crate) command: String,
    /// `success`, or `error` where the device did not take it or it did not end.
    pub(crate) status: Status,
    /// What kind of error that is: `syntax`, `denied`, `timeout`, ..
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(crate) error_class: Option<&'static str>,
    /// What the device said, or why there is no output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(crate) error: Option<String>,
    /// What it printed, secrets masked.
    pub(crate) output: String,
    /// Its size in bytes, before it was cut.
    pub(crate) bytes: usize,
    /// True where `output` is not all of it.
    pub(crate) truncated: bool,
    /// What `output_grep` finds the whole of a truncated output by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(crate) handle: Option<String>,
    /// How many secrets were masked.
    pub(crate) redactions: usize,
    /// The output as records, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Value")]
    pub(crate) parsed: Option<Value>,
    /// How long the command took, in milliseconds.
    pub(crate) execution_time_ms: f64,
}

/// What `run_show_commands` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunArguments {
    /// Devices by name, host or address; `*` and `?` stand for any characters of a name.
    #[serde(default)]
    pub(crate) devices: Vec<String>,
    /// Every device of these groups.
    #[serde(default)]
    pub(crate) groups: Vec<String>,
    /// Every device with all of these labels.
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    /// Commands that show something, in order.
    #[schemars(length(min = 1))]
    pub(crate) commands: Vec<String>,
    /// The longest that one device may take, in seconds.
    #[serde(default = "query_seconds")]
    pub(crate) timeout: u64,
    /// Makes outputs into records, where there is a template for the command.
    #[serde(default)]
    pub(crate) parse: bool,
}

/// What `run_show_commands` answers.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct RunResult {
    /// How many devices were asked.
    pub(crate) total_devices: usize,
    /// How many answered every command.
    pub(crate) successful: usize,
    /// How many did not.
    pub(crate) failed: usize,
    /// Every device that was asked, by name.
    pub(crate) results: Vec<DeviceResult>,
    /// How long all of it took, in milliseconds.
    pub(crate) total_execution_time_ms: f64,
}

/// What came of one device of many.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DeviceResult {
    /// Its name in the inventory.
    pub(crate) device: String,
    /// Its name in DNS, or its address.
    pub(crate) host: String,
    /// Whether every command succeeded.
    pub(crate) success: bool,
    /// What came of each command; empty where the device could not be asked.
    pub(crate) results: Vec<Value>,
    /// Why it could not be asked, or why a command failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(crate) error: Option<String>,
    /// What kind of error that is: `unreachable`, `host_key`, `login`, `timeout`, .. or that of the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(crate) error_class: Option<String>,
    /// How long it took, in milliseconds.
    pub(crate) execution_time_ms: f64,
}

/// What `device_reachability` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReachArguments {
    /// The device: its name in the inventory, its host or its address.
    #[schemars(length(min = 1, max = 255))]
    pub(crate) device_ip: String,
}

/// What `device_reachability` answers.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct ReachResult {
    /// Its name in DNS, or its address.
    pub(crate) host: String,
    /// Its name in the inventory.
    pub(crate) device: Arc<str>,
    /// Whether it answers as SSH does.
    pub(crate) reachable: bool,
    /// When that was found out.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub(crate) last_check: Timestamp,
    /// How long it took to answer, in milliseconds; null where it did not.
    pub(crate) latency_ms: Option<f64>,
    /// The fingerprint of the host key it shows; null where it did not answer.
    pub(crate) host_key: Option<String>,
    /// Why it is not reachable; null where it is.
    pub(crate) error: Option<String>,
}

/// What `devices_trust` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrustArguments {
    /// The device: its name in the inventory, its host or its address.
    #[schemars(length(min = 1, max = 255))]
    pub(crate) device_ip: String,
    /// The fingerprint that its key must have: `SHA256:..`.
    #[schemars(regex(pattern = "^SHA256:[A-Za-z0-9+/]{43}$"))]
    pub(crate) fingerprint: String,
}

/// What `devices_trust` answers.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TrustResult {
    /// Its name in the inventory.
    pub(crate) device: Arc<str>,
    /// What the key is trusted for, as `known_hosts` names it.
    pub(crate) host: String,
    /// The algorithm and the fingerprint of the key.
    pub(crate) host_key: String,
    /// What was trusted for this host before.
    pub(crate) instead_of: Vec<String>,
}

/// What `output_grep` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GrepArguments {
    /// The handle of a truncated output.
    #[schemars(length(min = 1, max = 64))]
    pub(crate) handle: String,
    /// A regular expression that lines must match; left out, every line does. `(?i)` at its start ignores case.
    #[serde(default)]
    #[schemars(with = "String", length(max = 1000))]
    pub(crate) pattern: Option<String>,
    /// How many lines before and after a match are shown too.
    #[serde(default)]
    pub(crate) context: usize,
    /// The line to begin at, from 1: `next_line` of the answer before.
    #[serde(default = "first_line")]
    #[schemars(range(min = 1))]
    pub(crate) from_line: usize,
    /// The most lines to return.
    #[serde(default = "grep_lines")]
    #[schemars(range(min = 1, max = 2000))]
    pub(crate) limit: usize,
}

fn first_line() -> usize {
    1
}

fn grep_lines() -> usize {
    200
}

/// What `output_grep` answers.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct GrepResult {
    /// The command whose output it is.
    pub(crate) command: String,
    /// The device that printed it.
    pub(crate) device: Arc<str>,
    /// The lines.
    pub(crate) lines: Vec<GrepLine>,
    /// How many lines the output has.
    pub(crate) total_lines: usize,
    /// Where to go on; null where there is no more.
    pub(crate) next_line: Option<usize>,
}

/// A line of an output.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct GrepLine {
    /// Its number, from 1.
    pub(crate) line: usize,
    /// Its text.
    pub(crate) text: String,
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
    let mut input = schema::<QueryArguments>();
    bound_commands(&mut input);
    let mut tool = base(QUERY, "Ask a network device", about, input);
    tool.output = Some(Arc::new(schema::<QueryResult>()));
    tool.examples = vec![json!({"device_ip": "r1", "commands": ["show version"]})];
    tool.time_max = Duration::from_secs(QUERY_SECONDS_MAX);
    tool.bytes_max = config.answer_chars_max.saturating_mul(8).max(4 * 1024 * 1024);
    tool.breaks = Breaks::ByTarget;
    tool
}

fn run() -> Tool {
    let about = "Runs commands that show something on many network devices at once, chosen by name, group or label. Every \
                 device appears in the answer, with its outputs or the reason why there are none.";
    let mut input = schema::<RunArguments>();
    bound_commands(&mut input);
    input["properties"]["devices"]["maxItems"] = json!(DEVICES_MAX);
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

fn grep() -> Tool {
    let about = "Searches or pages through an output that was too long for its answer, by its handle.";
    let mut tool = base(GREP, "Search an output", about, schema::<GrepArguments>());
    tool.output = Some(Arc::new(schema::<GrepResult>()));
    tool.examples = vec![json!({"handle": "out_1f0c..", "pattern": "(?i)err-disabled"})];
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
