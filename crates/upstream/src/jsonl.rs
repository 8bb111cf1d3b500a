//! Tool servers that speak lines of their own: a request is `{id, method, params, ts_ms}`, a reply `{id, ok: true, result}`
//! or `{id, ok: false, error, message}`, and `schema` lists the tools. Here they are translated to and from the messages
//! of the protocol, so that everything behind this treats them as any other server.
//!
//! `ts_ms` is when a request is written, in milliseconds since 1970; such a server refuses one that is older than four
//! seconds. Source: shared/API.md, "`jsonl` tool servers".

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use mcp::{Id, Message, Object, Splice, WireError, code};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use tool::Clock;

/// What their tools are called that say nothing about themselves.
const SAYS_NOTHING: &str = "A tool of a server that says no more than its parameters.";

/// One connection to such a server: what it was asked.
pub(crate) struct Jsonl {
    asked: Mutex<HashMap<i64, Asked>>,
    clock: Arc<dyn Clock>,
}

/// What a request was about, which its reply does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Call,
    /// The list of tools.
    Schema,
    /// A sign of life.
    Life,
}

/// What becomes of a message to it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outgoing {
    /// A line, still without its time.
    Line(Vec<u8>),
    /// It would not understand it: this message is the answer.
    Answer(Vec<u8>),
    /// It need not know.
    Nothing,
}

/// A reply. What else stands in it is nothing to us.
#[derive(Deserialize)]
struct Reply {
    id: i64,
    ok: bool,
    result: Option<Box<RawValue>>,
    error: Option<Value>,
    message: Option<Value>,
}

impl Jsonl {
    /// A new connection.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { asked: Mutex::default(), clock })
    }

    /// What goes out for a message of ours.
    pub(crate) fn outgoing(&self, message: &[u8]) -> Outgoing {
        let request = match Message::parse(message) {
            Ok(Message::Request(request)) => request,
            Ok(Message::Notification(note)) if note.method == "notifications/cancelled" => {
                let id = note.params.get("requestId").and_then(|text| Id::parse(text).ok());
                if let Some(id) = id.as_ref().and_then(Id::as_integer) {
                    self.asked().remove(&id);
                }
                return Outgoing::Nothing;
            }
            _ => return Outgoing::Nothing,
        };
        // Our ids are integers.
        let Some(id) = request.id.as_integer() else { return Outgoing::Nothing };
        let (asked, method, params) = match &*request.method {
            "tools/call" => {
                let name = request.params.text("name").ok().flatten().unwrap_or_default().into_owned();
                (Asked::Call, name, request.params.raw_of("arguments"))
            }
            "tools/list" => (Asked::Schema, "schema".to_owned(), None),
            "ping" => (Asked::Life, "schema".to_owned(), None),
            other => {
                let mut answer = Vec::new();
                mcp::write_error(&mut answer, Some(&request.id), &WireError::method_not_found(other));
                return Outgoing::Answer(answer);
            }
        };
        self.asked().insert(id, asked);
        let mut line = Vec::with_capacity(256);
        line.extend_from_slice(format!(r#"{{"id":{id},"method":"#).as_bytes());
        method.as_str().splice(&mut line);
        line.extend_from_slice(b",\"params\":");
        // A line is one: arguments may have been sent over several.
        line.extend(
            params
                .map_or("{}", RawValue::get)
                .bytes()
                .map(|b| if b == b'\n' || b == b'\r' { b' ' } else { b }),
        );
        Outgoing::Line(line)
    }

    /// Writes the time into a line that is about to go out.
    pub(crate) fn stamp(&self, line: &mut Vec<u8>) {
        line.extend_from_slice(format!(",\"ts_ms\":{}}}\n", self.clock.now().unix_ms()).as_bytes());
    }

    /// The message that a line comes to; nothing for what answers nothing.
    pub(crate) fn incoming(&self, line: &[u8]) -> Option<Vec<u8>> {
        let reply: Reply = serde_json::from_slice(line).ok()?;
        let asked = self.asked().remove(&reply.id)?;
        let id = Id::integer(reply.id);
        let mut out = Vec::new();
        if !reply.ok {
            let error = json!({ "code": code::INTERNAL_ERROR, "message": said(&reply) });
            mcp::write_error(&mut out, Some(&id), &&*tool::json::raw(&error));
            return Some(out);
        }
        let null = || RawValue::from_string("null".to_owned()).ok();
        let result = reply.result.or_else(null)?;
        match asked {
            // Byte for byte: a large number stays what it is.
            Asked::Call => mcp::write_result(&mut out, &id, &Wrapped(&result)),
            Asked::Schema => match tools(&result) {
                Some(tools) => mcp::write_result(&mut out, &id, &&*tool::json::raw(&tools)),
                None => {
                    let error = WireError::internal("its schema has no `tools`");
                    mcp::write_error(&mut out, Some(&id), &error);
                }
            },
            Asked::Life => mcp::write_result(&mut out, &id, &tool::json::empty_object()),
        }
        Some(out)
    }

    fn asked(&self) -> MutexGuard<'_, HashMap<i64, Asked>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Jsonl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Jsonl").field(&*self.asked()).finish()
    }
}

/// A result in an object, as every result of the protocol is one.
struct Wrapped<'a>(&'a RawValue);

impl Splice for Wrapped<'_> {
    fn splice(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"result\":");
        out.extend_from_slice(self.0.get().as_bytes());
        out.push(b'}');
    }
}

/// What an error says: its kind and its sentence.
fn said(reply: &Reply) -> String {
    let text = |value: &Option<Value>| match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    match (text(&reply.error), text(&reply.message)) {
        (error, message) if message.is_empty() => error,
        (error, message) if error.is_empty() => message,
        (error, message) => format!("{error}: {message}"),
    }
}

