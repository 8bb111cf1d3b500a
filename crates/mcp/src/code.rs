//! The numbers that errors have on the wire. [`crate::WIRE_ROWS`] has their HTTP statuses.
//!
//! Source: 2026-07-28 basic, "Error Codes". -32042 (URL elicitation required, `2025-11-25` only) is never sent.

/// Not JSON.
pub const PARSE_ERROR: i64 = -32700;
/// JSON, but no message as we take it.
pub const INVALID_REQUEST: i64 = -32600;
/// No method of that name for this peer.
pub const METHOD_NOT_FOUND: i64 = -32601;
/// Params that the method does not take: also unknown tools, prompts, resources, tasks and cursors.
pub const INVALID_PARAMS: i64 = -32602;
/// Ours to mend.
pub const INTERNAL_ERROR: i64 = -32603;
/// A resource that is not there, for peers of `2025-11-25` and older.
pub const RESOURCE_NOT_FOUND: i64 = -32002;
/// Headers and body do not say the same.
pub const HEADER_MISMATCH: i64 = -32020;
/// The client did not declare what the request needs.
pub const MISSING_CAPABILITY: i64 = -32021;
/// A revision that we do not speak.
pub const UNSUPPORTED_VERSION: i64 = -32022;

/// True where a code tells that the peer speaks the modern era, so that a client need not fall back
/// (2026-07-28 basic/versioning, "Backward Compatibility").
#[must_use]
pub fn is_modern(code: i64) -> bool {
    matches!(code, HEADER_MISMATCH | MISSING_CAPABILITY | UNSUPPORTED_VERSION)
}
