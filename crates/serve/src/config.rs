use std::{collections::BTreeMap, net::SocketAddr};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use tool::{ConfigFault, json::push_pointer};
use url::Url;

/// The `server:` section: where the server listens, and the bounds of every connection.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The address and port of the REST doors. Port 0 takes a free one.
    #[schemars(extend("format" = "socket-address"))]
    pub listen: SocketAddr,
    /// An address of its own for `/metrics` and the health doors, open to whoever reaches it. Without it,
    /// `/metrics` is open on a loopback listener and elsewhere needs a key with the role `metrics`.
    #[schemars(extend("format" = "socket-address"))]
    pub metrics_listen: Option<SocketAddr>,
    /// What the server calls itself in `/`, `/mcp/info` and the OpenAPI document.
    #[schemars(length(min = 1, max = 100))]
    pub name: String,
    /// Names under which the server may be reached, without port, beside its own address. A loopback listener
    /// always takes `localhost`, `127.0.0.1` and `[::1]` and refuses every other name (DNS rebinding); another
    /// listener takes any name as long as this list is empty.
    pub allowed_hosts: Vec<String>,
    /// Who may call from a web page.
    pub cors: CorsConfig,
    /// How long a client may take to send the head of a request.
    #[schemars(range(min = 1, max = 600_000))]
    pub header_timeout_ms: u64,
    /// The longest pause in the middle of a request's body.
    #[schemars(range(min = 1, max = 600_000))]
    pub body_idle_ms: u64,
    /// How long a client may take to send a whole body, and to take a whole answer.
    #[schemars(range(min = 1, max = 3_600_000))]
    pub request_total_ms: u64,
    /// How long a connection may wait for its next request.
    #[schemars(range(min = 1, max = 3_600_000))]
    pub idle_ms: u64,
    /// The largest head of a request.
    #[schemars(range(min = 8_192, max = 1_048_576))]
    pub header_bytes_max: usize,
    /// The most header fields of a request.
    #[schemars(range(min = 16, max = 1_000))]
    pub headers_max: usize,
    /// The largest body of a request.
    #[schemars(range(min = 2, max = 67_108_864))]
    pub body_bytes_max: usize,
    /// The most connections at once; more are told to come back.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections_max: usize,
    /// The most connections at once from one address.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections_per_address_max: usize,
    /// How long running requests may take to end when the server stops.
    #[schemars(range(max = 3_600_000))]
    pub drain_ms: u64,
    /// How often the load of the machine and of the process is measured.
    #[schemars(range(min = 100, max = 600_000))]
    pub sample_ms: u64,
    /// The share of memory in use above which `/health` says `degraded`.
    #[schemars(range(min = 1, max = 100))]
    pub memory_percent_max: u8,
    /// The tiers that `POST /secure/execute` is for.
    #[schemars(length(min = 1))]
    pub secure_tiers: Vec<String>,
    /// The Model Context Protocol at `/mcp` and over standard input and output.
    pub mcp: McpConfig,
}

/// The `server.mcp:` section: the Model Context Protocol.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct McpConfig {
    /// What clients are told about how to use this server; models read it.
    #[schemars(length(max = 8_192))]
    pub instructions: Option<String>,
    /// How many items a page of a list has.
    #[schemars(range(min = 1, max = 10_000))]
    pub page_size: usize,
    /// The most sessions of older clients at once.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub sessions_max: usize,
    /// The most sessions of one principal; a new one ends the one that was not used for longest.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub sessions_per_principal_max: usize,
    /// How long a session may be unused before it is forgotten.
    #[schemars(range(min = 60, max = 31_536_000))]
    pub session_idle_seconds: u64,
    /// How long a client may take to answer a question that a call asks; the call waits that long.
    #[schemars(range(min = 1, max = 86_400))]
    pub answer_seconds: u64,
    /// The most calls that wait for an answer in their caller's next request.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub waiting_max: usize,
    /// The most tasks that are kept of one principal, those that have ended too.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub tasks_per_principal_max: u64,
    /// How long a task is kept, from its beginning.
    #[schemars(range(min = 60, max = 31_536_000))]
    pub task_seconds: u64,
}

impl Default for McpConfig {
    fn default() -> Self {
        Self {
            instructions: None,
            page_size: 100,
            sessions_max: 50_000,
            sessions_per_principal_max: 1_000,
            session_idle_seconds: 24 * 60 * 60,
            answer_seconds: 10 * 60,
            waiting_max: 1_000,
            tasks_per_principal_max: 1_000,
            task_seconds: 24 * 60 * 60,
        }
    }
}

