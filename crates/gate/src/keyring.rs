//! The keys, remembered for a moment: who a secret stands for is asked at every call, and changes rarely.

use std::{
    hash::BuildHasher as _,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use async_trait::async_trait;
use foldhash::HashMap;
use state::{Key, Keys, StateError, Swap, Usage, UsageCount};
use tokio::time::Instant;
use tool::{Caller, Secret, Timestamp};

use crate::identify::KeyHash;

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
    /// By what a quick hasher makes of the secret: hashing it for the store costs more than all else that is asked of
    /// it. That proves nothing, so the secret itself is compared. Only secrets of keys are here, until the next flush
    /// after they are believed no more.
    by_secret: HashMap<u64, Believed>,
    /// Hashes that no key has.
    unknown: HashMap<String, Instant>,
    /// Counts changes: what was read before one is not remembered after it.
    changes: u64,
}

/// A secret whose key was read.
struct Believed {
    secret: Secret,
    /// When the key was read.
    at: Instant,
    found: Found,
}

/// The key of a secret.
#[derive(Clone)]
pub(crate) struct Found {
    pub(crate) key: Arc<Known>,
    /// The hash that the secret is stored by.
    pub(crate) hash: Arc<str>,
}

/// What was found by a hash.
struct Read {
    key: Option<Arc<Known>>,
    /// When it was read.
    at: Instant,
    /// The changes there had been.
    changes: u64,
}

fn is_fresh(at: Instant, now: Instant) -> bool {
    now - at < BELIEVED_FOR
}

impl Remembered {
    /// What is believed of a hash at this moment: its key, or that there is none.
    fn believed(&self, hash: &str, now: Instant) -> Option<(Option<Arc<Known>>, Instant)> {
        let (at, key) = match self.by_hash.get(hash) {
            Some((at, key)) => (*at, Some(key)),
            None => (*self.unknown.get(hash)?, None),
        };
        is_fresh(at, now).then(|| (key.map(Arc::clone), at))
    }

    /// The key that is believed to be a secret's at this moment. No other than the very secret has it, and how long
    /// that takes to be seen tells nothing of it.
    fn of_secret(&self, secret: &Secret, now: Instant) -> Option<&Found> {
        let believed = self.by_secret.get(&self.tag(secret))?;
        let (known, asked) = (believed.secret.expose(), secret.expose());
        let is_it = constant_time_eq::constant_time_eq(known.as_bytes(), asked.as_bytes());
        (is_it && is_fresh(believed.at, now)).then_some(&believed.found)
    }

    fn remember_secret(&mut self, secret: &Secret, found: Found, at: Instant) {
        make_room(&mut self.by_secret);
        self.by_secret.insert(self.tag(secret), Believed { secret: secret.clone(), at, found });
    }

