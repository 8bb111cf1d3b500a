//! The bodies that the call doors take: strict, and read without touching the arguments they carry.

use std::sync::Arc;

use serde_json::{Map, Value, value::RawValue};
use tool::{Code, Fault, json};

use crate::config::OperationConfig;

/// The longest label a caller may give itself.
const LABEL_CHARS_MAX: usize = 200;

/// What an envelope asks for.
#[derive(Debug)]
pub(crate) struct Wish {
    /// The tool as named, which the answer echoes.
    pub(crate) tool: String,
    pub(crate) arguments: Box<RawValue>,
    /// What the caller calls itself.
    pub(crate) label: Option<Arc<str>>,
}

/// What an operation asks for.
#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) operation: String,
    pub(crate) device_ip: Option<Box<RawValue>>,
    pub(crate) parameters: Box<RawValue>,
}

/// Arguments alone, as `/v1/mcp/{tool}` takes them. An empty body is `{}`. The content type does not matter: `curl -d`
/// sends JSON under the name of a form.
pub(crate) fn arguments(body: &[u8]) -> Result<Box<RawValue>, Fault> {
    if body.trim_ascii().is_empty() {
        return Ok(json::empty_object().to_owned());
    }
    let raw: &RawValue = serde_json::from_slice(body).map_err(|error| malformed(body, &error.to_string()))?;
    object(raw, "")
}

/// `{tool, arguments}`.
pub(crate) fn call_tool(body: &[u8]) -> Result<Wish, Fault> {
    let mut members = Members::read(body, &["tool", "arguments"])?;
    Ok(Wish { tool: members.text("tool")?, arguments: members.object("arguments")?, label: None })
}

/// `{tool, params, caller?}`.
pub(crate) fn invoke(body: &[u8]) -> Result<Wish, Fault> {
    let mut members = Members::read(body, &["tool", "params", "caller"])?;
    let label = match members.take("caller").filter(|raw| raw.get() != "null") {
        None => None,
        Some(raw) => Some(text(raw, "/caller", LABEL_CHARS_MAX)?.into()),
    };
    Ok(Wish { tool: members.text("tool")?, arguments: members.object("params")?, label })
}

/// `{device_ip, operation, parameters}`.
pub(crate) fn operation(body: &[u8]) -> Result<Operation, Fault> {
    let mut members = Members::read(body, &["device_ip", "operation", "parameters"])?;
    let device_ip = members.take("device_ip").filter(|raw| raw.get() != "null");
    if let Some(raw) = device_ip {
        text(raw, "/device_ip", LABEL_CHARS_MAX)?;
    }
    Ok(Operation {
        operation: members.text("operation")?,
        device_ip: device_ip.map(ToOwned::to_owned),
        parameters: members.object("parameters")?,
    })
}

/// The arguments of the tool behind an operation.
pub(crate) fn operation_arguments(
    config: &OperationConfig,
    sent: &Operation,
) -> Result<Box<RawValue>, Fault> {
    if config.arguments.is_none() && config.fixed.is_empty() {
        return Ok(sent.parameters.clone());
    }
    let parameters = json::parse(sent.parameters.get().as_bytes()).map_err(|e| malformed(b"", &e.text))?;
    let mut arguments = match &config.arguments {
        None => parameters.as_object().cloned().unwrap_or_default(),
        Some(mapping) => {
            let mut request = Map::new();
            if let Some(device_ip) =
                sent.device_ip.as_deref().and_then(|raw| serde_json::from_str(raw.get()).ok())
            {
                request.insert("device_ip".to_owned(), device_ip);
            }
            request.insert("parameters".to_owned(), parameters);
            let request = Value::Object(request);
            let picked = mapping
                .iter()
                .filter_map(|(name, from)| request.pointer(from).map(|value| (name.clone(), value.clone())));
            picked.collect()
        }
    };
    arguments.extend(config.fixed.clone());
    Ok(json::raw(&Value::Object(arguments)))
}

