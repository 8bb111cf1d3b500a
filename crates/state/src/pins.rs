use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tool::Timestamp;

use crate::StateError;

/// What a tool of a tool server was when somebody took it: whatever it says of itself later must be the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The server, by its name in the configuration.
    pub server: String,
    /// The tool, by its name there.
    pub tool: String,
    /// The digest of its definition: `b3:` and 64 hex digits.
    pub digest: String,
    /// Its definition, as JSON text with its members in order.
    pub definition: String,
    /// When it was taken.
    pub pinned_at: Timestamp,
    /// Who took it: a principal, or `first use`.
    pub pinned_by: String,
}

/// The tools of tool servers as they were taken. Once written they are on the disk: what was approved before a power cut
/// is what holds after it.
#[async_trait]
pub trait Pins: Send + Sync {
    /// What was taken of a server, by the names of the tools.
    async fn pinned(&self, server: &str) -> Result<Vec<Pin>, StateError>;

    /// Keeps these, all or none, each in place of the one of the same server and tool where there is one.
    async fn pin(&self, pins: &[Pin]) -> Result<(), StateError>;
}
