use async_trait::async_trait;
use tool::Secret;

use crate::StateError;

/// What authorization servers gave us for tool servers: tokens, and who we are to them. Once written it is on the disk,
/// since a refresh token that was exchanged for another is worth nothing.
#[async_trait]
pub trait Grants: Send + Sync {
    /// What was given for a server, by its name in the configuration, as it was kept.
    async fn granted(&self, server: &str) -> Result<Option<Secret>, StateError>;

    /// Keeps what was given for a server in place of what was; `None` forgets it.
    async fn grant(&self, server: &str, given: Option<&Secret>) -> Result<(), StateError>;
}