/// A schema as a list of tools.
fn tools(schema: &RawValue) -> Option<Value> {
    let schema = Object::read(schema).ok()?;
    let tools = schema.object("tools").ok()??;
    let described = tools.members().iter().filter_map(|member| {
        let about: Value = serde_json::from_str(member.value).ok()?;
        let mut shown = json!({
            "name": &*member.name,
            "description": about["description"].as_str().unwrap_or(SAYS_NOTHING),
            "inputSchema": about.get("params").cloned().unwrap_or_else(|| json!({ "type": "object" })),
        });
        if let Some(returns) = about.get("returns").filter(|returns| returns["type"] == "object") {
            shown["outputSchema"] = returns.clone();
        }
        Some(shown)
    });
    Some(json!({ "tools": described.collect::<Vec<_>>() }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use expect_test::expect;
    use testkit::ManualClock;

    use super::*;

    fn text(bytes: &[u8]) -> String {
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    fn sent(jsonl: &Jsonl, message: &Value) -> String {
        match jsonl.outgoing(message.to_string().as_bytes()) {
            Outgoing::Line(mut line) => {
                jsonl.stamp(&mut line);
                text(&line)
            }
            Outgoing::Answer(answer) => format!("answer {}", text(&answer)),
            Outgoing::Nothing => "nothing".to_owned(),
        }
    }

    fn request(id: i64, method: &str, params: &Value) -> Value {
        json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
    }

    #[test]
    fn requests_become_lines_and_replies_messages() {
        let jsonl = Jsonl::new(ManualClock::new());
        let params =
            json!({ "name": "fs.read_text", "arguments": { "path": "a" }, "_meta": { "progressToken": 7 } });
        let line = sent(&jsonl, &request(7, "tools/call", &params));
        let now = ManualClock::new().now().unix_ms();
        assert_eq!(
            line,
            format!(
                "{{\"id\":7,\"method\":\"fs.read_text\",\"params\":{{\"path\":\"a\"}},\"ts_ms\":{now}}}\n"
            )
        );
        let incoming = |line: &str| jsonl.incoming(line.as_bytes()).map(|message| text(&message));
        assert_eq!(
            incoming(r#"{"id": 7, "ok": true, "result": {"text": "x", "n": 12345678901234567890123}}"#)
                .unwrap(),
            r#"{"jsonrpc":"2.0","id":7,"result":{"result":{"text": "x", "n": 12345678901234567890123}}}"#
        );
        assert_eq!(incoming(r#"{"id": 7, "ok": true, "result": {}}"#), None, "it was answered");
        assert_eq!(incoming(r#"{"id": 8, "ok": true, "result": {}}"#), None, "nobody asked");
        for odd in ["", "[]", "null", r#"{"ok":true}"#, r#"{"id":"7","ok":true}"#, r#"{"id":7}"#] {
            assert_eq!(incoming(odd), None, "{odd}");
        }
    }

    #[test]
    fn errors_say_what_and_why() {
        let jsonl = Jsonl::new(ManualClock::new());
        let mut said = String::new();
        for error in [
            r#""error":"PermissionError","message":"path escapes jail""#,
            r#""error":"ValueError","message":"""#,
            r#""message":"only this""#,
            r#""error":{"code":7}"#,
        ] {
            sent(&jsonl, &request(1, "tools/call", &json!({ "name": "x" })));
            let message = jsonl.incoming(format!("{{\"id\":1,\"ok\":false,{error}}}").as_bytes()).unwrap();
            said += &(text(&message) + "\n");
        }
        expect![[r#"
            {"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"PermissionError: path escapes jail"}}
            {"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"ValueError"}}
            {"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"only this"}}
            {"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"{\"code\":7}"}}
        "#]]
        .assert_eq(&said);
    }

    #[test]
    fn a_schema_becomes_a_list_of_tools() {
        let jsonl = Jsonl::new(ManualClock::new());
        assert!(
            sent(&jsonl, &request(1, "tools/list", &json!({})))
                .starts_with(r#"{"id":1,"method":"schema","params":{},"#)
        );
        let reply = json!({ "id": 1, "ok": true, "result": { "tools": {
            "sql.query": { "params": { "type": "object", "required": ["sql"] }, "returns": { "type": "object" } },
            "odd": { "description": "Odd.", "returns": { "type": "array" } },
        } } });
        expect![[r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"sql.query","description":"A tool of a server that says no more than its parameters.","inputSchema":{"type":"object","required":["sql"]},"outputSchema":{"type":"object"}},{"name":"odd","description":"Odd.","inputSchema":{"type":"object"}}]}}"#]]
            .assert_eq(&text(&jsonl.incoming(reply.to_string().as_bytes()).unwrap()));
    }

    #[test]
    fn what_it_does_not_know_is_answered_or_kept_from_it() {
        let jsonl = Jsonl::new(ManualClock::new());
        expect![[r#"answer {"jsonrpc":"2.0","id":3,"error":{"code":-32601,"message":"there is no method \"prompts/list\" here"}}"#]]
            .assert_eq(&sent(&jsonl, &request(3, "prompts/list", &json!({}))));
        sent(&jsonl, &request(4, "tools/call", &json!({ "name": "x" })));
        let cancelled =
            json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 4 } });
        assert_eq!(sent(&jsonl, &cancelled), "nothing");
        assert_eq!(jsonl.incoming(br#"{"id":4,"ok":true,"result":{}}"#), None, "nobody waits any more");
    }
}
