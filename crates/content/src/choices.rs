//! Completing an argument: the values that it may have, or that a tool knows.

use std::collections::HashSet;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tool::{Code, Fault, Outcome, Permit, Talk, nearest};

use crate::faults::Faults;

/// How many values one answer offers at most (completion, "Completion Results").
const VALUES_MAX: usize = 100;

/// Values that a tool knows.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CompleteConfig {
    /// The tool that is asked, with the rights of whoever completes; it must be one that only reads. To a caller who
    /// may not call it nothing is offered.
    pub tool: String,
    /// Its arguments.
    #[serde(default)]
    pub arguments: Map<String, Value>,
    /// Where the values are in its answer: a JSON pointer in which `*` stands for each item of a list, such as
    /// `/customers/*/name`.
    #[schemars(length(max = 1_024))]
    pub pointer: String,
}

/// A tool that completions ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion<'a> {
    /// Where in the configuration it is named.
    pub pointer: String,
    /// Its name.
    pub tool: &'a str,
}

/// What can be offered for one argument.
#[derive(Clone, Debug)]
pub(crate) enum Choices {
    /// Nothing: it may be anything.
    Any,
    /// One of these.
    These(Vec<String>),
    /// What a tool says.
    Asked(CompleteConfig),
}

/// Arguments by name, and what can be offered for each.
pub(crate) type Offers = Vec<(String, Choices)>;

impl Choices {
    /// The choices of an argument; faults go to what is wrong at `at`.
    pub(crate) fn new(
        faults: &mut Faults,
        at: &[&str],
        values: Option<&Vec<String>>,
        complete: Option<&CompleteConfig>,
    ) -> Self {
        match (values, complete) {
            (None, None) => Self::Any,
            (None, Some(complete)) => {
                let is_pointer = complete.pointer.is_empty() || complete.pointer.starts_with('/');
                if !is_pointer {
                    let at = [at, &["complete", "pointer"]].concat();
                    faults.add_with(&at, "a JSON pointer begins with `/`", "such as /customers/*/name");
                }
                Self::Asked(complete.clone())
            }
            (Some(values), None) => {
                let mut seen = HashSet::new();
                for (i, value) in values.iter().enumerate().filter(|(_, value)| !seen.insert(value.as_str()))
                {
                    let i = i.to_string();
                    faults.add(&[at, &["enum", &i]].concat(), format!("{value:?} stands here twice"));
                }
                Self::These(values.clone())
            }
            (Some(_), Some(_)) => {
                let at = [at, &["complete"]].concat();
                faults.add_with(&at, "the values are named already", "keep `enum` or `complete`");
                Self::Any
            }
        }
    }

    /// Whether an argument may have this value; a tool only knows some.
    pub(crate) fn takes(&self, value: &str) -> bool {
        match self {
            Self::These(values) => values.iter().any(|one| one == value),
            Self::Any | Self::Asked(_) => true,
        }
    }
}

/// Answers `completion/complete`: the values that begin as what was typed, in any case, in their order.
///
/// Fault: `BadArguments` where there is no such argument; what the asked tool fails with.
pub(crate) async fn complete(permit: &Permit, talk: &Talk, offers: &Offers) -> Result<Outcome, Fault> {
    let name = text_at(permit.arguments(), "/argument/name")?;
    let typed = text_at(permit.arguments(), "/argument/value")?.to_lowercase();
    let Some((_, choices)) = offers.iter().find(|(known, _)| known == name) else {
        let known: Vec<&str> = offers.iter().map(|(known, _)| known.as_str()).collect();
        let hint = match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean {near:?}?"),
            None if known.is_empty() => "it takes none".to_owned(),
            None => format!("it takes {}", known.join(", ")),
        };
        let shown: String = name.chars().take(80).collect();
        return Err(Fault::bad_argument("/argument/name", format!("there is no argument {shown:?}; {hint}")));
    };
    let values = match choices {
        Choices::Any => Vec::new(),
        Choices::These(values) => values.clone(),
        Choices::Asked(complete) => ask(complete, name, talk).await?,
    };
    let mut fitting: Vec<_> =
        values.into_iter().filter(|value| value.to_lowercase().starts_with(&typed)).collect();
    let total = fitting.len();
    fitting.truncate(VALUES_MAX);
    let answer = json!({
        "completion": { "values": fitting, "total": total, "hasMore": total > VALUES_MAX },
    });
    crate::content(&answer, permit.tool().bytes_max, "/argument/value")
}

