use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};
use tool::{Ordered, SecretRef};

/// The `rest:` section: REST APIs, and the tools that call them.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The APIs, by the name that tools and rules use for them (`rest:<name>/<path>` is the target of a call).
    pub apis: BTreeMap<String, ApiConfig>,
    /// The tools, by tool name: one request each.
    pub tools: BTreeMap<String, ToolConfig>,
}

/// One REST API.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiConfig {
    /// Where it is: an http or https URL that the paths of tools are appended to, such as
    /// `https://api.example.com/v2`.
    pub base_url: String,
    /// How we show who we are. Never sent to another origin.
    #[serde(default)]
    pub auth: Option<AuthConfig>,
    /// Headers of every request. Never sent to another origin.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The longest one request may take, in milliseconds, redirects included.
    #[serde(default = "defaults::timeout_ms")]
    #[schemars(range(min = 1, max = 3_600_000))]
    pub timeout_ms: u64,
    /// The longest a connection may take to come up, in milliseconds.
    #[serde(default = "defaults::connect_timeout_ms")]
    #[schemars(range(min = 1, max = 600_000))]
    pub connect_timeout_ms: u64,
    /// How often a failed request is made again, where the tool is idempotent; others are never repeated.
    #[serde(default = "defaults::retries")]
    #[schemars(range(max = 10))]
    pub retries: u32,
    /// The first wait before a request is made again, in milliseconds; doubled each time, with jitter.
    #[serde(default = "defaults::retry_wait_ms")]
    #[schemars(range(min = 1, max = 60_000))]
    pub retry_wait_ms: u64,
    /// The longest such wait, in milliseconds.
    #[serde(default = "defaults::retry_wait_ms_max")]
    #[schemars(range(min = 1, max = 600_000))]
    pub retry_wait_ms_max: u64,
    /// Requests that may run at once; more wait for their turn.
    #[serde(default = "defaults::max_connections")]
    #[schemars(range(min = 1, max = 10_000))]
    pub max_connections: u32,
    /// Unused connections that are kept.
    #[serde(default = "defaults::max_keepalive")]
    #[schemars(range(max = 10_000))]
    pub max_keepalive: u32,
    /// Redirects that are followed, for GET and HEAD, on the API's own origin alone: one that leads off it is a
    /// failure of the API.
    #[serde(default = "defaults::redirects_max")]
    #[schemars(range(max = 20))]
    pub redirects_max: u32,
    /// The most that is read of an answer, in bytes, unpacked; a longer one is a failure of the API.
    #[serde(default = "defaults::response_bytes_max")]
    #[schemars(range(min = 1, max = 268_435_456))]
    pub response_bytes_max: usize,
    /// Places on our own network that may be reached, each an exact `host:port`. Without it no loopback, private or
    /// link-local address is.
    #[serde(default)]
    pub allow_private: Vec<String>,
    /// A path that answers 2xx when the API is well. Left out: health is whether it takes a connection.
    #[serde(default)]
    pub health_path: Option<String>,
    /// True to send `traceparent` and `X-Request-ID` along.
    #[serde(default = "defaults::propagate_trace")]
    pub propagate_trace: bool,
}

/// How we show who we are.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuthConfig {
    /// `Authorization: Bearer <token>`.
    Bearer(SecretRef),
    /// A header of the API's own.
    Header(HeaderAuth),
    /// `Authorization: Basic`, RFC 7617.
    Basic(BasicAuth),
}

/// A header that holds a secret.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeaderAuth {
    /// The header, such as `X-API-Key`.
    pub name: String,
    /// The secret.
    pub value: SecretRef,
}

/// A user and password.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BasicAuth {
    /// The user; without a colon.
    pub user: String,
    /// The password.
    pub password: SecretRef,
}

