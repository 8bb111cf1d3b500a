//! Series that were found once: finding one by all of its labels costs more than counting does.
//!
//! A series is made when it is counted for the first time, never before, and stays: no family of which series are kept here is ever cleared.

use std::{
    borrow::Borrow,
    hash::Hash,
    sync::{OnceLock, PoisonError, RwLock},
};

use foldhash::HashMap;
use prometheus_client::metrics::{counter::Counter, histogram::Histogram};

use super::end::Status;

/// What was found, by what it is asked for.
pub(super) struct Kept<K, V>(RwLock<HashMap<K, V>>);

impl<K, V> Default for Kept<K, V> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<K: Hash + Eq, V> Kept<K, V> {
    /// Does something with what is kept under a key; made where there is none yet.
    pub(super) fn with<Q>(&self, key: &Q, make: impl FnOnce() -> (K, V), f: impl FnOnce(&V))
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if let Some(value) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(key) {
            return f(value);
        }
        let (owned, made) = make();
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        f(kept.entry(owned).or_insert(made));
    }
}

/// The series of the calls of one tool.
pub(super) struct Ends {
    pub(super) duration: Histogram,
    pub(super) mcp_duration: Histogram,
    /// For each [`Status`], by both of its names.
    pub(super) counts: [OnceLock<(Counter, Counter)>; Status::COUNT],
    pub(super) operations: Operations,
}

/// The series of the operations at one tool: by method, kind of error and transport. There are a handful.
#[derive(Default)]
pub(super) struct Operations(RwLock<Vec<([&'static str; 3], Histogram)>>);

impl Operations {
    /// Measures an operation.
    pub(super) fn observe(&self, labels: [&'static str; 3], seconds: f64, make: impl FnOnce() -> Histogram) {
        let of = |known: &&([&'static str; 3], Histogram)| known.0 == labels;
        if let Some((_, known)) = self.0.read().unwrap_or_else(PoisonError::into_inner).iter().find(of) {
            return known.observe(seconds);
        }
        // Found at the same time by two it stands here twice, as the same series.
        let made = make();
        made.observe(seconds);
        self.0.write().unwrap_or_else(PoisonError::into_inner).push((labels, made));
    }
}
