//! A client of the endpoint as small as can be, so that a test sees each message as it is.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpStream},
};

use serde_json::{Value, json};

use crate::http::{Answer, connect, exchange, request};

pub(crate) const BOTH: &str = "application/json, text/event-stream";
pub(crate) const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
pub(crate) const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";

const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";

/// What a client that can be asked declares.
pub(crate) const ABLE: &str = r#"{ "elicitation": {}, "sampling": {} }"#;

/// A client of the endpoint: a key, and for the older protocol a session.
#[derive(Clone)]
pub(crate) struct Client {
    pub addr: SocketAddr,
    pub key: String,
    pub session: Option<String>,
    pub path: &'static str,
}

impl Client {
    pub(crate) fn new(addr: SocketAddr, key: &str) -> Self {
        Self { addr, key: key.to_owned(), session: None, path: "/mcp" }
    }

    /// With a session in which the client declares these capabilities.
    pub(crate) fn with_session(addr: SocketAddr, key: &str, capabilities: &Value) -> Self {
        let mut client = Self::new(addr, key);
        let params = json!({
            "protocolVersion": "2025-11-25", "capabilities": capabilities,
            "clientInfo": { "name": "test", "version": "1" },
        });
        let answer =
            client.post(&json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params }));
        assert_eq!(answer.status, 200, "{}", answer.line());
        client.session = answer.header("mcp-session-id").map(str::to_owned);
        assert_eq!(
            client.post(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).status,
            202
        );
        client
    }

    pub(crate) fn bytes(&self, method: &str, body: &str) -> Vec<u8> {
        let bearer = format!("Bearer {}", self.key);
        let mut headers =
            vec![("authorization", bearer.as_str()), ("accept", BOTH), ("content-type", "application/json")];
        if let Some(session) = &self.session {
            headers.push(("mcp-session-id", session));
            headers.push(("mcp-protocol-version", "2025-11-25"));
        }
        let named: Value = serde_json::from_str(body).unwrap_or_default();
        let (verb, name) = (named["method"].as_str().unwrap_or_default(), &named["params"]);
        let name =
            ["name", "uri", "taskId"].iter().find_map(|member| name[*member].as_str()).unwrap_or_default();
        if named["params"]["_meta"][VERSION].is_string() {
            headers.push(("mcp-protocol-version", "2026-07-28"));
            headers.push(("mcp-method", verb));
            headers.push(("mcp-name", name));
        }
        request(method, self.path, &headers, body.as_bytes())
    }

    pub(crate) fn post(&self, message: &Value) -> Answer {
        exchange(self.addr, &self.bytes("POST", &message.to_string())).unwrap()
    }

    /// A request, and its answer to the end: the last message of a stream.
    pub(crate) fn ask(&self, id: Value, method: &str, params: Value) -> Value {
        let answer = self.post(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        messages(&answer).pop().unwrap_or_else(|| panic!("nothing came back: {}", answer.line()))
    }

    /// A modern request.
    pub(crate) fn modern(&self, method: &str, mut params: Value, capabilities: &Value) -> Value {
        params["_meta"] = json!({ VERSION: "2026-07-28", CAPABILITIES: capabilities });
        self.ask(json!(1), method, params)
    }

    /// Calls a tool as a client that can be asked, and answers each question with `reply`. What came on the way,
    /// shortened, and the result.
    pub(crate) fn converse(
        &self,
        tool: &str,
        arguments: &Value,
        reply: impl Fn(&Value) -> Value,
    ) -> (Vec<String>, Value) {
        let mut message = call(&json!(1), tool, arguments, &json!("token-1"));
        if self.session.is_none() {
            let meta = &mut message["params"]["_meta"];
            meta[VERSION] = json!("2026-07-28");
            meta[LOG_LEVEL] = json!("info");
            meta[CAPABILITIES] = serde_json::from_str(ABLE).unwrap();
        }
        let mut heard = Vec::new();
        loop {
            let result = self.round(&message, &reply, &mut heard);
            let Some(asked) = result["inputRequests"].as_object() else { return (heard, result) };
            assert!(self.session.is_none(), "the older era has no such result: {result}");
            heard.extend(asked.values().map(|request| request["method"].as_str().unwrap().to_owned()));
            let answers = asked.iter().map(|(key, request)| (key.clone(), reply(request)));
            message["params"]["inputResponses"] = Value::Object(answers.collect());
            message["params"]["requestState"] = result["requestState"].clone();
        }
    }

    /// One request, until its result.
    fn round(&self, message: &Value, reply: &impl Fn(&Value) -> Value, heard: &mut Vec<String>) -> Value {
        let mut stream = self.open("POST", message);
        loop {
            let came = stream.next().unwrap_or_else(|| panic!("no answer to {message}"));
            match came["method"].as_str() {
                None => return came["result"].clone(),
                Some("notifications/progress") => {
                    let params = &came["params"];
                    assert_eq!(params["progressToken"], "token-1", "{came}");
                    heard.push(format!("progress {}", params["progress"]));
                }
                Some("notifications/message") => heard.push(format!("log {}", came["params"]["data"])),
                Some(method) => {
                    heard.push(method.to_owned());
                    let answer = json!({ "jsonrpc": "2.0", "id": came["id"], "result": reply(&came) });
                    assert_eq!(self.post(&answer).status, 202, "{came}");
                }
            }
        }
    }

    /// Sends a request and leaves its stream open.
    pub(crate) fn open(&self, method: &str, message: &Value) -> Stream {
        let mut stream = connect(self.addr).unwrap();
        let body = if message.is_null() { String::new() } else { message.to_string() };
        stream.write_all(&self.bytes(method, &body)).unwrap();
        Stream(BufReader::new(stream))
    }
}

/// A stream of events that is being read.
pub(crate) struct Stream(BufReader<TcpStream>);

impl Stream {
    /// The next message; nothing where the stream has ended.
    pub(crate) fn next(&mut self) -> Option<Value> {
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            // An event of a stream, or an answer that needed none.
            let line = line.trim_end();
            let data = line.strip_prefix("data: ").unwrap_or(line);
            if let Ok(message @ Value::Object(_)) = serde_json::from_str(data) {
                return Some(message);
            }
        }
    }
}

/// The messages of an answer, whether it is one or a stream.
pub(crate) fn messages(answer: &Answer) -> Vec<Value> {
    if answer.header("content-type") == Some("text/event-stream") {
        let text = answer.text();
        return text
            .lines()
            .filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok())
            .collect();
    }
    serde_json::from_slice(&answer.body).into_iter().collect()
}

pub(crate) fn call(id: &Value, tool: &str, arguments: &Value, token: &Value) -> Value {
    let params = json!({ "name": tool, "arguments": arguments, "_meta": { "progressToken": token } });
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params })
}
