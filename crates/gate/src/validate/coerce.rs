//! From what was sent to what was meant: defaults filled in, and strings turned into what the schema wants, where that
//! loses nothing. What a schema says of this is read off it once, when it is compiled.

use std::{collections::HashMap, sync::Arc};

use serde_json::{Map, Value};

use super::{DEPTH_MAX, kind_word, only_branch, resolve};

/// So many pairs of names are compared; more are looked up.
const COMPARED_MAX: usize = 64;

/// What a schema says of coercion.
pub(super) struct Coercion {
    /// The first is that of the whole; they name each other by number, as schemas may go in circles.
    nodes: Vec<Node>,
}

/// What one schema says of the value that it is for, references and the one branch followed.
#[derive(Default)]
struct Node {
    /// The kinds that `type` names; `None` where there is no `type`.
    kinds: Option<u8>,
    properties: Vec<Property>,
    items: Option<usize>,
}

struct Property {
    name: Box<str>,
    /// What is filled in; of a default that many properties refer to there is one copy.
    default: Option<Arc<Value>>,
    node: usize,
}

/// The words of `type`, each a bit of [`Node::kinds`].
const KINDS: [&str; 7] = ["null", "boolean", "number", "string", "array", "object", "integer"];
const BOOLEAN: u8 = 1 << 1;
const NUMBER: u8 = 1 << 2;
const INTEGER: u8 = 1 << 6;

impl Coercion {
    pub(super) fn of(root: &Value) -> Self {
        let mut reader = Reader { root, numbers: HashMap::new(), open: Vec::new(), defaults: HashMap::new() };
        reader.number(root);
        let mut nodes = Vec::new();
        // One after the other, not one within the other: a chain of references may be long.
        while let Some(schema) = reader.open.get(nodes.len()).copied() {
            nodes.push(reader.node(schema));
        }
        Self { nodes }
    }

    pub(super) fn apply(&self, value: &mut Value) {
        self.coerce(value, 0, 0);
    }

    fn coerce(&self, value: &mut Value, node: usize, depth: usize) {
        if depth > DEPTH_MAX {
            return;
        }
        let Some(node) = self.nodes.get(node) else { return };
        node.coerce_scalar(value);
        match value {
            Value::Object(members) => self.coerce_members(members, node, depth),
            Value::Array(items) => {
                if let Some(of) = node.items {
                    items.iter_mut().for_each(|item| self.coerce(item, of, depth + 1));
                }
            }
            _ => {}
        }
    }

    fn coerce_members(&self, members: &mut Map<String, Value>, node: &Node, depth: usize) {
        for property in &node.properties {
            if let Some(default) = &property.default
                && !members.contains_key(&*property.name)
            {
                members.insert(property.name.to_string(), Value::clone(default));
            }
        }
        if members.len() * node.properties.len() <= COMPARED_MAX {
            for (name, member) in members {
                if let Some(property) = node.properties.iter().find(|property| *property.name == **name) {
                    self.coerce(member, property.node, depth + 1);
                }
            }
            return;
        }
        for property in &node.properties {
            if let Some(member) = members.get_mut(&*property.name) {
                self.coerce(member, property.node, depth + 1);
            }
        }
    }
}

impl Node {
    fn coerce_scalar(&self, value: &mut Value) {
        let Some(kinds) = self.kinds else { return };
        let wants = |kind: u8| kinds & kind != 0;
        if (value.is_number() && wants(NUMBER | INTEGER)) || wants(bit(kind_word(value))) {
            if value.is_f64() && wants(INTEGER) && !wants(NUMBER) {
                *value = whole(value);
            }
            return;
        }
        let Some(text) = value.as_str() else { return };
        // Every integer is a number, too, and stays exact.
        let integer = if wants(INTEGER | NUMBER) { text.parse::<i64>().ok() } else { None };
        let coerced = match text {
            _ if integer.is_some() => integer.map(Value::from),
            _ if wants(NUMBER) => text.parse::<f64>().ok().filter(|n| n.is_finite()).map(Value::from),
            "true" | "false" if wants(BOOLEAN) => Some(Value::from(text == "true")),
            _ => None,
        };
        if let Some(coerced) = coerced {
            *value = coerced;
        }
    }
}