/// The members of one JSON object, each as it stands in the text.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    /// Reads an object that may hold these members and no others, each once.
    fn read(body: &'a [u8], known: &[&str]) -> Result<Self, Fault> {
        let members = json::members(body).map_err(|error| malformed(body, &error.text))?;
        for (name, _) in &members {
            if !known.contains(&name.as_str()) {
                return Err(unknown_member(name, known));
            }
        }
        Ok(Self(members))
    }

    fn take(&mut self, name: &str) -> Option<&'a RawValue> {
        let at = self.0.iter().position(|(member, _)| member == name)?;
        Some(self.0.swap_remove(at).1)
    }

    fn text(&mut self, name: &str) -> Result<String, Fault> {
        let pointer = format!("/{name}");
        let raw =
            self.take(name).ok_or_else(|| Fault::bad_argument(&*pointer, format!("{name:?} is missing")))?;
        text(raw, &pointer, usize::MAX)
    }

    /// The object of this name; `{}` where it is left out or null.
    fn object(&mut self, name: &str) -> Result<Box<RawValue>, Fault> {
        match self.take(name).filter(|raw| raw.get() != "null") {
            None => Ok(json::empty_object().to_owned()),
            Some(raw) => object(raw, &format!("/{name}")),
        }
    }
}

fn text(raw: &RawValue, pointer: &str, chars_max: usize) -> Result<String, Fault> {
    let text: String = serde_json::from_str(raw.get())
        .map_err(|_| Fault::bad_argument(pointer, format!("{} must be a string", &pointer[1..])))?;
    if text.chars().count() > chars_max {
        let long = format!("{} is longer than {chars_max} characters", &pointer[1..]);
        return Err(Fault::bad_argument(pointer, long));
    }
    Ok(text)
}

fn object(raw: &RawValue, pointer: &str) -> Result<Box<RawValue>, Fault> {
    if raw.get().starts_with('{') {
        return Ok(raw.to_owned());
    }
    let what = pointer.strip_prefix('/').unwrap_or("the body");
    Err(Fault::bad_argument(pointer, format!("{what} must be a JSON object")))
}

