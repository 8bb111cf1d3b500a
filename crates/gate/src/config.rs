use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use tool::{ConfigFault, Hygiene, PrincipalKind, SecretRef, ToolName, json::push_pointer, nearest};

use crate::{policy, signed::Signer, toolset};

/// The gate's sections of the configuration: who there is, what they may, and how much of it.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// `principals:`
    pub principals: BTreeMap<String, PrincipalConfig>,
    /// `roles:`
    pub roles: BTreeMap<String, RoleConfig>,
    /// `tiers:`
    pub tiers: BTreeMap<String, TierConfig>,
    /// `limits:`
    pub limits: LimitsConfig,
    /// `breaker:`
    pub breaker: BreakerConfig,
    /// `output:`
    pub output: OutputConfig,
    /// `tools:`
    pub tools: BTreeMap<String, ToolConfig>,
    /// `toolsets:`
    pub toolsets: BTreeMap<String, ToolsetConfig>,
    /// `changes.four_eyes`, as the change room's section has it.
    pub four_eyes: bool,
    /// The principals with a `webhook`, with their secrets.
    pub signers: Vec<Signer>,
}

/// Someone who may ask: a person, an agent or a machine.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PrincipalConfig {
    /// What it is: `human`, `agent` or `machine`. Only humans can approve changes.
    #[schemars(with = "PrincipalKindName")]
    pub kind: PrincipalKind,
    /// The human or team that answers for it.
    pub owner: Option<String>,
    /// The roles it has, by name.
    #[serde(default)]
    pub roles: Vec<String>,
    /// What it signs the bodies of webhooks with, where it sends some.
    pub webhook: Option<WebhookConfig>,
}

/// What the bodies of webhooks are signed with: `X-Signature: t=<unix seconds>,v1=<hex>`, the HMAC-SHA256 of
/// `<t>.<body>`. One that is older than five minutes, or that was taken already, is refused.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    /// The secret, of at least 16 characters.
    pub secret: SecretRef,
    /// Whether a bare signature is taken too, the HMAC-SHA256 of the body alone. Whoever sees one can send it again.
    #[serde(default)]
    pub bare: bool,
}

/// The kinds of principal.
#[derive(JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "only its schema is used")]
enum PrincipalKindName {
    Human,
    Agent,
    Machine,
}

/// What a role may do. Nothing, unless a rule allows it; and a rule that denies always wins.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleConfig {
    /// The rules that allow. None: nothing is allowed.
    #[serde(default)]
    pub allow: Vec<RuleConfig>,
    /// The rules that deny, whatever any role allows.
    #[serde(default)]
    pub deny: Vec<RuleConfig>,
}

/// One rule: a selector of tools, or selectors with conditions.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RuleConfig {
    /// One selector and no condition: `get_*`.
    Selector(String),
    /// Selectors and conditions; all of them must hold.
    Full(RuleParts),
}

/// A rule with conditions.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleParts {
    /// Which tools: a name, a glob (`get_*`), `effect:reads`, `label:NAME`, `source:GLOB` or `group:admin`.
    /// Administrative tools are matched only by their full name or by `group:admin`.
    pub tools: Vec<String>,
    /// Which targets, as globs over what a call touches: `files:notes/**`, `http:*.example.com`, `sql:shop`.
    /// `*` stays within one path segment, `**` does not. Left out: any target.
    pub targets: Option<Vec<String>>,
    /// A CEL condition over `caller`, `tool`, `arguments`, `target`, `face`, `now`, and `device` where a network device is
    /// what the call touches. A condition that cannot be
    /// evaluated denies the call.
    pub when: Option<String>,
}

/// How much the keys of a tier may use.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TierConfig {
    /// Calls that each key may make in any 60 seconds.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub rate_per_minute: Option<u32>,
    /// Calls that all keys of the tier together may make in any 60 seconds.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub total_per_minute: Option<u32>,
    /// Calls that each key may have running at once.
    #[schemars(range(min = 1, max = 100_000))]
    pub concurrent_max: Option<u32>,
}

/// How much there is for everyone.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Calls that a key may make in any 60 seconds, where neither the key nor its tier says otherwise.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub rate_per_minute: u32,
    /// Calls that may run at once, all together.
    #[schemars(range(min = 1, max = 100_000))]
    pub concurrent_max: u32,
    /// Calls that one key may have running at once.
    #[schemars(range(min = 1, max = 100_000))]
    pub concurrent_per_key_max: u32,
    /// Calls that may run at once against one source: a database, an API, a tool server.
    #[schemars(range(min = 1, max = 100_000))]
    pub concurrent_per_source_max: u32,
    /// How long a call waits for its turn when too many run.
    #[schemars(range(max = 60_000))]
    pub queue_wait_ms: u64,
    /// The longest a call that only reads may take, whatever its tool says. Changes take as long as their tool
    /// says.
    #[schemars(range(min = 1, max = 3_600_000))]
    pub request_timeout_ms: u64,
    /// How long work that was asked to stop may take to do so before it is aborted.
    #[schemars(range(max = 60_000))]
    pub cancel_grace_ms: u64,
    /// The largest arguments of a call, as JSON.
    #[schemars(range(min = 2, max = 67_108_864))]
    pub arguments_bytes_max: usize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            rate_per_minute: 100,
            concurrent_max: 256,
            concurrent_per_key_max: 64,
            concurrent_per_source_max: 10,
            queue_wait_ms: 2_000,
            request_timeout_ms: 30_000,
            cancel_grace_ms: 500,
            arguments_bytes_max: 4 * 1024 * 1024,
        }
    }
}

