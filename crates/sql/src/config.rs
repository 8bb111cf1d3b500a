use std::{collections::BTreeMap, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

/// The `sql:` section: databases, and the tools that read them.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The databases, by the name that tools and rules use for them (`sql:<name>` is the target of a call).
    pub databases: BTreeMap<String, DatabaseConfig>,
    /// Declared tools, by tool name: one read-only statement each, its parameters always bound.
    pub tools: BTreeMap<String, ToolConfig>,
    /// The bounds of `sql_query` and where it goes. It exists as soon as one database opens itself to free
    /// SQL (`query:`).
    pub query: QueryConfig,
    /// The bounds on what a single statement may be and hold; they keep every single step of the engine short.
    pub limits: LimitsConfig,
    /// The most memory that SQLite may take in this whole process, in bytes. A query that needs more fails. It
    /// can be lowered by a reload, not raised.
    pub memory_bytes_max: u64,
}

/// One database.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DatabaseConfig {
    /// The SQLite file; a relative path starts at the folder of the configuration file. It is opened for reading
    /// only and must exist.
    pub sqlite: PathBuf,
    /// How many queries may run at once, each on a connection of its own (1 to 64). Free SQL leaves one of them
    /// to the declared tools.
    #[serde(default = "defaults::readers")]
    pub readers: u32,
    /// How long a query waits for a lock that a writer holds, in milliseconds.
    #[serde(default = "defaults::busy_timeout_ms")]
    pub busy_timeout_ms: u64,
    /// The age at which a connection is replaced, in seconds.
    #[serde(default = "defaults::recycle_seconds")]
    pub recycle_seconds: u64,
    /// What `sql_query` and `sql_schema` see of this database. Left out: nothing, not even that it is there.
    #[serde(default)]
    pub query: Option<ExposureConfig>,
}

/// What free SQL sees of a database. A table that is not listed looks as if it did not exist.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExposureConfig {
    /// The tables and views that can be read, or `["*"]` for all of them. An empty list is none. A view also
    /// needs the tables it reads.
    pub tables: Vec<String>,
    /// Columns that cannot be read although their table can, as `table.column`.
    #[serde(default)]
    pub columns_hidden: Vec<String>,
    /// SQL functions allowed beside the usual ones. Such a function is not known to be cheap.
    #[serde(default)]
    pub functions: Vec<String>,
}

/// The bounds of `sql_query`, and where it goes.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct QueryConfig {
    /// The database that `sql_query` and `sql_schema` go to where a call names none; it must open itself to free
    /// SQL. Left out: the only one that does; where several do, each call must name one.
    pub database: Option<String>,
    /// The longest statement, in characters.
    pub sql_chars_max: u32,
    /// The most rows in one answer.
    pub rows_max: u32,
    /// The most bytes of JSON in one answer.
    pub bytes_max: u32,
    /// The longest a query may take, in milliseconds.
    pub timeout_ms: u64,
    /// How often everyone together may call it, in any 60 seconds.
    pub rate_per_minute: Option<u32>,
    /// How many of its calls may run at once.
    pub concurrent_max: Option<u32>,
    /// Labels that policy may use, such as `pii`.
    pub labels: Vec<String>,
}

/// Bounds on one statement. SQLite cannot be interrupted inside one step, so these keep each step short.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// The longest text or blob that a statement may make or read, in bytes (1,000 to 100,000,000).
    pub value_bytes_max: u32,
    /// The most columns of a result (1 to 2,000).
    pub columns_max: u32,
    /// The deepest expression (10 to 1,000).
    pub expression_depth_max: u32,
    /// The most `SELECT`s and `VALUES` in one free statement (1 to 200).
    pub selects_max: u32,
    /// The deepest nesting of parentheses in one free statement (1 to 100).
    pub nesting_max: u32,
    /// The most instructions of a compiled statement (1,000 to 1,000,000).
    pub instructions_max: u32,
    /// The longest pattern of `LIKE` and `GLOB`, in bytes (1 to 10,000).
    pub pattern_bytes_max: u32,
    /// The most bound parameters (1 to 32,766).
    pub parameters_max: u32,
}

