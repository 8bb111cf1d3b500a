//! The keys, remembered for a moment: who a secret stands for is asked at every call, and changes rarely.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use async_trait::async_trait;
use state::{Key, Keys, StateError, Swap, Usage, UsageCount};
use tokio::time::Instant;
use tool::{Caller, Timestamp};

/// How long an answer is believed. Changes made through this ring are seen at once; ones made elsewhere, by
/// another replica, within this time.
const BELIEVED_FOR: Duration = Duration::from_millis(500);

/// How many secrets of keys are remembered, and beside them how many that are none of any key: guesses crowd out
/// nobody's key.
const REMEMBERED_MAX: usize = 10_000;

/// Keys with a short memory in front. Whoever changes keys does it through the same ring.
pub struct KeyRing {
    keys: Arc<dyn Keys>,
    usage: Arc<dyn Usage>,
    remembered: RwLock<Remembered>,
    pending: Mutex<Pending>,
    /// Held while what was used is written down, so that whoever reads it afterwards finds all of it.
    flushing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Remembered {
    by_hash: HashMap<String, (Instant, Arc<Known>)>,
    /// Hashes that no key has.
    unknown: HashMap<String, Instant>,
    /// Counts changes: what was read before one is not remembered after it.
    changes: u64,
}

impl Remembered {
    /// What is believed of a hash at this moment: its key, or that there is none.
    fn believed(&self, hash: &str, now: Instant) -> Option<Option<Arc<Known>>> {
        let fresh = |at: &Instant| now - *at < BELIEVED_FOR;
        match self.by_hash.get(hash) {
            Some((at, key)) => fresh(at).then(|| Some(Arc::clone(key))),
            None => self.unknown.get(hash).filter(|at| fresh(at)).map(|_| None),
        }
    }

    fn remember(&mut self, hash: &str, key: Option<Arc<Known>>, now: Instant) {
        match key {
            Some(key) => {
                make_room(&mut self.by_hash);
                self.unknown.remove(hash);
                self.by_hash.insert(hash.to_owned(), (now, key));
            }
            None => {
                make_room(&mut self.unknown);
                self.by_hash.remove(hash);
                self.unknown.insert(hash.to_owned(), now);
            }
        }
    }
}

fn make_room<T>(map: &mut HashMap<String, T>) {
    if map.len() >= REMEMBERED_MAX {
        map.clear();
    }
}

/// A key that was found, and whom it stood for the last time.
pub(crate) struct Known {
    pub(crate) key: Key,
    /// The caller, under the snapshot with this serial.
    caller: Mutex<Option<(Arc<str>, Arc<Caller>)>>,
}

impl Known {
    fn new(key: Key) -> Self {
        Self { key, caller: Mutex::default() }
    }

    /// Whom the key stands for under a snapshot; made once for each.
    ///
    /// Error: that of `make`.
    pub(crate) fn caller<E>(
        &self,
        serial: &Arc<str>,
        make: impl FnOnce() -> Result<Caller, E>,
    ) -> Result<Arc<Caller>, E> {
        let mut known = self.caller.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, caller)) = known.as_ref()
            && of == serial
        {
            return Ok(Arc::clone(caller));
        }
        let caller = Arc::new(make()?);
        *known = Some((Arc::clone(serial), Arc::clone(&caller)));
        Ok(caller)
    }
}

/// What was used and is not yet written down.
#[derive(Default)]
struct Pending(HashMap<String, Used>);

/// What was used of one key.
struct Used {
    /// The last time.
    at: Timestamp,
    /// Calls by day; any moment stands for its day.
    days: Vec<(Timestamp, u64)>,
}

impl Used {
    fn add(&mut self, day: Timestamp, calls: u64) {
        let same_day = |known: Timestamp| known.unix_seconds() / 86_400 == day.unix_seconds() / 86_400;
        match self.days.iter_mut().find(|(known, _)| same_day(*known)) {
            Some((_, counted)) => *counted += calls,
            None => self.days.push((day, calls)),
        }
    }
}

impl KeyRing {
    /// A ring over these keys.
    #[must_use]
    pub fn new(keys: Arc<dyn Keys>, usage: Arc<dyn Usage>) -> Arc<Self> {
        Arc::new(Self {
            keys,
            usage,
            remembered: RwLock::default(),
            pending: Mutex::default(),
            flushing: tokio::sync::Mutex::default(),
        })
    }

    /// The key of the secret with this hash.
    pub(crate) async fn find(&self, hash: &str) -> Result<Option<Arc<Known>>, StateError> {
        let now = Instant::now();
        let changes = {
            let remembered = self.remembered.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(believed) = remembered.believed(hash, now) {
                return Ok(believed);
            }
            remembered.changes
        };
        let key = self.keys.by_hash(hash).await?.map(|key| Arc::new(Known::new(key)));
        let mut remembered = self.remembered.write().unwrap_or_else(PoisonError::into_inner);
        if remembered.changes == changes {
            remembered.remember(hash, key.clone(), now);
        }
        Ok(key)
    }

