//! What proxied calls end at: an MCP server of one tool in 2026-07-28, with the least that such a server does.
#![allow(clippy::print_stdout, reason = "says where it listens")]

use axum::{
    Router,
    body::Bytes,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
    routing::post,
    serve::ListenerExt as _,
};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    method: &'a str,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Params {
    arguments: Sum,
}

#[derive(Deserialize)]
struct Sum {
    a: i64,
    b: i64,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let doors = Router::new().route("/mcp", post(answer));
    axum::serve(listener.tap_io(|socket| drop(socket.set_nodelay(true))), doors).await
}

async fn answer(body: Bytes) -> Response {
    let Ok(message) = serde_json::from_slice::<Message<'_>>(&body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let Some(id) = message.id else { return StatusCode::ACCEPTED.into_response() };
    let (status, end) = match result(&message) {
        Some(result) => (StatusCode::OK, format!(r#""result":{result}"#)),
        None => (StatusCode::NOT_FOUND, r#""error":{"code":-32601,"message":"no such method"}"#.to_owned()),
    };
    let body = format!(r#"{{"jsonrpc":"2.0","id":{id},{end}}}"#);
    (status, [(CONTENT_TYPE, "application/json")], body).into_response()
}

fn result(message: &Message<'_>) -> Option<Value> {
    let number = json!({ "type": "integer" });
    let input =
        json!({ "type": "object", "properties": { "a": number, "b": number }, "required": ["a", "b"] });
    Some(match message.method {
        "server/discover" => json!({
            "resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": { "tools": {} },
            "serverInfo": { "name": "bench", "version": "1" }, "ttlMs": 60_000, "cacheScope": "public",
        }),
        "tools/list" => json!({
            "resultType": "complete", "ttlMs": 60_000, "cacheScope": "public",
            "tools": [{ "name": "sum", "description": "Adds two numbers.", "inputSchema": input }],
        }),
        "tools/call" => {
            let Params { arguments: Sum { a, b } } = serde_json::from_str(message.params?.get()).ok()?;
            let sum = json!({ "sum": a.saturating_add(b) });
            json!({
                "resultType": "complete", "content": [{ "type": "text", "text": sum.to_string() }],
                "structuredContent": sum, "isError": false,
            })
        }
        _ => return None,
    })
}
