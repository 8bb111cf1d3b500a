//! What every store must do, whatever it is built on: one function a trait, run by the tests of each store.
//!
//! Each takes an empty store and panics where it breaks a promise. Work that races is spread over real tasks, so
//! run these on a runtime with several threads.

mod artefacts;
mod cache;
mod changes;
mod grants;
mod keys;
mod ledger;
mod pins;
mod sessions;
mod tasks;
mod usage;

use std::{future::Future, time::Duration};

use tokio::task::JoinSet;
use tool::Timestamp;

pub use artefacts::artefacts;
pub use cache::cache;
pub use changes::changes;
pub use grants::grants;
pub use keys::keys;
pub use ledger::ledger;
pub use pins::pins;
pub use sessions::sessions;
pub use tasks::tasks;
pub use usage::usage;

/// Texts that a careless store would break: quotes, a NUL, other scripts, a combining mark, beyond the BMP.
const HARD_TEXTS: [&str; 6] =
    ["", "O'Brien\"; DROP TABLE keys; --", "a\0b", "İstanbul 東京 ﷽", "e\u{301}", "🦀👩‍👩‍👧"];

/// A moment of the contract's own day: 2026-01-01T00:00:00Z and so many milliseconds.
fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(1_767_225_600_000 + ms)
}

/// Runs so many of the same at once and returns what came of each.
async fn race<T, F>(racers: usize, mut run: impl FnMut(usize) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    for racer in 0..racers {
        tasks.spawn(run(racer));
    }
    let all = tokio::time::timeout(Duration::from_secs(60), tasks.join_all());
    all.await.expect("a race comes to its end")
}

/// How many are equal to this one.
fn count<T: PartialEq>(all: &[T], one: &T) -> usize {
    all.iter().filter(|each| *each == one).count()
}
