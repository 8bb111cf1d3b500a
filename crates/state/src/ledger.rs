use async_trait::async_trait;
use tool::Timestamp;

use crate::StateError;

/// What an idempotency key belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LedgerKey {
    /// The principal that used it.
    pub principal: String,
    /// The tool it called.
    pub tool: String,
    /// The key it sent.
    pub key: String,
}

/// What came of claiming an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is new, and now claimed: do the work, then [`Ledger::settle`] or [`Ledger::release`] it.
    Fresh,
    /// The work was done: this is its answer, as JSON text.
    Done(String),
    /// The work is going on, or its process died in the middle: nobody knows the outcome yet.
    Open,
    /// The key was used with other arguments.
    Clash,
}

/// Which idempotency keys were used, and what came of them.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Claims a key for these arguments, atomically. An entry older than `expires_at` of its own is forgotten.
    async fn claim(
        &self,
        key: &LedgerKey,
        arguments_digest: &str,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<Claim, StateError>;

    /// Records the answer of claimed work.
    async fn settle(&self, key: &LedgerKey, answer_json: &str) -> Result<(), StateError>;

    /// Gives a claim back: the work certainly had no effect.
    async fn release(&self, key: &LedgerKey) -> Result<(), StateError>;
}
