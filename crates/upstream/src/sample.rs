//! Arguments that a schema takes, made up: to try a tool with, and to fill in a form with what it says stands there
//! anyway.

use serde_json::{Map, Value, json};

/// How deep schemas are followed.
const DEPTH_MAX: usize = 8;

/// A value that a schema most likely takes: what it says itself where it does (a constant, a default, an example), else the
/// least that fits its bounds. Of an object only what is required, or stands there anyway.
pub(crate) fn of(schema: &Value) -> Value {
    make(schema, schema, 0)
}

fn make(schema: &Value, root: &Value, depth: usize) -> Value {
    let first = |name: &str| schema[name].as_array().and_then(|items| items.first());
    let said = schema.get("const").or_else(|| schema.get("default")).or_else(|| first("examples"));
    if let Some(said) = said.or_else(|| first("enum")) {
        return said.clone();
    }
    if depth > DEPTH_MAX {
        return Value::Null;
    }
    if let Some(target) = schema["$ref"].as_str().and_then(|to| root.pointer(to.strip_prefix('#')?)) {
        return make(target, root, depth + 1);
    }
    let kind = schema["type"].as_str().or_else(|| first("type")?.as_str());
    if let Some(one) = ["oneOf", "anyOf", "allOf"].into_iter().find_map(first).filter(|_| kind.is_none()) {
        return make(one, root, depth + 1);
    }
    match kind {
        Some("string") => json!(text(schema)),
        Some("integer") => json!(schema["minimum"].as_f64().map_or(1, whole)),
        Some("number") => schema["minimum"].as_f64().map_or(json!(1), |least| json!(least)),
        Some("boolean") => json!(true),
        Some("null") => Value::Null,
        Some("array") => {
            let count = schema["minItems"].as_u64().unwrap_or(0).min(16);
            (0..count).map(|_| make(&schema["items"], root, depth + 1)).collect()
        }
        _ if kind == Some("object") || schema["properties"].is_object() => {
            let required = |name: &str| {
                schema["required"].as_array().into_iter().flatten().any(|one| one.as_str() == Some(name))
            };
            let members = schema["properties"].as_object().into_iter().flatten();
            let wanted = members.filter(|(name, member)| required(name) || member.get("default").is_some());
            let made = wanted.map(|(name, member)| (name.clone(), make(member, root, depth + 1)));
            Value::Object(made.collect::<Map<_, _>>())
        }
        _ => json!("example"),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a bound beyond 2^53 is no number that a sample has to meet"
)]
fn whole(least: f64) -> i64 {
    least.ceil() as i64
}

fn text(schema: &Value) -> String {
    let known = match schema["format"].as_str() {
        Some("email") => "ada@example.com",
        Some("uri" | "url") => "https://example.com/",
        Some("date") => "2026-01-01",
        Some("date-time") => "2026-01-01T00:00:00Z",
        _ => "example",
    };
    let bound = |name: &str| schema[name].as_u64().map(|n| usize::try_from(n).unwrap_or(usize::MAX));
    let mut text: String = known.chars().take(bound("maxLength").unwrap_or(usize::MAX)).collect();
    let least = bound("minLength").unwrap_or(0).min(4_096);
    while text.chars().count() < least {
        text.push('x');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_fit_their_schemas() {
        for (schema, sample) in [
            (json!({ "type": "string" }), json!("example")),
            (json!({ "type": "string", "maxLength": 3 }), json!("exa")),
            (json!({ "type": "string", "minLength": 9 }), json!("examplexx")),
            (json!({ "type": "string", "format": "email" }), json!("ada@example.com")),
            (json!({ "type": "string", "enum": ["a", "b"] }), json!("a")),
            (json!({ "type": "integer", "minimum": 2.5 }), json!(3)),
            (json!({ "type": ["number", "null"] }), json!(1)),
            (json!({ "type": "array", "items": { "type": "boolean" }, "minItems": 2 }), json!([true, true])),
            (json!({ "oneOf": [{ "const": 7 }, {}] }), json!(7)),
            (json!({ "$ref": "#/$defs/a", "$defs": { "a": { "type": "integer", "default": 4 } } }), json!(4)),
            (
                json!({
                    "type": "object", "required": ["a"],
                    "properties": { "a": { "type": "string" }, "b": { "default": 2 }, "c": { "type": "string" } },
                }),
                json!({ "a": "example", "b": 2 }),
            ),
            (json!({ "type": "object", "anyOf": [{ "required": ["a"] }] }), json!({})),
            (json!({}), json!("example")),
        ] {
            assert_eq!(of(&schema), sample, "{schema}");
        }
        // One that leads back to itself ends.
        let endless = json!({ "type": "object", "required": ["a"], "properties": { "a": { "$ref": "#" } } });
        assert!(of(&endless)["a"]["a"].is_object());
    }
}
