//! Webhooks in: a body that its sender has signed becomes a call, as its principal.

use std::sync::Arc;

use http::{HeaderName, Response};
use serde_json::{Map, Value, json};
use tool::{
    Call, Code, Face, Fault, Kind, Reply,
    json::{digest, raw},
};

use crate::{
    call,
    conn::{Body, Peer},
    doors::{Inside, Visit},
    headers::{self, only},
    problem::Refusal,
    road::{Credentials, Request, Signed},
    upload::Upload,
};

/// The largest body.
const BODY_BYTES_MAX: u64 = 64 * 1024;
/// The tool that takes alerts about devices.
const TOOL: &str = "device_alert";

/// Answers `POST /webhook/device-alert`. Nobody is told anything of a body but whoever has signed it.
pub(crate) async fn answer(
    inside: &Inside,
    visit: &Visit,
    upload: Upload,
) -> Result<Response<Body>, Refusal> {
    if !upload.is_at_most(BODY_BYTES_MAX) {
        let text = format!("the body must announce its length, of at most {BODY_BYTES_MAX} bytes");
        return Err(Fault::new(Code::TooLarge, text).into());
    }
    let body = call::read(visit, upload).await?;
    let header: Arc<str> =
        only(&visit.headers, &HeaderName::from_static("x-signature")).unwrap_or_default().into();
    let from = match visit.peer {
        Peer::Network { from } => Some(from),
        Peer::Local { .. } => None,
    };
    let signed = Signed { header, body: Arc::from(&*body), from };
    let at = signed.at();
    let credentials = Credentials::Signed(signed);
    let alert: Map<String, Value> = match tool::json::parse(&body).map_err(|error| error.to_string()) {
        Ok(Value::Object(alert)) => alert,
        wrong => {
            inside.road.identify(&credentials, &visit.ids).await?;
            let why = wrong.err().unwrap_or_else(|| "no object".to_owned());
            return Err(Fault::new(Code::Malformed, format!("the body is {why}")).into());
        }
    };
    let alert = Value::Object(alert);
    // After a restart too, one that is sent again has no second effect, however its header is spelt.
    let idempotency_key = at.map(|at| format!("{at}.{}", digest(&alert)).into());
    let kind = Kind::tool(TOOL, raw(&json!({ "alert": alert })));
    let call = Call {
        correlation_id: visit.ids.correlation.clone(),
        traceparent: visit.ids.traceparent.clone(),
        label: Some("webhook".into()),
        idempotency_key,
        ..Call::new(kind, Face::Webhook, visit.ids.request.clone())
    };
    let answer = inside.road.call(Request { credentials, call, line: Arc::clone(&inside.deaf) }).await;
    let mut response = match answer.result {
        Ok(Reply::Done(_)) => headers::json(json!({ "status": "received" }).to_string()),
        Ok(_) => return Err(Fault::internal("an alert was not taken at once").into()),
        Err(fault) => visit.refuse(&fault.into()),
    };
    if let Some(state) = &answer.limit {
        headers::write_limit(response.headers_mut(), state, inside.clock.now());
    }
    Ok(response)
}
