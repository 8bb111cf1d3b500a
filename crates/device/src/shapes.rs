//! What the tools of this room take and answer.

mod alerts;

use std::{collections::BTreeMap, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tool::Timestamp;

pub(crate) use alerts::{AlertArguments, AlertResult, AlertsArguments, AlertsResult, KeptAlert};

use crate::{
    normal::{Analysis, Message, Route, Severity},
    tools::QUERY_SECONDS,
};

/// What `list_devices` takes.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListArguments {
    /// Only devices of this group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(crate) group: Option<String>,
    /// Only devices of this platform, by any of its names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(crate) platform: Option<String>,
    /// Only devices with all of these labels.
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    /// Only devices with this text in their name, host or labels; case does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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

/// What `query_device_as` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct QueryAsArguments {
    /// The device: its name in the inventory, its host or its address, or a host of `devices.outside`.
    #[schemars(length(min = 1, max = 255))]
    pub(crate) device_ip: String,
    /// The platform of a host outside the inventory; `cisco_ios` where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(crate) device_type: Option<String>,
    /// The user whose login came with the call.
    #[schemars(length(min = 1, max = 255))]
    pub(crate) user: String,
    /// Commands that show something, in order.
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
    /// Whether the outputs are those of another call that asked the same at the same time.
    pub(crate) shared: bool,
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
    /// Devices that are asked with logins which came with the call. Only `POST /execute-commands` carries logins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) logins: Vec<AskedAs>,
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

/// A device that is asked with a login which came with the call.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AskedAs {
    /// The device: its name in the inventory, its host or its address, or a host of `devices.outside`.
    pub(crate) host: String,
    /// The platform of a host outside the inventory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(crate) device_type: Option<String>,
    /// The user whose login came with the call.
    pub(crate) user: String,
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

/// What `detect_platform` answers.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct DetectResult {
    /// Its name in the inventory.
    pub(crate) device: Arc<str>,
    /// The platform that the inventory names.
    pub(crate) configured: String,
    /// The platform that it is of; null where nothing told.
    pub(crate) platform: Option<String>,
    /// What that is, for people.
    pub(crate) title: Option<String>,
    /// What told it.
    pub(crate) shown: Option<Shown>,
    /// Other platforms whose devices answer so.
    pub(crate) also: Vec<String>,
    /// The prompt that the device shows.
    pub(crate) prompt: String,
    /// What it was asked, in order.
    pub(crate) asked: Vec<String>,
}

/// What told a platform.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct Shown {
    /// What the device was asked.
    pub(crate) command: String,
    /// The line of its answer.
    pub(crate) line: String,
}

/// Which configuration of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ConfigType {
    /// The one that runs.
    #[default]
    Running,
    /// The one that the next start takes.
    Startup,
}

/// What `get_device_config` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConfigArguments {
    /// The device: its name in the inventory, its host or its address.
    #[schemars(length(min = 1, max = 255))]
    pub(crate) device_ip: String,
    /// Which configuration.
    #[serde(default)]
    pub(crate) config_type: ConfigType,
}

/// What `get_device_config` answers.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ConfigResult {
    /// Its name in the inventory.
    pub(crate) device: Arc<str>,
    /// Which configuration it is.
    pub(crate) config_type: ConfigType,
    /// The configuration, secrets masked.
    pub(crate) config: String,
    /// How many lines it has, before it was cut.
    pub(crate) lines: usize,
    /// Its size in bytes, before it was cut.
    pub(crate) bytes: usize,
    /// True where `config` is not all of it.
    pub(crate) truncated: bool,
    /// What `output_grep` finds the whole of it by, where it was cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub(crate) handle: Option<String>,
    /// How many secrets were masked.
    pub(crate) redactions: usize,
    /// When it was read.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub(crate) retrieved_at: Timestamp,
}

/// What `check_interface_status` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InterfaceArguments {
    /// The device: its name in the inventory, its host or its address.
    #[schemars(length(min = 1, max = 255))]
    pub(crate) device_ip: String,
    /// The interface, by its name or what begins it (`gi0/1`); every interface where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1, max = 64))]
    pub(crate) interface_name: Option<String>,
}

/// What `check_interface_status` answers.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum InterfaceResult {
    /// One interface.
    One {
        /// The name of the device in the inventory.
        device: Arc<str>,
        /// The interface, as the device writes it.
        interface: String,
        /// `up`, `down` or `administratively down`.
        status: String,
        /// Whether its protocol is `up` or `down`.
        protocol: String,
        /// Its first address; null where it has none.
        ip_address: Option<String>,
        /// The mask of that address; null where it is not known.
        subnet_mask: Option<String>,
        /// Its description; null where it has none.
        description: Option<String>,
    },
    /// Every interface.
    All {
        /// The name of the device in the inventory.
        device: Arc<str>,
        /// The interfaces, in the device's own order.
        interfaces: Vec<InterfaceRow>,
    },
}

/// An interface in a list.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct InterfaceRow {
    /// Its name, as the device writes it.
    pub(crate) name: String,
    /// `up`, `down` or `administratively down`.
    pub(crate) status: String,
    /// Whether its protocol is `up` or `down`.
    pub(crate) protocol: String,
    /// Its first address; null where it has none.
    pub(crate) ip: Option<String>,
}

/// Where routes come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Protocol {
    /// Wherever.
    #[default]
    All,
    /// OSPF.
    Ospf,
    /// BGP.
    Bgp,
    /// Static routes.
    Static,
    /// Connected networks.
    Connected,
}

impl Protocol {
    /// Its name in routes.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Ospf => "ospf",
            Self::Bgp => "bgp",
            Self::Static => "static",
            Self::Connected => "connected",
        }
    }
}

