//! Conditions of rules, in CEL (the Common Expression Language).

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use cel::{Context, ParseErrors, Program, Value as CelValue};
use serde_json::{Value, json};
use tool::{Face, Identity, Provider, Timestamp, Tool};

/// The longest condition, in bytes.
const TEXT_BYTES_MAX: usize = 4096;

/// What a condition may look at.
const NAMES: [&str; 7] = ["caller", "tool", "arguments", "target", "face", "now", "device"];

/// One compiled condition.
pub(crate) struct Condition {
    program: Program,
    /// Which of [`NAMES`] it looks at.
    names: Vec<&'static str>,
}

/// What is going on: everything a condition may look at.
pub(crate) struct Scene<'a> {
    caller: &'a Identity,
    tool: &'a Tool,
    arguments: &'a Value,
    target: &'a str,
    face: Face,
    now: Timestamp,
    /// Who knows more of the target.
    provider: Option<&'a dyn Provider>,
}

impl<'a> Scene<'a> {
    pub(crate) fn new(
        caller: &'a Identity,
        tool: &'a Tool,
        arguments: &'a Value,
        target: &'a str,
        face: Face,
        now: Timestamp,
    ) -> Self {
        Self { caller, tool, arguments, target, face, now, provider: None }
    }

    /// The same, with what a provider knows of the target.
    pub(crate) fn known_by(self, provider: &'a dyn Provider) -> Self {
        Self { provider: Some(provider), ..self }
    }

    /// The caller.
    pub(crate) fn caller(&self) -> &'a Identity {
        self.caller
    }

    /// The tool.
    pub(crate) fn tool(&self) -> &'a Tool {
        self.tool
    }

    /// What the call touches.
    pub(crate) fn target(&self) -> &'a str {
        self.target
    }

    /// What a condition sees under one of its names.
    fn value(&self, name: &str) -> Result<CelValue, String> {
        let (caller, tool) = (self.caller, self.tool);
        let value = match name {
            "caller" => json!({
                "principal": caller.principal, "kind": caller.kind.as_str(), "owner": caller.owner,
                "user_id": caller.user_id, "tier": caller.tier, "roles": caller.roles, "key": caller.credential,
            }),
            "tool" => json!({
                "name": tool.name, "effect": tool.effect.as_str(), "source": tool.source, "labels": tool.labels,
            }),
            "arguments" => {
                return Ok(in_cel(self.arguments));
            }
            "target" => Value::from(self.target),
            "face" => Value::from(self.face.as_str()),
            "now" => return Ok(CelValue::Timestamp(self.now.utc().fixed_offset())),
            other => {
                let known = self.provider.and_then(|provider| provider.attributes(self.target));
                let known = known.filter(|(name, _)| *name == other);
                known.ok_or_else(|| format!("there is no {other} in what {} touches", tool.name))?.1
            }
        };
        Ok(in_cel(&value))
    }
}

/// A JSON value as CEL sees it. Integers are `int` wherever they fit, so that conditions can compute with them;
/// CEL does not mix `int` and `uint`.
fn in_cel(value: &Value) -> CelValue {
    match value {
        Value::Null => CelValue::Null,
        Value::Bool(bool) => CelValue::Bool(*bool),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(int), _) => CelValue::Int(int),
            (None, Some(uint)) => CelValue::UInt(uint),
            (None, None) => CelValue::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => CelValue::String(Arc::new(text.clone())),
        Value::Array(items) => CelValue::List(Arc::new(items.iter().map(in_cel).collect())),
        Value::Object(members) => {
            let members: HashMap<String, CelValue> =
                members.iter().map(|(name, member)| (name.clone(), in_cel(member))).collect();
            members.into()
        }
    }
}

thread_local! {
    /// The functions of CEL. Making them costs more than a decision does; every decision adds its names in a
    /// scope of its own.
    static FUNCTIONS: Context<'static, 'static> = Context::default();
}

impl Condition {
    /// Whether it looks at the arguments of a call.
    pub(crate) fn goes_by_arguments(&self) -> bool {
        self.names.contains(&"arguments")
    }

    /// Compiles a condition. The parser is asked with a net under it: a text that makes it panic is refused too.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(format!("the condition is longer than {TEXT_BYTES_MAX} bytes"));
        }
        let compiled = catch_unwind(AssertUnwindSafe(|| Program::compile(text)));
        let program = match compiled {
            Ok(Ok(program)) => program,
            Ok(Err(e)) => return Err(format!("the condition is not CEL: {}", sentence(&e, text))),
            Err(_) => return Err("the condition is not CEL".to_owned()),
        };
        let references = program.references();
        let names = NAMES.into_iter().filter(|name| references.has_variable(name)).collect();
        Ok(Self { program, names })
    }

    /// Whether it holds.
    ///
    /// Error: where it cannot be evaluated or is neither true nor false; whoever asks must deny.
    pub(crate) fn holds(&self, scene: &Scene<'_>) -> Result<bool, String> {
        let evaluated = FUNCTIONS.with(|functions| {
            let mut scope = functions.new_inner_scope();
            for name in &self.names {
                scope.add_variable_from_value(*name, scene.value(name)?);
            }
            Ok::<_, String>(catch_unwind(AssertUnwindSafe(|| self.program.execute(&scope))))
        })?;
        match evaluated {
            Ok(Ok(CelValue::Bool(holds))) => Ok(holds),
            Ok(Ok(other)) => Err(format!("it came to {}, not to true or false", other.type_of())),
            Ok(Err(e)) => Err(one_line(&e.to_string())),
            Err(_) => Err("it broke the evaluator".to_owned()),
        }
    }
}

