//! Checkpoints: records of the chain that are signed, and the file `checkpoints.jsonl` that holds a copy of each.
//!
//! A checkpoint signs its own place and time, the number of its segment, the first record that is still kept,
//! and the hash of the record before it, and with that hash everything up to there. The signature is Ed25519
//! (RFC 8032) over the text of [`Stamp::message`].

use std::path::Path;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::Deserialize;
use serde_json::Value;
use tool::Timestamp;
use zeroize::{Zeroize as _, Zeroizing};

use crate::{
    AuditError,
    folder::Folder,
    hex,
    record::{self, CHECKPOINT, Link},
};

/// The private key, as hex; only its owner may read it.
pub(crate) const KEY_FILE: &str = "signing.key";

/// The public key, as hex.
pub(crate) const PUBLIC_FILE: &str = "signing.pub";

/// What a checkpoint vouches for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stamp {
    /// Its own place.
    pub(crate) seq: u64,
    #[serde(rename = "timestamp")]
    at: Timestamp,
    #[allow(dead_code, reason = "part of the line; the whole line is compared in `verify`")]
    event: String,
    /// The number of the segment it stands in.
    pub(crate) segment: u64,
    /// The first record that is still kept; 1 until segments are removed.
    pub(crate) oldest: u64,
    signature: String,
    prev: String,
    /// Its own hash.
    pub(crate) hash: String,
}

/// The members of the checkpoint that comes after `link`.
pub(crate) fn members(key: &SigningKey, link: &Link, at: Timestamp, segment: u64, oldest: u64) -> Vec<u8> {
    let head = std::str::from_utf8(&link.head).expect("digits are ASCII");
    let signature = key.sign(message(link.seq + 1, at, segment, oldest, head).as_bytes());
    members_signed(at, segment, oldest, &hex::text(&signature.to_bytes()))
}

impl Stamp {
    /// Reads a checkpoint's line, which has been found well-formed, and checks its signature.
    ///
    /// Error: what is wrong with it.
    pub(crate) fn verify(line: &[u8], key: &VerifyingKey) -> Result<Self, String> {
        let stamp: Self = serde_json::from_slice(line).map_err(|e| format!("it is not a checkpoint: {e}"))?;
        let text = message(stamp.seq, stamp.at, stamp.segment, stamp.oldest, &stamp.prev);
        let signature = hex::read(stamp.signature.as_bytes()).map(|bytes| Signature::from_bytes(&bytes));
        let good = signature.is_some_and(|signature| key.verify_strict(text.as_bytes(), &signature).is_ok());
        if !good || stamp.line() != line {
            return Err(String::from(
                "its signature does not fit: it is forged, or a record since the checkpoint before was rewritten",
            ));
        }
        Ok(stamp)
    }

    /// The one line that this stamp can have.
    fn line(&self) -> Vec<u8> {
        let Ok(head) = self.prev.as_bytes().try_into() else { return Vec::new() };
        let before = Link { seq: self.seq.saturating_sub(1), head };
        let mut line = Vec::new();
        before.push_line(&members_signed(self.at, self.segment, self.oldest, &self.signature), &mut line);
        line.pop();
        line
    }
}

fn message(seq: u64, at: Timestamp, segment: u64, oldest: u64, head: &str) -> String {
    format!(
        "portcullis audit checkpoint 1\nseq {seq}\nat {at}\nsegment {segment}\noldest {oldest}\nhead {head}\n"
    )
}

fn members_signed(at: Timestamp, segment: u64, oldest: u64, signature: &str) -> Vec<u8> {
    let mut text = record::head(at, CHECKPOINT);
    record::push_member(&mut text, "segment", &Value::from(segment));
    record::push_member(&mut text, "oldest", &Value::from(oldest));
    record::push_member(&mut text, "signature", &Value::from(signature));
    text
}

/// The signing key of a folder; made where the log is new.
///
/// Error: the key is gone though there is a log, others may read it, or it is not the one `signing.pub` names.
pub(crate) fn open_key(folder: &Folder, log_is_new: bool) -> Result<SigningKey, AuditError> {
    let path = folder.path().join(KEY_FILE);
    if !path.exists() {
        if !log_is_new {
            let text = format!("{KEY_FILE} is gone though there is a log; put it back or move the log away");
            return Err(AuditError::Key(text));
        }
        make_key(folder)?;
    }
    if folder.is_open_to_others(KEY_FILE).map_err(|e| folder.error("look at the signing key", e))? {
        return Err(AuditError::Key(format!("others may read {}; run chmod 600 on it", path.display())));
    }
    let text = Zeroizing::new(folder.read(KEY_FILE).map_err(|e| folder.error("read the signing key", e))?);
    let seed = key_digits(&text).and_then(hex::read::<32>);
    let seed = Zeroizing::new(seed.ok_or_else(|| AuditError::Key(format!("{KEY_FILE} holds no key")))?);
    let key = SigningKey::from_bytes(&seed);
    let public = public_text(&key.verifying_key());
    let public_path = folder.path().join(PUBLIC_FILE);
    if !public_path.exists() {
        folder
            .put_file(PUBLIC_FILE, public.as_bytes(), 0o644)
            .map_err(|e| folder.error("write the public key", e))?;
    }
    if folder.read(PUBLIC_FILE).map_err(|e| folder.error("read the public key", e))? != public.as_bytes() {
        return Err(AuditError::Key(format!("{PUBLIC_FILE} is not the public key of {KEY_FILE}")));
    }
    Ok(key)
}

/// The public key of a folder, and `None` where it is missing or none.
pub(crate) fn read_public(folder: &Path) -> Option<VerifyingKey> {
    let text = std::fs::read(folder.join(PUBLIC_FILE)).ok()?;
    let bytes = key_digits(&text).and_then(hex::read)?;
    VerifyingKey::from_bytes(&bytes).ok()
}

/// The public key as the file holds it.
pub(crate) fn public_text(key: &VerifyingKey) -> String {
    hex::text(key.as_bytes()) + "\n"
}

fn key_digits(text: &[u8]) -> Option<&[u8]> {
    (text.len() <= 65).then(|| text.strip_suffix(b"\n").unwrap_or(text))
}

fn make_key(folder: &Folder) -> Result<(), AuditError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)
        .map_err(|e| AuditError::Key(format!("no randomness for a signing key: {e}")))?;
    let text = Zeroizing::new(hex::text(&seed) + "\n");
    seed.zeroize();
    folder.put_file(KEY_FILE, text.as_bytes(), 0o600).map_err(|e| folder.error("write the signing key", e))
}