    /// Counts one call of a key.
    pub(crate) fn used(&self, key: &str, now: Timestamp) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if !pending.0.contains_key(key) {
            pending.0.insert(key.to_owned(), Used { at: now, days: Vec::new() });
        }
        if let Some(used) = pending.0.get_mut(key) {
            used.at = now;
            used.add(now, 1);
        }
    }

    /// Writes down what was used. Called every second, and once at the end.
    ///
    /// Error: where it cannot be written; then nothing is lost, the next call writes it.
    pub async fn flush(&self) -> Result<(), StateError> {
        let _alone = self.flushing.lock().await;
        let taken = std::mem::take(&mut *self.pending.lock().unwrap_or_else(PoisonError::into_inner));
        if taken.0.is_empty() {
            return Ok(());
        }
        let counts: Vec<_> = taken.0.iter().flat_map(|(key, used)| counts(key, used)).collect();
        let touched: Vec<_> = taken.0.iter().map(|(key, used)| (key.clone(), used.at)).collect();
        if let Err(error) = self.usage.add(&counts).await {
            self.put_back(taken);
            return Err(error);
        }
        let touching = self.keys.touch(&touched).await;
        if touching.is_err() {
            let uncounted = |(key, used): (String, Used)| (key, Used { days: Vec::new(), ..used });
            self.put_back(Pending(taken.0.into_iter().map(uncounted).collect()));
        }
        touching
    }

    fn put_back(&self, taken: Pending) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, used) in taken.0 {
            let newer = pending.0.entry(key).or_insert(Used { at: used.at, days: Vec::new() });
            used.days.into_iter().for_each(|(day, calls)| newer.add(day, calls));
        }
    }

    fn forget(&self) {
        let mut remembered = self.remembered.write().unwrap_or_else(PoisonError::into_inner);
        remembered.by_hash.clear();
        remembered.unknown.clear();
        remembered.changes += 1;
    }
}

fn counts(key: &str, used: &Used) -> impl Iterator<Item = UsageCount> {
    used.days.iter().map(move |(day, calls)| UsageCount {
        key: key.to_owned(),
        day: day.day(),
        calls: *calls,
    })
}

#[async_trait]
impl Keys for KeyRing {
    async fn by_hash(&self, hash: &str) -> Result<Option<Key>, StateError> {
        self.keys.by_hash(hash).await
    }

    async fn get(&self, id_or_label: &str) -> Result<Option<Key>, StateError> {
        self.keys.get(id_or_label).await
    }

    async fn list(&self) -> Result<Vec<Key>, StateError> {
        self.keys.list().await
    }

    async fn insert(&self, key: &Key) -> Result<Swap, StateError> {
        let swap = self.keys.insert(key).await;
        self.forget();
        swap
    }

    async fn swap(&self, key: &Key) -> Result<Swap, StateError> {
        let swap = self.keys.swap(key).await;
        self.forget();
        swap
    }

    async fn touch(&self, used: &[(String, Timestamp)]) -> Result<(), StateError> {
        self.keys.touch(used).await
    }
}

#[async_trait]
impl Usage for KeyRing {
    async fn add(&self, counts: &[UsageCount]) -> Result<(), StateError> {
        self.usage.add(counts).await
    }

    /// Those not yet written down are written down first.
    async fn read(&self, key: &str, now: Timestamp) -> Result<(u64, u64), StateError> {
        self.flush().await?;
        self.usage.read(key, now).await
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Whoever guessed secrets made every caller's key be asked for anew.
    #[tokio::test]
    async fn guesses_crowd_out_nobodys_key() {
        let folder = tempfile::tempdir().unwrap();
        let store = store::SqliteStore::open(&folder.path().join("state.db")).await.unwrap();
        let key: Key = serde_json::from_value(serde_json::json!({
            "id": "key_a", "label": "a", "principal": "a", "user_id": "a", "tier": "basic", "roles": [],
            "rate_per_minute": null, "enabled": true, "created_at": "2026-11-21T00:00:00.000Z", "expires_at": null,
            "revoked_at": null, "last_used_at": null, "version": 1,
            "secrets": [{ "slot": "primary", "hash": "known", "prefix": "", "expires_at": null }],
        }))
        .unwrap();
        assert_eq!(store.insert(&key).await.unwrap(), Swap::Done);
        let now = Instant::now();
        let known = KeyRing::new(store.clone(), store).find("known").await.unwrap().unwrap();
        let mut remembered = Remembered::default();
        remembered.remember("known", Some(Arc::clone(&known)), now);
        for guess in 0..=REMEMBERED_MAX {
            remembered.remember(&guess.to_string(), None, now);
        }
        let believed = |hash: &str, at: Instant| remembered.believed(hash, at).map(|key| key.is_some());
        assert_eq!(believed("known", now), Some(true));
        assert_eq!(believed(&REMEMBERED_MAX.to_string(), now), Some(false));
        assert_eq!(remembered.unknown.len(), 1, "they are bounded");
        assert_eq!(believed("known", now + BELIEVED_FOR), None);
        assert_eq!(believed("never asked", now), None);
    }
}
