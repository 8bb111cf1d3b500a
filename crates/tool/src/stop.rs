use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use event_listener::{Event, listener};

/// The first level of cancellation: the work is asked to stop.
///
/// Work that can be interrupted (a database query, a child process, a socket) awaits [`Stop::asked`] or looks
/// at [`Stop::is_asked`], and then stops what it has begun. Work that does not listen is aborted a moment later.
#[derive(Clone)]
pub struct Stop(Option<Arc<Asked>>);

/// The asking end of a [`Stop`]. The gate holds it.
pub struct StopSource(Arc<Asked>);

/// Whether it was asked, and who waits for that.
#[derive(Default)]
struct Asked {
    flag: AtomicBool,
    event: Event,
}

impl StopSource {
    /// A source and the stop it can ask. A source that is dropped without asking never asks.
    #[must_use]
    pub fn new() -> (Self, Stop) {
        let asked = Arc::new(Asked::default());
        (Self(Arc::clone(&asked)), Stop(Some(asked)))
    }

    /// Asks the work to stop. Asking twice is asking once.
    pub fn ask(&self) {
        self.0.flag.store(true, Ordering::SeqCst);
        self.0.event.notify(usize::MAX);
    }
}

impl Stop {
    /// A stop that nobody will ever ask.
    #[must_use]
    pub fn never() -> Self {
        Self(None)
    }

    /// Ends when the work is asked to stop.
    pub async fn asked(&self) {
        let Some(asked) = &self.0 else { return std::future::pending().await };
        while !self.is_asked() {
            listener!(asked.event => listener);
            // It may have been asked before anybody listened.
            if self.is_asked() {
                return;
            }
            listener.await;
        }
    }

    /// True once the work was asked to stop. For loops that cannot await.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.0.as_ref().is_some_and(|asked| asked.flag.load(Ordering::SeqCst))
    }
}

impl std::fmt::Debug for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stop").field("asked", &self.is_asked()).finish()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn every_copy_hears_it_and_a_dropped_source_never_asks() {
        let (source, stop) = StopSource::new();
        let copy = stop.clone();
        assert!(stop.asked().now_or_never().is_none());
        source.ask();
        source.ask();
        assert!(stop.asked().now_or_never().is_some() && copy.asked().now_or_never().is_some());
        assert!(copy.is_asked());
        assert!(Stop::never().asked().now_or_never().is_none());
    }
}
