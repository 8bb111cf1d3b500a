//! The whole configuration, as a struct of sections. Each room owns the struct of its section; here are only the
//! binary's own.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use gate::{
    BreakerConfig, LimitsConfig, OutputConfig, PrincipalConfig, RoleConfig, TierConfig, ToolConfig,
    ToolsetConfig,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tool::{ConfigFault, Purpose, SecretRef, Tool, json::push_pointer};

/// The configuration of Portcullis. Unknown keys are errors; relative paths start at the folder of the file.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// The folder that holds the state, the audit log and the socket of the command line. `--data` wins over it;
    /// left out, it is `data` beside this file.
    pub data_dir: Option<PathBuf>,
    /// Who may ask, by name: people, agents and machines.
    pub principals: BTreeMap<String, PrincipalConfig>,
    /// What they may do, by role.
    pub roles: BTreeMap<String, RoleConfig>,
    /// How much the keys of each tier may use.
    pub tiers: BTreeMap<String, TierConfig>,
    /// How much there is for everyone.
    pub limits: LimitsConfig,
    /// When a source that fails is left alone for a while.
    pub breaker: BreakerConfig,
    /// How results are bounded and cleaned.
    pub output: OutputConfig,
    /// What the operator sets for single tools beside what their rooms say, by tool.
    pub tools: BTreeMap<String, ToolConfig>,
    /// Chosen parts of what there is, by name: `/mcp/toolsets/<name>` shows one as if it were a server of its own.
    pub toolsets: BTreeMap<String, ToolsetConfig>,
    /// Where the server listens, and the bounds of every connection.
    pub server: serve::Config,
    /// What `POST /operations/execute` does for each name of an operation.
    pub operations: serve::Operations,
    /// SQL databases and the tools that read them.
    pub sql: Option<sql::Config>,
    /// REST APIs and the tools that call them.
    pub rest: Option<web::rest::Config>,
    /// Pages of the web that `http_fetch` may read.
    pub fetch: Option<web::fetch::Config>,
    /// A folder of files and the tools that work on it.
    pub files: Option<files::Config>,
    /// Network devices and the tools that ask them.
    pub devices: Option<device::Config>,
    /// Prompts that callers fill in for their models, by name. Rules go by the tool `prompt_<name>`; what its calls
    /// touch is `prompt:<name>`.
    pub prompts: Option<content::prompts::Config>,
    /// Texts and files that callers read, by URI. One with `{variable}` in it is a template (RFC 6570, level 1, and
    /// `{+variable}` for a piece of a URI); of several that fit, the first in the order of their texts counts. Rules go
    /// by the tool `resource_<name>`; what its calls touch is the URI.
    pub resources: Option<content::resources::Config>,
    /// MCP servers behind the gate, by name: their tools, prompts and resources are offered as ours.
    pub upstreams: Option<upstream::Config>,
    /// Files of MCP clients whose servers are taken too, as if they stood in `upstreams`: JSON with `mcpServers`, or with
    /// `servers` as VS Code has it. What `upstreams` says of a server of the same name is laid over it.
    pub mcp_json: Option<McpJson>,
    /// Sample services, for trying things out.
    pub lab: Option<lab::Config>,
    /// The audit log.
    pub audit: audit::Config,
    /// How changes are planned, approved and applied.
    pub changes: change::Config,
    /// Answers that are given again.
    pub cache: CacheConfig,
    /// Keys that exist from the first start on.
    pub bootstrap: BootstrapConfig,
    /// The log.
    pub log: LogConfig,
    /// Traces, told to an OpenTelemetry collector.
    pub telemetry: telemetry::Config,
    /// How the server watches itself.
    pub upkeep: UpkeepConfig,
}

/// One file or several.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "the files are read before the configuration has its types")]
pub(crate) enum McpJson {
    /// One.
    One(PathBuf),
    /// Several; of two servers with one name the first counts.
    Several(Vec<PathBuf>),
}

/// Answers that are given again, of tools that allow it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CacheConfig {
    /// The most bytes of answers that are kept in memory.
    #[schemars(range(max = 68_719_476_736_u64))]
    pub bytes_max: u64,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self { bytes_max: 64 * 1024 * 1024 }
    }
}

/// What exists from the first start on.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct BootstrapConfig {
    /// The keys. One that exists already, by its label, is left as it is but for a secret that is given here: its
    /// tier, rate and roles are changed by `keys_update` and `portcullis keys`.
    pub keys: Vec<BootstrapKey>,
}

