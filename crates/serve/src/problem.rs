//! From a fault to an answer: the seeds' error body, or problem details where the client asks for them (RFC 9457).

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde_json::{Map, Value, json};
use tool::{Code, Fault, RequestId};

use crate::{conn::Body, headers};

/// A request that is not granted: the fault, and its HTTP status.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) fault: Fault,
    pub(crate) http: u16,
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        let http = fault.code.row().http;
        Self { fault, http }
    }
}

/// The form in which a client wants its errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `{error, status, detail, code, request_id}`.
    Seed,
    /// `application/problem+json`.
    Problem,
}

impl Form {
    /// What `Accept` asks for: problem details only where they are named, and not with `q=0`.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let named =
            headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).any(|value| {
                value.split(',').any(|range| {
                    let mut parts = range.split(';').map(str::trim);
                    let is_problem =
                        parts.next().is_some_and(|t| t.eq_ignore_ascii_case("application/problem+json"));
                    is_problem && !parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
                })
            });
        if named { Self::Problem } else { Self::Seed }
    }
}

/// The answer to a request that is refused.
pub(crate) fn respond(
    refusal: &Refusal,
    form: Form,
    request_id: &RequestId,
    has_credentials: bool,
) -> Response<Body> {
    let (body, content_type) = match form {
        Form::Seed => (seed_body(&refusal.fault, request_id), "application/json"),
        Form::Problem => (problem_body(refusal, request_id), "application/problem+json"),
    };
    let mut response = headers::json(body.to_string());
    *response.status_mut() = StatusCode::from_u16(refusal.http).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Some(wait) = refusal.fault.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds_up(wait)));
    }
    if refusal.http == 401 {
        let challenge = if has_credentials {
            r#"Bearer realm="portcullis", error="invalid_token""#
        } else {
            r#"Bearer realm="portcullis""#
        };
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    response
}

/// The seeds' error body. `detail` repeats the sentence, but holds an object where a limit was met.
pub(crate) fn seed_body(fault: &Fault, request_id: &RequestId) -> Value {
    let mut body = Map::new();
    body.insert("error".to_owned(), sentence(fault).into());
    body.insert("status".to_owned(), fault.status().into());
    let detail = match (fault.code, &fault.details) {
        (Code::RateLimited, details) => {
            let member = |name| details.as_ref().and_then(|d| d.get(name)).cloned().unwrap_or(Value::Null);
            json!({ "error": sentence(fault), "limit": member("limit"), "reset_at": member("reset_at") })
        }
        _ => fault.text.clone().into(),
    };
    body.insert("detail".to_owned(), detail);
    add_common(&mut body, fault, request_id);
    Value::Object(body)
}

fn problem_body(refusal: &Refusal, request_id: &RequestId) -> Value {
    let status = StatusCode::from_u16(refusal.http).ok();
    let title = status.and_then(|s| s.canonical_reason()).unwrap_or(refusal.fault.code.row().name);
    let mut body = Map::new();
    body.insert("type".to_owned(), "about:blank".into());
    body.insert("title".to_owned(), title.into());
    body.insert("status".to_owned(), refusal.http.into());
    body.insert("detail".to_owned(), refusal.fault.text.clone().into());
    body.insert("error".to_owned(), sentence(&refusal.fault).into());
    add_common(&mut body, &refusal.fault, request_id);
    Value::Object(body)
}

