//! What we give to a client and want back unchanged: the state of a request, cursors, session ids.
//!
//! A sealed text says what it says to anybody who decodes it: it is authenticated, not encrypted. It holds for one
//! purpose, for what it was bound to (a principal, a request) and for a time; nobody else can make one.
//!
//! Source: basic/patterns/mrtr, "Server Requirements"; 2025-11-25 basic/transports, "Session Management".
//! Keyed BLAKE3 with a key per purpose, derived from ours.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;
use tool::{Timestamp, json};

use crate::{Object, WireError};

/// The longest sealed text, in bytes. A longer one is neither made nor looked at.
pub const SEALED_BYTES_MAX: usize = 65_536;

/// How many bytes a key has.
pub const KEY_BYTES: usize = 32;

/// The form of what follows; another one gets another number.
const FORM: u8 = 1;
const TAG_BYTES: usize = 32;
const HEAD_BYTES: usize = 1 + 8;

/// What a sealed text is for. One for another purpose is forged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// `requestState` of an `input_required` result.
    RequestState,
    /// The cursor of a list.
    Cursor,
    /// The id of a session.
    Session,
    /// The id of a task.
    Task,
}

/// Why a text is not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Not in our form at all, or longer than [`SEALED_BYTES_MAX`].
    #[error("is not one of ours")]
    Malformed,
    /// In our form, but not made by us, not for this, or changed since.
    #[error("was not made by us for this")]
    Forged,
    /// Ours, and too old.
    #[error("has expired")]
    Expired,
}

impl SealError {
    /// As an error on the wire: invalid params. `what` names the member.
    #[must_use]
    pub fn on_wire(self, what: &str) -> WireError {
        WireError::invalid_params(format!("{what:?} {self}; begin anew without it"))
    }
}

/// A text that would be longer than [`SEALED_BYTES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {SEALED_BYTES_MAX} bytes cannot be sealed")]
pub struct TooMuch;

/// The keys that seal and open. They cannot be shown.
pub struct Seals {
    current: Box<[u8; KEY_BYTES]>,
    previous: Option<Box<[u8; KEY_BYTES]>>,
}

impl Seals {
    /// Seals and opens with one key. Replicas that share it open each other's.
    #[must_use]
    pub fn new(key: [u8; KEY_BYTES]) -> Self {
        Self { current: Box::new(key), previous: None }
    }

    /// Also opens what an older key sealed.
    #[must_use]
    pub fn or_previous(mut self, key: [u8; KEY_BYTES]) -> Self {
        self.previous = Some(Box::new(key));
        self
    }

    /// A key of this process alone: what it seals is worth nothing after a restart.
    pub fn of_this_process() -> Result<Self, getrandom::Error> {
        let mut key = [0; KEY_BYTES];
        getrandom::fill(&mut key)?;
        Ok(Self::new(key))
    }

    /// Seals `payload` until `expires`. It opens for the same purpose and the same `bound` only: who it is for,
    /// which request it belongs to.
    pub fn seal(
        &self,
        purpose: Purpose,
        bound: &[&[u8]],
        expires: Timestamp,
        payload: &Value,
    ) -> Result<String, TooMuch> {
        let mut bytes = vec![FORM];
        bytes.extend_from_slice(&expires.unix_ms().to_be_bytes());
        bytes.extend_from_slice(payload.to_string().as_bytes());
        let tag = tag(&self.current, purpose, bound, &bytes);
        bytes.extend_from_slice(tag.as_bytes());
        let sealed = URL_SAFE_NO_PAD.encode(bytes);
        if sealed.len() > SEALED_BYTES_MAX { Err(TooMuch) } else { Ok(sealed) }
    }

