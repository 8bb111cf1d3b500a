//! What goes into each door and comes out of it, as JSON Schema 2020-12, for the OpenAPI document.

mod devices;

use serde_json::{Value, json};
use tool::{Approval, Tool};

use crate::doors::{CallDoor, Page, Work};

/// The shape of one door.
pub(crate) struct Shape {
    /// The body it takes, and an example of it.
    pub(crate) request: Option<(Value, Value)>,
    /// What it answers, in the media type.
    pub(crate) answer: (&'static str, Value),
    /// The other statuses it answers with, beside those of credentials and bounds.
    pub(crate) others: &'static [u16],
}

/// The shape of a door. There is none without one.
pub(crate) fn of(work: Work) -> Shape {
    match work {
        Work::Call(door) => of_call(door),
        Work::Show(page) => of_page(page),
        Work::Mcp => of_mcp(),
        Work::Webhook => devices::of_alert(),
    }
}

/// One message each way; the protocol itself has its own schema.
fn of_mcp() -> Shape {
    let message = object(
        &["jsonrpc"],
        json!({
            "jsonrpc": { "const": "2.0", "description": "JSON-RPC 2.0." },
            "id": { "type": ["string", "integer"], "description": "What the answer is known by; left out where none is wanted." },
            "method": text("The method, such as `tools/call`."),
            "params": { "type": "object", "description": "Its parameters; `_meta` holds protocol version and capabilities." },
        }),
    );
    let example = json!({
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": { "name": "example", "version": "1" },
        },
    });
    let answer = json!({
        "type": "object",
        "description": "A JSON-RPC answer; a stream of them as `text/event-stream` where the call speaks before it ends.",
    });
    Shape {
        request: Some((message, example)),
        answer: ("application/json", answer),
        others: &[202, 400, 403, 404, 405, 406, 408, 413, 415, 503],
    }
}

/// What a call of the tool answers, where that is promised. A call of a tool that needs approval ends with its plan;
/// the tool's own result is what the change comes to when it is applied.
pub(crate) fn result_of(tool: &Tool) -> Option<Value> {
    match tool.approval {
        Approval::NotNeeded => tool.output.as_ref().map(|schema| (**schema).clone()),
        Approval::Needed => Some(planned_change()),
    }
}

fn planned_change() -> Value {
    let plan = object(
        &["target", "summary", "risk", "digest"],
        json!({
            "target": text("What would be changed."),
            "summary": text("The change in one line."),
            "risk": text("How much could go wrong."),
            "digest": text("What an approval is bound to."),
            "diff": text("The difference, as a unified diff where there is one."),
        }),
    );
    let mut change = object(
        &["change_id", "status", "tool", "requester", "approval", "plan", "next"],
        json!({
            "change_id": text("The change: `change_approve`, `change_apply` and `change_show` take it."),
            "status": text("`pending_approval`, or what became of the same change, asked for before."),
            "tool": text("The tool that made the plan."),
            "requester": text("Who asked for it."),
            "approval": { "type": "object", "description": "Whether it is approved, by whom, and until when it can be." },
            "plan": plan,
            "next": text("Who does what next."),
        }),
    );
    change["description"] = json!("A planned change, which waits for approval. Nothing was changed.");
    change
}

