//! The OpenAPI 3.1 document: every door from the table, and a path of its own for every tool that the presented
//! credentials may see.

use http::{Response, StatusCode};
use serde_json::{Map, Value, json};
use tool::{Caller, Effect, Tool};

use crate::{
    conn::Body,
    doors::{CallDoor, DOORS, Door, Inside, Need, Page, Work},
    headers,
    shapes::{self, Shape},
};

/// `GET /openapi.json`
pub(crate) fn answer(inside: &Inside, caller: Option<&Caller>) -> Response<Body> {
    let visible = caller.map(|caller| inside.road.visible(caller));
    let tools = visible.iter().flat_map(|tools| tools.iter()).map(AsRef::as_ref);
    headers::json(document(&inside.name, &inside.version, tools).to_string())
}

/// The whole document.
pub(crate) fn document<'a>(name: &str, version: &str, tools: impl Iterator<Item = &'a Tool>) -> Value {
    let mut paths = Map::new();
    for door in DOORS {
        paths.insert(door.path.to_owned(), door_item(door));
    }
    let mut components = components();
    let mut schemas = Map::new();
    for tool in tools {
        paths.insert(format!("/v1/mcp/{}", tool.name), tool_item(tool, &mut schemas));
    }
    if let Value::Object(known) = &mut components["schemas"] {
        known.extend(schemas);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": name,
            "version": version,
            "summary": "Tools for agents and people, behind one gate",
            "description": "Send a key as `Authorization: Bearer <key>`. This document shows the tools that the presented \
                key may see; without a key it shows none.",
            "license": { "name": "MIT", "identifier": "MIT" },
        },
        "servers": [{ "url": "/" }],
        "tags": [
            { "name": "tools", "description": "Every tool, on a path of its own" },
            { "name": "calls", "description": "Doors that call any tool" },
            { "name": "lists", "description": "What there is" },
            { "name": "health", "description": "How it is" },
            { "name": "docs", "description": "Documentation" },
        ],
        "paths": paths,
        "components": components,
    })
}

fn door_item(door: &Door) -> Value {
    let shape = shapes::of(door.work);
    let mut operation = json!({
        "tags": [tag(door.work)],
        "summary": door.about,
        "operationId": operation_id(door),
        "security": security(door.need),
    });
    let parameter = match door.work {
        Work::Call(CallDoor::ByPath) => Some(("tool", "The name of the tool.")),
        Work::Call(CallDoor::DeviceStatus) => {
            Some(("host", "The device: its name in the inventory, its host or its address."))
        }
        Work::Call(CallDoor::SecureDevice) => {
            Some(("ip", "The device: its name in the inventory, its host or its address."))
        }
        Work::Show(Page::Asset) => Some(("file", "The name of the file.")),
        Work::Mcp if door.path.contains('{') => Some(("name", "The name of the toolset.")),
        _ => None,
    };
    if let Some((name, about)) = parameter {
        operation["parameters"] = json!([
            { "name": name, "in": "path", "required": true, "description": about, "schema": { "type": "string" } }
        ]);
    }
    if matches!(door.work, Work::Call(_)) {
        add_call_headers(&mut operation);
    }
    if let Some((schema, example)) = &shape.request {
        operation["requestBody"] =
            json!({ "content": { "application/json": { "schema": schema, "example": example } } });
    }
    operation["responses"] = responses(door, &shape);
    if door.work == Work::Call(CallDoor::ByPath) {
        add_answer_headers(&mut operation);
    }
    json!({ (door.method.as_str().to_ascii_lowercase()): operation })
}

fn tool_item(tool: &Tool, schemas: &mut Map<String, Value>) -> Value {
    let mut operation = json!({
        "tags": ["tools"],
        "summary": tool.title.as_deref().unwrap_or(tool.name.as_str()),
        "description": about(tool),
        "operationId": format!("tool_{}", tool.name),
        "security": security(Need::Key),
        "x-effect": tool.effect,
    });
    if tool.deprecation.is_some() {
        operation["deprecated"] = true.into();
    }
    add_call_headers(&mut operation);
    let mut media = json!({ "schema": embedded(&tool.input, &format!("{}.arguments", tool.name), schemas) });
    if !tool.examples.is_empty() {
        let named = tool.examples.iter().enumerate();
        let examples: Map<_, _> =
            named.map(|(i, e)| (format!("example_{}", i + 1), json!({ "value": e }))).collect();
        media["examples"] = examples.into();
    }
    let is_required =
        tool.input.get("required").and_then(Value::as_array).is_some_and(|names| !names.is_empty());
    operation["requestBody"] = json!({ "required": is_required, "content": { "application/json": media } });
    let result = match shapes::result_of(tool) {
        None => json!({}),
        Some(schema) => embedded(&schema, &format!("{}.result", tool.name), schemas),
    };
    let by_path = shapes::of(Work::Call(CallDoor::ByPath));
    operation["responses"] = statuses(("application/json", result), by_path.others, Need::Key);
    add_answer_headers(&mut operation);
    json!({ "post": operation })
}

