//! Reads that several callers ask for at once are made once.
//!
//! A caller never gets what was read before it asked: whoever comes while a read runs shares the next one, which begins
//! when that has ended. So however many ask a device the same thing, it is asked at most twice over.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

/// What is read: the device and the commands.
pub(crate) type Key = (Arc<str>, String);

/// The reads that are going on.
pub(crate) struct Flights<T> {
    lines: Mutex<HashMap<Key, Line<T>>>,
}

/// Those who want the same.
struct Line<T> {
    /// Held by the one that reads.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// The read that has not begun.
    next: Arc<OnceLock<T>>,
    waiting: usize,
}

/// A place in a line.
struct Place<'a, T> {
    flights: &'a Flights<T>,
    key: Key,
    turn: Arc<tokio::sync::Mutex<()>>,
    read: Arc<OnceLock<T>>,
}

impl<T> Default for Flights<T> {
    fn default() -> Self {
        Self { lines: Mutex::default() }
    }
}

impl<T: Clone> Flights<T> {
    /// Reads, or shares what another reads from now on. True where it was shared.
    pub(crate) async fn share(&self, key: Key, work: impl AsyncFnOnce() -> T) -> (T, bool) {
        let place = self.stand(key);
        let _turn = place.turn.lock().await;
        if let Some(read) = place.read.get() {
            return (read.clone(), true);
        }
        // Whoever comes from now on waits for the read after this one.
        place.begin();
        let read = work().await;
        // Only who holds the turn reads.
        let _ = place.read.set(read.clone());
        (read, false)
    }

    fn stand(&self, key: Key) -> Place<'_, T> {
        let mut lines = self.lock();
        let line = lines.entry(key.clone()).or_insert_with(|| Line {
            turn: Arc::default(),
            next: Arc::default(),
            waiting: 0,
        });
        line.waiting += 1;
        Place { flights: self, key, turn: Arc::clone(&line.turn), read: Arc::clone(&line.next) }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Line<T>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Place<'_, T> {
    fn begin(&self) {
        let mut lines = self.flights.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = lines.get_mut(&self.key).filter(|line| Arc::ptr_eq(&line.next, &self.read)) {
            line.next = Arc::default();
        }
    }
}

impl<T> Drop for Place<'_, T> {
    fn drop(&mut self) {
        let mut lines = self.flights.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(line) = lines.get_mut(&self.key) else { return };
        line.waiting -= 1;
        if line.waiting == 0 {
            lines.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use tokio::{sync::oneshot, task::yield_now};

    use super::*;

    fn key() -> Key {
        ("r1".into(), "show clock".to_owned())
    }

    /// Lets everybody else go as far as they can.
    async fn moment() {
        for _ in 0..20 {
            yield_now().await;
        }
    }

    #[tokio::test]
    async fn whoever_comes_while_one_reads_shares_the_next() {
        let flights = Flights::default();
        let (end_first, first_ends) = oneshot::channel::<()>();
        let (end_second, second_ends) = oneshot::channel::<()>();
        let second_ends = Mutex::new(Some(second_ends));
        let first = flights.share(key(), async || first_ends.await.map(|()| 1));
        // Five come while the first reads; one of them reads for all of them.
        let meanwhile = async {
            moment().await;
            let read = || {
                flights.share(key(), async || {
                    let ends = second_ends.lock().unwrap_or_else(PoisonError::into_inner).take();
                    ends.unwrap().await.map(|()| 2)
                })
            };
            join_all((0..5).map(|_| read())).await
        };
        // One comes when that read has begun.
        let late = async {
            moment().await;
            moment().await;
            end_first.send(()).unwrap();
            moment().await;
            let late = flights.share(key(), async || Ok(3));
            let release = async {
                moment().await;
                end_second.send(()).unwrap();
            };
            tokio::join!(late, release).0
        };
        let (first, meanwhile, late) = tokio::join!(first, meanwhile, late);
        assert_eq!(first, (Ok(1), false));
        assert_eq!(meanwhile, [(Ok(2), false), (Ok(2), true), (Ok(2), true), (Ok(2), true), (Ok(2), true)]);
        assert_eq!(late, (Ok(3), false));
        assert!(flights.lock().is_empty(), "nothing is left behind");
    }

    #[tokio::test]
    async fn one_that_is_given_up_leaves_the_read_to_the_next() {
        let flights = Flights::default();
        let (give_up, given_up) = oneshot::channel::<()>();
        let long = async {
            tokio::select! {
                biased;
                _ = given_up => None,
                read = flights.share(key(), async || std::future::pending().await) => Some(read),
            }
        };
        let next = async {
            moment().await;
            let next = flights.share(key(), async || "next");
            let end = async {
                moment().await;
                give_up.send(()).unwrap();
            };
            tokio::join!(next, end).0
        };
        let (long, next) = tokio::join!(long, next);
        assert_eq!((long, next), (None, ("next", false)));
        assert!(flights.lock().is_empty());
    }
}
