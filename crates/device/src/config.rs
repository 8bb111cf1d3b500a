//! The `devices:` section.

use std::{collections::BTreeMap, path::PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;
use ssh::Algorithms;
use tool::SecretRef;

/// Network devices, how they are reached, and who logs in.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The devices, by name: 1 to 64 of `A-Z a-z 0-9 . _ -`, a letter or a digit first.
    pub inventory: BTreeMap<String, DeviceConfig>,
    /// Files with more devices and groups, as `portcullis inventory import` writes them: YAML with `inventory` and
    /// `groups`. What is said here of a device or a group of the same name is laid over it, member by member; of two
    /// files, the first that has it counts.
    pub inventory_files: Vec<PathBuf>,
    /// What devices of a group have in common; what a device says itself counts more.
    pub groups: BTreeMap<String, GroupConfig>,
    /// Who logs in, by name.
    pub logins: BTreeMap<String, LoginConfig>,
    /// The file of trusted host keys, in the form of OpenSSH. `portcullis devices trust` writes it.
    pub known_hosts: PathBuf,
    /// A folder of TextFSM templates with an `index`, such as that of the package `ntc-templates`. Without it, outputs
    /// are not made into records.
    pub templates: Option<PathBuf>,
    /// The folder that `backup_config` keeps configurations in. They are kept as they are, secrets included, readable
    /// for the user of the server alone.
    pub backups: PathBuf,
    /// The folder that transcripts of sessions are kept in, one file a call, secrets masked.
    pub transcripts: PathBuf,
    /// The most transcripts that are kept; the oldest go first.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub transcripts_max: usize,
    /// Hosts outside the inventory that may be asked with a login that comes with the request: addresses and networks
    /// (`192.0.2.0/24`), and names as they are written. It takes a role that allows `query_device_as` besides.
    pub outside: Vec<String>,
    /// The ports of such hosts beside 22.
    pub outside_ports: Vec<u16>,
    /// What may be sent to devices beyond what their platforms know as showing.
    pub commands: CommandsConfig,
    /// The longest wait for a connection and its keys, in milliseconds.
    #[schemars(range(min = 100, max = 300_000))]
    pub connect_timeout_ms: u64,
    /// The longest wait for a login, and again for the first prompt, in milliseconds.
    #[schemars(range(min = 100, max = 300_000))]
    pub login_timeout_ms: u64,
    /// The longest that one command may take, in milliseconds.
    #[schemars(range(min = 100, max = 3_600_000))]
    pub command_timeout_ms: u64,
    /// The longest that a device may print nothing while a command runs, in milliseconds.
    #[schemars(range(min = 100, max = 3_600_000))]
    pub silence_timeout_ms: u64,
    /// The most bytes of the output of one command; what is more is cut off, and the command broken off.
    #[schemars(range(min = 1024, max = 268_435_456))]
    pub output_bytes_max: usize,
    /// The most characters of one output that an answer holds; all of it is kept for `output_grep`.
    #[schemars(range(min = 256, max = 1_000_000))]
    pub answer_chars_max: usize,
    /// The most sessions on one device.
    #[schemars(range(min = 1, max = 16))]
    pub sessions_per_device_max: usize,
    /// The most devices that are worked on at once.
    #[schemars(range(min = 1, max = 1000))]
    pub devices_at_once_max: usize,
    /// The most sessions that work at once on devices of one site, by their label `site`; without it, there is no such
    /// bound. A site's line and its login servers are shared by its devices.
    #[schemars(range(min = 1, max = 1000))]
    pub sessions_per_site_max: Option<usize>,
    /// The most new logins on one device in any 60 seconds.
    #[schemars(range(min = 1, max = 1000))]
    pub logins_per_minute_max: usize,
    /// How long a session may be idle before it is closed, in milliseconds.
    #[schemars(range(min = 0, max = 3_600_000))]
    pub idle_ms: u64,
    /// How long it is believed that a device answers, or does not, before it is looked at again, in milliseconds.
    #[schemars(range(min = 1000, max = 86_400_000))]
    pub probe_every_ms: u64,
    /// How old a session may get, in milliseconds.
    #[schemars(range(min = 1000, max = 86_400_000))]
    pub age_max_ms: u64,
    /// How long a login that was refused is not tried again, in milliseconds: many systems lock a user out after a few.
    #[schemars(range(min = 1000, max = 86_400_000))]
    pub refused_login_pause_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            inventory: BTreeMap::new(),
            inventory_files: Vec::new(),
            groups: BTreeMap::new(),
            logins: BTreeMap::new(),
            known_hosts: PathBuf::from("known_hosts"),
            templates: None,
            backups: PathBuf::from("backups"),
            transcripts: PathBuf::from("transcripts"),
            transcripts_max: 10_000,
            outside: Vec::new(),
            outside_ports: Vec::new(),
            commands: CommandsConfig::default(),
            connect_timeout_ms: 10_000,
            login_timeout_ms: 20_000,
            command_timeout_ms: 60_000,
            silence_timeout_ms: 30_000,
            output_bytes_max: 8 * 1024 * 1024,
            answer_chars_max: 16_384,
            sessions_per_device_max: 2,
            sessions_per_site_max: None,
            devices_at_once_max: 50,
            logins_per_minute_max: 20,
            idle_ms: 120_000,
            probe_every_ms: 60_000,
            age_max_ms: 3_600_000,
            refused_login_pause_ms: 300_000,
        }
    }
}

