//! The header fields that come in with a call and go out with its answer.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use tool::{Deprecation, RequestId, Timestamp, Tool};
use uuid::Uuid;

use crate::{
    conn::Body,
    problem::seconds_up,
    road::{CacheUse, LimitState},
};

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(crate) const CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const X_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const X_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const X_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// About as many fields as the answer to a call has; reserved at once.
const FIELDS: usize = 14;

/// An answer in JSON that no cache may keep.
pub(crate) fn json(text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::new(text.into()));
    let headers = response.headers_mut();
    headers.reserve(FIELDS);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The ids and the trace of one request.
#[derive(Clone, Debug)]
pub(crate) struct Ids {
    pub(crate) request: RequestId,
    pub(crate) correlation: RequestId,
    /// The `traceparent` that came in, where it is well-formed.
    pub(crate) traceparent: Option<Arc<str>>,
}

impl Ids {
    /// Takes the client's ids where they are fit to be passed on, and makes our own where not.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let request = outside(headers, &REQUEST_ID)
            .unwrap_or_else(|| RequestId::ours(Uuid::now_v7().hyphenated().to_string()));
        let correlation = outside(headers, &CORRELATION_ID).unwrap_or_else(|| request.clone());
        let traceparent = only(headers, &TRACEPARENT).filter(|text| is_traceparent(text)).map(Arc::from);
        Self { request, correlation, traceparent }
    }

    /// Ids of our own, for what comes by no request over HTTP.
    pub(crate) fn fresh() -> Self {
        Self::of(&HeaderMap::new())
    }

    /// The ids of a call that another one caused.
    pub(crate) fn inside(parent: &Self) -> Self {
        Self {
            correlation: parent.correlation.clone(),
            traceparent: parent.traceparent.clone(),
            ..Self::fresh()
        }
    }

    /// Sends them back. The trace goes on under a span of our own (W3C Trace Context, 3.2).
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        if let Ok(value) = HeaderValue::from_str(self.request.as_str()) {
            headers.insert(REQUEST_ID, value.clone());
            if self.correlation == self.request {
                headers.insert(CORRELATION_ID, value);
            }
        }
        if self.correlation != self.request {
            put(headers, CORRELATION_ID, self.correlation.as_str());
        }
        if let Some(parent) = &self.traceparent {
            let span = &Uuid::new_v4().simple().to_string()[..16];
            put(headers, TRACEPARENT, &format!("{}{span}{}", &parent[..36], &parent[52..55]));
        }
    }
}

/// The one value of a field; `None` where it is missing, not text, or there more than once.
pub(crate) fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(first)
}

/// Puts a field, and leaves it out where the text does not fit into one.
pub(crate) fn put(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}

/// What is true of every answer: nobody guesses its type, frames it, or learns where its reader came from.
pub(crate) fn write_security(headers: &mut HeaderMap) {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
}

/// The state of the limit that the call counted against: the seeds' three fields, and the two of
/// draft-ietf-httpapi-ratelimit-headers-10.
pub(crate) fn write_limit(headers: &mut HeaderMap, state: &LimitState, now: Timestamp) {
    headers.insert(X_LIMIT, HeaderValue::from(state.limit));
    headers.insert(X_REMAINING, HeaderValue::from(state.remaining));
    headers.insert(X_RESET, HeaderValue::from(state.reset_at.unix_seconds()));
    let wait = state.reset_at.since(now);
    let wait = if wait.is_zero() { 0 } else { seconds_up(wait) };
    put_parameters(
        headers,
        RATELIMIT_POLICY,
        &state.policy,
        [(";q=", state.limit.into()), (";w=", seconds_up(state.window))],
    );
    put_parameters(headers, RATELIMIT, &state.policy, [(";r=", state.remaining.into()), (";t=", wait)]);
}

/// Puts a field of a name and two numbers. It is written for every call, so without the machinery of `format!`.
fn put_parameters(headers: &mut HeaderMap, name: HeaderName, policy: &str, numbers: [(&str, u64); 2]) {
    let mut text = String::with_capacity(64);
    push_quoted(&mut text, policy);
    for (parameter, number) in numbers {
        text.push_str(parameter);
        text.push_str(itoa::Buffer::new().format(number));
    }
    if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(text)) {
        headers.insert(name, value);
    }
}

