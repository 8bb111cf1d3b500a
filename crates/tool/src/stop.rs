use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use futures_channel::oneshot;
use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};

/// The first level of cancellation: the work is asked to stop.
///
/// Work that can be interrupted (a database query, a child process, a socket) awaits [`Stop::asked`] or looks
/// at [`Stop::is_asked`], and then stops what it has begun. Work that does not listen is aborted a moment later.
#[derive(Clone)]
pub struct Stop {
    flag: Arc<AtomicBool>,
    event: Shared<BoxFuture<'static, ()>>,
}

/// The asking end of a [`Stop`]. The gate holds it.
pub struct StopSource {
    flag: Arc<AtomicBool>,
    sender: Mutex<Option<oneshot::Sender<()>>>,
}

impl StopSource {
    /// A source and the stop it can ask.
    #[must_use]
    pub fn new() -> (Self, Stop) {
        let flag = Arc::new(AtomicBool::new(false));
        let (sender, receiver) = oneshot::channel::<()>();
        // A source that is dropped without asking never asks: its stop stays pending.
        let event = async move {
            if receiver.await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let stop = Stop { flag: Arc::clone(&flag), event: event.boxed().shared() };
        (Self { flag, sender: Mutex::new(Some(sender)) }, stop)
    }

    /// Asks the work to stop. Asking twice is asking once.
    pub fn ask(&self) {
        self.flag.store(true, Ordering::Release);
        if let Some(sender) = self.sender.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // The work may have ended already; then nobody listens, and that is fine.
            let _ = sender.send(());
        }
    }
}

impl Stop {
    /// A stop that nobody will ever ask.
    #[must_use]
    pub fn never() -> Self {
        StopSource::new().1
    }

    /// Ends when the work is asked to stop.
    pub async fn asked(&self) {
        self.event.clone().await;
    }

    /// True once the work was asked to stop. For loops that cannot await.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.flag.load(Ordering::Acquire)
    }
}

impl std::fmt::Debug for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stop").field("asked", &self.is_asked()).finish()
    }
}

#[cfg(test)]
mod tests {
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
