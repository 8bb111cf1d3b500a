//! One record: its line, its link to the one before, and how both are read back.
//!
//! A line is `{"seq":N,"timestamp":"..","event":"..",<body>,"prev":"<hash>","hash":"<hash>"}` and a line end. `hash` is
//! the BLAKE3 hash of the line without its `hash` member (and without the line end), in lowercase hex; `prev` is
//! the `hash` of the line before, 64 zeros for the first. So no byte of a line can change without its hash, and
//! anyone with a JSON tool and `b3sum` can check it.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};
use tool::{Timestamp, json};

use crate::{
    AuditError, Redactor, hex,
    log::Slot,
    plain::{push_number, push_timestamp},
    value,
};

/// Digits of a hash.
pub(crate) const HASH_LEN: usize = 64;

/// The longest line that is read back, in bytes. A longer one is damage.
pub(crate) const LINE_BYTES_MAX: usize = 8 << 20;

/// The event of the log's own signed records.
pub(crate) const CHECKPOINT: &str = "checkpoint";

/// Members that belong to the log.
const RESERVED: [&str; 5] = ["seq", "timestamp", "event", "prev", "hash"];

/// What most bodies need, in bytes.
const BODY_BYTES: usize = 1_024;

/// How many members most bodies have.
const BODY_MEMBERS: usize = 24;

/// Members up to this long are kept as they are even in a record that is too large, in bytes.
const SHORT_MEMBER: usize = 256;

/// One thing that happened.
#[derive(Clone, Debug)]
pub struct Record {
    /// When.
    pub at: Timestamp,
    /// What, as `noun.verb`: `call.intent`, `call.outcome`, `auth.refused`, `server.started`. Anything but
    /// `checkpoint`, which is the log's own.
    pub event: &'static str,
    /// The rest, redacted by whoever writes it. The names `seq`, `timestamp`, `event`, `prev` and `hash` are the
    /// log's.
    pub body: Body,
}

/// The members of a record, written as JSON text where they are put, so that a record costs no tree of values. A
/// name is put once.
#[derive(Clone, Default)]
pub struct Body {
    /// Members as they stand in the line, each followed by a comma.
    text: Vec<u8>,
    members: Vec<Member>,
}

/// Where a member stands in the text of its body.
#[derive(Clone, Copy, Debug)]
struct Member {
    start: usize,
    /// Where its name ends, with the quotation marks.
    named: usize,
    /// After its comma.
    end: usize,
}

impl Body {
    /// Puts a member.
    pub fn put(&mut self, name: &str, value: &(impl Serialize + ?Sized)) {
        self.begin(name);
        value::push(&mut self.text, value);
        self.end();
    }

    /// Puts what [`crate::redact`] makes of a value.
    pub fn put_redacted(&mut self, name: &str, value: &Value, secret_names: &[String]) {
        self.begin(name);
        Redactor::new(secret_names).push(value, &mut self.text);
        self.end();
    }

    /// Puts a member where there is something to put.
    pub fn put_some(&mut self, name: &str, value: Option<&(impl Serialize + ?Sized)>) {
        if let Some(value) = value {
            self.put(name, value);
        }
    }

    fn begin(&mut self, name: &str) {
        debug_assert!(!self.names().any(|known| known == quoted(name)), "{name:?} is put twice");
        if self.members.is_empty() {
            // Grown step by step, they would be copied several times.
            self.text.reserve(BODY_BYTES);
            self.members.reserve(BODY_MEMBERS);
        }
        let start = self.text.len();
        let named = push_name(&mut self.text, name);
        self.members.push(Member { start, named, end: named });
    }

    fn end(&mut self) {
        self.text.push(b',');
        if let Some(last) = self.members.last_mut() {
            last.end = self.text.len();
        }
    }

    /// The names, as JSON strings.
    fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.members.iter().map(|member| &self.text[member.start..member.named])
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text.strip_suffix(b",").unwrap_or_default();
        write!(f, "{{{}}}", String::from_utf8_lossy(text))
    }
}