/// What `analyze_routing_table` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RouteArguments {
    /// The device: its name in the inventory, its host or its address.
    #[schemars(length(min = 1, max = 255))]
    pub(crate) device_ip: String,
    /// Only routes that come from there. The analysis is of the whole table.
    #[serde(default)]
    pub(crate) protocol: Protocol,
}

/// What `analyze_routing_table` answers.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct RouteResult {
    /// Its name in the inventory.
    pub(crate) device: Arc<str>,
    /// What the routes were filtered by.
    pub(crate) protocol_filter: Protocol,
    /// The routes, in the device's own order; of several next hops, each is a route.
    pub(crate) routes: Vec<Route>,
    /// How many those are.
    pub(crate) total_routes: usize,
    /// True where there are more than `routes` holds.
    pub(crate) truncated: bool,
    /// What stands out in the whole table.
    pub(crate) analysis: Analysis,
}

/// What `search_logs` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogArguments {
    /// The device: its name in the inventory, its host or its address.
    #[schemars(length(min = 1, max = 255))]
    pub(crate) device_ip: String,
    /// A regular expression that messages must match; left out, every message does. `(?i)` at its start ignores case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(max = 1000))]
    pub(crate) search_pattern: Option<String>,
    /// Only messages that are at least this bad. Those that do not say how bad they are are left out then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Severity")]
    pub(crate) severity: Option<Severity>,
}

/// What `search_logs` answers.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct LogResult {
    /// Its name in the inventory.
    pub(crate) device: Arc<str>,
    /// What was searched for.
    pub(crate) search_pattern: Option<String>,
    /// How bad messages had to be.
    pub(crate) severity_filter: Option<Severity>,
    /// The messages, the newest last.
    pub(crate) matches: Vec<Message>,
    /// How many match.
    pub(crate) total_matches: usize,
    /// True where older ones are left out.
    pub(crate) truncated: bool,
}

/// What `backup_config` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BackupArguments {
    /// The device: its name in the inventory, its host or its address.
    #[schemars(length(min = 1, max = 255))]
    pub(crate) device_ip: String,
    /// A folder beneath `devices.backups` to keep it in: one name. Left out, that folder itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", regex(pattern = "^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$"))]
    pub(crate) backup_location: Option<String>,
    /// Keeps the startup configuration too, where the platform has one.
    #[serde(default)]
    pub(crate) include_startup: bool,
}

/// What `backup_config` answers.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct BackupResult {
    /// Its name in the inventory.
    pub(crate) device: Arc<str>,
    /// `backed_up`, or `unchanged` where nothing differs from the last one.
    pub(crate) status: &'static str,
    /// What was kept.
    pub(crate) backups: Vec<Backup>,
    /// When it was read.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub(crate) timestamp: Timestamp,
}

/// A backup of one configuration.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Backup {
    /// Which configuration it is.
    pub(crate) config_type: ConfigType,
    /// Its version: what `backup_show` finds it by.
    pub(crate) version: String,
    /// The digest of the whole configuration: `b3:` and a BLAKE3 hash in hex.
    pub(crate) digest: String,
    /// How many lines it has.
    pub(crate) lines: usize,
    /// Its size in bytes.
    pub(crate) bytes: usize,
    /// True where it differs from the last one in more than what changes by itself; true for the first.
    pub(crate) changed: bool,
    /// The version before it; null where it is the first.
    pub(crate) previous: Option<String>,
    /// What differs from the last one, as a unified diff, secrets masked; empty where nothing does.
    pub(crate) diff: String,
}

/// What `backup_show` and `backup_show_raw` take.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BackupShowArguments {
    /// The device: its name in the inventory, its host or its address.
    #[schemars(length(min = 1, max = 255))]
    pub(crate) device_ip: String,
    /// The folder it was kept in, as for `backup_config`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", regex(pattern = "^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$"))]
    pub(crate) backup_location: Option<String>,
    /// Which configuration.
    #[serde(default)]
    pub(crate) config_type: ConfigType,
    /// Which version; the last one where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", regex(pattern = "^[0-9]{8}T[0-9]{9}Z$"))]
    pub(crate) version: Option<String>,
}

/// What `backup_show` and `backup_show_raw` answer.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct BackupShowResult {
    /// Its name in the inventory.
    pub(crate) device: Arc<str>,
    /// Which configuration it is.
    pub(crate) config_type: ConfigType,
    /// Its version.
    pub(crate) version: String,
    /// Every version there is, the newest last.
    pub(crate) versions: Vec<String>,
    /// The configuration.
    pub(crate) config: String,
    /// How many secrets were masked.
    pub(crate) redactions: usize,
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

/// What `session_transcript` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TranscriptArguments {
    /// The request id of the call, as the audit log has it.
    #[schemars(length(min = 1, max = 128))]
    pub(crate) request_id: String,
}

/// What `session_transcript` answers.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TranscriptResult {
    /// The request id of the call.
    pub(crate) request_id: String,
    /// First what the call was, then what was `typed` and what was `printed`, each `at_ms` after its beginning.
    pub(crate) lines: Vec<Value>,
}

/// What `output_grep` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GrepArguments {
    /// The handle of a truncated output.
    #[schemars(length(min = 1, max = 64))]
    pub(crate) handle: String,
    /// A regular expression that lines must match; left out, every line does. `(?i)` at its start ignores case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(max = 1000))]
    pub(crate) pattern: Option<String>,
    /// How many lines before and after a match are shown too.
    #[serde(default)]
    #[schemars(range(max = 100))]
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
