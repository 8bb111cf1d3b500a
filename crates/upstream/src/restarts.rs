//! When a program that ended is started again. Takes the time and says what to do; nothing here waits.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// So many ends of its own within this time, and a program is left alone until an operator starts it.
pub(crate) const WINDOW: Duration = Duration::from_secs(600);
/// What runs for so long runs well.
const STABLE: Duration = Duration::from_secs(60);
/// The first wait; doubled with each end.
const WAIT: Duration = Duration::from_millis(250);
/// The longest wait.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// How often a program has ended by itself, and what follows from it.
#[derive(Debug)]
pub(crate) struct Restarts {
    ends_max: usize,
    /// When it ended, within the window.
    ends: VecDeque<Instant>,
    /// How often in a row it did not run well.
    in_a_row: u32,
    /// When it may be started again, and why it ended.
    next: Option<(Instant, String)>,
    is_quarantined: bool,
    /// How often it was started again.
    pub(crate) count: u64,
}

/// Whether a program may be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// Now.
    Now,
    /// In a while; and why it ended.
    In(Duration, String),
    /// When an operator says so; and why.
    Never(String),
}

impl Restarts {
    /// A program that may end so many times within the window.
    pub(crate) fn new(ends_max: u32) -> Self {
        Self {
            ends_max: ends_max as usize,
            ends: VecDeque::new(),
            in_a_row: 0,
            next: None,
            is_quarantined: false,
            count: 0,
        }
    }

    /// It ended by itself after it had run so long, or did not come up. `jitter`, from 0 to 1, spreads the starts of
    /// many.
    pub(crate) fn ended(&mut self, why: &str, ran: Duration, jitter: f64, now: Instant) {
        if ran >= STABLE {
            self.in_a_row = 0;
        }
        self.ends.retain(|end| now.duration_since(*end) < WINDOW);
        self.ends.push_back(now);
        self.is_quarantined |= self.ends.len() >= self.ends_max;
        let wait = match self.in_a_row {
            // What ran well, and what ends for the first time, is missed.
            0 => Duration::ZERO,
            n => {
                WAIT.saturating_mul(1 << (n - 1).min(16)).min(WAIT_MAX).mul_f64(0.5 + jitter.clamp(0.0, 1.0))
            }
        };
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.next = Some((now + wait, why.to_owned()));
    }

    /// Whether it may be started.
    pub(crate) fn start(&self, now: Instant) -> Start {
        match &self.next {
            Some((_, why)) if self.is_quarantined => Start::Never(why.clone()),
            Some((at, why)) if *at > now => Start::In(*at - now, why.clone()),
            _ => Start::Now,
        }
    }

    /// It is started again.
    pub(crate) fn started(&mut self) {
        if self.next.take().is_some() {
            self.count += 1;
        }
    }

    /// An operator wants it started: what was is forgotten.
    pub(crate) fn forgive(&mut self) {
        *self = Self { count: self.count, ..Self::new(u32::try_from(self.ends_max).unwrap_or(u32::MAX)) };
    }

    /// Why it is not running, where it is not.
    pub(crate) fn why(&self) -> Option<&str> {
        self.next.as_ref().map(|(_, why)| why.as_str())
    }

    /// True where it waits for an operator.
    pub(crate) fn is_quarantined(&self) -> bool {
        self.is_quarantined
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(now: Instant, restarts: &Restarts) -> String {
        match restarts.start(now) {
            Start::Now => "now".to_owned(),
            Start::In(wait, _) => format!("{} ms", wait.as_millis()),
            Start::Never(_) => "never".to_owned(),
        }
    }

    #[test]
    fn the_first_end_is_mended_at_once_and_each_next_one_later() {
        let mut restarts = Restarts::new(100);
        let start = Instant::now();
        let mut waits = Vec::new();
        for i in 0..11 {
            let now = start + WINDOW * i;
            restarts.ended("it fell", Duration::ZERO, 0.5, now);
            waits.push(at(now, &restarts));
            restarts.started();
        }
        let expected =
            "now, 250 ms, 500 ms, 1000 ms, 2000 ms, 4000 ms, 8000 ms, 16000 ms, 32000 ms, 60000 ms, 60000 ms";
        assert_eq!(waits.join(", "), expected);
        assert_eq!(restarts.count, 11);
        restarts.ended("it fell", STABLE, 0.5, start);
        assert_eq!(at(start, &restarts), "now", "it ran well");
    }

    #[test]
    fn starts_of_many_are_spread() {
        let now = Instant::now();
        let waits = [0.0, 1.0].map(|jitter| {
            let mut restarts = Restarts::new(100);
            restarts.ended("", Duration::ZERO, jitter, now);
            restarts.ended("", Duration::ZERO, jitter, now);
            at(now, &restarts)
        });
        assert_eq!(waits, ["125 ms", "375 ms"]);
    }

    #[test]
    fn what_keeps_ending_waits_for_an_operator() {
        let mut restarts = Restarts::new(3);
        let now = Instant::now();
        restarts.ended("one", STABLE, 0.5, now);
        restarts.ended("two", STABLE, 0.5, now + WINDOW);
        restarts.ended("three", STABLE, 0.5, now + WINDOW + STABLE);
        assert!(!restarts.is_quarantined(), "the first is long ago");
        restarts.ended("four", STABLE, 0.5, now + WINDOW + STABLE * 2);
        assert_eq!(restarts.start(now + WINDOW * 100), Start::Never("four".to_owned()));
        restarts.forgive();
        assert_eq!(restarts.start(now), Start::Now);
        assert!(!restarts.is_quarantined());
    }
}