/// Reads nodes off a schema.
struct Reader<'a> {
    root: &'a Value,
    /// The numbers of schemas, by where they stand.
    numbers: HashMap<*const Value, usize>,
    /// The schemas by number.
    open: Vec<&'a Value>,
    /// The defaults that were met, by where they stand.
    defaults: HashMap<*const Value, Arc<Value>>,
}

impl<'a> Reader<'a> {
    /// The number of a schema, a new one where it has none yet.
    fn number(&mut self, schema: &'a Value) -> usize {
        let schema = resolve(schema, self.root);
        let schema = only_branch(schema, self.root).unwrap_or(schema);
        *self.numbers.entry(std::ptr::from_ref(schema)).or_insert_with(|| {
            self.open.push(schema);
            self.open.len() - 1
        })
    }

    fn node(&mut self, schema: &'a Value) -> Node {
        let properties = schema.get("properties").and_then(Value::as_object);
        let properties = properties.into_iter().flatten().map(|(name, of)| {
            let default = of.get("default").or_else(|| resolve(of, self.root).get("default"));
            let default = default.filter(|default| !default.is_null()).map(|default| {
                let known = self.defaults.entry(std::ptr::from_ref(default));
                Arc::clone(known.or_insert_with(|| Arc::new(default.clone())))
            });
            Property { name: name.as_str().into(), default, node: self.number(of) }
        });
        let properties = properties.collect();
        let items = schema.get("items").map(|of| self.number(of));
        Node { kinds: schema.get("type").map(kinds), properties, items }
    }
}

fn kinds(kind: &Value) -> u8 {
    match kind {
        Value::String(one) => bit(one),
        Value::Array(several) => {
            several.iter().filter_map(Value::as_str).fold(0, |kinds, one| kinds | bit(one))
        }
        _ => 0,
    }
}

fn bit(word: &str) -> u8 {
    KINDS.iter().position(|kind| *kind == word).map_or(0, |at| 1 << at)
}

/// 10.0 and 1e16 are integers in JSON Schema; tools get them as such. A whole number beyond 64 bits is none to any
/// tool: it becomes a text, which the schema refuses.
fn whole(value: &Value) -> Value {
    match value.as_f64() {
        Some(float) if float.fract() != 0.0 => value.clone(),
        #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^63")]
        Some(float) if float.abs() < 9_223_372_036_854_775_808.0 => Value::from(float as i64),
        _ => Value::from(value.to_string()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn schemas_in_circles() {
        let schema = json!({
            "$ref": "#/$defs/node",
            "$defs": { "node": {
                "type": "object",
                "properties": {
                    "n": { "type": "integer", "default": 1 },
                    "next": { "anyOf": [{ "$ref": "#/$defs/node" }, { "type": "null" }] },
                    "all": { "type": "array", "items": { "$ref": "#" } },
                },
            } },
        });
        let coercion = Coercion::of(&schema);
        let mut value = json!({ "next": { "n": "2", "next": null }, "all": [{ "n": 3.0 }] });
        coercion.apply(&mut value);
        assert_eq!(value, json!({ "next": { "n": 2, "next": null }, "all": [{ "n": 3 }], "n": 1 }));
        assert_eq!(coercion.nodes.len(), 3);
    }

    #[test]
    fn many_members_and_many_properties() {
        let properties: Map<String, Value> = (0..20)
            .map(|n| (format!("p{n}"), json!({ "type": ["null", "number"], "default": "7" })))
            .collect();
        let coercion = Coercion::of(&json!({ "properties": properties }));
        let mut value: Value = (0..10).map(|n| (format!("p{n}"), json!("1.5"))).collect::<Map<_, _>>().into();
        coercion.apply(&mut value);
        let expected = (0..20).map(|n| (format!("p{n}"), if n < 10 { json!(1.5) } else { json!(7) }));
        assert_eq!(value, Value::Object(expected.collect()));
    }
}