/// A schema as it may stand inside the document. One that refers to parts of itself becomes a component of this name,
/// and its references go there.
fn embedded(schema: &Value, name: &str, schemas: &mut Map<String, Value>) -> Value {
    let mut schema = schema.clone();
    if let Value::Object(members) = &mut schema {
        members.remove("$schema");
    }
    let home = format!("#/components/schemas/{name}");
    if !move_references(&mut schema, &home) {
        return schema;
    }
    schemas.insert(name.to_owned(), schema);
    json!({ "$ref": home })
}

/// Lets every reference to the schema's own root go to its new home; true where there was one.
fn move_references(schema: &mut Value, home: &str) -> bool {
    match schema {
        Value::Array(items) => {
            items.iter_mut().fold(false, |found, item| move_references(item, home) | found)
        }
        Value::Object(members) => {
            let mut found = false;
            for (name, member) in members {
                match (name.as_str(), member) {
                    // Data, not schemas.
                    ("const" | "enum" | "default" | "examples", _) => {}
                    // Names of the schema's own, whatever they are.
                    ("properties" | "patternProperties" | "$defs", Value::Object(named)) => {
                        for schema in named.values_mut() {
                            found |= move_references(schema, home);
                        }
                    }
                    ("$ref" | "$dynamicRef", Value::String(target)) if target.starts_with('#') => {
                        target.replace_range(..1, home);
                        found = true;
                    }
                    (_, member) => found |= move_references(member, home),
                }
            }
            found
        }
        _ => false,
    }
}

fn about(tool: &Tool) -> String {
    let mut text = tool.about.to_string();
    match tool.effect {
        Effect::Reads => {}
        Effect::Changes => text.push_str("\n\nChanges something."),
        Effect::Destroys => text.push_str("\n\nRemoves something for good."),
    }
    if let Some(end) = &tool.deprecation {
        text.push_str(&format!("\n\nGoes away on {}.", end.removal));
        if let Some(instead) = &end.instead {
            text.push_str(&format!(" Use `{instead}` instead."));
        }
    }
    text
}

fn responses(door: &Door, shape: &Shape) -> Value {
    let (media_type, schema) = &shape.answer;
    if door.work == Work::Mcp {
        return protocol_statuses(schema, shape.others);
    }
    statuses((media_type, schema.clone()), shape.others, door.need)
}

/// The statuses of the protocol's door, whose refusals are JSON-RPC errors once it is known who asks.
fn protocol_statuses(schema: &Value, others: &[u16]) -> Value {
    let mut responses = Map::new();
    let content = json!({ "application/json": { "schema": schema }, "text/event-stream": { "schema": { "type": "string" } } });
    responses.insert("200".to_owned(), json!({ "description": "Answered", "content": content }));
    for status in [401, 403] {
        let reason = if status == 401 { "Unauthorized" } else { "Forbidden" };
        responses.insert(status.to_string(), json!({ "description": reason, "content": error_content() }));
    }
    for status in others.iter().filter(|status| **status != 403) {
        let reason =
            StatusCode::from_u16(*status).ok().and_then(|s| s.canonical_reason()).unwrap_or("Refused");
        let mut response = json!({ "description": reason });
        if !matches!(status, 202 | 405) {
            let error =
                json!({ "type": "object", "description": "A JSON-RPC error, or what every door says." });
            response["content"] = json!({ "application/json": { "schema": error } });
        }
        responses.insert(status.to_string(), response);
    }
    Value::Object(responses)
}

fn statuses(answer: (&str, Value), others: &[u16], need: Need) -> Value {
    let mut responses = Map::new();
    responses.insert(
        "200".to_owned(),
        json!({ "description": "Done", "content": { answer.0: { "schema": answer.1 } } }),
    );
    let by_need: &[u16] = match need {
        Need::Nothing => &[],
        Need::Optional | Need::Key | Need::Signature | Need::Metrics => &[401, 403],
    };
    let mut all: Vec<u16> = others.iter().chain(by_need).copied().collect();
    all.sort_unstable();
    all.dedup();
    for status in all {
        let body = match status {
            202 => json!({ "$ref": "#/components/responses/Accepted" }),
            304 => json!({ "description": "Not Modified" }),
            429 => json!({ "$ref": "#/components/responses/Limited" }),
            _ => {
                let reason =
                    StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason()).unwrap_or("Refused");
                json!({ "description": reason, "content": error_content() })
            }
        };
        responses.insert(status.to_string(), body);
    }
    Value::Object(responses)
}