fn of_call(door: CallDoor) -> Shape {
    let others = &[202, 400, 403, 404, 408, 413, 429, 503];
    match door {
        CallDoor::ByPath => Shape {
            request: Some((
                json!({ "type": "object", "description": "The arguments of the tool." }),
                json!({}),
            )),
            answer: ("application/json", json!({ "description": "The bare result of the tool." })),
            others: &[202, 400, 403, 404, 408, 409, 413, 429, 500, 502, 503, 504],
        },
        CallDoor::CallTool => Shape {
            request: Some((
                object(
                    &["tool"],
                    json!({ "tool": text("The name of the tool."), "arguments": { "type": "object" } }),
                ),
                json!({ "tool": "get_customer", "arguments": { "customer_id": 42 } }),
            )),
            answer: (
                "application/json",
                call_answer(
                    &["tool", "execution_time_ms"],
                    json!({
                        "execution_time_ms": { "type": "number" },
                    }),
                ),
            ),
            others,
        },
        CallDoor::Invoke => Shape {
            request: Some((
                object(
                    &["tool"],
                    json!({
                        "tool": text("The name of the tool; older, dotted names count too."),
                        "params": { "type": "object" },
                        "caller": { "type": ["string", "null"], "maxLength": 200, "description": "A label for logs, never an identity." },
                    }),
                ),
                json!({ "tool": "fs.read_text", "params": { "path": "notes/welcome.txt" }, "caller": "me" }),
            )),
            answer: (
                "application/json",
                call_answer(
                    &["tool", "duration_ms"],
                    json!({
                        "duration_ms": { "type": "integer" },
                    }),
                ),
            ),
            others,
        },
        CallDoor::Devices
        | CallDoor::DeviceQuery
        | CallDoor::ExecuteCommands
        | CallDoor::DeviceStatus
        | CallDoor::SecureDevice
        | CallDoor::SecureExecute => devices::of(door),
        CallDoor::Operation => Shape {
            request: Some((
                object(
                    &["operation"],
                    json!({
                        "device_ip": { "type": ["string", "null"], "maxLength": 200 },
                        "operation": text("The name of a declared operation."),
                        "parameters": { "type": "object" },
                    }),
                ),
                json!({ "device_ip": null, "operation": "get_customer", "parameters": { "customer_id": 42 } }),
            )),
            answer: ("application/json", operation_answer()),
            others,
        },
    }
}

fn of_page(page: Page) -> Shape {
    let json_of = |schema| Shape { request: None, answer: ("application/json", schema), others: &[] };
    let health_of = |schema| Shape { request: None, answer: ("application/json", schema), others: &[503] };
    let number = || json!({ "type": "number" });
    match page {
        Page::Root => json_of(object(
            &["service", "version", "docs", "documentation", "health", "mcp_tools", "mcp"],
            texts(&[
                "service",
                "version",
                "docs",
                "documentation",
                "redoc",
                "openapi",
                "health",
                "mcp_tools",
                "mcp",
            ]),
        )),
        Page::Info => json_of(object(
            &["name", "version", "protocol_version", "capabilities"],
            json!({
                "name": { "type": "string" },
                "version": { "type": "string" },
                "protocol_version": { "type": "string" },
                "protocol_versions": list(json!({ "type": "string" })),
                "capabilities": list(json!({ "type": "string" })),
            }),
        )),
        Page::McpTools => json_of(list(object(
            &["name", "description", "input_schema"],
            json!({
                "name": { "type": "string" },
                "title": { "type": "string" },
                "description": { "type": "string" },
                "input_schema": { "type": "object" },
                "output_schema": { "type": "object" },
                "effect": { "enum": ["reads", "changes", "destroys"] },
                "deprecated": { "type": "boolean" },
            }),
        ))),
        Page::Tools => json_of(object(
            &["tools"],
            json!({
                "tools": { "type": "object", "additionalProperties": object(&[], json!({
                    "params": { "type": "object" },
                    "returns": { "type": "object" },
                    "error": { "type": "string" },
                })) },
            }),
        )),
        Page::Stats => json_of(object(
            &["uptime_seconds", "total_operations", "operations_per_minute", "timestamp"],
            json!({
                "uptime_seconds": number(),
                "total_operations": { "type": "integer" },
                "operations_per_minute": number(),
                "timestamp": time(),
            }),
        )),
        Page::Usage => json_of(usage()),
        Page::Health => health_of(object(
            &["status", "timestamp", "version", "uptime_seconds"],
            json!({
                "status": state(),
                "timestamp": time(),
                "version": { "type": "string" },
                "uptime_seconds": number(),
                "database": { "type": "string" },
                "upstream_api": { "type": "string" },
                "audit": { "enum": ["writable", "broken"] },
                "memory_usage_percent": number(),
                "servers": { "type": "integer" },
            }),
        )),
        Page::HealthDetailed => health_of(object(
            &["status", "timestamp", "version", "uptime_seconds", "checks", "metrics"],
            json!({
                "status": state(),
                "timestamp": time(),
                "version": { "type": "string" },
                "uptime_seconds": number(),
                "checks": { "type": "object" },
                "metrics": object(&[], json!({
                    "cpu_percent": number(),
                    "memory_percent": number(),
                    "disk_percent": number(),
                    "process_count": { "type": "integer" },
                })),
            }),
        )),
        Page::Ready => health_of(object(&["status"], json!({ "status": { "const": "ready" } }))),
        Page::Live => json_of(object(&["status"], json!({ "status": { "const": "alive" } }))),
        Page::Metrics => media("application/openmetrics-text"),
        Page::OpenApi => json_of(json!({ "type": "object" })),
        Page::Docs | Page::Redoc => media("text/html"),
        Page::Asset => Shape { others: &[304, 404], ..media("*/*") },
    }
}

