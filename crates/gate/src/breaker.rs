//! Breakers: a source that keeps failing is left alone for a while. No clock and no IO; time comes in.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use foldhash::HashMap;
use tokio::time::Instant;
use tool::{Code, Fault};

use crate::config::BreakerConfig;

/// One source's breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Breaker {
    /// Calls go through; so many have failed in a row.
    Closed { failures: u32 },
    /// No call goes through until then.
    Open { until: Instant },
    /// One call is trying; the others wait for what comes of it, until then.
    Trying { until: Instant },
}

/// How an attempt ended, as far as the source is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// The source did its part, be it by saying no.
    Good,
    /// The source failed.
    Bad,
    /// The attempt says nothing about the source: it was cancelled.
    Unknown,
}

impl Breaker {
    /// Lets an attempt through, or says how long to wait.
    pub(crate) fn admit(&mut self, config: &BreakerConfig, now: Instant) -> Result<(), Duration> {
        match *self {
            Self::Closed { .. } => Ok(()),
            Self::Open { until } | Self::Trying { until } if now < until => Err(until - now),
            Self::Open { .. } | Self::Trying { .. } => {
                *self = Self::Trying { until: now + Duration::from_millis(config.open_ms) };
                Ok(())
            }
        }
    }

    /// Learns how an attempt ended.
    pub(crate) fn learn(&mut self, health: Health, config: &BreakerConfig, now: Instant) {
        let open = Self::Open { until: now + Duration::from_millis(config.open_ms) };
        *self = match (*self, health) {
            (_, Health::Good) => Self::Closed { failures: 0 },
            (Self::Closed { failures }, Health::Bad) if failures + 1 < config.failures_max => {
                Self::Closed { failures: failures + 1 }
            }
            // A late failure of a call from before does not keep the breaker open longer.
            (Self::Open { until }, Health::Bad) => Self::Open { until },
            (Self::Closed { .. } | Self::Trying { .. }, Health::Bad) => open,
            // The one that tried went away: the next one may try at once.
            (Self::Trying { .. }, Health::Unknown) => Self::Open { until: now },
            (unchanged, Health::Unknown) => unchanged,
        };
    }
}

/// How many sources can be failing at once and be remembered.
const BREAKERS_MAX: usize = 10_000;

/// The breakers of all sources.
#[derive(Default)]
pub(crate) struct Breakers {
    by_source: Mutex<HashMap<Arc<str>, Breaker>>,
}

impl Breakers {
    /// Lets an attempt at a source through.
    ///
    /// Fault: `Unavailable` where its breaker is open; it was not asked.
    pub(crate) fn admit(&self, source: &Arc<str>, config: &BreakerConfig, now: Instant) -> Result<(), Fault> {
        let admitted = self.with(source, |breaker| breaker.admit(config, now));
        admitted.map_err(|wait| {
            let text = format!("{source} has failed repeatedly and is left alone for now");
            Fault::new(Code::Unavailable, text).retry_after(wait)
        })
    }

    /// Learns how an attempt at a source ended.
    pub(crate) fn learn(&self, source: &Arc<str>, health: Health, config: &BreakerConfig, now: Instant) {
        self.with(source, |breaker| breaker.learn(health, config, now));
    }

    /// The sources that no attempt is let through to at this moment, by name. One whose time is up is not among
    /// them: the next call may try.
    pub(crate) fn open(&self, now: Instant) -> Vec<Arc<str>> {
        let breakers = self.by_source.lock().unwrap_or_else(PoisonError::into_inner);
        let is_open = |breaker: &Breaker| match breaker {
            Breaker::Closed { .. } => false,
            Breaker::Open { until } | Breaker::Trying { until } => now < *until,
        };
        let open = breakers.iter().filter(|(_, breaker)| is_open(breaker));
        let mut open: Vec<_> = open.map(|(source, _)| Arc::clone(source)).collect();
        open.sort();
        open
    }

    fn with<T>(&self, source: &Arc<str>, f: impl FnOnce(&mut Breaker) -> T) -> T {
        let mut breakers = self.by_source.lock().unwrap_or_else(PoisonError::into_inner);
        let known = breakers.get(source).copied();
        let mut breaker = known.unwrap_or(Breaker::Closed { failures: 0 });
        let told = f(&mut breaker);
        // A source without failures needs no memory, and no caller can fill it with names.
        if breaker == (Breaker::Closed { failures: 0 }) {
            if known.is_some() {
                breakers.remove(source);
            }
        } else if known.is_some() || breakers.len() < BREAKERS_MAX {
            breakers.insert(Arc::clone(source), breaker);
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    /// Steps at these milliseconds: `?` asks, `+` succeeds, `-` fails, `~` goes away.
    fn check(steps: &[(u64, char)], expected: Expect) {
        let config = BreakerConfig { failures_max: 2, open_ms: 1_000 };
        let start = Instant::now();
        let mut breaker = Breaker::Closed { failures: 0 };
        let mut lines = String::new();
        for &(ms, step) in steps {
            let now = start + Duration::from_millis(ms);
            let health = match step {
                '?' => {
                    lines += &format!("{ms}: {:?}\n", breaker.admit(&config, now));
                    continue;
                }
                '+' => Health::Good,
                '-' => Health::Bad,
                _ => Health::Unknown,
            };
            breaker.learn(health, &config, now);
        }
        expected.assert_eq(&lines);
    }

    #[test]
    fn opens_after_failures_in_a_row_and_lets_one_try() {
        check(
            &[
                (0, '-'),
                (1, '+'),
                (2, '-'),
                (3, '?'),
                (4, '-'),
                (5, '?'),
                (1_004, '?'),
                (1_005, '?'),
                (1_006, '+'),
                (1_007, '?'),
            ],
            expect![[r#"
                3: Ok(())
                5: Err(999ms)
                1004: Ok(())
                1005: Err(999ms)
                1007: Ok(())
            "#]],
        );
    }

    #[test]
    fn a_breaker_whose_time_is_up_is_not_shown_as_open() {
        let config = BreakerConfig { failures_max: 1, open_ms: 1_000 };
        let (start, breakers) = (Instant::now(), Breakers::default());
        for source in ["sql:shop", "http:x"] {
            breakers.learn(&source.into(), Health::Bad, &config, start);
        }
        let open = |ms| breakers.open(start + Duration::from_millis(ms)).join(" ");
        assert_eq!(open(999), "http:x sql:shop");
        assert_eq!(open(1_000), "", "the next call may try");
        let tried = breakers.admit(&"http:x".into(), &config, start + Duration::from_millis(1_000));
        assert!(tried.is_ok());
        assert_eq!(open(1_001), "http:x", "while one tries, the others are turned away");
    }

    #[test]
    fn a_try_that_fails_opens_it_again_and_one_that_goes_away_frees_the_next() {
        check(
            &[
                (0, '-'),
                (0, '-'),
                (1_000, '?'),
                (1_010, '-'),
                (1_500, '?'),
                (2_010, '?'),
                (2_020, '~'),
                (2_021, '?'),
            ],
            expect![[r#"
                1000: Ok(())
                1500: Err(510ms)
                2010: Ok(())
                2021: Ok(())
            "#]],
        );
    }
}
