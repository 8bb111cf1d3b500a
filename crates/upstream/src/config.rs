use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tool::{Hygiene, LogLevel, SecretRef};

use crate::{oauth::OAuthConfig, sandbox::SandboxConfig, tls::TlsConfig};

/// The `upstreams:` section: MCP servers behind the gate, by the name that rules and logs use for them. Their tools
/// have the source `mcp:<name>`, and a call of one the target `mcp:<name>/<its name there>`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Config(pub BTreeMap<String, UpstreamConfig>);

/// One MCP server: a program that is started here (`command`), or a place on the network (`url`).
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamConfig {
    /// The program and its arguments; no shell. It is spoken to over its standard input and output, and is started
    /// again with the next call where it ended.
    #[serde(default)]
    pub command: Option<Vec<String>>,
    /// What the program finds in its environment beside a few names of ours (`PATH`, `HOME`, `LANG` and their like;
    /// never a secret of ours).
    #[serde(default)]
    pub env: BTreeMap<String, SecretRef>,
    /// The folder in which the program starts. Left out: that of this file.
    #[serde(default)]
    pub cwd: Option<String>,
    /// What the program may do. Left out: what every tool server may (`mode: standard`).
    #[serde(default)]
    pub sandbox: Option<SandboxConfig>,
    /// How often the program may end by itself within 10 minutes before it is left alone until
    /// `portcullis upstream restart`. Until then it is started again, each time after a longer wait.
    #[serde(default = "defaults::ends_max")]
    #[schemars(range(min = 1, max = 1_000))]
    pub ends_max: u32,
    /// How often a program that says nothing is asked for a sign of life, in milliseconds. One that gives none within
    /// `timeout_ms` is ended and started again. 0: never.
    #[serde(default = "defaults::alive_ms")]
    #[schemars(range(max = 3_600_000))]
    pub alive_ms: u64,
    /// Where the server is: an http or https URL, such as `https://mcp.example.com/mcp`. Redirects are not followed. For
    /// `protocol: jsonl` it is `tls://host:port`.
    #[serde(default)]
    pub url: Option<String>,
    /// Where the server listens on this machine: a Unix socket. For `protocol: jsonl`.
    #[serde(default)]
    pub socket: Option<String>,
    /// Whom it is believed to be over TLS, and who we are to it.
    #[serde(default)]
    pub tls: Option<TlsConfig>,
    /// How tokens for it are got from its authorization server, where it wants any. For servers over http and https.
    #[serde(default)]
    pub oauth: Option<OAuthConfig>,
    /// Headers of every request, such as `Authorization`.
    #[serde(default)]
    pub headers: BTreeMap<String, SecretRef>,
    /// Places on our own network that may be reached, each an exact `host:port`. Without it no loopback, private or
    /// link-local address is.
    #[serde(default)]
    pub allow_private: Vec<String>,
    /// What stands before the names of its tools and prompts. Left out: the name of the server and `_`; `""`: nothing.
    /// URIs of resources stay as they are. With `""` any name may come to be one of its tools, so a rule that names a
    /// tool that is not there is no mistake any more.
    #[serde(default)]
    pub prefix: Option<String>,
    /// Which of its tools are offered, as globs over their names there.
    #[serde(default = "defaults::everything")]
    pub allow: Vec<String>,
    /// Which of them are not, whatever `allow` says.
    #[serde(default)]
    pub deny: Vec<String>,
    /// Which of its tools only look, as globs over their names there. What the server says of its tools itself grants
    /// nothing: every other tool counts as one that changes something, or that destroys where the server says so.
    #[serde(default)]
    pub reads: Vec<String>,
    /// What single tools are called and how they are described here, by their names there. Rules, logs and clients know
    /// a tool by its name here.
    #[serde(default)]
    pub tools: BTreeMap<String, ToolOverride>,
    /// What becomes of tools that are not what they were, in any word of their description: they are held back until
    /// `portcullis upstream approve`. Tools that were never seen are taken (`first_use`) or held back as well (`approve`).
    /// `off` takes everything as it comes.
    #[serde(default)]
    pub pin: PinMode,
    /// How results are cleaned: `strict`, `standard` or `off`. What has to be cleaned is written anew; everything
    /// else passes byte for byte.
    #[serde(default = "defaults::hygiene")]
    #[schemars(with = "HygieneName")]
    pub hygiene: Hygiene,
    /// Whether results are looked at for what is meant for a model and not for its user (`suspicious` in `_meta`, audit
    /// and metrics). They are passed on all the same. Descriptions always are: `label:suspicious` in rules.
    #[serde(default = "defaults::scan_results")]
    pub scan_results: bool,
    /// Which protocol it is spoken to in.
    #[serde(default)]
    pub protocol: Protocol,
    /// From which level on its log lines are wanted. Callers hear those of their own calls.
    #[serde(default)]
    pub log_level: LogLevelName,
    /// The longest a call may go without an answer or a report of progress, in milliseconds.
    #[serde(default = "defaults::timeout_ms")]
    #[schemars(range(min = 1, max = 3_600_000))]
    pub timeout_ms: u64,
    /// The longest a call may take in all, in milliseconds, also where it goes on as a task. Calls that only look
    /// take no longer than `limits.request_timeout_ms`.
    #[serde(default = "defaults::call_ms_max")]
    #[schemars(range(min = 1, max = 86_400_000))]
    pub call_ms_max: u64,
    /// The longest it may take to be ready for calls, in milliseconds: to start or connect and to agree on a protocol.
    #[serde(default = "defaults::connect_timeout_ms")]
    #[schemars(range(min = 1, max = 600_000))]
    pub connect_timeout_ms: u64,
    /// How long the opening of the house waits for it and for its lists, in milliseconds. What it offers later is
    /// there as soon as it is known.
    #[serde(default = "defaults::start_wait_ms")]
    #[schemars(range(max = 600_000))]
    pub start_wait_ms: u64,
    /// How long an answer to the first question of the newer protocol is waited for before the older is tried, in
    /// milliseconds.
    #[serde(default = "defaults::probe_timeout_ms")]
    #[schemars(range(min = 1, max = 600_000))]
    pub probe_timeout_ms: u64,
    /// How long a program may take to end once its input is closed, in milliseconds, and again once it was asked to;
    /// then it is killed.
    #[serde(default = "defaults::close_timeout_ms")]
    #[schemars(range(min = 1, max = 60_000))]
    pub close_timeout_ms: u64,
    /// Calls that may run at once; more wait for their turn. Over the older protocol, a program that asks its caller
    /// something while several calls run does not say which one it means, and is refused: 1 makes it certain. Left out: 10,
    /// and 1 for `protocol: jsonl`, whose servers refuse what has waited for their turn too long.
    #[serde(default)]
    #[schemars(range(min = 1, max = 10_000))]
    pub concurrent_max: Option<u32>,
    /// The largest message that is taken from it, in bytes.
    #[serde(default = "defaults::message_bytes_max")]
    #[schemars(range(min = 1_024, max = 268_435_456))]
    pub message_bytes_max: usize,
    /// The most bytes of JSON in one result; the rest is kept behind a handle.
    #[serde(default = "defaults::bytes_max")]
    #[schemars(range(min = 256, max = 67_108_864))]
    pub bytes_max: usize,
    /// How many tools, prompts, resources and templates are taken, each.
    #[serde(default = "defaults::items_max")]
    #[schemars(range(min = 1, max = 100_000))]
    pub items_max: usize,
    /// How many pages one list may have.
    #[serde(default = "defaults::pages_max")]
    #[schemars(range(min = 1, max = 10_000))]
    pub pages_max: usize,
    /// How often in one call the caller is asked for more.
    #[serde(default = "defaults::rounds_max")]
    #[schemars(range(max = 100))]
    pub rounds_max: usize,
    /// How many of its listed resources are watched for changes, where it can say that they changed.
    #[serde(default = "defaults::watched_max")]
    #[schemars(range(max = 10_000))]
    pub watched_max: usize,
}