/// A device.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceConfig {
    /// Its name in DNS, or its address.
    pub host: String,
    /// Its port; 22, or 23 for telnet, where neither it nor its group says another.
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Its platform, by our name or netmiko's: `cisco_ios`, `juniper_junos`.
    pub platform: Option<String>,
    /// Who logs in, as in `logins`.
    pub login: Option<String>,
    /// Devices of the inventory that the connection goes through, the nearest to us first.
    pub via: Option<Vec<String>>,
    /// How it is reached. Telnet is for what has nothing else: passwords can be read on the way.
    #[serde(default)]
    pub transport: Transport,
    /// Which algorithms of SSH are offered to it.
    pub algorithms: Option<Algorithms>,
    /// The fingerprint of its host key, `SHA256:..`; where it is given, `known_hosts` does not count.
    pub host_key: Option<String>,
    /// The groups it belongs to; of two that say the same, the first counts.
    #[serde(default)]
    pub groups: Vec<String>,
    /// What rules and searches may go by: `site`, `role`, `criticality` and whatever else.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// How a device is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// By SSH.
    #[default]
    Ssh,
    /// By telnet; the login is a dialogue in the session.
    Telnet,
}

/// What devices of a group have in common.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GroupConfig {
    /// The port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// The platform.
    pub platform: Option<String>,
    /// Who logs in.
    pub login: Option<String>,
    /// What connections go through.
    pub via: Option<Vec<String>>,
    /// Which algorithms of SSH are offered.
    pub algorithms: Option<Algorithms>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// Who logs in.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginConfig {
    /// The name of the user.
    pub user: String,
    /// The password.
    pub password: Option<SecretRef>,
    /// The secret for the privileged mode (`enable`).
    pub enable: Option<SecretRef>,
    /// Files of private keys. A certificate beside one, `<file>-cert.pub`, is used with it.
    #[serde(default)]
    pub keys: Vec<PathBuf>,
    /// The passphrase of the keys.
    pub passphrase: Option<SecretRef>,
    /// The socket of an agent that holds keys.
    pub agent: Option<PathBuf>,
}

/// What may be sent to devices. What a platform knows as showing may be sent; `deny` counts before `allow`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CommandsConfig {
    /// Commands that may be sent too, as globs over the command written out in full: `ping *`, `traceroute *`.
    pub allow: Vec<String>,
    /// Commands that may not be sent, likewise: `show running-config*`.
    pub deny: Vec<String>,
}