    /// Opens what was sealed for this purpose and bound to this, and has not expired at `now`.
    pub fn open(
        &self,
        purpose: Purpose,
        bound: &[&[u8]],
        now: Timestamp,
        sealed: &str,
    ) -> Result<Value, SealError> {
        if sealed.len() > SEALED_BYTES_MAX {
            return Err(SealError::Malformed);
        }
        let bytes = URL_SAFE_NO_PAD.decode(sealed).map_err(|_| SealError::Malformed)?;
        let (content, found) = bytes.split_last_chunk::<TAG_BYTES>().ok_or(SealError::Malformed)?;
        let (head, payload) = content.split_first_chunk::<HEAD_BYTES>().ok_or(SealError::Malformed)?;
        let [FORM, expires @ ..] = head else { return Err(SealError::Malformed) };
        let found = blake3::Hash::from_bytes(*found);
        // Comparing hashes takes the same time wherever they differ.
        let is_ours = |key: &[u8; KEY_BYTES]| tag(key, purpose, bound, content) == found;
        if !is_ours(&self.current) && !self.previous.as_deref().is_some_and(is_ours) {
            return Err(SealError::Forged);
        }
        if now.unix_ms() >= i64::from_be_bytes(*expires) {
            return Err(SealError::Expired);
        }
        serde_json::from_slice(payload).map_err(|_| SealError::Malformed)
    }
}

impl fmt::Debug for Seals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// 128 random bits as text: what makes a session's id its own.
pub fn nonce() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// The digest of what a request asks for: its method and its params, without what differs between the first try
/// and the next (`_meta`, `inputResponses`, `requestState`). Order and spaces do not matter.
#[must_use]
pub fn request_digest(method: &str, params: &Object<'_>) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    put(&mut hasher, method.as_bytes());
    let mut members: Vec<_> = params.members().iter().collect();
    members.retain(|member| !matches!(&*member.name, "_meta" | "inputResponses" | "requestState"));
    members.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    for member in members {
        put(&mut hasher, member.name.as_bytes());
        put(&mut hasher, canonical(member.value).as_bytes());
    }
    *hasher.finalize().as_bytes()
}

/// The canonical text of a value; the text itself where numbers in it would be rounded.
fn canonical(text: &str) -> String {
    let exact = json::inexact_integer(text).is_none();
    let value = if exact { json::parse(text.as_bytes()).ok() } else { None };
    value.map_or_else(|| text.to_owned(), |value| json::canonical(&value))
}

fn tag(key: &[u8; KEY_BYTES], purpose: Purpose, bound: &[&[u8]], content: &[u8]) -> blake3::Hash {
    let context = match purpose {
        Purpose::RequestState => "portcullis mcp 2026-11 request state",
        Purpose::Cursor => "portcullis mcp 2026-11 cursor",
        Purpose::Session => "portcullis mcp 2026-11 session",
        Purpose::Task => "portcullis mcp 2026-11 task",
    };
    let mut hasher = blake3::Hasher::new_keyed(&blake3::derive_key(context, key));
    hasher.update(&(bound.len() as u64).to_be_bytes());
    bound.iter().for_each(|part| put(&mut hasher, part));
    put(&mut hasher, content);
    hasher.finalize()
}