/// Whether the answer came from the cache.
pub(crate) fn write_cache(headers: &mut HeaderMap, cache: CacheUse) {
    let word = match cache {
        CacheUse::None => return,
        CacheUse::Miss => "miss",
        CacheUse::Hit => "hit",
    };
    headers.insert("x-cache", HeaderValue::from_static(word));
}

/// A tool that goes away: `Deprecation` (RFC 9745), `Sunset` (RFC 8594) and links to what comes after it.
/// `started` stands in where nobody said since when: the tool was deprecated when this server began to offer it.
pub(crate) fn write_deprecation(headers: &mut HeaderMap, tool: &Tool, started: Timestamp) {
    let Some(Deprecation { since, removal, instead }) = &tool.deprecation else { return };
    let since = since.as_deref().and_then(midnight).unwrap_or(started);
    put(headers, HeaderName::from_static("deprecation"), &format!("@{}", since.unix_seconds()));
    if let Some(end) = midnight(removal) {
        put(headers, HeaderName::from_static("sunset"), &date(end));
    }
    let mut links = r#"</docs>; rel="deprecation"; type="text/html""#.to_owned();
    if let Some(instead) = instead {
        links = format!(r#"</v1/mcp/{instead}>; rel="successor-version", {links}"#);
    }
    put(headers, header::LINK, &links);
}

/// A moment as HTTP writes it (RFC 9110, 5.6.7).
pub(crate) fn date(at: Timestamp) -> String {
    at.utc().format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// The client's idempotency key: 1 to 255 printable characters, bare or quoted as a structured string
/// (draft-ietf-httpapi-idempotency-key-header). `Err` where it is something else.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<Arc<str>>, &'static str> {
    if !headers.contains_key(IDEMPOTENCY_KEY) {
        return Ok(None);
    }
    let text =
        only(headers, &IDEMPOTENCY_KEY).ok_or("Idempotency-Key is there more than once or is not text")?;
    let bare = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    let fits = (1..=255).contains(&bare.len()) && bare.bytes().all(|b| b.is_ascii_graphic() && b != b'"');
    if fits {
        Ok(Some(bare.into()))
    } else {
        Err("Idempotency-Key must be 1 to 255 printable characters without spaces")
    }
}

fn outside(headers: &HeaderMap, name: &HeaderName) -> Option<RequestId> {
    only(headers, name).and_then(RequestId::from_outside)
}

/// W3C Trace Context, 3.2.2: version, trace id, parent id and flags in lower-case hex; neither id all zeros. What a
/// later version adds after them is left alone.
pub(crate) fn is_traceparent(text: &str) -> bool {
    let bytes = text.as_bytes();
    let hex = |from: usize, to: usize| bytes[from..to].iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let zero = |from: usize, to: usize| bytes[from..to].iter().all(|b| *b == b'0');
    text.is_ascii()
        && (bytes.len() == 55 || (bytes.len() > 55 && bytes[55] == b'-' && &bytes[..2] != b"00"))
        && (bytes[2], bytes[35], bytes[52]) == (b'-', b'-', b'-')
        && hex(0, 2)
        && hex(3, 35)
        && hex(36, 52)
        && hex(53, 55)
        && &bytes[..2] != b"ff"
        && !zero(3, 35)
        && !zero(36, 52)
}

/// A structured-field string (RFC 9651, 3.3.3) without what it cannot hold.
fn push_quoted(quoted: &mut String, text: &str) {
    quoted.push('"');
    for c in text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ') {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
}

fn midnight(day: &str) -> Option<Timestamp> {
    format!("{day}T00:00:00Z").parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use expect_test::{Expect, expect};
    use serde_json::json;
    use tool::ToolName;

    use super::*;

    fn shown(headers: &HeaderMap) -> String {
        headers.iter().map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap())).collect()
    }

    #[test]
    fn the_limit_is_told_in_both_ways() {
        let now = Timestamp::from_unix_ms(1_767_225_600_000);
        let check = |policy: &str, remaining, reset_ms, expected: Expect| {
            let state = LimitState {
                policy: policy.into(),
                limit: 100,
                remaining,
                window: Duration::from_secs(60),
                reset_at: now.after(Duration::from_millis(reset_ms)),
            };
            let mut headers = HeaderMap::new();
            write_limit(&mut headers, &state, now);
            expected.assert_eq(&shown(&headers));
        };
        check(
            "key",
            99,
            60_000,
            expect![[r#"
            x-ratelimit-limit: 100
            x-ratelimit-remaining: 99
            x-ratelimit-reset: 1767225660
            ratelimit-policy: "key";q=100;w=60
            ratelimit: "key";r=99;t=60
        "#]],
        );
        check(
            "a \"b\"\\\u{e4}\n",
            0,
            1,
            expect![[r#"
            x-ratelimit-limit: 100
            x-ratelimit-remaining: 0
            x-ratelimit-reset: 1767225600
            ratelimit-policy: "a \"b\"\\";q=100;w=60
            ratelimit: "a \"b\"\\";r=0;t=1
        "#]],
        );
        check(
            "late",
            0,
            0,
            expect![[r#"
            x-ratelimit-limit: 100
            x-ratelimit-remaining: 0
            x-ratelimit-reset: 1767225600
            ratelimit-policy: "late";q=100;w=60
            ratelimit: "late";r=0;t=0
        "#]],
        );
    }

    #[test]
    fn a_tool_that_goes_away_says_so() {
        let check = |since: Option<&str>, removal: &str, instead: Option<&str>, expected: Expect| {
            let mut tool = Tool::reading(ToolName::parse("old").unwrap(), "test", "Old.", json!({}));
            tool.deprecation = Some(Deprecation {
                since: since.map(Into::into),
                removal: removal.into(),
                instead: instead.map(Into::into),
            });
            let mut headers = HeaderMap::new();
            write_deprecation(&mut headers, &tool, Timestamp::from_unix_ms(1_767_225_600_000));
            expected.assert_eq(&shown(&headers));
        };
        check(
            Some("2026-01-15"),
            "2026-12-31",
            Some("get_customer"),
            expect![[r#"
            deprecation: @1768435200
            sunset: Thu, 31 Dec 2026 00:00:00 GMT
            link: </v1/mcp/get_customer>; rel="successor-version", </docs>; rel="deprecation"; type="text/html"
        "#]],
        );
        check(
            None,
            "soon",
            None,
            expect![[r#"
            deprecation: @1767225600
            link: </docs>; rel="deprecation"; type="text/html"
        "#]],
        );
    }

    #[test]
    fn traces_are_taken_only_where_well_formed() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        for (text, is_good) in [
            (good, true),
            ("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what", true),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what", false),
            ("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false),
            ("00-00000000000000000000000000000000-b7ad6b7169203331-01", false),
            ("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", false),
            ("00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0", false),
            ("", false),
            ("ä0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false),
        ] {
            assert_eq!(is_traceparent(text), is_good, "{text}");
        }
        let mut asked = HeaderMap::new();
        asked.insert(
            TRACEPARENT,
            HeaderValue::from_static("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        );
        let mut answered = HeaderMap::new();
        Ids::of(&asked).write(&mut answered);
        let out = answered[TRACEPARENT].to_str().unwrap();
        assert!(is_traceparent(out) && out[..36] == good[..36] && out[36..52] != good[36..52]);
    }

    #[test]
    fn ids_of_the_client_are_kept_where_they_can_be_passed_on() {
        for (sent, is_kept) in [("abc-1", true), ("a b", false), ("", false)] {
            let mut asked = HeaderMap::new();
            asked.insert(REQUEST_ID, HeaderValue::from_str(sent).unwrap());
            let ids = Ids::of(&asked);
            assert_eq!(ids.request.as_str() == sent, is_kept, "{sent:?}");
            assert_eq!(ids.request, ids.correlation);
        }
        let mut twice = HeaderMap::new();
        twice.append(REQUEST_ID, HeaderValue::from_static("a"));
        twice.append(REQUEST_ID, HeaderValue::from_static("b"));
        assert_ne!(Ids::of(&twice).request.as_str(), "a");
    }

    #[test]
    fn idempotency_keys() {
        let long = "x".repeat(256);
        for (sent, taken) in [
            ("abc", Ok(Some("abc"))),
            ("\"abc\"", Ok(Some("abc"))),
            ("", Err(())),
            ("\"\"", Err(())),
            ("a b", Err(())),
            (&long[..255], Ok(Some(&long[..255]))),
            (&long, Err(())),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(IDEMPOTENCY_KEY, HeaderValue::from_str(sent).unwrap());
            let found = idempotency_key(&headers).map_err(|_| ());
            assert_eq!(found.as_ref().map(Option::as_deref), taken.as_ref().map(|t| *t), "{sent}");
        }
        assert_eq!(idempotency_key(&HeaderMap::new()), Ok(None));
    }
}