/// A key that is made at the first start.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BootstrapKey {
    /// Its name, part of the secret: `sk_<label>_..`. 1 to 32 of `a-z 0-9 -`.
    #[schemars(regex(pattern = r"^[a-z0-9-]{1,32}$"))]
    pub label: String,
    /// The principal it stands for, as in `principals`.
    pub principal: String,
    /// The roles it may use, each one of its principal's. Left out: all of them.
    pub roles: Option<Vec<String>>,
    /// Its tier.
    #[serde(default = "basic")]
    pub tier: String,
    /// The operator's own name for the user; the principal's where none is given.
    pub user_id: Option<String>,
    /// Calls in any 60 seconds; the tier's where none is given.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub rate_per_minute: Option<u32>,
    /// Under which name a secret that was made is printed, once, at the start that makes it.
    pub show: Option<ShownAs>,
    /// The secret, where it comes from outside, of at least 16 characters. At a start its hash replaces the one that
    /// is kept, so the operator's value always holds, and `keys_rotate` refuses the key.
    pub secret: Option<SecretRef>,
    /// A second secret that is good as well, for rotation without a gap.
    pub secondary: Option<SecretRef>,
}

/// The name under which a new key is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ShownAs {
    /// As `key`: the one to work with.
    Key,
    /// As `viewer_key`: one that only reads.
    ViewerKey,
}

/// The log: one JSON object a line.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LogConfig {
    /// How much is logged: `debug`, `info`, `warning` or `error`.
    pub level: LogLevel,
    /// `json` for machines, `text` for people.
    pub format: LogFormat,
    /// A file that gets the log as well.
    pub file: Option<LogFileConfig>,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: LogLevel::Info, format: LogFormat::Json, file: None }
    }
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogLevel {
    /// Everything.
    Debug,
    /// What happened.
    Info,
    /// What should be looked at.
    Warning,
    /// What went wrong.
    Error,
}

/// What a line of log looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// One JSON object.
    Json,
    /// Time, level, message and fields.
    Text,
}

/// A log file, turned over when it is full: `portcullis.log`, `portcullis.log.1`, ..
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogFileConfig {
    /// Its path.
    pub path: PathBuf,
    /// The size at which it is turned over.
    #[serde(default = "log_bytes_max")]
    #[schemars(range(min = 4_096, max = 17_179_869_184_u64))]
    pub bytes_max: u64,
    /// How many older files are kept.
    #[serde(default = "log_keep")]
    #[schemars(range(max = 1_000))]
    pub keep: u32,
}

/// How the server watches itself and tidies up.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct UpkeepConfig {
    /// How often every source is asked whether it is well. The health doors tell what was found.
    #[schemars(range(min = 100, max = 3_600_000))]
    pub health_interval_ms: u64,
    /// How often results that were kept too long are forgotten.
    #[schemars(range(min = 1_000, max = 86_400_000))]
    pub prune_interval_ms: u64,
    /// Whether the file of the configuration is watched and taken anew when it changes.
    pub watch_config: bool,
}

impl Default for UpkeepConfig {
    fn default() -> Self {
        Self { health_interval_ms: 10_000, prune_interval_ms: 600_000, watch_config: true }
    }
}

impl Config {
    /// The gate's sections, as the gate takes them, without the secrets of webhooks.
    pub(crate) fn gate(&self) -> gate::Config {
        gate::Config {
            principals: self.principals.clone(),
            roles: self.roles.clone(),
            tiers: self.tiers.clone(),
            limits: self.limits.clone(),
            breaker: self.breaker.clone(),
            output: self.output.clone(),
            tools: self.tools.clone(),
            toolsets: self.toolsets.clone(),
            four_eyes: self.changes.four_eyes,
            signers: Vec::new(),
        }
    }

    /// Everything that the schema cannot say, of every section.
    pub(crate) fn check(&self) -> Vec<ConfigFault> {
        let mut faults = self.gate().check();
        faults.extend(self.server.check());
        faults.extend(serve::check_operations(&self.operations));
        faults.extend(self.audit.check());
        faults.extend(self.telemetry.check());
        faults.extend(self.changes.check());
        faults.extend(self.sql.iter().flat_map(sql::Config::check));
        faults.extend(self.rest.iter().flat_map(web::rest::Config::check));
        faults.extend(self.fetch.iter().flat_map(web::fetch::Config::check));
        faults.extend(self.files.iter().flat_map(files::Config::check));
        faults.extend(self.prompts.iter().flat_map(content::prompts::Config::check));
        faults.extend(self.resources.iter().flat_map(content::resources::Config::check));
        faults.extend(self.upstreams.iter().flat_map(upstream::Config::check));
        faults.extend(self.lab.iter().flat_map(lab::Config::check));
        faults.extend(self.bootstrap.check(&self.principals, &self.tiers));
        faults
    }

