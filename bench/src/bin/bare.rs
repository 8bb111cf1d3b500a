//! The other side of the comparison: the least an axum server does to take the same JSON and give the same back.
#![allow(clippy::print_stdout, reason = "says where it listens")]

use axum::{Json, Router, routing::post};
use serde::{Deserialize, Serialize};

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
    axum::serve(listener, Router::new().route("/v1/mcp/sum", post(sum))).await
}

async fn sum(Json(Sum { a, b }): Json<Sum>) -> Json<Rows> {
    Json(Rows { rows: [Row { sum: a.saturating_add(b) }] })
}
