//! `docs/configuration.md`: the JSON Schema of the configuration as pages for people.

use std::fmt::Write as _;

use anyhow::{Context, Result};
use serde_json::{Map, Value};

const HEAD: &str = "\
# Configuration

One YAML file. Made by `cargo xtask generate` from `portcullis config schema`; every key there is stands here.
`portcullis check FILE` says what is wrong with a file, `portcullis config show` prints it as it is taken. For help in
an editor, begin the file with `# yaml-language-server: $schema=` and the place of
[portcullis.schema.json](../schema/portcullis.schema.json).

- Unknown keys are errors. Relative paths start at the folder of the file.
- Every bound has its unit in its name: `_ms`, `_seconds`, `_minutes`, `_hours`, `_bytes_max`, `_chars_max`. `_max` alone
  counts.
- Texts may hold `${VAR}`, `${VAR:-default}` and `${VAR:?message}`; `$${` stands for `${`. Expansion happens after
  parsing, so a value never becomes a key or a list.
- A *secret* is `${VAR}`, `{ file: PATH }` or `{ exec: [PROGRAM, ARGUMENT] }`.
- In the tables `<name>` stands for a name of your own and `[]` for each item of a list. *required* means: where the
  object around it is there. A dash means that there is no default: left out is left out.
- A changed file is taken at once, as a whole or not at all. Only a new start takes `data_dir`, `server`, `audit`,
  `changes`, `cache`, `lab`, `telemetry`, `upkeep`, and of `log` all but the level.

";

/// The page made from a schema, as `portcullis config schema` prints it.
pub(crate) fn configuration(schema: &str) -> Result<String> {
    let schema: Value =
        serde_json::from_str(schema).context("the schema of the configuration is not JSON")?;
    let reader = Reader { definitions: schema["$defs"].as_object().context("the schema has no $defs")? };
    let sections = members(&schema).context("the schema has no properties")?;
    let mut page = HEAD.to_owned();
    let links: Vec<String> = sections.keys().map(|name| format!("[`{name}`](#{name})")).collect();
    let _ = writeln!(page, "Sections: {}.", links.join(", "));
    for (name, section) in sections {
        let _ = write!(page, "\n## {name}\n\n{}\n", one_line(text_of(section)));
        let mut rows = Vec::new();
        reader.walk(name, section, Given::Required, &mut rows);
        // A section that is one plain value has a row of its own.
        if rows.is_empty() {
            rows.push(reader.row(name, section, text_of(section), Given::Optional));
        }
        let _ = write!(
            page,
            "\n| key | type | default | meaning |\n| --- | --- | --- | --- |\n{}",
            rows.concat()
        );
    }
    Ok(page)
}

struct Reader<'a> {
    definitions: &'a Map<String, Value>,
}

/// Whether a key must be given.
#[derive(Clone, Copy)]
enum Given {
    Required,
    OneOfThese,
    Optional,
}

impl<'a> Reader<'a> {
    /// The rows of everything below a place; `given` is what is said of its required members.
    fn walk(&self, path: &str, schema: &'a Value, given: Given, rows: &mut Vec<String>) {
        let schema = self.resolved(schema);
        if let Some(properties) = members(schema) {
            for (name, property) in properties {
                let listed =
                    schema["required"].as_array().is_some_and(|all| all.iter().any(|one| one == name));
                let below = format!("{path}.{name}");
                // One way of several is described as a whole.
                let about = if text_of(property).is_empty() { text_of(schema) } else { text_of(property) };
                rows.push(self.row(&below, property, about, if listed { given } else { Given::Optional }));
                self.walk(&below, property, Given::Required, rows);
            }
        } else if let Some(each) = schema.get("additionalProperties").filter(|each| each.is_object()) {
            self.walk(&format!("{path}.<name>"), each, Given::Required, rows);
        } else if let Some(item) = schema.get("items").filter(|item| item.is_object()) {
            self.walk(&format!("{path}[]"), item, Given::Required, rows);
        } else if !is_secret(schema) {
            let given = if schema["oneOf"].is_array() { Given::OneOfThese } else { Given::Required };
            for variant in variants(schema) {
                self.walk(path, variant, given, rows);
            }
        }
    }

    fn row(&self, path: &str, property: &Value, about: &str, given: Given) -> String {
        let schema = self.resolved(property);
        let mut meaning = one_line(about);
        for variant in variants(schema).iter().filter(|variant| variant.get("const").is_some()) {
            let _ = write!(meaning, "<br>{}: {}", code(&variant["const"]), one_line(text_of(variant)));
        }
        let default = match (given, property.get("default")) {
            (Given::Required, _) => "*required*".to_owned(),
            (Given::OneOfThese, _) => "*one of these*".to_owned(),
            (Given::Optional, None | Some(Value::Null)) => "-".to_owned(),
            (Given::Optional, Some(value)) => code(value),
        };
        format!("| `{path}` | {} | {default} | {meaning} |\n", self.kind(property))
    }