    /// What can be said only where the tools are known: what completions ask must be a tool, and one that only reads.
    pub(crate) fn check_against(&self, tools: &[Arc<Tool>]) -> Vec<ConfigFault> {
        let of_prompts = self.prompts.iter().flat_map(content::prompts::Config::completions);
        let of_resources = self.resources.iter().flat_map(content::resources::Config::completions);
        let fault = |asked: content::Completion<'_>| check_completion(asked, tools);
        of_prompts.chain(of_resources).filter_map(fault).collect()
    }
}

fn check_completion(asked: content::Completion<'_>, tools: &[Arc<Tool>]) -> Option<ConfigFault> {
    let called = || tools.iter().filter(|tool| tool.purpose == Purpose::Call);
    match called().find(|tool| tool.name.as_str() == asked.tool) {
        Some(tool) if !tool.has_effect() => None,
        Some(tool) => {
            let text = format!("{} changes something, and nobody expects that while they type", tool.name);
            Some(ConfigFault::new(asked.pointer, text).hint("name a tool that only reads"))
        }
        None => {
            let mut fault = ConfigFault::new(asked.pointer, format!("there is no tool {:?}", asked.tool));
            let known: Vec<String> = called().map(|tool| tool.name.to_string()).collect();
            fault.hint =
                super::schema::nearest(asked.tool, &known).map(|near| format!("did you mean {near:?}?"));
            Some(fault)
        }
    }
}

impl BootstrapConfig {
    fn check(
        &self,
        principals: &BTreeMap<String, PrincipalConfig>,
        tiers: &BTreeMap<String, TierConfig>,
    ) -> Vec<ConfigFault> {
        let mut faults = Vec::new();
        let names: Vec<String> = principals.keys().cloned().collect();
        let built_in = admin::BUILT_IN_TIERS.iter().map(ToString::to_string);
        let tiers: Vec<String> = tiers.keys().cloned().chain(built_in).collect();
        for (i, key) in self.keys.iter().enumerate() {
            let at = |part: &str| {
                let mut pointer = format!("/bootstrap/keys/{i}");
                push_pointer(&mut pointer, part);
                pointer
            };
            if self.keys[..i].iter().any(|other| other.label == key.label) {
                faults.push(ConfigFault::new(at("label"), format!("there are two keys {:?}", key.label)));
            }
            if !tiers.contains(&key.tier) {
                faults.push(unknown(at("tier"), "tier", &key.tier, &tiers, "declare it under `tiers`"));
            }
            let Some(principal) = principals.get(&key.principal) else {
                let instead = "declare it under `principals`";
                faults.push(unknown(at("principal"), "principal", &key.principal, &names, instead));
                continue;
            };
            for (n, role) in key.roles.iter().flatten().enumerate() {
                if !principal.roles.contains(role) {
                    let text = format!("the principal {:?} does not have the role {role:?}", key.principal);
                    let hint = format!("it has {}", principal.roles.join(", "));
                    faults.push(ConfigFault::new(format!("{}/{n}", at("roles")), text).hint(hint));
                }
            }
            if key.secondary.is_some() && key.secret.is_none() {
                let text = "a second secret needs a first one";
                faults.push(ConfigFault::new(at("secondary"), text).hint("add `secret`"));
            }
        }
        faults
    }
}

/// A name that was not declared, with what may have been meant, or what to do instead.
pub(crate) fn unknown(at: String, what: &str, name: &str, known: &[String], instead: &str) -> ConfigFault {
    let near = super::schema::nearest(name, known).map(|near| format!("did you mean {near:?}?"));
    let fault = ConfigFault::new(at, format!("there is no {what} {name:?}"));
    fault.hint(near.unwrap_or_else(|| instead.to_owned()))
}

fn basic() -> String {
    "basic".to_owned()
}

fn log_bytes_max() -> u64 {
    64 * 1024 * 1024
}

fn log_keep() -> u32 {
    5
}
