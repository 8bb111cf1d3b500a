//! The other side of the comparison: the least an axum server does to take the same JSON and give the same back.
#![allow(clippy::print_stdout, reason = "says where it listens")]

use axum::serve::ListenerExt as _;
use axum::{Json, Router, routing::post};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Sum {
    a: i64,
    b: i64,
}

#[derive(Serialize)]
struct Rows {
    rows: [Row; 1],
}

#[derive(Serialize)]
struct Row {
    sum: i64,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let doors = Router::new().route("/v1/mcp/sum", post(sum)).route("/mcp", post(message));
    axum::serve(listener.tap_io(|socket| drop(socket.set_nodelay(true))), doors).await
}

/// One JSON-RPC message, as an agent sends it.
#[derive(Deserialize)]
struct Message {
    id: i64,
    params: Params,
}

#[derive(Deserialize)]
struct Params {
    arguments: Sum,
}

async fn message(
    Json(Message { id, params: Params { arguments: Sum { a, b } } }): Json<Message>,
) -> Json<Value> {
    let rows = json!({ "rows": [{ "sum": a.saturating_add(b) }] });
    let content = json!([{ "type": "text", "text": rows.to_string() }]);
    Json(
        json!({ "jsonrpc": "2.0", "id": id, "result": { "content": content, "structuredContent": rows, "isError": false } }),
    )
}

async fn sum(Json(Sum { a, b }): Json<Sum>) -> Json<Rows> {
    Json(Rows { rows: [Row { sum: a.saturating_add(b) }] })
}
