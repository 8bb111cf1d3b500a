//! The audit log: the truth of what happened.
//!
//! # What is on the disk
//! A folder with segment files `audit-000001.jsonl`, `audit-000002.jsonl`, ..: JSON lines, one record each, with
//! `seq` (1, 2, 3, .. without a gap, over all segments and restarts), `timestamp`, `event`, the record's own members,
//! `prev` and `hash`. `hash` is BLAKE3 over the line without it, `prev` the hash of the record before. Every so
//! often a record with the event `checkpoint` signs the chain so far (Ed25519, `signing.key`; the public key is
//! in `signing.pub`), and a copy of it goes to `checkpoints.jsonl`. One process at a time writes, under a lock on
//! the folder; reading needs no lock.
//!
//! # What is found, and what is not
//! [`verify`] finds a changed, removed, inserted, swapped or reordered record; a removed, renumbered, replaced or
//! emptied segment; a forged checkpoint; and a log that was cut at or before its last checkpoint or replaced by an
//! older copy, as long as `checkpoints.jsonl` was not taken back with it.
//!
//! By itself, a folder cannot show: records cut off, added or rewritten after the last checkpoint (at most
//! `checkpoint_seconds` and about `checkpoint_records` of them; none after a clean stop); the whole folder replaced
//! by an older copy of itself; and anything done by someone who can read `signing.key`. Against these, ship
//! `checkpoints.jsonl` and the text of `signing.pub` to a place that the host cannot write to, and verify against
//! them with [`verify_against`].

mod checkpoint;
mod config;
mod error;
mod folder;
mod hex;
mod lines;
mod log;
mod noise;
mod opening;
mod plain;
mod record;
mod redact;
mod tail;
mod value;
mod verify;
mod writer;

pub use config::{Config, SyncMode};
pub use error::AuditError;
pub use noise::{Noise, Seen, Summary};
pub use plain::{is_plain, push_number, push_timestamp};
pub use record::{Body, Durability, Record};
pub use redact::{MASK, Redactor, mask_text, redact};
pub use tail::{TailQuery, tail, tail_until};
pub use verify::{Anchor, Problem, Report, verify, verify_against};
pub use writer::Audit;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
