//! The answers to heads that never become a request: one that does not arrive in time (RFC 9110, 15.5.9), where the
//! HTTP library closes without a word, and one that it cannot read, where it sends nothing but a status. They are
//! written here, on the socket that the library gives back.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use http_body_util::BodyExt as _;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tool::{Code, Fault};

use crate::{conn::Body, problem::Refusal, wire::Wire};

/// How long the answer may take to leave. It is short and nothing waits before it, so the system takes it at once.
const SEND_TIME_MAX: Duration = Duration::from_secs(1);

/// True where a request has begun. Empty lines before one are nobody's request (RFC 9112, 2.2).
pub(crate) fn has_begun(unread: &[u8]) -> bool {
    unread.iter().any(|byte| !matches!(byte, b'\r' | b'\n'))
}

/// Why a head is refused that did not arrive within this time.
pub(crate) fn too_late(within: Duration) -> Refusal {
    let text = format!(
        "the head of the request did not arrive within {} ms (server.header_timeout_ms)",
        within.as_millis()
    );
    Refusal { fault: Fault::new(Code::Malformed, text), http: 408 }
}

/// Why a head is refused that the HTTP library does not take: with this status, and with these bounds of ours.
pub(crate) fn unreadable(http: u16, error: &hyper::Error, bytes_max: usize, fields_max: usize) -> Refusal {
    let text = match http {
        431 => format!(
            "the head of the request has more than {bytes_max} bytes (server.header_bytes_max) or {fields_max} \
             fields (server.headers_max)"
        ),
        414 => "the target of the request is too long; send arguments in the body".to_owned(),
        _ => format!("the head of the request is not as HTTP/1.1 has it: {error}"),
    };
    Refusal { fault: Fault::new(Code::Malformed, text), http }
}

/// Sends an answer with `Connection: close`, and closes. A client that does not take it is left.
pub(crate) async fn answer<S>(mut wire: Wire<S>, mut response: Response<Body>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    let (head, body) = response.into_parts();
    let Ok(body) = body.collect().await;
    let text = in_bytes(&head, &body.to_bytes());
    if let Ok(Ok(())) = tokio::time::timeout(SEND_TIME_MAX, wire.write_all(&text)).await {
        // The client goes on sending, so this reads and forgets for a while; what comes of it is all the same.
        let _ = wire.shutdown().await;
    }
}

fn in_bytes(head: &http::response::Parts, body: &Bytes) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {}\r\n", head.status).into_bytes();
    for (name, value) in &head.headers {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
    bytes.extend_from_slice(body);
    bytes
}