/// When a source that fails is left alone for a while.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BreakerConfig {
    /// Failures in a row that open the breaker.
    #[schemars(range(min = 1, max = 1_000))]
    pub failures_max: u32,
    /// How long it stays open before one call may try again.
    #[schemars(range(min = 1, max = 3_600_000))]
    pub open_ms: u64,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self { failures_max: 5, open_ms: 10_000 }
    }
}

/// How results are bounded and cleaned.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OutputConfig {
    /// Members whose values are masked in results, beside the known shapes of secrets.
    pub redact_names: Vec<String>,
    /// The largest result that is kept behind a handle when it is too large to send.
    #[schemars(range(min = 0, max = 1_073_741_824))]
    pub artefact_bytes_max: usize,
    /// How long such results are kept.
    #[schemars(range(min = 1, max = 8_760))]
    pub artefact_hours: u64,
    /// How much they may take all together.
    pub artefacts_total_bytes_max: u64,
    /// How long the answer to an idempotency key is remembered.
    #[schemars(range(min = 1, max = 8_760))]
    pub idempotency_hours: u64,
}

impl Default for OutputConfig {
    fn default() -> Self {
        Self {
            redact_names: Vec::new(),
            artefact_bytes_max: 64 * 1024 * 1024,
            artefact_hours: 24,
            artefacts_total_bytes_max: 1024 * 1024 * 1024,
            idempotency_hours: 24,
        }
    }
}

/// What the operator sets for a tool beside what its room says.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ToolConfig {
    /// Calls of this tool that everyone together may make in any 60 seconds.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub rate_per_minute: Option<u32>,
    /// True to space the calls evenly instead of counting them.
    pub smooth: Option<bool>,
    /// Calls of this tool that may run at once.
    #[schemars(range(min = 1, max = 100_000))]
    pub concurrent_max: Option<u32>,
    /// The longest a call may take.
    #[schemars(range(min = 1, max = 3_600_000))]
    pub timeout_ms: Option<u64>,
    /// The most bytes of JSON that an answer holds.
    #[schemars(range(min = 256, max = 67_108_864))]
    pub bytes_max: Option<usize>,
    /// How long an answer may be given again to the same principal; 0 is never.
    #[schemars(range(max = 86_400))]
    pub cache_seconds: Option<u64>,
    /// How results are cleaned: `strict`, `standard` or `off`.
    #[schemars(with = "Option<HygieneName>")]
    pub hygiene: Option<Hygiene>,
}

/// A chosen part of what there is, at `/mcp/toolsets/<name>`. It grants nothing: a caller sees what its roles let it see,
/// and of that only what is chosen here.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ToolsetConfig {
    /// Which tools, as in rules: a name, a glob (`get_*`), `effect:reads`, `label:NAME`, `source:GLOB` or `group:admin`.
    /// Prompts and resources go by the tools that stand for them (`prompt_*`, `resource_*`).
    pub tools: Vec<String>,
    /// What clients and their models are told it is for.
    #[serde(default)]
    #[schemars(length(max = 4_096))]
    pub instructions: Option<String>,
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

impl Config {
    /// What the schema cannot say: names that point nowhere, globs and conditions that do not parse.
    #[must_use]
    pub fn check(&self) -> Vec<ConfigFault> {
        let mut faults = Vec::new();
        for (name, principal) in &self.principals {
            for (i, role) in principal.roles.iter().enumerate() {
                if !self.roles.contains_key(role) && role != policy::LOCAL_ROLE {
                    let known = self.roles.keys().map(String::as_str);
                    let at = pointer(&["principals", name, "roles", &i.to_string()]);
                    faults.push(unknown(at, "role", role, known));
                }
            }
        }
        faults.extend(policy::check(&self.roles));
        faults.extend(toolset::check(&self.toolsets));
        for name in self.tools.keys() {
            if let Err(e) = ToolName::parse(name) {
                faults.push(ConfigFault::new(pointer(&["tools", name]), e.to_string()));
            }
        }
        faults
    }
}

/// A pointer into the configuration.
pub(crate) fn pointer(parts: &[&str]) -> String {
    let mut text = String::new();
    for part in parts {
        push_pointer(&mut text, part);
    }
    text
}

/// A fault for a name that points nowhere, with what may have been meant.
pub(crate) fn unknown<'a>(
    at: String,
    what: &str,
    name: &str,
    known: impl Iterator<Item = &'a str>,
) -> ConfigFault {
    let fault = ConfigFault::new(at, format!("there is no {what} {name:?}"));
    match nearest(name, known) {
        Some(near) => fault.hint(format!("did you mean {near:?}?")),
        None => fault,
    }
}