/// Cross-origin requests. Closed unless origins are named.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CorsConfig {
    /// Origins of web pages that may call, such as `https://console.example.com`. No wildcards. Pages of the
    /// server itself may always call it.
    pub origins: Vec<String>,
}

/// The `operations:` section: what `POST /operations/execute` does for each name of an operation.
pub type Operations = BTreeMap<String, OperationConfig>;

/// One operation: the tool behind it and where that tool's arguments come from.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OperationConfig {
    /// The tool that does the work.
    pub tool: String,
    /// Arguments taken from the request, as JSON pointers into it: `{ customer_id: /parameters/id, host:
    /// /device_ip }`. What the request does not hold is left out. Without this, the request's `parameters` are the
    /// arguments.
    pub arguments: Option<BTreeMap<String, String>>,
    /// Arguments that are always the same. They win over the request's.
    #[serde(default)]
    pub fixed: Map<String, Value>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8000)),
            metrics_listen: None,
            name: "portcullis".to_owned(),
            allowed_hosts: Vec::new(),
            cors: CorsConfig::default(),
            header_timeout_ms: 10_000,
            body_idle_ms: 15_000,
            request_total_ms: 60_000,
            idle_ms: 75_000,
            header_bytes_max: 64 * 1024,
            headers_max: 100,
            body_bytes_max: 4 * 1024 * 1024,
            connections_max: 8_192,
            connections_per_address_max: 4_096,
            drain_ms: 10_000,
            sample_ms: 5_000,
            memory_percent_max: 95,
            secure_tiers: vec!["premium".to_owned()],
            mcp: McpConfig::default(),
        }
    }
}

impl Config {
    /// What the schema cannot say.
    #[must_use]
    pub fn check(&self) -> Vec<ConfigFault> {
        let mut faults = Vec::new();
        for (i, origin) in self.cors.origins.iter().enumerate() {
            if !is_origin(origin) {
                let text = format!(
                    "{origin:?} is not an origin; write scheme, host and port, as https://a.example:8443"
                );
                faults.push(ConfigFault::new(format!("/server/cors/origins/{i}"), text));
            }
        }
        for (i, host) in self.allowed_hosts.iter().enumerate() {
            if !is_host(host) {
                let text =
                    format!("{host:?} is not the name of a host; write it without scheme, port and path");
                faults.push(ConfigFault::new(format!("/server/allowed_hosts/{i}"), text));
            }
        }
        if self.connections_per_address_max > self.connections_max {
            let text = "more connections from one address than from all together";
            let fault = ConfigFault::new("/server/connections_per_address_max", text);
            faults.push(fault.hint(format!("connections_max is {}", self.connections_max)));
        }
        for (name, value, min) in [
            ("header_timeout_ms", self.header_timeout_ms, 1),
            ("body_idle_ms", self.body_idle_ms, 1),
            ("request_total_ms", self.request_total_ms, 1),
            ("idle_ms", self.idle_ms, 1),
            ("sample_ms", self.sample_ms, 100),
            ("header_bytes_max", self.header_bytes_max as u64, 8_192),
            ("headers_max", self.headers_max as u64, 16),
            ("body_bytes_max", self.body_bytes_max as u64, 2),
            ("connections_max", self.connections_max as u64, 1),
            ("mcp/page_size", self.mcp.page_size as u64, 1),
            ("mcp/sessions_max", self.mcp.sessions_max as u64, 1),
            ("mcp/sessions_per_principal_max", self.mcp.sessions_per_principal_max as u64, 1),
            ("mcp/session_idle_seconds", self.mcp.session_idle_seconds, 60),
            ("mcp/answer_seconds", self.mcp.answer_seconds, 1),
            ("mcp/waiting_max", self.mcp.waiting_max as u64, 1),
            ("mcp/tasks_per_principal_max", self.mcp.tasks_per_principal_max, 1),
            ("mcp/task_seconds", self.mcp.task_seconds, 60),
        ] {
            if value < min {
                faults.push(ConfigFault::new(
                    format!("/server/{name}"),
                    format!("{value} is too small; {min} is the least"),
                ));
            }
        }
        faults
    }
}

/// What the schema cannot say about the operations: pointers that are none, arguments named twice.
#[must_use]
pub fn check_operations(operations: &Operations) -> Vec<ConfigFault> {
    let mut faults = Vec::new();
    for (name, operation) in operations {
        let at = |rest: &[&str]| {
            let mut pointer = "/operations".to_owned();
            for part in [name.as_str()].iter().chain(rest) {
                push_pointer(&mut pointer, part);
            }
            pointer
        };
        if operation.tool.is_empty() {
            faults.push(ConfigFault::new(at(&["tool"]), "the tool of an operation needs a name"));
        }
        for (argument, from) in operation.arguments.iter().flatten() {
            if !(from.starts_with("/parameters") || from.starts_with("/device_ip")) {
                let text = format!("{from:?} does not point into the request");
                let fault = ConfigFault::new(at(&["arguments", argument]), text);
                faults.push(fault.hint("write /device_ip or /parameters/NAME; a constant goes into fixed"));
            }
            if operation.fixed.contains_key(argument) {
                let text = format!("{argument:?} is both taken from the request and fixed");
                faults.push(ConfigFault::new(at(&["fixed", argument]), text));
            }
        }
    }
    faults
}

