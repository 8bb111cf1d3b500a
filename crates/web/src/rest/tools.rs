//! From a declared tool to what every face shows of it.

use std::{sync::Arc, time::Duration};

use serde_json::{Map, Value, json};
use tool::{Caching, Deprecation, Effect, Rate, Repeats, Retry, Tool, ToolName};

use super::config::{ApiConfig, EffectConfig, MethodConfig, ParameterConfig, ParameterType, ToolConfig};

/// Describes a tool. The section has been checked.
pub(crate) fn describe(name: &str, config: &ToolConfig, api: &ApiConfig) -> Tool {
    let name = ToolName::parse(name).expect("check has looked at it");
    let source = format!("rest:{}", config.api);
    let mut tool = Tool::reading(name, &source, &config.description, input(config));
    tool.aliases = shared(&config.aliases);
    tool.title = config.title.as_deref().map(Arc::from);
    tool.output = config.output.clone().map(Arc::new);
    tool.examples.clone_from(&config.examples);
    tool.effect = effect(config);
    tool.repeats = repeats(config);
    tool.labels = shared(&config.labels);
    tool.bytes_max = config.bytes_max;
    tool.caching = match config.cache_seconds {
        None | Some(0) => Caching::Off,
        Some(seconds) => Caching::For(Duration::from_secs(seconds)),
    };
    tool.retry = (tool.repeats == Repeats::Safe && api.retries > 0).then_some(Retry {
        again_max: api.retries,
        wait: Duration::from_millis(api.retry_wait_ms),
        wait_max: Duration::from_millis(api.retry_wait_ms_max),
    });
    tool.time_max = time_max(timeout(config, api), tool.retry);
    tool.rate = config.rate_per_minute.map(Rate::per_minute);
    tool.concurrent_max = config.concurrent_max;
    tool.version = config.version.as_deref().map(Arc::from);
    tool.deprecation = config.deprecated.as_ref().map(|deprecated| Deprecation {
        since: deprecated.since.as_deref().map(Arc::from),
        removal: deprecated.removal.as_str().into(),
        instead: deprecated.instead.as_deref().map(Arc::from),
    });
    tool
}

/// The longest one request may take.
pub(crate) fn timeout(config: &ToolConfig, api: &ApiConfig) -> Duration {
    Duration::from_millis(config.timeout_ms.unwrap_or(api.timeout_ms))
}

/// Time for every attempt and every wait, and a moment more, so that the tool's own sentence is heard.
fn time_max(attempt: Duration, retry: Option<Retry>) -> Duration {
    let again = retry.map_or(Duration::ZERO, |retry| (attempt + retry.wait_max) * retry.again_max);
    attempt + again + Duration::from_secs(1)
}

fn effect(config: &ToolConfig) -> Effect {
    match (config.effect, config.method) {
        (Some(EffectConfig::Reads), _) => Effect::Reads,
        (Some(EffectConfig::Changes), _) => Effect::Changes,
        (Some(EffectConfig::Destroys), _) => Effect::Destroys,
        (None, MethodConfig::Get | MethodConfig::Head) => Effect::Reads,
        (None, MethodConfig::Delete) => Effect::Destroys,
        (None, MethodConfig::Post | MethodConfig::Put | MethodConfig::Patch) => Effect::Changes,
    }
}

/// RFC 9110, 9.2.2, where the operator does not know better; what only reads can always be asked again.
fn repeats(config: &ToolConfig) -> Repeats {
    let by_method = !matches!(config.method, MethodConfig::Post | MethodConfig::Patch);
    let by_effect = config.effect == Some(EffectConfig::Reads);
    if config.idempotent.unwrap_or(by_method || by_effect) { Repeats::Safe } else { Repeats::Counts }
}

fn input(config: &ToolConfig) -> Value {
    let properties: Map<_, _> =
        config.parameters.iter().map(|(name, parameter)| (name.clone(), schema(parameter))).collect();
    let required: Vec<_> = config
        .parameters
        .iter()
        .filter(|(_, parameter)| parameter.is_required())
        .map(|(name, _)| name)
        .collect();
    let mut input = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        input["required"] = json!(required);
    }
    input
}

fn schema(parameter: &ParameterConfig) -> Value {
    let mut schema = Map::new();
    schema.insert("type".to_owned(), parameter.kind.as_str().into());
    let mut put = |word: &str, value: Option<Value>| {
        if let Some(value) = value {
            schema.insert(word.to_owned(), value);
        }
    };
    put("description", parameter.description.clone().map(Value::from));
    put("default", parameter.default.clone());
    put("enum", parameter.one_of.clone().map(Value::from));
    put("minimum", parameter.minimum.clone().map(Value::Number));
    put("maximum", parameter.maximum.clone().map(Value::Number));
    put("exclusiveMinimum", parameter.exclusive_minimum.clone().map(Value::Number));
    put("exclusiveMaximum", parameter.exclusive_maximum.clone().map(Value::Number));
    put("minLength", parameter.min_length.map(Value::from));
    put("maxLength", parameter.max_length.map(Value::from));
    put("pattern", parameter.pattern.clone().map(Value::from));
    put("format", parameter.format.clone().map(Value::from));
    put("items", parameter.items.clone());
    put("maxItems", parameter.max_items.map(Value::from));
    put("properties", parameter.properties.clone().map(Value::Object));
    Value::Object(schema)
}

impl ParameterType {
    fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Array => "array",
            Self::Object => "object",
        }
    }
}

fn shared(texts: &[String]) -> Vec<Arc<str>> {
    texts.iter().map(|text| Arc::from(text.as_str())).collect()
}
