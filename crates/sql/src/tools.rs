//! The tools as callers see them: names, schemas, bounds.

use std::{sync::Arc, time::Duration};

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tool::{Breaks, Caching, Deprecation, Rate, Tool, ToolName, json::closed_object};

use crate::config::{Config, ParameterConfig, ParameterType, QueryConfig, ToolConfig};

/// The name of the tool for free SQL.
pub(crate) const QUERY: &str = "sql_query";
/// The name of the tool that lists tables.
pub(crate) const SCHEMA: &str = "sql_schema";

/// What `next_offset` is.
const NEXT_OFFSET: &str = "Where rows were left out: the offset of the first one that is missing.";
/// What `next` is.
const NEXT: &str = "Where rows were left out: why, and how to get them.";

/// The arguments of `sql_query`.
#[derive(Debug, Deserialize)]
pub(crate) struct QueryArguments {
    pub(crate) sql: String,
    #[serde(default)]
    pub(crate) params: Value,
    #[serde(default)]
    pub(crate) database: Option<String>,
    #[serde(default)]
    pub(crate) offset: u64,
}

/// The arguments of `sql_schema`.
#[derive(Debug, Deserialize)]
pub(crate) struct SchemaArguments {
    #[serde(default)]
    pub(crate) database: Option<String>,
}

/// `sql_query` and `sql_schema` over the databases that open themselves to free SQL; none where none does.
pub(crate) fn free(config: &Config) -> Vec<Tool> {
    let databases = exposed(config);
    let (Ok(query), Ok(schema)) = (ToolName::parse(QUERY), ToolName::parse(SCHEMA)) else {
        return Vec::new();
    };
    let source = match databases.as_slice() {
        [] => return Vec::new(),
        [one] => source(one),
        _ => "sql".to_owned(),
    };
    let bounds = &config.query;
    let bounded = |mut tool: Tool, alias: &str| {
        tool.aliases = vec![alias.into()];
        tool.time_max = Duration::from_millis(bounds.timeout_ms);
        tool.bytes_max = size(bounds.bytes_max);
        tool.rate = bounds.rate_per_minute.map(Rate::per_minute);
        tool.concurrent_max = bounds.concurrent_max;
        tool.labels = bounds.labels.iter().map(|label| label.as_str().into()).collect();
        // Slow SQL of a caller's own says nothing about the database that the declared tools read too.
        tool.breaks = Breaks::Never;
        tool
    };
    let about = format!(
        "Runs one read-only SQLite SELECT (also WITH, VALUES and EXPLAIN QUERY PLAN) and returns its rows, at most \
         {} of them. Give values as params, not in the text. sql_schema lists the tables and columns there are.",
        bounds.rows_max
    );
    let choice = Choice { databases: &databases, usual: usual(config) };
    let mut query = bounded(Tool::reading(query, &source, &about, query_input(bounds, &choice)), "sql.query");
    query.title = Some("Query a database".into());
    query.output = Some(Arc::new(query_output()));
    query.examples = vec![json!({ "sql": "SELECT 1 + ?1 AS sum", "params": [2] })];
    let about = "Lists the tables and columns that sql_query can read.";
    let required: Vec<_> = choice.required().into_iter().collect();
    let input = closed_object(&json!({ "database": choice.property() }), &required);
    let mut schema = bounded(Tool::reading(schema, &source, about, input), "sql.schema");
    schema.title = Some("List tables".into());
    schema.output = Some(Arc::new(schema_output()));
    schema.examples = vec![json!({ "database": choice.usual.or_else(|| databases.first().copied()) })];
    vec![query, schema]
}

/// The databases that open themselves to free SQL, by name.
pub(crate) fn exposed(config: &Config) -> Vec<&str> {
    config.databases.iter().filter(|(_, d)| d.query.is_some()).map(|(name, _)| name.as_str()).collect()
}

/// The database that free SQL goes to where a call names none: the one that the section names, or the only one.
pub(crate) fn usual(config: &Config) -> Option<&str> {
    let named = config.query.database.as_deref();
    named.or_else(|| match exposed(config).as_slice() {
        [one] => Some(*one),
        _ => None,
    })
}

/// What a call of a database touches.
pub(crate) fn source(database: &str) -> String {
    format!("sql:{database}")
}

/// A declared tool whose statement has these columns.
pub(crate) fn declared(name: ToolName, config: &ToolConfig, columns: &[String]) -> Tool {
    let text = |text: &String| Arc::<str>::from(text.as_str());
    let mut tool = Tool::reading(name, &source(&config.database), &config.description, input(config));
    tool.aliases = config.aliases.iter().map(text).collect();
    tool.title = config.title.as_ref().map(text);
    tool.output = Some(Arc::new(config.output.clone().unwrap_or_else(|| output(config, columns))));
    tool.examples.clone_from(&config.examples);
    tool.labels = config.labels.iter().map(text).collect();
    tool.time_max = Duration::from_millis(config.timeout_ms);
    tool.bytes_max = size(config.bytes_max);
    tool.caching = config.cache_seconds.map_or(Caching::Off, |s| Caching::For(Duration::from_secs(s)));
    tool.rate = config.rate_per_minute.map(Rate::per_minute);
    tool.concurrent_max = config.concurrent_max;
    tool.version = config.version.as_ref().map(text);
    tool.deprecation = config.deprecated.as_ref().map(|deprecated| Deprecation {
        since: deprecated.since.as_ref().map(text),
        removal: text(&deprecated.removal),
        instead: deprecated.instead.as_ref().map(text),
    });
    tool
}

