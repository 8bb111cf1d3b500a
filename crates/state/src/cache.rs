use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::StateError;

/// What an answer was given for: a digest over principal, snapshot, tool and canonical arguments. The gate
/// makes it, so that no answer can reach another principal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CacheKey(pub Arc<str>);

/// An answer kept, as JSON text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cached {
    /// The result.
    pub json: Arc<str>,
}

/// Answers that may be given again.
#[async_trait]
pub trait Cache: Send + Sync {
    /// The answer, where there is one that is not too old.
    async fn get(&self, key: &CacheKey) -> Result<Option<Cached>, StateError>;

    /// Keeps an answer for a while; it may be dropped earlier to make room.
    async fn put(&self, key: CacheKey, answer: Cached, keep: Duration) -> Result<(), StateError>;
}
