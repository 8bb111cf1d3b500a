//! The other side of the comparison for proxied calls: the least that stands between a client and an MCP server. It
//! reads the envelope, and passes every byte on over a connection that it keeps.
#![allow(clippy::print_stdout, reason = "says where it listens")]

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{
        HeaderMap, Request, StatusCode,
        header::{CONTENT_LENGTH, HOST},
    },
    response::{IntoResponse as _, Response},
    routing::post,
    serve::ListenerExt as _,
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Read, so that what is no message is not passed on.
#[derive(Deserialize)]
#[expect(dead_code, reason = "that it can be read is all that is asked")]
struct Envelope<'a> {
    jsonrpc: &'a str,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    method: &'a str,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

struct Way {
    client: Client<HttpConnector, Body>,
    target: String,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let server = std::env::args().nth(1).unwrap_or_default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let way = Arc::new(Way { client, target: format!("http://{server}/mcp") });
    let doors = Router::new().route("/mcp", post(pass)).with_state(way);
    axum::serve(listener.tap_io(|socket| drop(socket.set_nodelay(true))), doors).await
}

async fn pass(State(way): State<Arc<Way>>, mut headers: HeaderMap, body: Bytes) -> Response {
    if serde_json::from_slice::<Envelope<'_>>(&body).is_err() {
        return StatusCode::BAD_REQUEST.into_response();
    }
    headers.remove(HOST);
    headers.remove(CONTENT_LENGTH);
    let mut request = Request::post(&way.target).body(Body::from(body)).unwrap_or_default();
    *request.headers_mut() = headers;
    match way.client.request(request).await {
        Ok(answer) => answer.map(Body::new),
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}