/// Takes a part in with its length, so that no two lists of parts are one text.
fn put(hasher: &mut blake3::Hasher, part: &[u8]) {
    hasher.update(&(part.len() as u64).to_be_bytes());
    hasher.update(part);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const KEY: [u8; KEY_BYTES] = [7; KEY_BYTES];

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(ms)
    }

    fn sealed() -> String {
        let payload = json!({ "plan": "b3:1", "round": 2 });
        Seals::new(KEY).seal(Purpose::RequestState, &[b"ada", b"digest"], at(1_000), &payload).unwrap()
    }

    #[test]
    fn opens_for_what_it_was_made_for() {
        let seals = Seals::new(KEY);
        let open = |purpose, bound: &[&[u8]], now| seals.open(purpose, bound, at(now), &sealed());
        assert_eq!(
            open(Purpose::RequestState, &[b"ada", b"digest"], 999),
            Ok(json!({ "plan": "b3:1", "round": 2 }))
        );
        assert_eq!(open(Purpose::RequestState, &[b"ada", b"digest"], 1_000), Err(SealError::Expired));
        for purpose in [Purpose::Cursor, Purpose::Session, Purpose::Task] {
            assert_eq!(open(purpose, &[b"ada", b"digest"], 0), Err(SealError::Forged));
        }
        for bound in [
            &[&b"eve"[..], b"digest"][..],
            &[b"ada"],
            &[b"ada", b"digest", b""],
            &[b"adadigest"],
            &[b"ad", b"adigest"],
            &[],
        ] {
            assert_eq!(open(Purpose::RequestState, bound, 0), Err(SealError::Forged), "{bound:?}");
        }
    }

    #[test]
    fn keys_rotate() {
        let bound: &[&[u8]] = &[b"ada", b"digest"];
        let other = Seals::new([8; KEY_BYTES]);
        assert_eq!(other.open(Purpose::RequestState, bound, at(0), &sealed()), Err(SealError::Forged));
        let rotated = Seals::new([8; KEY_BYTES]).or_previous(KEY);
        assert!(rotated.open(Purpose::RequestState, bound, at(0), &sealed()).is_ok());
        let fresh = rotated.seal(Purpose::Cursor, &[], at(1), &json!(1)).unwrap();
        assert_eq!(Seals::new(KEY).open(Purpose::Cursor, &[], at(0), &fresh), Err(SealError::Forged));
        assert!(other.open(Purpose::Cursor, &[], at(0), &fresh).is_ok());
    }

    #[test]
    fn what_is_not_ours() {
        let seals = Seals::new(KEY);
        let long = "A".repeat(SEALED_BYTES_MAX + 1);
        for text in ["", "x", "AAAA", "eyJwYWdlIjogM30=", "é", &sealed()[1..], &long, &"B".repeat(100)] {
            assert_eq!(
                seals.open(Purpose::Cursor, &[], at(0), text),
                Err(SealError::Malformed),
                "{text:.40}"
            );
        }
        assert_eq!(seals.open(Purpose::Cursor, &[], at(0), &"AQ".repeat(100)), Err(SealError::Forged));
        assert_eq!(format!("{seals:?}"), "[redacted]");
        assert_eq!(
            SealError::Expired.on_wire("cursor").to_string(),
            "\"cursor\" has expired; begin anew without it (-32602)"
        );
    }

    #[test]
    fn the_bound_holds_at_its_edge() {
        let seals = Seals::new(KEY);
        // Three bytes are four characters, and a JSON string has its quotes.
        let room = SEALED_BYTES_MAX / 4 * 3 - HEAD_BYTES - TAG_BYTES - 2;
        let seal = |length: usize| seals.seal(Purpose::Cursor, &[], at(1), &json!("x".repeat(length)));
        assert!(seals.open(Purpose::Cursor, &[], at(0), &seal(room).unwrap()).is_ok());
        assert_eq!(seal(room + 1), Err(TooMuch));
    }

    #[test]
    fn requests_that_ask_the_same() {
        let digest = |params: &str| {
            request_digest("tools/call", &Object::read(serde_json::from_str(params).unwrap()).unwrap())
        };
        let first = digest(r#"{"name":"x","arguments":{"a":1,"b":[2]},"_meta":{"progressToken":1}}"#);
        let next =
            r#"{ "requestState" : "s", "arguments": {"b":[ 2 ],"a":1}, "name":"x","inputResponses":{} }"#;
        assert_eq!(first, digest(next));
        for other in [
            r#"{"name":"y","arguments":{"a":1,"b":[2]}}"#,
            r#"{"name":"x","arguments":{"a":2,"b":[2]}}"#,
            r#"{"name":"x","arguments":{"a":1,"b":[2]},"task":1}"#,
            r#"{"name":"x"}"#,
        ] {
            assert_ne!(first, digest(other), "{other}");
        }
        let big = |n: &str| digest(&format!(r#"{{"arguments":{{"n":{n}}}}}"#));
        assert_ne!(big("12345678901234567890123"), big("12345678901234567890124"));
        assert_ne!(request_digest("a", &Object::default()), request_digest("b", &Object::default()));
    }

    #[test]
    fn nonces_differ() {
        assert_ne!(nonce().unwrap(), nonce().unwrap());
        assert_eq!(nonce().unwrap().len(), 22);
        assert_ne!(*Seals::of_this_process().unwrap().current, *Seals::of_this_process().unwrap().current);
    }

    proptest! {
        #[test]
        fn no_change_goes_unseen(at_byte in any::<prop::sample::Index>(), to in "[A-Za-z0-9_-]") {
            let mut changed = sealed();
            let at_byte = at_byte.index(changed.len());
            changed.replace_range(at_byte..=at_byte, &to);
            let opened = Seals::new(KEY).open(Purpose::RequestState, &[b"ada", b"digest"], at(0), &changed);
            prop_assert_eq!(opened.is_ok(), changed == sealed());
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            prop_assert!(Seals::new(KEY).open(Purpose::Cursor, &[], at(0), &text).is_err());
        }
    }
}