fn add_call_headers(operation: &mut Value) {
    let common = ["RequestId", "IdempotencyKey"]
        .map(|name| json!({ "$ref": format!("#/components/parameters/{name}") }));
    match &mut operation["parameters"] {
        Value::Array(parameters) => parameters.extend(common),
        none => *none = json!(common),
    }
}

/// What an answer that is the bare result tells in its head.
fn add_answer_headers(operation: &mut Value) {
    let named = ["X-Cut", "X-Artefact", "X-Removed-Characters", "X-Masked-Secrets"];
    let headers: Map<String, Value> = named
        .map(|name| (name.to_owned(), json!({ "$ref": format!("#/components/headers/{name}") })))
        .into_iter()
        .collect();
    operation["responses"]["200"]["headers"] = headers.into();
}

fn security(need: Need) -> Value {
    match need {
        Need::Nothing => json!([]),
        Need::Optional | Need::Metrics => json!([{}, { "key": [] }]),
        Need::Key => json!([{ "key": [] }]),
        Need::Signature => json!([{ "signature": [] }]),
    }
}

fn tag(work: Work) -> &'static str {
    match work {
        Work::Call(_) | Work::Mcp | Work::Webhook => "calls",
        Work::Show(Page::Root | Page::Info | Page::McpTools | Page::Tools | Page::Stats | Page::Usage) => {
            "lists"
        }
        Work::Show(Page::Health | Page::HealthDetailed | Page::Ready | Page::Live | Page::Metrics) => {
            "health"
        }
        Work::Show(Page::OpenApi | Page::Docs | Page::Redoc | Page::Asset) => "docs",
    }
}

fn operation_id(door: &Door) -> String {
    let path: String = door.path.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    format!("{}_{}", door.method.as_str().to_ascii_lowercase(), path.trim_matches('_'))
}

fn error_content() -> Value {
    json!({
        "application/json": { "schema": { "$ref": "#/components/schemas/Error" } },
        "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } },
    })
}

fn components() -> Value {
    let number = |about: &str| json!({ "description": about, "schema": { "type": "integer" } });
    let text = |about: &str| json!({ "description": about, "schema": { "type": "string" } });
    json!({
        "securitySchemes": {
            "key": { "type": "http", "scheme": "bearer", "description": "A key of this server, `sk_..`." },
            "signature": {
                "type": "apiKey", "in": "header", "name": "X-Signature",
                "description": "`t=<unix seconds>,v1=<hex>`: the HMAC-SHA256 of `<t>.<body>` under the sender's secret.",
            },
        },
        "schemas": { "Error": shapes::error_body(), "Problem": shapes::problem_body(), "Accepted": shapes::accepted_body() },
        "parameters": {
            "RequestId": {
                "name": "X-Request-ID", "in": "header", "required": false,
                "description": "An id of your own for this call; it comes back in the answer, the logs and the audit.",
                "schema": { "type": "string", "maxLength": 128 },
            },
            "IdempotencyKey": {
                "name": "Idempotency-Key", "in": "header", "required": false,
                "description": "The same key with the same arguments has one effect, however often it is sent.",
                "schema": { "type": "string", "maxLength": 255 },
            },
        },
        "headers": {
            "X-Cut": text("The bound that cut the result; missing where nothing was cut."),
            "X-Artefact": text("The handle of the whole result, where it was cut and kept."),
            "X-Removed-Characters": number("How many control and invisible characters were taken out of the result."),
            "X-Masked-Secrets": number("How many secrets in the result were masked."),
        },
        "responses": {
            "Accepted": {
                "description": "Not done: the call waits for input, or goes on as a task",
                "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Accepted" } } },
            },
            "Limited": {
                "description": "Too many calls",
                "headers": {
                    "Retry-After": number("Seconds to wait."),
                    "X-RateLimit-Limit": number("Calls in any window."),
                    "X-RateLimit-Remaining": number("Calls left."),
                    "X-RateLimit-Reset": number("When there will be more, in seconds since 1970."),
                },
                "content": error_content(),
            },
        },
    })
}
