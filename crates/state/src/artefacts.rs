use async_trait::async_trait;
use tool::Timestamp;

use crate::StateError;

/// A whole result that was too large to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artefact {
    /// Its handle: `art_` and 32 random hex digits.
    pub handle: String,
    /// The principal it was made for; nobody else can read it.
    pub principal: String,
    /// The tool that made it.
    pub tool: String,
    /// The result, as JSON text or plain text.
    pub content: Vec<u8>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it may be forgotten.
    pub expires_at: Timestamp,
}

/// A piece of an artefact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The bytes from the offset on.
    pub bytes: Vec<u8>,
    /// How many bytes the whole has.
    pub total_bytes: u64,
}

/// Results kept behind a handle.
#[async_trait]
pub trait Artefacts: Send + Sync {
    /// Keeps one.
    async fn put(&self, artefact: &Artefact) -> Result<(), StateError>;

    /// Up to `bytes_max` bytes from `offset` on; `None` where there is no such handle for this principal.
    async fn read(
        &self,
        handle: &str,
        principal: &str,
        offset: u64,
        bytes_max: u64,
        now: Timestamp,
    ) -> Result<Option<Slice>, StateError>;

    /// Forgets what has expired, and the oldest until all together take no more than `bytes_max`.
    async fn prune(&self, now: Timestamp, bytes_max: u64) -> Result<u64, StateError>;
}