/// A declared tool: one request.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ToolConfig {
    /// The API it calls.
    pub api: String,
    /// The method.
    pub method: MethodConfig,
    /// The path below the API's base URL; `{name}` stands for a parameter: `/customers/{customer_id}`.
    pub path: String,
    /// What it does, in one or two sentences in the present tense, for models and people alike.
    pub description: String,
    /// A short title for people.
    #[serde(default)]
    pub title: Option<String>,
    /// Its parameters, by the name callers use.
    #[serde(default)]
    pub parameters: Ordered<ParameterConfig>,
    /// The parameter whose value is the whole body, where the body is not made of single parameters.
    #[serde(default)]
    pub body: Option<String>,
    /// What is taken from an answer. Left out: all of it, as it came.
    #[serde(default)]
    pub response: ResponseConfig,
    /// What callers are told when it fails; the first row that fits counts.
    #[serde(default)]
    pub errors: Vec<ErrorConfig>,
    /// The JSON Schema (2020-12) of the result.
    #[serde(default)]
    pub output: Option<Value>,
    /// The longest one request may take, in milliseconds; the API's where it is left out.
    #[serde(default)]
    #[schemars(range(min = 1, max = 3_600_000))]
    pub timeout_ms: Option<u64>,
    /// The most bytes of JSON in one result; the rest is kept behind a handle.
    #[serde(default = "defaults::bytes_max")]
    #[schemars(range(min = 256, max = 67_108_864))]
    pub bytes_max: usize,
    /// How long a result may be given again to the same principal, in seconds. Left out: never.
    #[serde(default)]
    #[schemars(range(max = 86_400))]
    pub cache_seconds: Option<u64>,
    /// What it does to the world. By default GET and HEAD read, DELETE destroys and the others change.
    #[serde(default)]
    pub effect: Option<EffectConfig>,
    /// Whether the same call twice has the effect of one. By default so for GET, HEAD, PUT and DELETE.
    #[serde(default)]
    pub idempotent: Option<bool>,
    /// Older or dotted names under which REST accepts it too.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Arguments for the documentation and the try-it form.
    #[serde(default)]
    pub examples: Vec<Value>,
    /// Labels that policy may use, such as `pii`.
    #[serde(default)]
    pub labels: Vec<String>,
    /// How often everyone together may call it, in any 60 seconds.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub rate_per_minute: Option<u32>,
    /// How many of its calls may run at once.
    #[serde(default)]
    #[schemars(range(min = 1, max = 100_000))]
    pub concurrent_max: Option<u32>,
    /// Its version, where it has several.
    #[serde(default)]
    pub version: Option<String>,
    /// Set where it is going away.
    #[serde(default)]
    pub deprecated: Option<DeprecatedConfig>,
}

/// A method of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "RFC 9110 and RFC 5789 say what they mean")]
pub enum MethodConfig {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
}

/// What a tool does to the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EffectConfig {
    /// It looks, and leaves everything as it was.
    Reads,
    /// It changes something that can be changed back.
    Changes,
    /// It removes something for good.
    Destroys,
}

/// One parameter, in the words of JSON Schema, and where in the request it goes.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ParameterConfig {
    /// Where it goes.
    #[serde(rename = "in")]
    pub place: Place,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: ParameterType,
    /// What the API calls it; the parameter's own name where it is left out. In a body, a name that begins with `/`
    /// is an RFC 6901 pointer: `/customer/email`.
    #[serde(default)]
    pub name: Option<String>,
    /// What it means, for models and people alike.
    #[serde(default)]
    pub description: Option<String>,
    /// The value where it is left out.
    #[serde(default)]
    pub default: Option<Value>,
    /// Whether it must be given; so it is where there is no default. An optional one without a default is not sent.
    #[serde(default)]
    pub required: Option<bool>,
    /// The only values it may have.
    #[serde(default, rename = "enum")]
    pub one_of: Option<Vec<Value>>,
    /// The smallest number.
    #[serde(default)]
    pub minimum: Option<Number>,
    /// The largest number.
    #[serde(default)]
    pub maximum: Option<Number>,
    /// The number that it must be above.
    #[serde(default)]
    pub exclusive_minimum: Option<Number>,
    /// The number that it must be below.
    #[serde(default)]
    pub exclusive_maximum: Option<Number>,
    /// The shortest text, in characters.
    #[serde(default)]
    pub min_length: Option<u32>,
    /// The longest text, in characters.
    #[serde(default)]
    pub max_length: Option<u32>,
    /// A regular expression that the text must match somewhere.
    #[serde(default)]
    pub pattern: Option<String>,
    /// A format of JSON Schema, such as `date`.
    #[serde(default)]
    pub format: Option<String>,
    /// The JSON Schema of the items of an array.
    #[serde(default)]
    pub items: Option<Value>,
    /// The most items of an array.
    #[serde(default)]
    pub max_items: Option<u32>,
    /// The JSON Schemas of the members of an object, by name.
    #[serde(default)]
    pub properties: Option<serde_json::Map<String, Value>>,
}

/// Where a parameter goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Into the path, in place of `{name}`: one segment, percent-encoded.
    Path,
    /// Into the query; a list repeats the name.
    Query,
    /// Into the JSON body, as a member.
    Body,
    /// Into a header.
    Header,
}

