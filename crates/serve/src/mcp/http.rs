//! `/mcp` over HTTP: one endpoint for both eras.

use std::sync::Arc;

use ::mcp::{Era, Message, Version, WireError, headers as fields, meta};
use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};

use super::{Mcp, Who, legacy, modern};
use crate::{
    body::Body,
    conn::Peer,
    doors::Visit,
    headers::{idempotency_key, json},
    problem::Refusal,
    upload::Upload,
};

/// How long a stream may be silent before a comment keeps it alive.
pub(crate) const KEEP_ALIVE: std::time::Duration = std::time::Duration::from_secs(15);

/// Answers a request to the endpoint, or to that of a toolset. Who asks is found out before anything is read or kept.
pub(crate) async fn answer(
    mcp: &Arc<Mcp>,
    toolset: Option<&str>,
    method: &Method,
    visit: &Visit,
    upload: Upload,
) -> Result<Response<Body>, Refusal> {
    let (caller, credentials) = mcp.identify(visit.credentials(), toolset, &visit.ids).await?;
    let face = match visit.peer {
        Peer::Network { .. } => tool::Face::Mcp,
        // Whoever speaks the protocol over the local socket passes it on from a pipe.
        Peer::Local { .. } => tool::Face::Stdio,
    };
    let idempotency_key = idempotency_key(&visit.headers)
        .map_err(|text| Refusal::from(tool::Fault::new(tool::Code::Malformed, text)))?;
    let who = Who { caller, credentials, face, ids: visit.ids.clone(), idempotency_key };
    let version = fields::only(&visit.headers, &fields::PROTOCOL_VERSION).ok().flatten();
    let is_modern = version.and_then(Version::parse).is_some_and(Version::is_modern);
    match *method {
        Method::POST => post(mcp, &who, visit, upload).await,
        // A modern endpoint has nothing but POST.
        Method::GET | Method::DELETE if is_modern => Ok(wrong_method("POST")),
        Method::GET => Ok(legacy::get(mcp, &who, &visit.headers)
            .await
            .unwrap_or_else(|error| refused(&error, Era::Legacy))),
        Method::DELETE => Ok(legacy::delete(mcp, &who, &visit.headers)
            .await
            .unwrap_or_else(|error| refused(&error, Era::Legacy))),
        _ => Ok(wrong_method("GET, POST, DELETE")),
    }
}

async fn post(mcp: &Arc<Mcp>, who: &Who, visit: &Visit, upload: Upload) -> Result<Response<Body>, Refusal> {
    if let Err(error) = fields::check_content_type(&visit.headers) {
        return Ok(refused(&error, Era::Legacy));
    }
    let body = upload.read().await?;
    let message = match Message::parse(&body) {
        Ok(message) => message,
        Err(unreadable) => {
            let mut out = Vec::new();
            ::mcp::write_error(&mut out, unreadable.id.as_ref(), &unreadable.error);
            return Ok(message_of(out, unreadable.error.http(Era::Modern)));
        }
    };
    let version = fields::only(&visit.headers, &fields::PROTOCOL_VERSION).ok().flatten();
    match &message {
        Message::Request(asked) if meta::era(version, &asked.method, &asked.params) == Era::Modern => {
            // Headers repeat the body for what stands between us and the client; at the local socket nothing does.
            let checked = visit.peer.address().is_some();
            Ok(modern::request(mcp, who, &visit.headers, checked, asked).await)
        }
        // A modern client has nothing to tell beside its requests: it cancels by closing the stream.
        Message::Notification(_) if version.and_then(Version::parse).is_some_and(Version::is_modern) => {
            Ok(accepted())
        }
        _ => Ok(legacy::post(mcp, who, &visit.headers, &message).await),
    }
}

/// One message as the whole answer.
pub(crate) fn message_of(text: impl Into<Bytes>, status: u16) -> Response<Body> {
    let mut response = json(text);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    response
}

/// An error that answers no request.
pub(crate) fn refused(error: &WireError, era: Era) -> Response<Body> {
    let mut out = Vec::new();
    ::mcp::write_error(&mut out, None, error);
    message_of(out, error.http(era))
}

/// Taken, and nothing to say to it.
pub(crate) fn accepted() -> Response<Body> {
    let mut response = Response::new(Body::default());
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

/// A stream of events.
pub(crate) fn stream_of(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store"));
    // Proxies that gather an answer before they pass it on would hold the stream back.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

fn wrong_method(allow: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::default());
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}

/// An event of a modern stream.
pub(crate) fn event(message: &[u8]) -> Bytes {
    let mut out = Vec::new();
    ::mcp::sse::write_message(&mut out, None, message);
    out.into()
}

/// A comment that keeps a stream alive.
pub(crate) fn alive() -> Bytes {
    let mut out = Vec::new();
    ::mcp::sse::write_comment(&mut out, "");
    out.into()
}