fn usage() -> Value {
    object(
        &["user_id", "tier", "rate_limit", "requests_today", "requests_this_month"],
        json!({
            "user_id": { "type": "string" },
            "tier": { "type": "string" },
            "rate_limit": { "type": "integer", "description": "Calls in any 60 seconds." },
            "requests_today": { "type": "integer" },
            "requests_this_month": { "type": "integer" },
            "timestamp": time(),
        }),
    )
}

/// The error body that all doors share.
pub(crate) fn error_body() -> Value {
    object(
        &["error", "status", "detail", "code", "request_id"],
        json!({
            "error": text("What went wrong and what to do about it."),
            "status": text("One word for it: invalid, denied, not_found, retry, conflict, unknown, cancelled, error."),
            "detail": { "description": "The sentence again; where a limit was met, an object with error, limit and reset_at." },
            "code": text("The kind of fault, for programs."),
            "request_id": { "type": "string" },
            "pointer": text("The JSON pointer to the argument that is wrong (RFC 6901)."),
            "retry_after_seconds": { "type": "integer" },
            "limit": { "type": "integer" },
            "reset_at": { "type": "string", "format": "date-time", "description": "When there will be more." },
        }),
    )
}

/// The same as problem details (RFC 9457), for `Accept: application/problem+json`.
pub(crate) fn problem_body() -> Value {
    object(
        &["type", "title", "status", "detail", "code", "request_id"],
        json!({
            "type": { "type": "string" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string" },
            "error": { "type": "string" },
            "code": { "type": "string" },
            "request_id": { "type": "string" },
            "pointer": { "type": "string" },
            "retry_after_seconds": { "type": "integer" },
        }),
    )
}

/// What a call answers that is not done: it waits for input, or goes on as a task.
pub(crate) fn accepted_body() -> Value {
    object(
        &["status", "request_id"],
        json!({
            "status": { "enum": ["input_required", "working"] },
            "question": object(&["text", "schema"], json!({ "text": { "type": "string" }, "schema": { "type": "object" } })),
            "task_id": { "type": "string" },
            "request_id": { "type": "string" },
        }),
    )
}

fn call_answer(required: &[&str], more: Value) -> Value {
    let mut schema = object(
        required,
        json!({
            "tool": text("The tool as it was named."),
            "result": { "description": "What the tool answered; null where it failed." },
            "error": { "type": ["string", "null"] },
            "request_id": { "type": "string" },
            "status": text("The word of the fault, or why the call is not done."),
            "code": text("The kind of fault."),
            "cut": { "type": "object", "description": "How the result was cut, and the handle of the whole." },
        }),
    );
    merge(&mut schema["properties"], more);
    schema
}

fn operation_answer() -> Value {
    object(
        &["device_ip", "operation", "success", "result", "error", "execution_time_ms", "timestamp"],
        json!({
            "device_ip": { "type": ["string", "null"] },
            "operation": { "type": "string" },
            "success": { "type": "boolean" },
            "result": { "anyOf": [
                object(&["status", "output", "parameters_used"], json!({
                    "status": { "type": "string" },
                    "output": {},
                    "parameters_used": { "type": "object" },
                })),
                { "type": "null" },
            ] },
            "error": { "type": ["string", "null"] },
            "execution_time_ms": { "type": "number" },
            "timestamp": time(),
        }),
    )
}

fn media(media_type: &'static str) -> Shape {
    Shape { request: None, answer: (media_type, json!({ "type": "string" })), others: &[] }
}

fn object(required: &[&str], properties: Value) -> Value {
    let mut schema = json!({ "type": "object", "properties": properties });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn texts(names: &[&str]) -> Value {
    names
        .iter()
        .map(|name| ((*name).to_owned(), json!({ "type": "string" })))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn text(about: &str) -> Value {
    json!({ "type": "string", "description": about })
}

fn list(items: Value) -> Value {
    json!({ "type": "array", "items": items })
}

fn time() -> Value {
    json!({ "type": "string", "format": "date-time" })
}

fn state() -> Value {
    json!({ "enum": ["healthy", "degraded", "unhealthy"] })
}

fn merge(into: &mut Value, more: Value) {
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        into.extend(more);
    }
}