fn add_common(body: &mut Map<String, Value>, fault: &Fault, request_id: &RequestId) {
    body.insert("code".to_owned(), fault.code.row().name.into());
    body.insert("request_id".to_owned(), request_id.as_str().into());
    if let Some(pointer) = &fault.pointer {
        body.insert("pointer".to_owned(), pointer.clone().into());
    }
    if let Some(wait) = fault.retry_after {
        body.insert("retry_after_seconds".to_owned(), seconds_up(wait).into());
    }
    if let Some(Value::Object(details)) = fault.details.as_deref() {
        for (name, value) in details {
            body.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
}

/// The sentence under `error`: the one that clients of the first seed know where a limit was met.
fn sentence(fault: &Fault) -> &str {
    if fault.code == Code::RateLimited { "Rate limit exceeded" } else { &fault.text }
}

/// Whole seconds, rounded up, and at least one.
pub(crate) fn seconds_up(wait: std::time::Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use expect_test::{Expect, expect};
    use http_body_util::BodyExt as _;

    use super::*;

    fn check(fault: Fault, accept: &str, expected: Expect) {
        let mut asked = HeaderMap::new();
        asked.insert(header::ACCEPT, HeaderValue::from_str(accept).unwrap());
        let response = respond(&fault.into(), Form::of(&asked), &RequestId::ours("req-1"), true);
        let mut shown = format!("{}\n", response.status());
        for name in ["content-type", "retry-after", "www-authenticate", "cache-control"] {
            if let Some(value) = response.headers().get(name) {
                shown += &format!("{name}: {}\n", value.to_str().unwrap());
            }
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let body = runtime.block_on(response.into_body().collect()).unwrap().to_bytes();
        shown += &format!("{}\n", String::from_utf8_lossy(&body));
        expected.assert_eq(&shown);
    }

    #[test]
    fn every_form_of_refusal() {
        check(
            Fault::not_found("Tool not found: x"),
            "*/*",
            expect![[r#"
            404 Not Found
            content-type: application/json
            cache-control: no-store
            {"error":"Tool not found: x","status":"not_found","detail":"Tool not found: x","code":"not_found","request_id":"req-1"}
        "#]],
        );
        check(
            Fault::bad_argument("/limit", "expected an integer"),
            "application/json",
            expect![[r#"
            400 Bad Request
            content-type: application/json
            cache-control: no-store
            {"error":"expected an integer","status":"invalid","detail":"expected an integer","code":"bad_arguments","request_id":"req-1","pointer":"/limit"}
        "#]],
        );
        let limited = || {
            Fault::new(Code::RateLimited, "over 100 calls in 60 s")
                .retry_after(Duration::from_millis(1_200))
                .with_details(json!({ "limit": 100, "reset_at": "2026-01-01T00:01:00.000Z" }))
        };
        check(
            limited(),
            "*/*",
            expect![[r#"
                429 Too Many Requests
                content-type: application/json
                retry-after: 2
                cache-control: no-store
                {"error":"Rate limit exceeded","status":"retry","detail":{"error":"Rate limit exceeded","limit":100,"reset_at":"2026-01-01T00:01:00.000Z"},"code":"rate_limited","request_id":"req-1","retry_after_seconds":2,"limit":100,"reset_at":"2026-01-01T00:01:00.000Z"}
            "#]],
        );
        check(
            limited(),
            "application/problem+json",
            expect![[r#"
                429 Too Many Requests
                content-type: application/problem+json
                retry-after: 2
                cache-control: no-store
                {"type":"about:blank","title":"Too Many Requests","status":429,"detail":"over 100 calls in 60 s","error":"Rate limit exceeded","code":"rate_limited","request_id":"req-1","retry_after_seconds":2,"limit":100,"reset_at":"2026-01-01T00:01:00.000Z"}
            "#]],
        );
        check(
            Fault::new(Code::Unauthenticated, "Invalid API key"),
            "text/html, application/problem+json;q=0.5",
            expect![[r#"
            401 Unauthorized
            content-type: application/problem+json
            www-authenticate: Bearer realm="portcullis", error="invalid_token"
            cache-control: no-store
            {"type":"about:blank","title":"Unauthorized","status":401,"detail":"Invalid API key","error":"Invalid API key","code":"unauthenticated","request_id":"req-1"}
        "#]],
        );
        check(
            Fault::internal("the disk at /secret is full"),
            "application/problem+json; q=0",
            expect![[r#"
            500 Internal Server Error
            content-type: application/json
            cache-control: no-store
            {"error":"something broke on our side; the log has it under this request id","status":"error","detail":"something broke on our side; the log has it under this request id","code":"internal","request_id":"req-1"}
        "#]],
        );
        let mapped = {
            let mut fault = Fault::not_found("Customer not found");
            fault.status = Some("gone".into());
            fault.with_details(json!({ "code": "own", "customer": 7 }))
        };
        check(
            mapped,
            "",
            expect![[r#"
            404 Not Found
            content-type: application/json
            cache-control: no-store
            {"error":"Customer not found","status":"gone","detail":"Customer not found","code":"not_found","request_id":"req-1","customer":7}
        "#]],
        );
    }

    #[test]
    fn waits_are_rounded_up() {
        for (ms, seconds) in [(0, 1), (1, 1), (1_000, 1), (1_001, 2), (59_999, 60)] {
            assert_eq!(seconds_up(Duration::from_millis(ms)), seconds, "{ms}");
        }
    }
}
