//! Where things are remembered: the traits of [`state`] on SQLite ([`SqliteStore`]), and a cache in this
//! process ([`MemoryCache`]).
//!
//! Every moment is a [`tool::Timestamp`] that the caller hands in: nothing here reads a clock, but for the
//! cache, which keeps answers for a while by the monotonic one. An expiry counts from its own moment on: what
//! expires at 12:00 is gone at 12:00.
//!
//! What every store must do is written down once, as the [`contract`] that all of them run.

mod cache;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
mod error;
mod sqlite;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::needless_pass_by_value)]
mod tests;

pub use cache::MemoryCache;
pub use sqlite::SqliteStore;
