use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tool::Timestamp;

use crate::StateError;

/// A session of the Model Context Protocol as older revisions have it (up to `2025-11-25`): begun with `initialize`,
/// and named by a header from then on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRecord {
    /// The hash of its id. The id itself is a secret of the client's, and is kept nowhere.
    pub id_hash: String,
    /// The principal it was begun by; to anybody else it does not exist.
    pub principal: String,
    /// The credential it was begun with, such as a key's id.
    pub credential: String,
    /// The revision that was agreed on: `2025-11-25`.
    pub protocol: String,
    /// The parameters of its `initialize`, as JSON text: what the client is and can do.
    pub initialize: String,
    /// When it was begun.
    pub created_at: Timestamp,
    /// When it was last used, to within the interval at which [`Sessions::touch`] is called.
    pub used_at: Timestamp,
}

/// Sessions that survive the process they were begun in. What is written here outlives the end of the process, but
/// maybe not a power cut: a client whose session is gone begins a new one.
#[async_trait]
pub trait Sessions: Send + Sync {
    /// Keeps a session, in place of the one with the same hash where there is one.
    async fn put(&self, session: &SessionRecord) -> Result<(), StateError>;

    /// The session whose id has this hash.
    async fn get(&self, id_hash: &str) -> Result<Option<SessionRecord>, StateError>;

    /// Remembers when sessions were last used: `(id_hash, when)`. Never sets a time back; hashes of no session are
    /// passed over.
    async fn touch(&self, used: &[(String, Timestamp)]) -> Result<(), StateError>;

    /// Forgets a session; true where there was one.
    async fn remove(&self, id_hash: &str) -> Result<bool, StateError>;

    /// How many sessions a principal has.
    async fn count(&self, principal: &str) -> Result<u64, StateError>;

    /// Forgets the sessions that were last used before this moment, and says how many there were.
    async fn prune(&self, used_before: Timestamp) -> Result<u64, StateError>;
}