fn text_at<'a>(arguments: &'a Value, pointer: &str) -> Result<&'a str, Fault> {
    let found = arguments.pointer(pointer).and_then(Value::as_str);
    found.ok_or_else(|| Fault::bad_argument(pointer, format!("a text is missing at {pointer}")))
}

/// The values that a tool knows, each once. None where this caller may not call it: it does not exist for them.
async fn ask(complete: &CompleteConfig, name: &str, talk: &Talk) -> Result<Vec<String>, Fault> {
    let arguments = Value::Object(complete.arguments.clone());
    let answer = match talk.calls().call(&complete.tool, arguments).await {
        Ok(outcome) => outcome.to_value(),
        Err(fault) if matches!(fault.code, Code::NotFound | Code::Denied) => return Ok(Vec::new()),
        Err(fault) => return Err(fault),
    };
    let Some(mut values) = values_at(&answer, &parts(&complete.pointer)) else {
        let text = format!("the values of {name:?} cannot be found; ask an operator");
        let log = format!("{:?} points at nothing in the answer of {}", complete.pointer, complete.tool);
        return Err(Fault::new(Code::Upstream, text).with_log(log));
    };
    let mut seen = HashSet::new();
    values.retain(|value| seen.insert(value.clone()));
    Ok(values)
}

/// The names and indexes of a pointer (RFC 6901).
fn parts(pointer: &str) -> Vec<String> {
    pointer.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~")).collect()
}

/// The texts at a pointer; `None` where it points at nothing.
fn values_at(value: &Value, parts: &[String]) -> Option<Vec<String>> {
    let Some((part, rest)) = parts.split_first() else { return texts(value) };
    match value {
        Value::Array(items) if part == "*" => {
            Some(items.iter().filter_map(|item| values_at(item, rest)).flatten().collect())
        }
        Value::Array(items) => values_at(items.get(part.parse::<usize>().ok()?)?, rest),
        other => values_at(other.get(part)?, rest),
    }
}

/// What is one value, or a list of values.
fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Number(_) | Value::Bool(_) => Some(vec![value.to_string()]),
        Value::Array(items) => {
            Some(items.iter().filter(|item| !item.is_array()).filter_map(texts).flatten().collect())
        }
        Value::Null | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(pointer: &str, expected: Expect) {
        let answer = json!({
            "rows": [{ "name": "Acme", "id": 1 }, { "name": null }, { "name": "Beta", "id": 2 }, 7],
            "tags": ["a", 1, true, null, ["x"], { "y": 1 }],
            "none": [],
            "a/b": "slash",
        });
        expected.assert_eq(&format!("{:?}", values_at(&answer, &parts(pointer))));
    }

    #[test]
    fn values_are_found_by_pointer() {
        check("/rows/*/name", expect![[r#"Some(["Acme", "Beta"])"#]]);
        check("/rows/*/id", expect![[r#"Some(["1", "2"])"#]]);
        check("/rows/2/name", expect![[r#"Some(["Beta"])"#]]);
        check("/tags", expect![[r#"Some(["a", "1", "true"])"#]]);
        check("/none/*/name", expect!["Some([])"]);
        check("/a~1b", expect![[r#"Some(["slash"])"#]]);
        check("/missing", expect!["None"]);
        check("/rows/9/name", expect!["None"]);
        check("", expect!["None"]);
    }
}
