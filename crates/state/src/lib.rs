//! What is remembered, as traits: rooms know these, only `store` knows databases, and the binary brings them
//! together. No IO here.
//!
//! Every method may fail with a [`StateError`]; whoever gets one answers `Internal` and changes nothing.

mod artefacts;
mod cache;
mod changes;
mod grants;
mod keys;
mod ledger;
mod pins;
mod sessions;
mod tasks;
mod usage;

pub use artefacts::{Artefact, Artefacts, Slice};
pub use cache::{Cache, CacheKey, Cached};
pub use changes::{ChangeFilter, ChangeRecord, ChangeState, Changes, Decision, JournalEntry};
pub use grants::Grants;
pub use keys::{Key, KeySecret, Keys, Slot, Swap};
pub use ledger::{Claim, Ledger, LedgerKey};
pub use pins::{Pin, Pins};
pub use sessions::{SessionRecord, Sessions};
pub use tasks::{TaskRecord, TaskStatus, Tasks};
pub use usage::{Usage, UsageCount};

/// What is remembered cannot be read or written now.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct StateError {
    /// What was being done: `reading the keys`.
    pub what: String,
    /// Why it failed.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl StateError {
    /// An error while doing `what`.
    #[must_use]
    pub fn new(what: impl Into<String>, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { what: what.into(), source: Some(source.into()) }
    }
}

impl From<StateError> for tool::Fault {
    fn from(error: StateError) -> Self {
        Self::internal(error)
    }
}
