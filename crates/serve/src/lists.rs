//! The doors that list: what this is, what tools there are, how much was done.

use std::sync::Arc;

use http::Response;
use serde_json::{Map, Value, json};
use tool::{Approval, Caller, Effect, Repeats, Tool};

use crate::{conn::Body, doors::Inside, headers, problem::Refusal, shapes};

/// `GET /`
pub(crate) fn root(inside: &Inside) -> Response<Body> {
    shown(&json!({
        "service": inside.name,
        "version": inside.version,
        "docs": "/docs",
        "documentation": "/docs",
        "redoc": "/redoc",
        "openapi": "/openapi.json",
        "health": "/health",
        "mcp_tools": "/mcp/tools",
        "mcp": "/mcp",
    }))
}

/// `GET /mcp/info`
pub(crate) fn info(inside: &Inside) -> Response<Body> {
    shown(&json!({
        "name": inside.name,
        "version": inside.version,
        "protocol_version": ::mcp::Version::LATEST.as_str(),
        "protocol_versions": ::mcp::Version::ALL.map(::mcp::Version::as_str),
        "capabilities": ["tools", "async_execution", "prompts", "resources", "completions", "logging", "tasks"],
    }))
}

/// `GET /mcp/tools`
pub(crate) fn mcp_tools(inside: &Inside, caller: &Caller) -> Response<Body> {
    let tools: Vec<Value> = inside.road.visible(caller).iter().map(row).collect();
    shown(&Value::Array(tools))
}

/// `GET /tools`: by name, and by the older names too.
pub(crate) fn tools(inside: &Inside, caller: &Caller) -> Response<Body> {
    let mut tools = Map::new();
    for tool in inside.road.visible(caller).iter() {
        let returns = shapes::result_of(tool).unwrap_or_else(|| json!({}));
        let row = json!({ "params": *tool.input, "returns": returns, "description": tool.about });
        for alias in &tool.aliases {
            tools.insert(alias.to_string(), row.clone());
        }
        tools.insert(tool.name.to_string(), row);
    }
    shown(&json!({ "tools": tools }))
}

/// `GET /stats`
pub(crate) fn stats(inside: &Inside) -> Response<Body> {
    let stats = inside.road.stats();
    shown(&json!({
        "uptime_seconds": stats.uptime.as_secs_f64(),
        "total_operations": stats.total_operations,
        "operations_per_minute": stats.operations_per_minute,
        "timestamp": inside.clock.now(),
    }))
}

/// `GET /secure/usage`
pub(crate) async fn usage(inside: &Inside, caller: &Caller) -> Result<Response<Body>, Refusal> {
    let (today, month) = inside.road.usage(caller).await?;
    Ok(shown(&json!({
        "user_id": caller.user_id,
        "tier": caller.tier,
        "rate_limit": inside.road.rate(caller).calls,
        "requests_today": today,
        "requests_this_month": month,
        "timestamp": inside.clock.now(),
    })))
}

/// One tool as `/mcp/tools` shows it: names in snake case.
fn row(tool: &Arc<Tool>) -> Value {
    let mut row = json!({
        "name": tool.name,
        "description": tool.about,
        "input_schema": *tool.input,
        "effect": tool.effect,
        "annotations": {
            "read_only_hint": tool.effect == Effect::Reads,
            "destructive_hint": tool.effect == Effect::Destroys,
            "idempotent_hint": tool.repeats == Repeats::Safe,
        },
        "needs_approval": tool.approval == Approval::Needed,
        "deprecated": tool.deprecation.is_some(),
        "timeout_ms": u64::try_from(tool.time_max.as_millis()).unwrap_or(u64::MAX),
    });
    let optional = [
        ("title", tool.title.as_ref().map(|title| json!(title))),
        ("output_schema", shapes::result_of(tool)),
        ("version", tool.version.as_ref().map(|version| json!(version))),
        ("deprecation", tool.deprecation.as_ref().map(|deprecation| json!(deprecation))),
        ("aliases", (!tool.aliases.is_empty()).then(|| json!(tool.aliases))),
        ("examples", (!tool.examples.is_empty()).then(|| json!(tool.examples))),
        ("labels", (!tool.labels.is_empty()).then(|| json!(tool.labels))),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            row[name] = value;
        }
    }
    row
}

fn shown(value: &Value) -> Response<Body> {
    headers::json(value.to_string())
}