    fn tag(&self, secret: &Secret) -> u64 {
        self.by_secret.hasher().hash_one(secret.expose())
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

fn make_room<K, T>(map: &mut HashMap<K, T>) {
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

    /// The key of a secret.
    pub(crate) async fn find_secret(
        &self,
        secret: &Secret,
        hash: &KeyHash,
    ) -> Result<Option<Found>, StateError> {
        let now = Instant::now();
        {
            let remembered = self.remembered.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(found) = remembered.of_secret(secret, now) {
                return Ok(Some(found.clone()));
            }
        }
        let hash = hash(secret.expose());
        let read = self.read_hash(&hash, now).await?;
        let Some(key) = read.key else { return Ok(None) };
        let found = Found { key, hash: hash.into() };
        let mut remembered = self.remembered.write().unwrap_or_else(PoisonError::into_inner);
        if remembered.changes == read.changes {
            // Believed as long as what was read, and no longer.
            remembered.remember_secret(secret, found.clone(), read.at);
        }
        Ok(Some(found))
    }

    /// The key of the secret with this hash.
    #[cfg(test)]
    pub(crate) async fn find(&self, hash: &str) -> Result<Option<Arc<Known>>, StateError> {
        Ok(self.read_hash(hash, Instant::now()).await?.key)
    }

    /// What a hash is found to be at this moment, or was a moment ago.
    async fn read_hash(&self, hash: &str, now: Instant) -> Result<Read, StateError> {
        let changes = {
            let remembered = self.remembered.read().unwrap_or_else(PoisonError::into_inner);
            let changes = remembered.changes;
            if let Some((key, at)) = remembered.believed(hash, now) {
                return Ok(Read { key, at, changes });
            }
            changes
        };
        let key = self.keys.by_hash(hash).await?.map(|key| Arc::new(Known::new(key)));
        let mut remembered = self.remembered.write().unwrap_or_else(PoisonError::into_inner);
        if remembered.changes == changes {
            remembered.remember(hash, key.clone(), now);
        }
        Ok(Read { key, at: now, changes })
    }

    /// Counts one call of a key.
    pub(crate) fn used(&self, key: &str, now: Timestamp) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        match pending.0.get_mut(key) {
            Some(used) => {
                used.at = now;
                used.add(now, 1);
            }
            None => {
                pending.0.insert(key.to_owned(), Used { at: now, days: vec![(now, 1)] });
            }
        }
    }

    /// Writes down what was used. Called every second, and once at the end.
    ///
    /// Error: where it cannot be written; then nothing is lost, the next call writes it.
    pub async fn flush(&self) -> Result<(), StateError> {
        self.forget_secrets(Instant::now());
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

    /// Forgets the secrets that are believed no more.
    fn forget_secrets(&self, now: Instant) {
        let mut remembered = self.remembered.write().unwrap_or_else(PoisonError::into_inner);
        remembered.by_secret.retain(|_, believed| is_fresh(believed.at, now));
    }

    fn forget(&self) {
        let mut remembered = self.remembered.write().unwrap_or_else(PoisonError::into_inner);
        remembered.by_secret.clear();
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

    fn key_a() -> Key {
        serde_json::from_value(serde_json::json!({
            "id": "key_a", "label": "a", "principal": "a", "user_id": "a", "tier": "basic", "roles": [],
            "rate_per_minute": null, "enabled": true, "created_at": "2026-11-21T00:00:00.000Z", "expires_at": null,
            "revoked_at": null, "last_used_at": null, "version": 1,
            "secrets": [{ "slot": "primary", "hash": "known", "prefix": "", "expires_at": null }],
        }))
        .unwrap()
    }

    /// Whoever guessed secrets made every caller's key be asked for anew.
    #[tokio::test]
    async fn guesses_crowd_out_nobodys_key() {
        let folder = tempfile::tempdir().unwrap();
        let store = store::SqliteStore::open(&folder.path().join("state.db")).await.unwrap();
        assert_eq!(store.insert(&key_a()).await.unwrap(), Swap::Done);
        let now = Instant::now();
        let known = KeyRing::new(store.clone(), store).find("known").await.unwrap().unwrap();
        let mut remembered = Remembered::default();
        remembered.remember("known", Some(Arc::clone(&known)), now);
        for guess in 0..=REMEMBERED_MAX {
            remembered.remember(&guess.to_string(), None, now);
        }
        let believed = |hash: &str, at: Instant| remembered.believed(hash, at).map(|(key, _)| key.is_some());
        assert_eq!(believed("known", now), Some(true));
        assert_eq!(believed(&REMEMBERED_MAX.to_string(), now), Some(false));
        assert_eq!(remembered.unknown.len(), 1, "they are bounded");
        assert_eq!(believed("known", now + BELIEVED_FOR), None);
        assert_eq!(believed("never asked", now), None);
    }

    /// A key that can be read, and a ring over it that counts how often a secret is hashed.
    async fn ring_of_one() -> (tempfile::TempDir, Arc<KeyRing>, KeyHash, Arc<std::sync::atomic::AtomicU32>) {
        let folder = tempfile::tempdir().unwrap();
        let store = store::SqliteStore::open(&folder.path().join("state.db")).await.unwrap();
        assert_eq!(store.insert(&key_a()).await.unwrap(), Swap::Done);
        let hashed = Arc::new(std::sync::atomic::AtomicU32::new(0));
        let counted = Arc::clone(&hashed);
        let hash: KeyHash = Arc::new(move |secret: &str| {
            counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            secret.to_owned()
        });
        (folder, KeyRing::new(store.clone(), store), hash, hashed)
    }

    #[tokio::test]
    async fn a_secret_is_hashed_once_until_a_key_is_changed() {
        let (_folder, ring, hash, hashed) = ring_of_one().await;
        let hashed = || hashed.load(std::sync::atomic::Ordering::SeqCst);
        let known = Secret::new("known".to_owned());
        let start = Instant::now();
        for _ in 0..3 {
            let found = ring.find_secret(&known, &hash).await.unwrap().unwrap();
            assert_eq!((found.key.key.id.as_str(), &*found.hash), ("key_a", "known"));
        }
        // On a machine that stands still meanwhile it may be forgotten between.
        let times = hashed();
        assert!(times == 1 || start.elapsed() >= BELIEVED_FOR, "{times}");
        for _ in 0..2 {
            assert!(ring.find_secret(&Secret::new("other".to_owned()), &hash).await.unwrap().is_none());
        }
        assert_eq!(hashed(), times + 2, "what is no key's secret is not kept");
        let mut key = ring.get("key_a").await.unwrap().unwrap();
        key.revoked_at = Some(key.created_at);
        assert_eq!(ring.swap(&key).await.unwrap(), Swap::Done);
        assert!(ring.find_secret(&known, &hash).await.unwrap().is_none(), "at once");
    }

    #[tokio::test]
    async fn a_secret_is_believed_no_longer_than_its_key_and_not_kept() {
        let (_folder, ring, hash, _) = ring_of_one().await;
        let known = Secret::new("known".to_owned());
        let before = Instant::now();
        // Read by its hash first: the secret is remembered as of then.
        let read = ring.read_hash("known", before).await.unwrap();
        assert!(ring.find_secret(&known, &hash).await.unwrap().is_some());
        let at = ring.remembered.read().unwrap().by_secret.values().next().unwrap().at;
        // On a machine that stands still meanwhile it may have been read again.
        assert!(at == read.at || before.elapsed() >= BELIEVED_FOR);
        let believed = |at: Instant| ring.remembered.read().unwrap().of_secret(&known, at).is_some();
        assert!(believed(at) && !believed(at + BELIEVED_FOR));
        ring.forget_secrets(at);
        assert!(believed(at));
        ring.forget_secrets(at + BELIEVED_FOR);
        assert!(ring.remembered.read().unwrap().by_secret.is_empty());
    }
}