/// The most characters of a condition that are shown.
const SHOWN_CHARS_MAX: usize = 24;

/// What is wrong, at which line and column (from 1), and the text from there on. The parser's own words list every
/// token that might have followed; only what they say of the text is kept.
fn sentence(errors: &ParseErrors, text: &str) -> String {
    let Some(first) = errors.errors.first() else { return "it does not parse".to_owned() };
    let message = one_line(&first.msg);
    let message = message.strip_prefix("Syntax error: ").unwrap_or(&message);
    let (line, column) = (number(first.pos.0), number(first.pos.1));
    let rest = text.lines().nth(line - 1).unwrap_or_default().chars().skip(column - 1);
    let rest: String = rest.collect::<String>().trim_end().to_owned();
    let place = if text.lines().nth(1).is_some() {
        format!("line {line}, column {column}")
    } else {
        format!("column {column}")
    };
    if rest.is_empty() || message.contains("input '<EOF>'") {
        return format!("it ends at {place}, where more is expected");
    }
    let shown: String = rest.chars().take(SHOWN_CHARS_MAX).collect();
    let dots = if shown.len() < rest.len() { ".." } else { "" };
    let what = match message.split_whitespace().next().unwrap_or_default() {
        "mismatched" | "extraneous" | "no" => "does not belong there".to_owned(),
        "missing" => match message.split_once(" at ") {
            Some((missing, _)) if !missing.contains('{') => format!("comes where {missing}"),
            _ => "comes too early".to_owned(),
        },
        "token" if rest.starts_with(['"', '\'']) => {
            "is a text that does not end, or has an escape that is none".to_owned()
        }
        "Incomplete" => "is not complete".to_owned(),
        "token" => "is no part of the language".to_owned(),
        _ => format!("is refused: {}", first_words(message)),
    };
    format!("at {place} {shown:?}{dots} {what}")
}

/// A place as the parser counts it, at least 1.
fn number(at: isize) -> usize {
    usize::try_from(at).unwrap_or(1).max(1)
}

/// A message of the parser up to what it would have taken.
fn first_words(message: &str) -> &str {
    let end = message.find(" expecting ").or_else(|| message.find('{')).unwrap_or(message.len());
    message[..end].trim_end_matches([' ', ':', '.'])
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[test]
    fn what_is_not_cel_is_said_without_the_tokens_of_the_parser() {
        let check = |text: &str, expected: Expect| {
            expected.assert_eq(&Condition::parse(text).err().unwrap_or_else(|| "taken".to_owned()));
        };
        check("1 +", expect!["the condition is not CEL: it ends at column 4, where more is expected"]);
        check("", expect!["the condition is not CEL: it ends at column 1, where more is expected"]);
        check(
            "arguments.x ==",
            expect!["the condition is not CEL: it ends at column 15, where more is expected"],
        );
        check(
            "arguments.x = 1",
            expect![[r#"the condition is not CEL: at column 13 "= 1" is no part of the language"#]],
        );
        check(
            "arguments.x == 1)",
            expect![[r#"the condition is not CEL: at column 17 ")" does not belong there"#]],
        );
        check(
            "(arguments.x == 1",
            expect!["the condition is not CEL: it ends at column 18, where more is expected"],
        );
        check(
            "arguments.x in [1, 2",
            expect!["the condition is not CEL: it ends at column 21, where more is expected"],
        );
        check(
            "caller.tier == 'basic",
            expect![[
                r#"the condition is not CEL: at column 16 "'basic" is a text that does not end, or has an escape that is none"#
            ]],
        );
        check(
            "caller.tier === 'basic'",
            expect![[r#"the condition is not CEL: at column 15 "= 'basic'" is no part of the language"#]],
        );
        check(
            "face == \"rest\"\n  and tool.effect == \"reads\"",
            expect![[
                r#"the condition is not CEL: at line 2, column 3 "and tool.effect == \"read".. does not belong there"#
            ]],
        );
        check("a b", expect![[r#"the condition is not CEL: at column 3 "b" does not belong there"#]]);
        check(
            "# no",
            expect![[r##"the condition is not CEL: at column 1 "# no" is no part of the language"##]],
        );
        check("1 ? 2", expect![[r#"the condition is not CEL: at column 1 "1 ? 2" is not complete"#]]);
        check(
            "has(1)",
            expect![[
                r#"the condition is not CEL: at column 5 "1)" is refused: invalid argument to has() macro"#
            ]],
        );
        check(
            "[1].all(1, true)",
            expect![[
                r#"the condition is not CEL: at column 9 "1, true)" is refused: argument must be a simple name"#
            ]],
        );
        check(
            "99999999999999999999",
            expect![[
                r#"the condition is not CEL: at column 1 "99999999999999999999" is refused: invalid int literal"#
            ]],
        );
        check(
            "'\\q'",
            expect![[
                r#"the condition is not CEL: at column 1 "'\\q'" is a text that does not end, or has an escape that is none"#
            ]],
        );
        check(
            "\u{e4}\u{e4} == \"\u{e4}\" &&& \u{fc}",
            expect![[
                r#"the condition is not CEL: at column 1 "ää == \"ä\" &&& ü" is no part of the language"#
            ]],
        );
    }
}
