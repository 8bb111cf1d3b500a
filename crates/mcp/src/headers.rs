//! The HTTP header fields of a POST, and that they say what the body says.
//!
//! Source: basic/transports/streamable-http, "Request Metadata" and "Value Encoding"; SEP-2243 for the edges.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::{Object, Request, Version, WireError, fault::echo, methods};

/// `MCP-Protocol-Version`.
pub const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// `Mcp-Method`.
pub const METHOD: HeaderName = HeaderName::from_static("mcp-method");
/// `Mcp-Name`.
pub const NAME: HeaderName = HeaderName::from_static("mcp-name");
/// `Mcp-Session-Id`, in the legacy era.
pub const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
/// `Last-Event-ID`, in the legacy era.
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

const JSON: &str = "application/json";
const EVENT_STREAM: &str = "text/event-stream";
const SENTINEL: (&str, &str) = ("=?base64?", "?=");

/// The one value of a field, without the spaces around it; `None` where it is missing.
///
/// Error: header mismatch, where it stands more than once or holds what a field may not (RFC 9110, 5.5: visible
/// ASCII, spaces and tabs).
pub fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, WireError> {
    let mut values = headers.get_all(name).iter();
    let Some(first) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(WireError::header_mismatch(format!("the header {name} stands more than once")));
    }
    match first.to_str() {
        Ok(text) if text.starts_with([' ', '\t']) || text.ends_with([' ', '\t']) => {
            Ok(Some(text.trim_matches([' ', '\t'])))
        }
        Ok(text) => Ok(Some(text)),
        Err(_) => Err(WireError::header_mismatch(format!(
            "the header {name} holds characters that are not visible ASCII; encode it as =?base64?..?="
        ))),
    }
}

/// Checks that the headers of a modern request repeat what its body says: the version in its `_meta`, the
/// method, and the name, URI or task it is about.
///
/// A name that the body itself lacks is not the headers' fault: the method will refuse its params.
///
/// Error: header mismatch.
pub fn check(headers: &HeaderMap, version: &str, request: &Request<'_>) -> Result<(), WireError> {
    same(&PROTOCOL_VERSION, only(headers, &PROTOCOL_VERSION)?, version)?;
    same(&METHOD, only(headers, &METHOD)?, &request.method)?;
    let Some(named_by) = methods::find(&request.method).and_then(|method| method.named_by) else {
        return Ok(());
    };
    let header = only(headers, &NAME)?.map(|value| decoded(&NAME, value)).transpose()?;
    match request.params.text(named_by).ok().flatten() {
        Some(name) => same(&NAME, header.as_deref(), &name),
        None if header.is_some() => Err(WireError::header_mismatch(format!(
            "the header {NAME} names something, and the body has no string {named_by:?}"
        ))),
        None => Ok(()),
    }
}

/// The headers that a modern request carries, without those of a tool's own params ([`crate::mirror`]).
#[must_use]
pub fn of_request(version: Version, method: &str, params: &Object<'_>) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(PROTOCOL_VERSION, HeaderValue::from_static(version.as_str()));
    // Names of methods are short and plain; one that does not fit is a method nobody has.
    if let Ok(value) = HeaderValue::from_str(method) {
        headers.insert(METHOD, value);
    }
    let named_by = methods::find(method).and_then(|method| method.named_by);
    if let Some(name) = named_by.and_then(|named_by| params.text(named_by).ok().flatten()) {
        headers.insert(NAME, encode(&name));
    }
    headers
}

/// A text as the value of a field: as it is where it may stand there, and in base64 with its marks where not.
#[must_use]
pub fn encode(text: &str) -> HeaderValue {
    let is_plain = text.bytes().all(|byte| matches!(byte, 0x20..=0x7e));
    let is_framed = text.starts_with([' ', '\t']) || text.ends_with([' ', '\t']);
    let is_marked = text.starts_with(SENTINEL.0) && text.ends_with(SENTINEL.1);
    let value = if is_plain && !is_framed && !is_marked {
        HeaderValue::from_str(text)
    } else {
        HeaderValue::from_str(&format!("{}{}{}", SENTINEL.0, STANDARD.encode(text), SENTINEL.1))
    };
    value.expect("visible ASCII and spaces fit into a field")
}

/// The text that a value stands for; `None` where the marks enclose no base64 or no UTF-8. Padding must be right.
#[must_use]
pub fn decode(value: &str) -> Option<Cow<'_, str>> {
    let inner = value.strip_prefix(SENTINEL.0).and_then(|rest| rest.strip_suffix(SENTINEL.1));
    let Some(inner) = inner else { return Some(Cow::Borrowed(value)) };
    let bytes = STANDARD.decode(inner).ok()?;
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