impl From<Map<String, Value>> for Body {
    fn from(members: Map<String, Value>) -> Self {
        let mut body = Self::default();
        for (name, value) in &members {
            body.put(name, value);
        }
        body
    }
}

fn quoted(name: &str) -> Vec<u8> {
    serde_json::to_vec(name).expect("a string always has JSON text")
}

/// How safe a record must be before the write returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The kernel has it: a crash of the process does not lose it.
    Written,
    /// The disk has it: a power cut does not lose it. `sync: written` in the configuration waives this.
    Synced,
}

/// A place in the chain: the last record and its hash.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) seq: u64,
    pub(crate) head: [u8; HASH_LEN],
}

/// A line read back, and found to be well-formed and to carry its own right hash.
pub(crate) struct Line<'a> {
    pub(crate) seq: u64,
    pub(crate) prev: &'a [u8],
    pub(crate) hash: &'a [u8],
    is_checkpoint: bool,
}

impl Record {
    /// The record as the log takes it.
    pub(crate) fn into_slot(self, bytes_max: usize) -> Result<Slot, AuditError> {
        if self.event == CHECKPOINT {
            return Err(AuditError::Record(format!(
                "the event {CHECKPOINT:?} belongs to the audit log itself"
            )));
        }
        if let Some(name) = self.body.names().find_map(reserved) {
            return Err(AuditError::Record(format!("the member {name:?} belongs to the audit log itself")));
        }
        let head = head(self.at, self.event);
        let mut members = self.body.text;
        if members.len() > bytes_max {
            members = shortened(&members, &self.body.members, bytes_max);
        }
        Ok(Slot { head, members, seq: 0 })
    }
}

/// The one of [`RESERVED`] that a name, with its quotation marks, is.
fn reserved(quoted: &[u8]) -> Option<&'static str> {
    let bare = quoted.get(1..quoted.len() - 1)?;
    RESERVED.into_iter().find(|name| name.as_bytes() == bare)
}

