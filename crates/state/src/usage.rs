use async_trait::async_trait;
use tool::Timestamp;

use crate::StateError;

/// So many calls by one key on one day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageCount {
    /// The key's id.
    pub key: String,
    /// The day in UTC, `2026-11-21`.
    pub day: String,
    /// How many calls.
    pub calls: u64,
}

/// How much was used, by key and day. Survives restarts.
#[async_trait]
pub trait Usage: Send + Sync {
    /// Adds counts, all or none of them.
    async fn add(&self, counts: &[UsageCount]) -> Result<(), StateError>;

    /// The calls of one key on the day and in the month (UTC) of `now`: `(today, this month)`.
    async fn read(&self, key: &str, now: Timestamp) -> Result<(u64, u64), StateError>;
}