fn unknown_member(name: &str, known: &[&str]) -> Fault {
    let shown: String = name.chars().take(80).collect();
    let mut pointer = String::new();
    json::push_pointer(&mut pointer, &shown);
    let near = known
        .iter()
        .map(|candidate| (strsim::jaro_winkler(&shown, candidate), candidate))
        .filter(|(score, _)| *score > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let text = match near {
        Some((_, near)) => format!("unknown member {shown:?}; did you mean {near:?}?"),
        None => format!("unknown member {shown:?}; known are {}", known.join(", ")),
    };
    Fault::bad_argument(pointer, text)
}

fn malformed(body: &[u8], error: &str) -> Fault {
    let error = error.strip_prefix("not valid JSON: ").unwrap_or(error);
    let hint = match body.trim_ascii().first() {
        Some(b'{' | b'[' | b'"') | None => "",
        Some(_) => "; the body must be a JSON object, whatever its content type",
    };
    Fault::new(Code::Malformed, format!("not valid JSON: {error}{hint}"))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;

    fn shown<T: std::fmt::Debug>(result: Result<T, Fault>) -> String {
        match result {
            Ok(value) => format!("{value:?}"),
            Err(fault) => format!("{} {} at {:?}", fault.code.row().name, fault.text, fault.pointer),
        }
    }

    #[test]
    fn bare_arguments() {
        let check = |body: &str, expected: Expect| {
            expected.assert_eq(&shown(arguments(body.as_bytes()).map(|raw| raw.get().to_owned())));
        };
        check("", expect![[r#""{}""#]]);
        check(" \r\n", expect![[r#""{}""#]]);
        check(r#" {"n": 18446744073709551616} "#, expect![[r#""{\"n\": 18446744073709551616}""#]]);
        check("[1]", expect![[r#"bad_arguments the body must be a JSON object at Some("")"#]]);
        check("null", expect![[r#"bad_arguments the body must be a JSON object at Some("")"#]]);
        check(
            "customer_id=42",
            expect![
                "malformed not valid JSON: expected value at line 1 column 1; the body must be a JSON object, whatever its content type at None"
            ],
        );
        check(
            r#"{"a":1"#,
            expect!["malformed not valid JSON: EOF while parsing an object at line 1 column 6 at None"],
        );
        check("{} {}", expect!["malformed not valid JSON: trailing characters at line 1 column 4 at None"]);
        assert_eq!(arguments(b"{\"a\":\"\xff\"}").unwrap_err().code, Code::Malformed);
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(arguments(deep.as_bytes()).is_ok(), "the gate refuses it, and nothing overflows here");
    }

    #[test]
    fn envelopes() {
        let call = |body: &str, expected: Expect| expected.assert_eq(&shown(call_tool(body.as_bytes())));
        call(
            r#"{"tool":"x","arguments":{"n":1e400}}"#,
            expect![[r#"Wish { tool: "x", arguments: RawValue({"n":1e400}), label: None }"#]],
        );
        call(r#"{"tool":"x"}"#, expect![[r#"Wish { tool: "x", arguments: RawValue({}), label: None }"#]]);
        call(
            r#"{"tool":"x","arguments":null}"#,
            expect![[r#"Wish { tool: "x", arguments: RawValue({}), label: None }"#]],
        );
        call(r#"{"arguments":{}}"#, expect![[r#"bad_arguments "tool" is missing at Some("/tool")"#]]);
        call(r#"{"tool":7}"#, expect![[r#"bad_arguments tool must be a string at Some("/tool")"#]]);
        call(
            r#"{"tool":"x","arguments":[]}"#,
            expect![[r#"bad_arguments arguments must be a JSON object at Some("/arguments")"#]],
        );
        call(
            r#"{"tool":"x","argments":{}}"#,
            expect![[
                r#"bad_arguments unknown member "argments"; did you mean "arguments"? at Some("/argments")"#
            ]],
        );
        call(
            r#"{"tool":"x","zzz":{}}"#,
            expect![[r#"bad_arguments unknown member "zzz"; known are tool, arguments at Some("/zzz")"#]],
        );
        call(
            r#"{"tool":"x","tool":"y"}"#,
            expect![[
                r#"malformed not valid JSON: the name "tool" stands twice in one object at line 1 column 23 at None"#
            ]],
        );
        call(
            r#"{"tool":"x","\u0074ool":"y"}"#,
            expect![[
                r#"malformed not valid JSON: the name "tool" stands twice in one object at line 1 column 28 at None"#
            ]],
        );
        call(r#"{"tool":"\ud800"}"#, expect![[r#"bad_arguments tool must be a string at Some("/tool")"#]]);
        call("", expect!["malformed not valid JSON: EOF while parsing a value at line 1 column 0 at None"]);
        call(
            "[]",
            expect![
                "malformed not valid JSON: invalid type: sequence, expected a JSON object at line 1 column 0 at None"
            ],
        );
        let invoked = |body: &str, expected: Expect| expected.assert_eq(&shown(invoke(body.as_bytes())));
        invoked(
            r#"{"tool":"fs.read_text","params":{},"caller":"me"}"#,
            expect![[r#"Wish { tool: "fs.read_text", arguments: RawValue({}), label: Some("me") }"#]],
        );
        invoked(
            r#"{"tool":"x","arguments":{}}"#,
            expect![[
                r#"bad_arguments unknown member "arguments"; known are tool, params, caller at Some("/arguments")"#
            ]],
        );
        invoked(
            &format!(r#"{{"tool":"x","caller":"{}"}}"#, "x".repeat(201)),
            expect![[r#"bad_arguments caller is longer than 200 characters at Some("/caller")"#]],
        );
        let operated = |body: &str, expected: Expect| expected.assert_eq(&shown(operation(body.as_bytes())));
        operated(
            r#"{"device_ip":"10.0.0.1","operation":"get","parameters":{"a":1}}"#,
            expect![[
                r#"Operation { operation: "get", device_ip: Some(RawValue("10.0.0.1")), parameters: RawValue({"a":1}) }"#
            ]],
        );
        operated(
            r#"{"device_ip":7,"operation":"get"}"#,
            expect![[r#"bad_arguments device_ip must be a string at Some("/device_ip")"#]],
        );
        operated(
            r#"{"operations":"get"}"#,
            expect![[
                r#"bad_arguments unknown member "operations"; did you mean "operation"? at Some("/operations")"#
            ]],
        );
    }

    #[test]
    fn arguments_of_an_operation() {
        let check = |config: &str, expected: Expect| {
            let config: OperationConfig = serde_json::from_str(config).unwrap();
            let body =
                br#"{"device_ip":"10.0.0.1","operation":"x","parameters":{"id":18446744073709551615,"b":2}}"#;
            let sent = operation(body).unwrap();
            expected.assert_eq(operation_arguments(&config, &sent).unwrap().get());
        };
        check(r#"{"tool":"t"}"#, expect![[r#"{"id":18446744073709551615,"b":2}"#]]);
        check(r#"{"tool":"t","fixed":{"b":3}}"#, expect![[r#"{"id":18446744073709551615,"b":3}"#]]);
        check(
            r#"{"tool":"t","arguments":{"n":"/parameters/id","host":"/device_ip","no":"/parameters/no"}}"#,
            expect![[r#"{"host":"10.0.0.1","n":18446744073709551615}"#]],
        );
    }

    proptest! {
        #[test]
        fn no_body_makes_a_door_panic(body in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = (arguments(&body), call_tool(&body), invoke(&body), operation(&body));
        }
    }
}