/// The members `timestamp` and `event`.
pub(crate) fn head(at: Timestamp, event: &str) -> Vec<u8> {
    let mut text = Vec::with_capacity(64 + event.len());
    text.extend_from_slice(br#""timestamp":""#);
    push_timestamp(at, &mut text);
    text.extend_from_slice(br#"","event":"#);
    json::write_text(&mut text, event);
    text.push(b',');
    text
}

/// Appends one member and a comma.
pub(crate) fn push_member(text: &mut Vec<u8>, name: &str, member: &(impl Serialize + ?Sized)) {
    push_name(text, name);
    value::push(text, member);
    text.push(b',');
}

/// Appends a name and a colon. Returns where the name ends.
fn push_name(text: &mut Vec<u8>, name: &str) -> usize {
    json::write_text(text, name);
    text.push(b':');
    text.len() - 1
}

/// What fits of a body that is too large: short members as they are, of long ones the length and digest, and how
/// many members did not fit at all.
fn shortened(body: &[u8], members: &[Member], bytes_max: usize) -> Vec<u8> {
    let mut text = Vec::new();
    let end = bytes_max - SHORT_MEMBER;
    let mut left_out = 0_u64;
    for member in members {
        let before = text.len();
        let whole = &body[member.start..member.end];
        if whole.len() > SHORT_MEMBER {
            text.extend_from_slice(&body[member.start..=member.named]);
            let value = &body[member.named + 1..member.end - 1];
            text.extend_from_slice(&quoted(&cut_mark(value)));
            text.push(b',');
        } else {
            text.extend_from_slice(whole);
        }
        if text.len() > end {
            text.truncate(before);
            left_out += 1;
        }
    }
    if left_out > 0 {
        push_member(&mut text, "members_left_out", &left_out);
    }
    text
}

fn cut_mark(bytes: &[u8]) -> String {
    format!("[cut: {} bytes, {}]", bytes.len(), json::digest_bytes(bytes))
}

impl Link {
    /// Before the first record.
    pub(crate) const START: Self = Self { seq: 0, head: [b'0'; HASH_LEN] };

    /// Appends the next record's line and says where the chain then ends. `members` stand between `seq` and
    /// `prev`, each followed by a comma.
    pub(crate) fn push_line(&self, members: &[u8], to: &mut Vec<u8>) -> Self {
        self.push_parts(&[], members, to)
    }

    /// As [`Link::push_line`], of members that lie in two places.
    pub(crate) fn push_parts(&self, head: &[u8], members: &[u8], to: &mut Vec<u8>) -> Self {
        let start = to.len();
        to.extend_from_slice(br#"{"seq":"#);
        push_number(self.seq + 1, to);
        to.push(b',');
        to.extend_from_slice(head);
        to.extend_from_slice(members);
        to.extend_from_slice(br#""prev":""#);
        to.extend_from_slice(&self.head);
        to.extend_from_slice(b"\"}");
        let hash = hash(&to[start..]);
        to.pop();
        to.extend_from_slice(br#","hash":""#);
        to.extend_from_slice(&hash);
        to.extend_from_slice(b"\"}\n");
        Self { seq: self.seq + 1, head: hash }
    }

    /// Reads the line that should come next, without its line end.
    ///
    /// Error: what is wrong with it.
    pub(crate) fn read_next<'a>(&self, line: &'a [u8]) -> Result<Line<'a>, String> {
        let found = Line::read(line)?;
        if found.seq != self.seq + 1 {
            return Err(format!("expected seq {} here, found {}", self.seq + 1, found.seq));
        }
        if found.prev != self.head {
            return Err("`prev` is not the hash of the record before".to_owned());
        }
        Ok(found)
    }
}

impl<'a> Line<'a> {
    /// Reads a line, without its line end, by itself.
    ///
    /// Error: what is wrong with it.
    pub(crate) fn read(line: &'a [u8]) -> Result<Self, String> {
        let (body, hash) =
            cut_member(line, b",\"hash\":\"", b"\"}").ok_or("it does not end in its `hash`")?;
        let (front, prev) =
            cut_member(body, b",\"prev\":\"", b"\"").ok_or("it has no `prev` before its `hash`")?;
        let (seq, rest) = read_seq(front).ok_or("it does not begin with its `seq`")?;
        let right = blake3::Hasher::new().update(body).update(b"}").finalize();
        if right.to_hex().as_bytes() != hash {
            return Err("its content does not fit its `hash`".to_owned());
        }
        if !is_json(line) {
            return Err("it is not JSON".to_owned());
        }
        Ok(Self { seq, prev, hash, is_checkpoint: has_event(rest, CHECKPOINT) })
    }

    /// Where the chain is after this record.
    pub(crate) fn link(&self) -> Link {
        let head = self.hash.try_into().expect("a line is read only with a whole hash");
        Link { seq: self.seq, head }
    }

    pub(crate) fn is_checkpoint(&self) -> bool {
        self.is_checkpoint
    }
}

/// True where the bytes are one JSON value.
pub(crate) fn is_json(line: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok()
}

/// The digits of a BLAKE3 hash.
fn hash(bytes: &[u8]) -> [u8; HASH_LEN] {
    hex::digits(blake3::hash(bytes).as_bytes())
}

/// Cuts a member with a hash off the end: what stands before it, and the hash.
fn cut_member<'a>(text: &'a [u8], opening: &[u8], closing: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let text = text.strip_suffix(closing)?;
    let (front, hash) = text.split_at_checked(text.len().checked_sub(HASH_LEN)?)?;
    Some((front.strip_suffix(opening)?, hash))
}

fn read_seq(front: &[u8]) -> Option<(u64, &[u8])> {
    let rest = front.strip_prefix(br#"{"seq":"#)?;
    let digits = rest.iter().position(|b| *b == b',')?;
    let seq = std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
    Some((seq, &rest[digits + 1..]))
}

fn has_event(rest: &[u8], event: &str) -> bool {
    let Some(rest) = rest.strip_prefix(br#""timestamp":""#) else { return false };
    let Some(end) = rest.iter().position(|b| *b == b'"') else { return false };
    let Some(rest) = rest[end..].strip_prefix(br#"","event":""#) else { return false };
    rest.strip_prefix(event.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'"'))
}
