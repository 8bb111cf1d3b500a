//! Conditions of rules, in CEL (the Common Expression Language).

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use cel::{Context, Program, Value as CelValue};
use serde_json::{Value, json};
use tool::{Face, Identity, Timestamp, Tool};

/// The longest condition, in bytes.
const TEXT_BYTES_MAX: usize = 4096;

/// What a condition may look at.
const NAMES: [&str; 6] = ["caller", "tool", "arguments", "target", "face", "now"];

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
        Self { caller, tool, arguments, target, face, now }
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
            other => return Err(format!("there is no {other:?}")),
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
    /// Compiles a condition. The parser is asked with a net under it: a text that makes it panic is refused too.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(format!("the condition is longer than {TEXT_BYTES_MAX} bytes"));
        }
        let compiled = catch_unwind(AssertUnwindSafe(|| Program::compile(text)));
        let program = match compiled {
            Ok(Ok(program)) => program,
            Ok(Err(e)) => return Err(format!("the condition is not CEL: {}", one_line(&e.to_string()))),
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

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
