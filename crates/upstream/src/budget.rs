//! The time of a call: how long the server may be silent, and how long the call may take in all. Time that is spent
//! waiting for the caller counts for neither.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// What is left of the time of a call.
#[derive(Debug)]
pub(crate) struct Budget {
    silence: Duration,
    /// When the server has been silent for too long.
    due: Instant,
    /// When the call has taken too long.
    end: Instant,
    /// Since when the caller is waited for.
    since: Option<Instant>,
}

impl Budget {
    /// A call that begins now.
    pub(crate) fn new(silence: Duration, all: Duration, now: Instant) -> Self {
        Self { silence, due: now + silence, end: now + all, since: None }
    }

    /// The server gave a sign of life.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.due = now + self.silence;
    }

    /// The caller is waited for from now on.
    pub(crate) fn waits(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// The caller has answered; the server is waited for again.
    pub(crate) fn goes_on(&mut self, now: Instant) {
        if let Some(since) = self.since.take() {
            self.end += now - since;
            self.due = now + self.silence;
        }
    }

    /// When the time is up; `None` while the caller is waited for.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.since.is_none().then(|| self.due.min(self.end))
    }

    /// Ends when the time is up.
    pub(crate) async fn is_up(&self) {
        match self.due() {
            Some(due) => sleep_until(due).await,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_and_all_of_it_are_bounded_and_the_caller_is_free() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut budget = Budget::new(Duration::from_secs(10), Duration::from_secs(25), start);
        assert_eq!(budget.due(), Some(at(10)));
        budget.heard(at(9));
        assert_eq!(budget.due(), Some(at(19)));
        budget.heard(at(18));
        assert_eq!(budget.due(), Some(at(25)));
        budget.waits(at(20));
        budget.waits(at(30));
        assert_eq!(budget.due(), None);
        budget.goes_on(at(120));
        assert_eq!(budget.due(), Some(at(125)), "five seconds were left");
        budget.goes_on(at(121));
        assert_eq!(budget.due(), Some(at(125)));
    }
}
