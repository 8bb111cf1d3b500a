use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tool::Timestamp;

use crate::StateError;

/// One API key: whom it stands for and what it may. Its secret is not here, only hashes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Its id: `key_` and 12 letters or digits. Shown everywhere the key is meant.
    pub id: String,
    /// The operator's name for it, part of the secret's prefix: `sk_<label>_…`. Unique.
    pub label: String,
    /// The declared principal it stands for.
    pub principal: String,
    /// The operator's own name for the user; the principal's where none was given.
    pub user_id: String,
    /// `basic`, `premium`, or the operator's own.
    pub tier: String,
    /// The roles it may use, each one of its principal's; empty for none at all.
    pub roles: Vec<String>,
    /// Calls in any 60 seconds; the tier's limit where none is set.
    pub rate_per_minute: Option<u32>,
    /// False where it was switched off: good credentials, 403.
    pub enabled: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// Set where it was revoked: for the records only, it stands for nobody any more.
    pub revoked_at: Option<Timestamp>,
    /// When it was last used, to within a second or so.
    pub last_used_at: Option<Timestamp>,
    /// The secrets that are good for it: one, or two while a rotation overlaps.
    pub secrets: Vec<KeySecret>,
    /// Counts changes; [`Keys::swap`] goes by it.
    pub version: i64,
}

/// One secret of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeySecret {
    /// Which of the two it is.
    pub slot: Slot,
    /// The keyed BLAKE3 hash of the secret, in hex.
    pub hash: String,
    /// The first characters of the secret, to tell keys apart: `sk_demo_x7Qp`.
    pub prefix: String,
    /// When this secret ends; the older one of a rotation has an end.
    pub expires_at: Option<Timestamp>,
}

/// Which secret of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Slot {
    /// The one to use.
    Primary,
    /// The one before, good until the rotation's overlap ends.
    Secondary,
}

/// What came of a compare-and-swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swap {
    /// It was as expected, and is now as wanted.
    Done,
    /// It was not as expected; nothing was changed.
    Stale,
}

/// The keys.
#[async_trait]
pub trait Keys: Send + Sync {
    /// The key that has a secret with this hash; revoked ones are not found, disabled and expired ones are.
    async fn by_hash(&self, hash: &str) -> Result<Option<Key>, StateError>;

    /// The key with this id or label.
    async fn get(&self, id_or_label: &str) -> Result<Option<Key>, StateError>;

    /// All keys, revoked ones too, by label.
    async fn list(&self) -> Result<Vec<Key>, StateError>;

    /// Adds a key. `Stale` where its id, its label or one of its hashes is taken.
    async fn insert(&self, key: &Key) -> Result<Swap, StateError>;

    /// Replaces a key where its version is still `key.version`; its new version is one more.
    async fn swap(&self, key: &Key) -> Result<Swap, StateError>;

    /// Remembers when keys were last used: `(id, when)`. Never sets a time back.
    async fn touch(&self, used: &[(String, Timestamp)]) -> Result<(), StateError>;
}
