//! What becomes of programs: one that ends is started again, one that says nothing any more is ended first, and one that
//! keeps ending is left alone until an operator starts it.

use std::{
    sync::{Arc, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    error::UpstreamError,
    hub::Hub,
    peer::Peer,
    request::{Params, Request},
    restarts::{Restarts, Start, WINDOW},
    upstream::{Means, Upstream},
};

/// The longest that a call waits for a program to be started again; the others are told when to come back.
const SHORT: Duration = Duration::from_secs(2);

impl Upstream {
    /// How often its program ended, and what follows from it.
    pub(crate) fn restarts(&self) -> MutexGuard<'_, Restarts> {
        self.restarts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What its program said last on standard error.
    pub(crate) fn complaints(&self) -> Vec<String> {
        match &self.settings.means {
            Means::Program(launch) => launch.complaints.all(),
            _ => Vec::new(),
        }
    }

    /// How it is, in a word: `connected`, `down`, or `quarantined` where it is left alone since it kept ending.
    pub(crate) fn state(&self) -> &'static str {
        match self.live() {
            Some(_) => "connected",
            None if self.restarts().is_quarantined() => "quarantined",
            None => "down",
        }
    }

    /// True where it is started here.
    pub(crate) fn is_program(&self) -> bool {
        matches!(self.settings.means, Means::Program(_))
    }

    /// Waits until the program may be started, where that is soon: the last one is gone then, with all that came of it.
    pub(crate) async fn may_start(&self, last: Option<Arc<Peer>>) -> Result<(), UpstreamError> {
        if !self.is_program() {
            return Ok(());
        }
        if let Some(last) = last {
            last.hub.ended().cancelled().await;
            self.note_end(&last.hub);
        }
        let start = self.restarts().start(Instant::now());
        match start {
            Start::Now => Ok(()),
            Start::In(wait, _) if wait <= SHORT => {
                sleep(wait).await;
                Ok(())
            }
            Start::In(wait, why) => Err(UpstreamError::Down { why, wait }),
            Start::Never(why) => Err(UpstreamError::Quarantined { why, ends: self.settings.ends_max }),
        }
    }

    /// It did not come up. Where it ended, how it did says more than that it broke off.
    pub(crate) async fn note_failure(&self, error: &UpstreamError) {
        if !self.is_program() {
            return;
        }
        let mut why = format!("it {error}");
        if matches!(error, UpstreamError::Broken(_))
            && let Some(hub) = self.latest.load_full()
            && timeout(SHORT, hub.ended().cancelled()).await.is_ok()
            && let Some((how, _)) = hub.take_end()
        {
            why = how;
        }
        self.note(&why, Duration::ZERO);
    }

    /// It has ended: that counts once, and only where it was not asked to.
    fn note_end(&self, hub: &Hub) {
        if let Some((how, ran)) = hub.take_end() {
            self.note(&how, ran);
        }
    }

    fn note(&self, why: &str, ran: Duration) {
        let mut restarts = self.restarts();
        let was_quarantined = restarts.is_quarantined();
        restarts.ended(why, ran, jitter(), Instant::now());
        let is_quarantined = restarts.is_quarantined();
        drop(restarts);
        self.report();
        if is_quarantined && !was_quarantined {
            tracing::error!(
                server = self.name(),
                why,
                "a tool server ended {} times within {} minutes and is left alone; `portcullis upstream restart` starts it",
                self.settings.ends_max,
                WINDOW.as_secs() / 60
            );
        }
    }

    /// Starts the program again once it has ended by itself.
    pub(crate) async fn outlive(self: Arc<Self>, peer: Arc<Peer>) {
        peer.hub.ended().cancelled().await;
        let by_itself = peer.hub.end().is_some();
        self.note_end(&peer.hub);
        if by_itself {
            self.revive().await;
        }
    }

    /// Starts the program as soon as it may be, until it runs or is left alone.
    pub(crate) fn revive(self: Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            loop {
                let start = self.restarts().start(Instant::now());
                match start {
                    Start::Now => {}
                    Start::In(wait, _) => sleep(wait).await,
                    Start::Never(_) => return,
                }
                match self.peer().await {
                    Ok(_) => return,
                    Err(error) => {
                        tracing::debug!(server = self.name(), %error, "a tool server does not come up");
                    }
                }
            }
        })
    }

    /// Asks a program that says nothing for a sign of life, and one that was too late with an answer. Where none comes
    /// it hangs, and is ended.
    pub(crate) async fn see_alive(self: Arc<Self>, peer: Arc<Peer>) {
        let hub = &peer.hub;
        loop {
            let heard = hub.heard();
            let is_doubted = match self.settings.alive {
                Duration::ZERO => {
                    hub.doubted().notified().await;
                    true
                }
                alive => timeout(alive, hub.doubted().notified()).await.is_ok(),
            };
            if !is_doubted && hub.heard() != heard {
                continue;
            }
            let heard = hub.heard();
            let method = if peer.is_modern() { "server/discover" } else { "ping" };
            let silence = self.settings.times.silence;
            let asked = timeout(silence, peer.result(&Request::ours(method, Params::default()))).await;
            // Whatever it said in the meantime is a sign of life too.
            if asked.is_err() && hub.heard() == heard {
                let why = format!("it gave no sign of life for {} ms", silence.as_millis());
                tracing::warn!(server = self.name(), why, "a tool server hangs and is ended");
                hub.ends_with(&why);
                hub.close(&why);
                return peer.close().await;
            }
        }
    }
}

/// From 0 to 1, at random.
fn jitter() -> f64 {
    // Without random numbers nothing else works either; here it is only the time of a start.
    getrandom::u32().map_or(0.5, |random| f64::from(random) / f64::from(u32::MAX))
}