/// [`decode`], where a failure is a mismatch.
pub(crate) fn decoded<'v>(name: &HeaderName, value: &'v str) -> Result<Cow<'v, str>, WireError> {
    decode(value).ok_or_else(|| {
        WireError::header_mismatch(format!("the header {name} encloses what is not base64 of UTF-8 text"))
    })
}

fn same(name: &HeaderName, header: Option<&str>, body: &str) -> Result<(), WireError> {
    match header {
        Some(header) if header == body => Ok(()),
        Some(header) => Err(WireError::header_mismatch(format!(
            "the header {name} says {:?}, and the body {:?}",
            echo(header),
            echo(body)
        ))),
        None => Err(WireError::header_mismatch(format!(
            "the header {name} is missing; it must be {:?}",
            echo(body)
        ))),
    }
}

/// What a client can read, by its `Accept`. Where there is none it can read anything (RFC 9110, 12.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepts {
    /// `application/json`.
    pub json: bool,
    /// `text/event-stream`.
    pub events: bool,
}

impl Accepts {
    /// Reads all `Accept` fields. Wildcards count; `q=0` takes back.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(header::ACCEPT);
        let mut each = values.iter();
        let (first, second) = (each.next().map(HeaderValue::as_bytes), each.next());
        // What nearly all clients send.
        if let (None | Some(b"application/json, text/event-stream"), None) = (first, second) {
            return Self { json: true, events: true };
        }
        let ranges: Vec<&str> = values
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .collect();
        Self { json: accepts(&ranges, JSON), events: accepts(&ranges, EVENT_STREAM) }
    }

    /// Checks that a POST lists both types, as it must ("Sending Messages").
    ///
    /// Error: invalid request with status 406.
    pub fn check_post(self) -> Result<(), WireError> {
        if self.json && self.events {
            return Ok(());
        }
        Err(WireError::invalid_request(format!("Accept must list {JSON} and {EVENT_STREAM}"))
            .with_status(406))
    }

    /// Checks that a GET lists the stream (2025-11-25 basic/transports, "Listening for Messages from the
    /// Server").
    ///
    /// Error: invalid request with status 406.
    pub fn check_get(self) -> Result<(), WireError> {
        if self.events {
            return Ok(());
        }
        Err(WireError::invalid_request(format!("Accept must list {EVENT_STREAM}")).with_status(406))
    }
}

/// Checks that a body is said to be JSON, in UTF-8 where it says in what.
///
/// Error: invalid request with status 415.
pub fn check_content_type(headers: &HeaderMap) -> Result<(), WireError> {
    let wrong = || WireError::invalid_request(format!("Content-Type must be {JSON}")).with_status(415);
    let value = only(headers, &header::CONTENT_TYPE).ok().flatten().ok_or_else(wrong)?;
    if value == JSON {
        return Ok(());
    }
    let mut parts = value.split(';').map(str::trim);
    let is_json = parts.next().is_some_and(|media| media.eq_ignore_ascii_case(JSON));
    let is_utf8 = parts.filter_map(|part| part.split_once('=')).all(|(name, charset)| {
        let charset = charset.trim().trim_matches('"');
        !name.trim().eq_ignore_ascii_case("charset") || charset.eq_ignore_ascii_case("utf-8")
    });
    if is_json && is_utf8 { Ok(()) } else { Err(wrong()) }
}

/// What the body of an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// One JSON object.
    Json,
    /// A stream of events.
    Events,
    /// Nothing that a server of this protocol sends.
    Other,
}

/// What the body of an answer is said to be.
#[must_use]
pub fn content(headers: &HeaderMap) -> Content {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = value.split(';').next().unwrap_or_default().trim();
    if media.eq_ignore_ascii_case(JSON) {
        Content::Json
    } else if media.eq_ignore_ascii_case(EVENT_STREAM) {
        Content::Events
    } else {
        Content::Other
    }
}

/// The most specific range that matches decides (RFC 9110, 12.5.1).
fn accepts(ranges: &[&str], media: &str) -> bool {
    let major = media.split('/').next().unwrap_or_default();
    let candidates = [media.to_owned(), format!("{major}/*"), "*/*".to_owned()];
    let decides = |candidate: &String| {
        ranges.iter().find_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let matches = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(candidate));
            matches.then(|| !parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000")))
        })
    };
    candidates.iter().find_map(decides).unwrap_or(false)
}

#[cfg(test)]
mod tests;
