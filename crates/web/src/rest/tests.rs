use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::Bytes,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::any,
};
use expect_test::{Expect, expect};
use serde_json::{Value, json};
use tool::{Body, Fault, Meter, Outcome, ProbeState, Provider, Reply};

use super::{provider::open_with, *};
use crate::{
    beds::{Bed, Counting, FakeLookup, answer},
    client::Lookup,
};

mod calls;
mod configs;
mod failures;

/// A section with one API at this bed, and these tools.
fn section(bed: &Bed, api: Value, tools: Value) -> Config {
    let mut api_config =
        json!({ "base_url": format!("http://{}/v1/", bed.address), "allow_private": [bed.address] });
    for (name, value) in api.as_object().unwrap() {
        api_config[name] = value.clone();
    }
    serde_json::from_value(json!({ "apis": { "shop": api_config }, "tools": tools })).unwrap()
}

fn opened(config: &Config) -> (Arc<dyn Provider>, Arc<Counting>) {
    let meter = Arc::new(Counting::default());
    let mut parts = testkit::parts(std::path::Path::new("."));
    parts.meter = Arc::clone(&meter) as Arc<dyn Meter>;
    let lookup: Arc<dyn Lookup> = FakeLookup::new(&["shop.internal=10.0.0.7", "shop.test=127.0.0.1"]);
    (open_with(config, &parts, &lookup).unwrap(), meter)
}

async fn call(provider: &dyn Provider, name: &str, arguments: Value) -> Result<Outcome, Fault> {
    let permit = testkit::permit_of(provider, name, arguments)?;
    match provider.run(permit, testkit::talk()).await? {
        Reply::Done(outcome) => Ok(outcome),
        other => panic!("{other:?}"),
    }
}

fn show(result: &Result<Outcome, Fault>) -> String {
    match result {
        Ok(outcome) => match &outcome.body {
            Body::Value(value) => value.to_string(),
            Body::Raw(raw) => format!("raw {}", raw.get()),
        },
        Err(fault) => {
            let mut text = format!("{:?} ({}) {}", fault.code, fault.status(), fault.text);
            if let Some(pointer) = &fault.pointer {
                text.push_str(&format!(" at {pointer}"));
            }
            if let Some(wait) = fault.retry_after {
                text.push_str(&format!(", again after {} s", wait.as_secs()));
            }
            text
        }
    }
}

/// A server that remembers each request as text and answers with JSON.
async fn echo() -> (Bed, Arc<Mutex<Vec<String>>>) {
    async fn note(State(seen): State<Arc<Mutex<Vec<String>>>>, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let mut text = format!("{} {}", parts.method, parts.uri);
        for (name, value) in &parts.headers {
            if !matches!(
                name.as_str(),
                "host" | "accept" | "accept-encoding" | "user-agent" | "content-length"
            ) {
                text.push_str(&format!("\n  {name}: {}", value.to_str().unwrap()));
            }
        }
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        if !body.is_empty() {
            text.push_str(&format!("\n  {}", String::from_utf8_lossy(&body)));
        }
        seen.lock().unwrap().push(text);
        axum::Json(json!({ "ok": true })).into_response()
    }
    let seen = Arc::new(Mutex::new(Vec::new()));
    let bed = Bed::app(Router::new().fallback(any(note)).with_state(Arc::clone(&seen))).await;
    (bed, seen)
}

/// A server that always answers like this.
async fn always(status: u16, content_type: &'static str, body: &'static [u8]) -> Bed {
    let answer = async move || {
        let headers = [("content-type", content_type), ("retry-after", "7")];
        (StatusCode::from_u16(status).unwrap(), headers, Bytes::from_static(body))
    };
    Bed::app(Router::new().fallback(any(answer))).await
}