/// The type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ParameterType {
    /// Text.
    String,
    /// A whole number.
    Integer,
    /// Any number.
    Number,
    /// True or false.
    Boolean,
    /// A list; in a query or a body.
    Array,
    /// An object; in a body.
    Object,
}

/// What is taken from an answer.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ResponseConfig {
    /// What a good answer holds.
    pub body: BodyKind,
    /// The part that is the result, as an RFC 6901 pointer such as `/data`. An answer without it is a failure of the
    /// API.
    pub pointer: Option<String>,
    /// The members of the result: a name, and the pointer to its value from there. Of a list, each item is taken
    /// apart. What is not there is null.
    pub fields: Ordered<String>,
}

/// What a good answer holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BodyKind {
    /// JSON. Where there is no body at all, the result is `{"status": 204}` with the status as it was.
    #[default]
    Json,
    /// Text; the result is `{"text": ..}`.
    Text,
    /// Nothing of interest; the result is `{"status": ..}`.
    None,
}

/// What callers are told of one kind of failure.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ErrorConfig {
    /// Which: an HTTP status such as `404`, `4xx`, `5xx`, `timeout` or `connect`.
    pub status: ErrorOn,
    /// The sentence.
    pub error: String,
    /// The word for programs: what the caller may do about it. Left out: as it follows from the status.
    #[serde(default)]
    pub code: Option<ErrorWord>,
}

/// A kind of failure.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ErrorOn {
    /// An HTTP status from 400 to 599.
    Status(u16),
    /// `4xx`, `5xx`, `timeout` or `connect`.
    Word(String),
}

/// What a caller may do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorWord {
    /// It is not there: 404.
    NotFound,
    /// Ask otherwise: 400.
    Invalid,
    /// Not allowed: 403.
    Denied,
    /// It clashes with what is there: 409.
    Conflict,
    /// Ask again later: 502.
    Retry,
}

/// An end announced in advance.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeprecatedConfig {
    /// The day it goes away, as `YYYY-MM-DD`.
    pub removal: String,
    /// Since when it is deprecated, as `YYYY-MM-DD`.
    #[serde(default)]
    pub since: Option<String>,
    /// What to use instead.
    #[serde(default)]
    pub instead: Option<String>,
}

impl ApiConfig {
    /// The API at this URL with the usual bounds. Its own host and port may be private where `trusted` says that
    /// whoever named it answers for it.
    #[must_use]
    pub fn at(base_url: &str, trusted: bool) -> Self {
        let own = place::parse_url(base_url)
            .ok()
            .filter(|_| trusted)
            .map(|url| format!("{}:{}", url.host_str().unwrap_or_default(), place::port(&url)));
        Self {
            base_url: base_url.to_owned(),
            auth: None,
            headers: BTreeMap::new(),
            timeout_ms: defaults::timeout_ms(),
            connect_timeout_ms: defaults::connect_timeout_ms(),
            retries: defaults::retries(),
            retry_wait_ms: defaults::retry_wait_ms(),
            retry_wait_ms_max: defaults::retry_wait_ms_max(),
            max_connections: defaults::max_connections(),
            max_keepalive: defaults::max_keepalive(),
            redirects_max: defaults::redirects_max(),
            response_bytes_max: defaults::response_bytes_max(),
            allow_private: own.into_iter().collect(),
            health_path: None,
            propagate_trace: defaults::propagate_trace(),
        }
    }
}

impl ParameterConfig {
    /// Whether a caller must give it.
    #[must_use]
    pub fn is_required(&self) -> bool {
        self.required.unwrap_or(self.default.is_none())
    }
}

mod defaults {
    pub(super) fn timeout_ms() -> u64 {
        10_000
    }

    pub(super) fn connect_timeout_ms() -> u64 {
        3_000
    }

    pub(super) fn retries() -> u32 {
        2
    }

    pub(super) fn retry_wait_ms() -> u64 {
        100
    }

    pub(super) fn retry_wait_ms_max() -> u64 {
        2_000
    }

    pub(super) fn max_connections() -> u32 {
        10
    }

    pub(super) fn max_keepalive() -> u32 {
        10
    }

    pub(super) fn redirects_max() -> u32 {
        5
    }

    pub(super) fn response_bytes_max() -> usize {
        8 * 1024 * 1024
    }

    pub(super) fn bytes_max() -> usize {
        1024 * 1024
    }

    pub(super) fn propagate_trace() -> bool {
        true
    }
}