/// A declared tool: one statement with named parameters.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ToolConfig {
    /// The database it reads.
    pub database: String,
    /// What it does, in one or two sentences in the present tense, for models and people alike.
    pub description: String,
    /// A short title for people.
    #[serde(default)]
    pub title: Option<String>,
    /// One read-only `SELECT` with named parameters such as `:customer_id`.
    pub statement: String,
    /// Its parameters, by name without the colon. Each must occur in the statement.
    #[serde(default)]
    pub parameters: BTreeMap<String, ParameterConfig>,
    /// Which parameters page through the result. The answer then holds both and `total_count`.
    #[serde(default)]
    pub paging: Option<PagingConfig>,
    /// Counts all rows for `total_count`: one number. Made from the statement, less its last `LIMIT`, where it is
    /// left out.
    #[serde(default)]
    pub count_statement: Option<String>,
    /// What the answer looks like.
    #[serde(default)]
    pub result: ResultConfig,
    /// The JSON Schema (2020-12) of the answer. Made from the statement's columns where it is left out.
    #[serde(default)]
    pub output: Option<Value>,
    /// The most rows in one answer.
    #[serde(default = "defaults::rows_max")]
    pub rows_max: u32,
    /// The most bytes of JSON in one answer.
    #[serde(default = "defaults::bytes_max")]
    pub bytes_max: u32,
    /// The longest a call may take, in milliseconds.
    #[serde(default = "defaults::tool_timeout_ms")]
    pub timeout_ms: u64,
    /// How long an answer may be given again to the same principal, in seconds. Left out: never.
    #[serde(default)]
    pub cache_seconds: Option<u64>,
    /// What it does to the world. Only reading is possible here.
    #[serde(default)]
    pub effect: EffectConfig,
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
    pub rate_per_minute: Option<u32>,
    /// How many of its calls may run at once.
    #[serde(default)]
    pub concurrent_max: Option<u32>,
    /// Its version, where it has several.
    #[serde(default)]
    pub version: Option<String>,
    /// Set where it is going away.
    #[serde(default)]
    pub deprecated: Option<DeprecatedConfig>,
}

/// One parameter, in the words of JSON Schema.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ParameterConfig {
    /// What it is.
    #[serde(rename = "type")]
    pub kind: ParameterType,
    /// What it means, for models and people alike.
    #[serde(default)]
    pub description: Option<String>,
    /// The value where it is left out.
    #[serde(default)]
    pub default: Option<Value>,
    /// Whether it must be given; so it is where there is no default. An optional one without a default is NULL.
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
}

/// The type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ParameterType {
    /// Text, bound as TEXT.
    String,
    /// A whole number of 64 bits, bound as INTEGER.
    Integer,
    /// Any number, bound as REAL.
    Number,
    /// True or false, bound as 1 or 0.
    Boolean,
}

/// The parameters that page through a result.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PagingConfig {
    /// The integer parameter that says how many rows.
    pub limit: String,
    /// The integer parameter that says how many rows to skip.
    pub offset: String,
}

/// What an answer looks like.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ResultConfig {
    /// The name of the list of rows.
    pub rows: String,
    /// The answer is the first row itself, as a bare object.
    pub single: bool,
    /// What a caller is told (404) where `single` finds no row; `{name}` stands for the value of a parameter.
    pub not_found: String,
}

/// What a declared tool does to the world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EffectConfig {
    /// It looks, and leaves everything as it was.
    #[default]
    Reads,
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

impl DatabaseConfig {
    /// A SQLite file with the usual bounds, closed to free SQL.
    #[must_use]
    pub fn sqlite(path: impl Into<PathBuf>) -> Self {
        Self {
            sqlite: path.into(),
            readers: defaults::readers(),
            busy_timeout_ms: defaults::busy_timeout_ms(),
            recycle_seconds: defaults::recycle_seconds(),
            query: None,
        }
    }
}

impl ExposureConfig {
    /// Every table and view.
    #[must_use]
    pub fn everything() -> Self {
        Self { tables: vec!["*".to_owned()], ..Self::default() }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            databases: BTreeMap::new(),
            tools: BTreeMap::new(),
            query: QueryConfig::default(),
            limits: LimitsConfig::default(),
            memory_bytes_max: 256 * 1024 * 1024,
        }
    }
}

impl Default for QueryConfig {
    fn default() -> Self {
        Self {
            database: None,
            sql_chars_max: 10_000,
            rows_max: defaults::rows_max(),
            bytes_max: defaults::bytes_max(),
            timeout_ms: 10_000,
            rate_per_minute: None,
            concurrent_max: None,
            labels: Vec::new(),
        }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            value_bytes_max: 1_000_000,
            columns_max: 200,
            expression_depth_max: 100,
            selects_max: 50,
            nesting_max: 40,
            instructions_max: 25_000,
            pattern_bytes_max: 200,
            parameters_max: 500,
        }
    }
}

impl Default for ResultConfig {
    fn default() -> Self {
        Self { rows: "rows".to_owned(), single: false, not_found: "no row matches".to_owned() }
    }
}

mod defaults {
    pub(super) fn readers() -> u32 {
        4
    }

    pub(super) fn busy_timeout_ms() -> u64 {
        1_000
    }

    pub(super) fn recycle_seconds() -> u64 {
        3_600
    }

    pub(super) fn rows_max() -> u32 {
        1_000
    }

    pub(super) fn bytes_max() -> u32 {
        1024 * 1024
    }

    pub(super) fn tool_timeout_ms() -> u64 {
        30_000
    }
}