impl UpstreamConfig {
    /// Calls that may run at once.
    pub(crate) fn concurrent_max(&self) -> usize {
        let most = if self.protocol == Protocol::Jsonl { 1 } else { 10 };
        self.concurrent_max.unwrap_or(most) as usize
    }
}

/// Which protocol a server is spoken to in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// The newer where it speaks it, else the older.
    #[default]
    Auto,
    /// `2026-07-28`.
    Modern,
    /// `2025-11-25` and older.
    Legacy,
    /// None of these, but lines of JSON: `{id, method, params, ts_ms}` and `{id, ok, result}`.
    Jsonl,
}

/// What a tool is called and how it is described here.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ToolOverride {
    /// Its whole name here, in the place of the prefix and its name there.
    #[serde(default)]
    #[schemars(regex(pattern = r"^[a-zA-Z0-9_-]{1,64}$"))]
    pub name: Option<String>,
    /// What clients and their models are told it does, in the place of what its server says.
    #[serde(default)]
    #[schemars(length(min = 1, max = 4_096))]
    pub description: Option<String>,
}

/// How tools of a server are pinned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PinMode {
    /// A tool is taken as it is when it is first seen.
    #[default]
    FirstUse,
    /// A tool is taken when an operator says so.
    Approve,
    /// Nothing is held back.
    Off,
}

/// From which level on log lines are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogLevelName {
    /// All of them.
    Debug,
    /// What happened.
    #[default]
    Info,
    /// What should be looked at.
    Warning,
    /// What went wrong.
    Error,
}

impl From<LogLevelName> for LogLevel {
    fn from(name: LogLevelName) -> Self {
        match name {
            LogLevelName::Debug => Self::Debug,
            LogLevelName::Info => Self::Info,
            LogLevelName::Warning => Self::Warning,
            LogLevelName::Error => Self::Error,
        }
    }
}

/// The profiles of hygiene.
#[derive(JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "only its schema is used")]
enum HygieneName {
    Strict,
    Standard,
    Off,
}

mod defaults {
    use tool::Hygiene;

    pub(super) fn everything() -> Vec<String> {
        vec!["*".to_owned()]
    }

    pub(super) fn hygiene() -> Hygiene {
        Hygiene::Strict
    }

    pub(super) fn scan_results() -> bool {
        true
    }

    pub(super) fn ends_max() -> u32 {
        5
    }

    pub(super) fn alive_ms() -> u64 {
        30_000
    }

    pub(super) fn timeout_ms() -> u64 {
        60_000
    }

    pub(super) fn call_ms_max() -> u64 {
        3_600_000
    }

    pub(super) fn connect_timeout_ms() -> u64 {
        30_000
    }

    pub(super) fn start_wait_ms() -> u64 {
        10_000
    }

    pub(super) fn probe_timeout_ms() -> u64 {
        3_000
    }

    pub(super) fn close_timeout_ms() -> u64 {
        2_000
    }

    pub(super) fn message_bytes_max() -> usize {
        16 * 1024 * 1024
    }

    pub(super) fn bytes_max() -> usize {
        1024 * 1024
    }

    pub(super) fn items_max() -> usize {
        1_000
    }

    pub(super) fn pages_max() -> usize {
        100
    }

    pub(super) fn rounds_max() -> usize {
        10
    }

    pub(super) fn watched_max() -> usize {
        100
    }
}
