//! The keys, remembered for a moment: who a secret stands for is asked at every call, and changes rarely.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use async_trait::async_trait;
use state::{Key, Keys, StateError, Swap, Usage, UsageCount};
use tokio::time::Instant;
use tool::Timestamp;

/// How long an answer is believed. Changes made through this ring are seen at once; ones made elsewhere, by
/// another replica, within this time.
const BELIEVED_FOR: Duration = Duration::from_millis(500);

/// How many secrets are remembered, known or not.
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
    by_hash: HashMap<String, (Instant, Option<Arc<Key>>)>,
    /// Counts changes: what was read before one is not remembered after it.
    changes: u64,
}

/// What was used and is not yet written down.
#[derive(Default)]
struct Pending {
    touched: HashMap<String, Timestamp>,
    calls: HashMap<(String, String), u64>,
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
    pub(crate) async fn find(&self, hash: &str) -> Result<Option<Arc<Key>>, StateError> {
        let now = Instant::now();
        let changes = {
            let remembered = self.remembered.read().unwrap_or_else(PoisonError::into_inner);
            if let Some((at, key)) = remembered.by_hash.get(hash)
                && now - *at < BELIEVED_FOR
            {
                return Ok(key.clone());
            }
            remembered.changes
        };
        let key = self.keys.by_hash(hash).await?.map(Arc::new);
        let mut remembered = self.remembered.write().unwrap_or_else(PoisonError::into_inner);
        if remembered.changes == changes {
            if remembered.by_hash.len() >= REMEMBERED_MAX {
                remembered.by_hash.clear();
            }
            remembered.by_hash.insert(hash.to_owned(), (now, key.clone()));
        }
        Ok(key)
    }

    /// Counts one call of a key.
    pub(crate) fn used(&self, key: &str, now: Timestamp) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.touched.insert(key.to_owned(), now);
        *pending.calls.entry((key.to_owned(), now.day())).or_default() += 1;
    }

    /// The calls of a key today and this month, those not yet written down too.
    pub(crate) async fn usage(&self, key: &str, now: Timestamp) -> Result<(u64, u64), StateError> {
        self.flush().await?;
        self.usage.read(key, now).await
    }

    /// Writes down what was used. Called every second, and once at the end.
    ///
    /// Error: where it cannot be written; then nothing is lost, the next call writes it.
    pub async fn flush(&self) -> Result<(), StateError> {
        let _alone = self.flushing.lock().await;
        let taken = std::mem::take(&mut *self.pending.lock().unwrap_or_else(PoisonError::into_inner));
        if taken.calls.is_empty() && taken.touched.is_empty() {
            return Ok(());
        }
        let counts: Vec<_> = taken
            .calls
            .iter()
            .map(|((key, day), calls)| UsageCount { key: key.clone(), day: day.clone(), calls: *calls })
            .collect();
        let touched: Vec<_> = taken.touched.iter().map(|(key, at)| (key.clone(), *at)).collect();
        if let Err(error) = self.usage.add(&counts).await {
            self.put_back(taken);
            return Err(error);
        }
        let touching = self.keys.touch(&touched).await;
        if touching.is_err() {
            self.put_back(Pending { touched: taken.touched, ..Pending::default() });
        }
        touching
    }

    fn put_back(&self, taken: Pending) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, at) in taken.touched {
            pending.touched.entry(key).or_insert(at);
        }
        for (key, calls) in taken.calls {
            *pending.calls.entry(key).or_default() += calls;
        }
    }

    fn forget(&self) {
        let mut remembered = self.remembered.write().unwrap_or_else(PoisonError::into_inner);
        remembered.by_hash.clear();
        remembered.changes += 1;
    }
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