fn is_origin(text: &str) -> bool {
    let Ok(url) = Url::parse(text) else { return false };
    matches!(url.scheme(), "http" | "https") && url.origin().ascii_serialization() == text
}

fn is_host(text: &str) -> bool {
    let Ok(url) = Url::parse(&format!("http://{text}/")) else { return false };
    url.host_str().is_some_and(|host| host.eq_ignore_ascii_case(text))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;

    fn check(section: Value, expected: Expect) {
        let shown = match serde_json::from_value::<Config>(section) {
            Ok(config) => config.check().iter().map(|fault| format!("{fault}\n")).collect(),
            Err(error) => format!("{error}\n"),
        };
        expected.assert_eq(&shown);
    }

    #[test]
    fn what_a_server_section_may_not_say() {
        check(json!({}), expect![""]);
        check(json!({ "listen": "0.0.0.0:80", "cors": { "origins": ["https://a.example"] } }), expect![""]);
        check(
            json!({ "cors": { "origins": ["*", "https://a.example/", "a.example", "HTTPS://A.example", "null"] } }),
            expect![[r#"
                /server/cors/origins/0: "*" is not an origin; write scheme, host and port, as https://a.example:8443
                /server/cors/origins/1: "https://a.example/" is not an origin; write scheme, host and port, as https://a.example:8443
                /server/cors/origins/2: "a.example" is not an origin; write scheme, host and port, as https://a.example:8443
                /server/cors/origins/3: "HTTPS://A.example" is not an origin; write scheme, host and port, as https://a.example:8443
                /server/cors/origins/4: "null" is not an origin; write scheme, host and port, as https://a.example:8443
            "#]],
        );
        check(
            json!({ "allowed_hosts": ["a.example", "[::2]", "a.example:80", "http://a", "a/b", ""] }),
            expect![[r#"
            /server/allowed_hosts/2: "a.example:80" is not the name of a host; write it without scheme, port and path
            /server/allowed_hosts/3: "http://a" is not the name of a host; write it without scheme, port and path
            /server/allowed_hosts/4: "a/b" is not the name of a host; write it without scheme, port and path
            /server/allowed_hosts/5: "" is not the name of a host; write it without scheme, port and path
        "#]],
        );
        check(
            json!({ "connections_max": 10 }),
            expect![[r#"
            /server/connections_per_address_max: more connections from one address than from all together (connections_max is 10)
        "#]],
        );
        check(
            json!({ "header_bytes_max": 8191, "header_timeout_ms": 0, "headers_max": 15 }),
            expect![[r#"
            /server/header_timeout_ms: 0 is too small; 1 is the least
            /server/header_bytes_max: 8191 is too small; 8192 is the least
            /server/headers_max: 15 is too small; 16 is the least
        "#]],
        );
        check(
            json!({ "port": 80 }),
            expect![[r#"
                unknown field `port`, expected one of `listen`, `metrics_listen`, `name`, `allowed_hosts`, `cors`, `header_timeout_ms`, `body_idle_ms`, `request_total_ms`, `idle_ms`, `header_bytes_max`, `headers_max`, `body_bytes_max`, `connections_max`, `connections_per_address_max`, `drain_ms`, `sample_ms`, `memory_percent_max`, `secure_tiers`, `mcp`
            "#]],
        );
    }

    #[test]
    fn what_an_operation_may_not_say() {
        let operations: Operations = serde_json::from_value(json!({
            "good": { "tool": "get_customer", "arguments": { "id": "/parameters/id", "host": "/device_ip" } },
            "bad": { "tool": "", "arguments": { "id": "7", "x": "/parameters/x" }, "fixed": { "x": 1 } },
        }))
        .unwrap();
        let shown: String = check_operations(&operations).iter().map(|fault| format!("{fault}\n")).collect();
        expect![[r#"
            /operations/bad/tool: the tool of an operation needs a name
            /operations/bad/arguments/id: "7" does not point into the request (write /device_ip or /parameters/NAME; a constant goes into fixed)
            /operations/bad/fixed/x: "x" is both taken from the request and fixed
        "#]].assert_eq(&shown);
    }
}
