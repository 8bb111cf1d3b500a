use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Map, Value, json};
use state::Artefacts;
use tool::{Fault, Outcome, Resource, Timestamp, ToolName};

/// The least that can be read at once: longer than any one character.
pub(crate) const LIMIT_MIN: u64 = 16;

/// The most that can be read at once.
pub(crate) const LIMIT_MAX: u64 = 256 * 1024;

/// What is read where nothing is said.
pub(crate) const LIMIT: u64 = 64 * 1024;

/// Where kept results are, as a template of URIs (RFC 6570, level 1).
pub(crate) const TEMPLATE: &str = "artefact:///{handle}";

const PREFIX: &str = "artefact:///";

/// The longest handle that is looked for.
const HANDLE_BYTES_MAX: usize = 64;

/// The arguments of `artefact_read`.
#[derive(Deserialize)]
pub(crate) struct Read {
    artefact: String,
    offset: Option<u64>,
    limit: Option<u64>,
}

/// Reads a piece of a kept result, for the principal it was made for.
///
/// Offsets are bytes. A piece begins and ends between characters: one that would begin inside a character begins
/// after it, and `offset` says where. `next_offset` is null at the end. What is no UTF-8 shows as U+FFFD.
pub(crate) async fn read(
    artefacts: &dyn Artefacts,
    principal: &str,
    wanted: Read,
    now: Timestamp,
) -> Result<Value, Fault> {
    let offset = wanted.offset.unwrap_or(0);
    let limit = wanted.limit.unwrap_or(LIMIT).clamp(LIMIT_MIN, LIMIT_MAX);
    let slice = artefacts.read(&wanted.artefact, principal, offset, limit, now).await?;
    let Some(slice) = slice else {
        let text = format!("no artefact {:?} of yours; it may have expired", wanted.artefact);
        return Err(Fault::not_found(text));
    };
    if offset > slice.total_bytes {
        let text = format!("the artefact has {} bytes, and offset is beyond them", slice.total_bytes);
        return Err(Fault::bad_argument("/offset", text));
    }
    let skipped = if offset == 0 { 0 } else { inside_character(&slice.bytes) };
    let is_last = offset + slice.bytes.len() as u64 >= slice.total_bytes;
    let cut = if is_last { 0 } else { torn_character(&slice.bytes[skipped..]) };
    let piece = &slice.bytes[skipped..slice.bytes.len() - cut];
    let end = offset + (skipped + piece.len()) as u64;
    Ok(json!({
        "text": String::from_utf8_lossy(piece),
        "offset": offset + skipped as u64,
        "next_offset": (end < slice.total_bytes).then_some(end),
        "total_bytes": slice.total_bytes,
    }))
}

/// The handle that a URI names.
pub(crate) fn handle_of(uri: &str) -> Option<&str> {
    let handle = uri.strip_prefix(PREFIX)?;
    let is_one = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    ((1..=HANDLE_BYTES_MAX).contains(&handle.len()) && handle.bytes().all(is_one)).then_some(handle)
}

/// The template as lists show it; `tool` stands for it on the road.
pub(crate) fn listing(tool: ToolName) -> Resource {
    Resource {
        uri: TEMPLATE.into(),
        name: "artefact".into(),
        title: Some("Kept result".into()),
        about: Some(
            "A result of your own that was too large to send, whole, by the handle that it was cut with."
                .into(),
        ),
        mime: None,
        size: None,
        tool,
        as_sent: None,
    }
}

/// Reads a kept result as a resource, for the principal it was made for: whole, as text or else in base64
/// (`ReadResourceResult`).
///
/// Fault: `NotFound` where there is none of that handle for this principal; `BadArguments` where the answer would be
/// larger than `bytes_max`.
pub(crate) async fn whole(
    artefacts: &dyn Artefacts,
    principal: &str,
    uri: &str,
    bytes_max: usize,
    now: Timestamp,
) -> Result<Outcome, Fault> {
    let missing = || Fault::not_found(format!("Resource not found: {uri:.128}"));
    let handle = handle_of(uri).ok_or_else(missing)?;
    let slice = artefacts.read(handle, principal, 0, bytes_max as u64, now).await?.ok_or_else(missing)?;
    let total_bytes = slice.total_bytes;
    let too_large = || {
        let text = format!(
            "the result has {total_bytes} bytes, and as a resource it is read whole, in an answer of at most \
             {bytes_max}; read it in pieces with artefact_read"
        );
        Fault::bad_argument("/uri", text)
    };
    if total_bytes > slice.bytes.len() as u64 {
        return Err(too_large());
    }
    let answer = tool::json::raw(&json!({ "contents": [content(uri, slice.bytes)] }));
    if answer.get().len() > bytes_max {
        return Err(too_large());
    }
    Ok(Outcome::content(Arc::from(answer)))
}

/// One content of a `ReadResourceResult`.
fn content(uri: &str, bytes: Vec<u8>) -> Map<String, Value> {
    let (mime, member, text) = match String::from_utf8(bytes) {
        Ok(text) if serde_json::from_str::<IgnoredAny>(&text).is_ok() => ("application/json", "text", text),
        Ok(text) => ("text/plain", "text", text),
        Err(error) => ("application/octet-stream", "blob", STANDARD.encode(error.as_bytes())),
    };
    Map::from_iter([
        ("uri".to_owned(), json!(uri)),
        ("mimeType".to_owned(), json!(mime)),
        (member.to_owned(), json!(text)),
    ])
}

/// The answer to a completion: handles are told to whoever got the cut result, and are not listed
/// (`CompleteResult`).
pub(crate) fn no_completion() -> Outcome {
    let none = json!({ "completion": { "values": [], "total": 0, "hasMore": false } });
    Outcome::content(Arc::from(tool::json::raw(&none)))
}

/// How many bytes at the start belong to a character that began before: up to three.
fn inside_character(bytes: &[u8]) -> usize {
    bytes.iter().take(3).take_while(|byte| **byte & 0xc0 == 0x80).count()
}

/// How many bytes at the end are the beginning of a character that goes on after: up to three.
fn torn_character(bytes: &[u8]) -> usize {
    let tail = &bytes[bytes.len().saturating_sub(3)..];
    (0..tail.len())
        .map(|start| &tail[start..])
        .find(|rest| {
            rest[0] >= 0xc0 && matches!(std::str::from_utf8(rest), Err(e) if e.error_len().is_none())
        })
        .map_or(0, <[u8]>::len)
}
