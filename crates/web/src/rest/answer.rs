//! From a good answer to a result.

use std::sync::Arc;

use serde_json::{Value, json, value::RawValue};
use tool::{Code, Fault, Outcome};

use super::config::{BodyKind, ResponseConfig};
use crate::text;

/// Takes a body apart as declared. `typed` is true where the result must be a value, since a schema is held
/// against it.
///
/// Fault: `Upstream` where it is not what was declared.
pub(crate) fn outcome(
    api: &str,
    config: &ResponseConfig,
    typed: bool,
    (status, content_type, body): (u16, &str, &[u8]),
) -> Result<Outcome, Fault> {
    let blank = body.iter().all(u8::is_ascii_whitespace);
    match config.body {
        BodyKind::None => Ok(Outcome::new(json!({ "status": status }))),
        BodyKind::Text => Ok(Outcome::new(json!({ "text": text::decode(body, content_type) }))),
        BodyKind::Json if blank && config.pointer.is_none() && config.fields.is_empty() => {
            Ok(Outcome::new(json!({ "status": status })))
        }
        BodyKind::Json => {
            let nonsense = |e: serde_json::Error| {
                let found = if content_type.is_empty() { "something" } else { content_type };
                let found: String = found.chars().take(100).collect();
                let text = format!("{api} answered {status} with {found:?} that is not JSON");
                Fault::new(Code::Upstream, text).because(e)
            };
            if config.pointer.is_none() && config.fields.is_empty() && !typed {
                let raw: Box<RawValue> = serde_json::from_slice(body).map_err(nonsense)?;
                return Ok(Outcome::raw(Arc::from(raw)));
            }
            let value: Value = serde_json::from_slice(body).map_err(nonsense)?;
            mapped(api, config, value).map(Outcome::new)
        }
    }
}

fn mapped(api: &str, config: &ResponseConfig, mut value: Value) -> Result<Value, Fault> {
    if let Some(pointer) = &config.pointer {
        let part = value.pointer_mut(pointer).map(Value::take);
        value = part.ok_or_else(|| {
            Fault::new(
                Code::Upstream,
                format!("{api} answered without {pointer:?}, where the result should be"),
            )
        })?;
    }
    if config.fields.is_empty() {
        return Ok(value);
    }
    match value {
        Value::Array(items) => Ok(items.iter().map(|item| fields(config, item)).collect()),
        object @ Value::Object(_) => Ok(fields(config, &object)),
        _ => Err(Fault::new(
            Code::Upstream,
            format!("{api} answered with a plain value where an object should be"),
        )),
    }
}

fn fields(config: &ResponseConfig, item: &Value) -> Value {
    let field = |(name, pointer): (&String, &String)| {
        (name.clone(), item.pointer(pointer).cloned().unwrap_or(Value::Null))
    };
    Value::Object(config.fields.iter().map(field).collect())
}
