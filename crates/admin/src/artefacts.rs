use serde::Deserialize;
use serde_json::{Value, json};
use state::Artefacts;
use tool::{Fault, Timestamp};

/// The least that can be read at once: longer than any one character.
pub(crate) const LIMIT_MIN: u64 = 16;

/// The most that can be read at once.
pub(crate) const LIMIT_MAX: u64 = 256 * 1024;

/// What is read where nothing is said.
pub(crate) const LIMIT: u64 = 64 * 1024;

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