    /// A type and its bounds, in a few words.
    fn kind(&self, property: &Value) -> String {
        let schema = self.resolved(property);
        if is_secret(schema) {
            return "secret".to_owned();
        }
        let variants = variants(schema);
        if !variants.is_empty() {
            let mut names: Vec<String> = variants.iter().map(|variant| self.kind(variant)).collect();
            names.dedup();
            return names.join(" or ");
        }
        if let Some(value) = schema.get("const") {
            return code(value);
        }
        if let Some(values) = schema["enum"].as_array() {
            return values.iter().map(code).collect::<Vec<_>>().join(" or ");
        }
        match type_of(schema) {
            Some("integer") => bounded("integer", schema, "minimum", "maximum"),
            Some("number") => bounded("number", schema, "minimum", "maximum"),
            Some("string") => bounded("text", schema, "minLength", "maxLength"),
            Some("boolean") => "true or false".to_owned(),
            Some("array") if schema["items"].is_object() => {
                format!("list of {}", self.kind(&schema["items"]))
            }
            Some("array") => "list".to_owned(),
            Some("object") if schema["additionalProperties"].is_object() => {
                format!("map of {}", self.kind(&schema["additionalProperties"]))
            }
            Some("object") => "object".to_owned(),
            _ => "any".to_owned(),
        }
    }

    /// What a reference points to, through `X or null` as well.
    fn resolved(&self, schema: &'a Value) -> &'a Value
    where
        Self: 'a,
    {
        if let Some(name) = schema["$ref"].as_str().and_then(|link| link.strip_prefix("#/$defs/")) {
            return self.definitions.get(name).map_or(schema, |found| self.resolved(found));
        }
        match variants(schema).as_slice() {
            [one] => self.resolved(one),
            _ => schema,
        }
    }
}

fn members(schema: &Value) -> Option<&Map<String, Value>> {
    schema["properties"].as_object()
}

/// The ways something may be, `null` aside.
fn variants(schema: &Value) -> Vec<&Value> {
    let ways = schema["anyOf"].as_array().or_else(|| schema["oneOf"].as_array());
    ways.into_iter().flatten().filter(|way| way["type"] != "null").collect()
}

/// Its type, where it has one beside null.
fn type_of(schema: &Value) -> Option<&str> {
    match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).find(|name| *name != "null"),
        one => one.as_str(),
    }
}

/// Whether it is a reference to a secret, which is explained once at the top.
fn is_secret(schema: &Value) -> bool {
    let ways = variants(schema);
    ["file", "exec"].iter().all(|way| ways.iter().any(|variant| !variant["properties"][way].is_null()))
}

fn bounded(name: &str, schema: &Value, least: &str, most: &str) -> String {
    let unit = if name == "text" { " characters" } else { "" };
    match (schema[least].as_u64().filter(|&least| least > 0), schema[most].as_u64()) {
        (None, None) => name.to_owned(),
        (Some(least), None) => format!("{name}, at least {}{unit}", grouped(least)),
        (None, Some(most)) => format!("{name}, at most {}{unit}", grouped(most)),
        (Some(least), Some(most)) => format!("{name}, {} to {}{unit}", grouped(least), grouped(most)),
    }
}

/// A number as people read it: `1,048,576`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn code(value: &Value) -> String {
    match value {
        Value::String(text) => format!("`{text}`"),
        other => format!("`{other}`"),
    }
}

fn text_of(schema: &Value) -> &str {
    schema["description"].as_str().unwrap_or_default()
}

/// A description as a cell of a table.
fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_schema_becomes_sections_of_rows() {
        let schema = r##"{
            "properties": {
                "data_dir": { "type": ["string", "null"], "description": "Where\nit lies.", "default": null },
                "apis": { "type": "object", "description": "All.", "additionalProperties": { "$ref": "#/$defs/Api" } }
            },
            "$defs": {
                "Api": { "type": "object", "required": ["url"], "properties": {
                    "url": { "type": "string", "description": "A | b.", "minLength": 1 },
                    "wait_ms": { "type": "integer", "minimum": 0, "maximum": 60000, "default": 250, "description": "W." },
                    "key": { "anyOf": [{ "$ref": "#/$defs/Secret" }, { "type": "null" }], "description": "K." },
                    "mode": { "$ref": "#/$defs/Mode", "default": "on", "description": "M." },
                    "hosts": { "type": "array", "items": { "type": "string" }, "default": [], "description": "H." }
                } },
                "Mode": { "oneOf": [{ "const": "on", "description": "It is." }, { "const": "off", "description": "It is not." }] },
                "Secret": { "anyOf": [{ "type": "string" }, { "properties": { "file": {} } }, { "properties": { "exec": {} } }] }
            }
        }"##;
        let page = configuration(schema).unwrap_or_default();
        expect![[r#"
            Sections: [`data_dir`](#data_dir), [`apis`](#apis).

            ## data_dir

            Where it lies.

            | key | type | default | meaning |
            | --- | --- | --- | --- |
            | `data_dir` | text | - | Where it lies. |

            ## apis

            All.

            | key | type | default | meaning |
            | --- | --- | --- | --- |
            | `apis.<name>.url` | text, at least 1 characters | *required* | A \| b. |
            | `apis.<name>.wait_ms` | integer, at most 60,000 | `250` | W. |
            | `apis.<name>.key` | secret | - | K. |
            | `apis.<name>.mode` | `on` or `off` | `on` | M.<br>`on`: It is.<br>`off`: It is not. |
            | `apis.<name>.hosts` | list of text | `[]` | H. |
        "#]]
        .assert_eq(page.trim_start_matches(HEAD));
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let shown = [0, 7, 100, 1_000, 67_108_864].map(grouped);
        assert_eq!(shown, ["0", "7", "100", "1,000", "67,108,864"]);
    }
}