/// The schema of one parameter.
pub(crate) fn property(parameter: &ParameterConfig) -> Value {
    let kind = match parameter.kind {
        ParameterType::String => "string",
        ParameterType::Integer => "integer",
        ParameterType::Number => "number",
        ParameterType::Boolean => "boolean",
    };
    let mut schema = Map::from_iter([("type".to_owned(), json!(kind))]);
    let number = |number: &Option<serde_json::Number>| number.clone().map(Value::Number);
    let text = |text: &Option<String>| text.clone().map(Value::String);
    let count = |count: Option<u32>| count.map(|count| json!(count));
    for (name, value) in [
        ("description", text(&parameter.description)),
        ("default", parameter.default.clone()),
        ("enum", parameter.one_of.clone().map(Value::Array)),
        ("minimum", number(&parameter.minimum)),
        ("maximum", number(&parameter.maximum)),
        ("exclusiveMinimum", number(&parameter.exclusive_minimum)),
        ("exclusiveMaximum", number(&parameter.exclusive_maximum)),
        ("minLength", count(parameter.min_length)),
        ("maxLength", count(parameter.max_length)),
        ("pattern", text(&parameter.pattern)),
        ("format", text(&parameter.format)),
    ] {
        if let Some(value) = value {
            schema.insert(name.to_owned(), value);
        }
    }
    Value::Object(schema)
}

/// True where a call must give this parameter.
pub(crate) fn is_required(parameter: &ParameterConfig) -> bool {
    parameter.required.unwrap_or(parameter.default.is_none())
}

fn input(config: &ToolConfig) -> Value {
    let properties = config.parameters.iter().map(|(name, parameter)| (name.clone(), property(parameter)));
    let required: Vec<_> =
        config.parameters.iter().filter(|(_, p)| is_required(p)).map(|(name, _)| name.as_str()).collect();
    closed_object(&Value::Object(properties.collect()), &required)
}

fn output(config: &ToolConfig, columns: &[String]) -> Value {
    let members: Map<String, Value> = columns.iter().map(|name| (name.clone(), json!(true))).collect();
    let row = json!({ "type": "object", "properties": members, "required": columns });
    if config.result.single {
        return row;
    }
    let mut properties = Map::from_iter([
        (config.result.rows.clone(), json!({ "type": "array", "items": row })),
        (
            "truncated".to_owned(),
            json!({ "type": "boolean", "description": "True where rows were left out." }),
        ),
        ("next".to_owned(), json!({ "type": "string", "description": NEXT })),
    ]);
    let mut required = vec![config.result.rows.clone()];
    let mut count = |name: &str, about: &str| {
        let schema = json!({ "type": "integer", "minimum": 0, "description": about });
        properties.insert(name.to_owned(), schema);
        required.push(name.to_owned());
    };
    match &config.paging {
        Some(paging) => {
            count(&paging.limit, "How many rows were asked for.");
            count(&paging.offset, "How many rows were skipped.");
            count("total_count", "How many rows there are in all.");
            let next = json!({ "type": "integer", "minimum": 0, "description": NEXT_OFFSET });
            properties.insert("next_offset".to_owned(), next);
        }
        None => count("row_count", "How many rows are here."),
    }
    json!({ "type": "object", "properties": properties, "required": required })
}

fn query_input(bounds: &QueryConfig, choice: &Choice<'_>) -> Value {
    let required: Vec<_> = ["sql"].into_iter().chain(choice.required()).collect();
    let properties = json!({
        "sql": {
            "type": "string",
            "minLength": 1,
            "maxLength": bounds.sql_chars_max,
            "description": "One SELECT in SQLite's dialect, with ?1 or :name for each value."
        },
        "params": {
            "type": ["array", "object"],
            "default": [],
            "description": "The values: an array for ?1, ?2, an object for :name. A blob is {\"base64\": \"..\"}."
        },
        "database": choice.property(),
        "offset": {
            "type": "integer",
            "minimum": 0,
            "default": 0,
            "description": "Rows to skip: next_offset of a truncated answer. Needs an ORDER BY to mean anything."
        }
    });
    closed_object(&properties, &required)
}

fn query_output() -> Value {
    json!({
        "type": "object",
        "properties": {
            "rows": { "type": "array", "items": { "type": "object" } },
            "columns": { "type": "array", "items": { "type": "string" } },
            "row_count": { "type": "integer", "minimum": 0 },
            "truncated": { "type": "boolean", "description": "True where there are more rows." },
            "next_offset": { "type": "integer", "description": NEXT_OFFSET },
            "next": { "type": "string", "description": NEXT }
        },
        "required": ["rows", "columns", "row_count", "truncated"]
    })
}

fn schema_output() -> Value {
    let column = json!({
        "type": "object",
        "properties": {
            "name": { "type": "string" },
            "type": { "type": "string" },
            "nullable": { "type": "boolean" },
            "primary_key": { "type": "boolean" }
        },
        "required": ["name", "type", "nullable", "primary_key"]
    });
    let table = json!({
        "type": "object",
        "properties": {
            "name": { "type": "string" },
            "kind": { "type": "string" },
            "columns": { "type": "array", "items": column }
        },
        "required": ["name", "kind", "columns"]
    });
    json!({
        "type": "object",
        "properties": { "database": { "type": "string" }, "tables": { "type": "array", "items": table } },
        "required": ["database", "tables"]
    })
}

/// The databases of free SQL, as an argument.
struct Choice<'a> {
    databases: &'a [&'a str],
    usual: Option<&'a str>,
}

impl Choice<'_> {
    fn property(&self) -> Value {
        let mut schema = json!({ "type": "string", "enum": self.databases, "description": "The database." });
        if let Some(usual) = self.usual {
            schema["default"] = json!(usual);
        }
        schema
    }

    /// The argument's name, where a call must give it.
    fn required(&self) -> Option<&'static str> {
        self.usual.is_none().then_some("database")
    }
}

fn size(bytes: u32) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
