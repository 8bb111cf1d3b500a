use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use moka::{Expiry, future::Cache as Moka};
use state::{Cache, CacheKey, Cached, StateError};

/// What an entry takes besides its key and its text, about: the nodes and counters around it.
const OVERHEAD_BYTES: u64 = 128;

/// An answer may take this part of the whole, so that no single one pushes out the rest.
const PART_MAX: u64 = 8;

/// Answers kept in this process, for as long as it lives.
///
/// Where there is no room, what was asked for seldom goes first (TinyLFU), which may be the newcomer.
pub struct MemoryCache {
    entries: Moka<CacheKey, Entry>,
    entry_bytes_max: u64,
}

#[derive(Clone)]
struct Entry {
    answer: Cached,
    keep: Duration,
}

/// Each entry lives as long as it was put for, from its latest put on.
struct AsPut;

impl MemoryCache {
    /// A cache of about `bytes_max` bytes: keys, answers and an allowance for each entry. An entry of more than an
    /// eighth of that is not kept; 0 keeps nothing.
    #[must_use]
    pub fn new(bytes_max: u64) -> Arc<Self> {
        let entries = Moka::builder()
            .max_capacity(bytes_max)
            .weigher(|key, entry: &Entry| u32::try_from(weight(key, &entry.answer)).unwrap_or(u32::MAX))
            .expire_after(AsPut)
            .build();
        Arc::new(Self { entries, entry_bytes_max: bytes_max / PART_MAX })
    }
}

#[async_trait]
impl Cache for MemoryCache {
    async fn get(&self, key: &CacheKey) -> Result<Option<Cached>, StateError> {
        Ok(self.entries.get(key).await.map(|entry| entry.answer))
    }

    async fn put(&self, key: CacheKey, answer: Cached, keep: Duration) -> Result<(), StateError> {
        if keep.is_zero() || weight(&key, &answer) > self.entry_bytes_max {
            // The older answer under this key is out of date all the same.
            self.entries.invalidate(&key).await;
        } else {
            self.entries.insert(key, Entry { answer, keep }).await;
        }
        Ok(())
    }
}

impl Expiry<CacheKey, Entry> for AsPut {
    fn expire_after_create(&self, _key: &CacheKey, entry: &Entry, _at: Instant) -> Option<Duration> {
        Some(entry.keep)
    }

    fn expire_after_update(
        &self,
        _key: &CacheKey,
        entry: &Entry,
        _at: Instant,
        _left: Option<Duration>,
    ) -> Option<Duration> {
        Some(entry.keep)
    }
}

/// What an entry takes, in bytes.
fn weight(key: &CacheKey, answer: &Cached) -> u64 {
    (key.0.len() as u64).saturating_add(answer.json.len() as u64).saturating_add(OVERHEAD_BYTES)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const KEY_BYTES: usize = 8;

    fn key(number: usize) -> CacheKey {
        CacheKey(format!("{number:0KEY_BYTES$}").into())
    }

    fn answer(bytes: usize) -> Cached {
        Cached { json: "x".repeat(bytes).into() }
    }

    /// Puts one answer of so many bytes into a cache of 8,000; true where it is found again.
    async fn is_kept(bytes: usize) -> bool {
        let cache = MemoryCache::new(8_000);
        cache.put(key(1), answer(bytes), Duration::from_secs(60)).await.unwrap();
        cache.get(&key(1)).await.unwrap() == Some(answer(bytes))
    }

    #[tokio::test]
    async fn the_contract_holds() {
        let cache: Arc<dyn Cache> = MemoryCache::new(1024 * 1024);
        crate::contract::cache(&cache).await;
    }

    #[tokio::test]
    async fn an_eighth_is_kept_and_one_byte_more_is_not() {
        let edge = 1_000 - KEY_BYTES - usize::try_from(OVERHEAD_BYTES).unwrap();
        assert!(is_kept(edge).await);
        assert!(!is_kept(edge + 1).await);
    }

    #[tokio::test]
    async fn an_answer_too_large_to_keep_takes_the_older_one_with_it() {
        let cache = MemoryCache::new(8_000);
        cache.put(key(1), answer(10), Duration::from_secs(60)).await.unwrap();
        cache.put(key(1), answer(8_000), Duration::from_secs(60)).await.unwrap();
        assert_eq!(cache.get(&key(1)).await.unwrap(), None);
    }

    #[tokio::test]
    async fn no_size_keeps_nothing() {
        let cache = MemoryCache::new(0);
        cache.put(key(1), answer(0), Duration::from_secs(60)).await.unwrap();
        assert_eq!(cache.get(&key(1)).await.unwrap(), None);
    }

    #[tokio::test]
    async fn all_together_take_no_more_than_the_bound() {
        let cache = MemoryCache::new(100_000);
        for number in 0..1_000 {
            cache.put(key(number), answer(1_000), Duration::from_secs(60)).await.unwrap();
        }
        cache.entries.run_pending_tasks().await;
        let bytes = cache.entries.weighted_size();
        assert!((50_000..=100_000).contains(&bytes), "{bytes}");
    }
}
