//! How often: the exact window and its smooth sister. No clock and no IO; time comes in.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;
use tool::Rate;

/// What is remembered of one limit's calls.
///
/// Counting: at most N calls in any window of its length, exactly; the moments of the last N calls are kept.
/// Smooth: the virtual scheduling algorithm (GCRA) of ITU-T I.371 annex A, with a burst of one tenth of N.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// The calls still in the window, oldest first.
    calls: VecDeque<Instant>,
    /// Smooth only: when the next call would be on time.
    due: Option<Instant>,
}

/// How a limit stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Calls that may be made right now.
    pub(crate) remaining: u32,
    /// How long until there is more room than now.
    pub(crate) reset_in: Duration,
    /// How long until one call may be made; zero where one may be made now.
    pub(crate) wait: Duration,
}

impl Window {
    /// How the limit stands at `now`.
    pub(crate) fn look(&mut self, rate: Rate, now: Instant) -> Standing {
        if rate.smooth { self.look_smooth(rate, now) } else { self.look_counting(rate, now) }
    }

    /// Counts one call at `now`, and says how the limit stands then. `before` is what [`Window::look`] said at this
    /// `now`: that there is room.
    pub(crate) fn pass(&mut self, rate: Rate, before: Standing, now: Instant) -> Standing {
        self.take(rate, now);
        if rate.smooth || before.remaining <= 1 {
            return self.look(rate, now);
        }
        // The oldest call is the one it was, or this one, which leaves after a whole window.
        Standing { remaining: before.remaining - 1, ..before }
    }

    /// Counts one call at `now`. Only after [`Window::look`] said that there is room.
    fn take(&mut self, rate: Rate, now: Instant) {
        if rate.smooth {
            let due = self.due.map_or(now, |due| due.max(now));
            self.due = Some(due + step(rate));
        } else {
            self.calls.push_back(now);
        }
    }

    /// True where nothing is remembered that could matter at `now`.
    pub(crate) fn is_idle(&self, window: Duration, now: Instant) -> bool {
        self.calls.back().is_none_or(|last| *last + window <= now) && self.due.is_none_or(|due| due <= now)
    }

    fn look_counting(&mut self, rate: Rate, now: Instant) -> Standing {
        let reset_in = loop {
            let Some(leaves) = self.calls.front().map(|oldest| *oldest + rate.window) else {
                break rate.window;
            };
            if leaves > now {
                break leaves - now;
            }
            self.calls.pop_front();
        };
        let used = u32::try_from(self.calls.len()).unwrap_or(u32::MAX);
        if used < rate.calls {
            return Standing { remaining: rate.calls - used, reset_in, wait: Duration::ZERO };
        }
        // Where the limit was lowered, several calls must leave before one fits.
        let leaving = (used - rate.calls) as usize;
        // There is none to leave where the limit is of no calls at all.
        let wait =
            self.calls.get(leaving).map_or(rate.window, |last_to_leave| *last_to_leave + rate.window - now);
        Standing { remaining: 0, reset_in, wait }
    }

    fn look_smooth(&self, rate: Rate, now: Instant) -> Standing {
        let step = step(rate);
        let early_max = step * (burst(rate) - 1);
        let ahead = self.due.map_or(Duration::ZERO, |due| due.saturating_duration_since(now));
        let wait = ahead.saturating_sub(early_max);
        let room = early_max.saturating_sub(ahead).as_nanos() / step.as_nanos().max(1);
        let remaining =
            if wait.is_zero() { u32::try_from(room).unwrap_or(u32::MAX).saturating_add(1) } else { 0 };
        Standing { remaining, reset_in: ahead.min(step), wait }
    }
}

fn step(rate: Rate) -> Duration {
    rate.window / rate.calls.max(1)
}

fn burst(rate: Rate) -> u32 {
    (rate.calls / 10).max(1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;

    /// Calls at these milliseconds; one line a call.
    fn check(rate: Rate, calls_ms: &[u64], expected: Expect) {
        let start = Instant::now();
        let mut window = Window::default();
        let mut lines = String::new();
        for &ms in calls_ms {
            let now = start + Duration::from_millis(ms);
            let before = window.look(rate, now);
            if before.wait.is_zero() {
                window.take(rate, now);
                let after = window.look(rate, now);
                lines += &format!("{ms}: passes, {} left, more in {:?}\n", after.remaining, after.reset_in);
            } else {
                lines += &format!("{ms}: wait {:?}\n", before.wait);
            }
        }
        expected.assert_eq(&lines);
    }

    #[test]
    fn three_in_any_minute() {
        check(
            Rate::per_minute(3),
            &[0, 10_000, 59_999, 59_999, 60_000, 60_000, 70_000, 119_998],
            expect![[r#"
                0: passes, 2 left, more in 60s
                10000: passes, 1 left, more in 50s
                59999: passes, 0 left, more in 1ms
                59999: wait 1ms
                60000: passes, 0 left, more in 10s
                60000: wait 10s
                70000: passes, 0 left, more in 49.999s
                119998: wait 1ms
            "#]],
        );
    }

    #[test]
    fn a_limit_of_none_lets_none_pass() {
        check(
            Rate::per_minute(0),
            &[0, 60_000],
            expect![[r#"
                0: wait 60s
                60000: wait 60s
            "#]],
        );
    }

    #[test]
    fn smooth_spaces_the_calls() {
        check(
            Rate { smooth: true, ..Rate::per_minute(20) },
            &[0, 0, 0, 3_000, 4_000, 6_000],
            expect![[r#"
                0: passes, 1 left, more in 3s
                0: passes, 0 left, more in 3s
                0: wait 3s
                3000: passes, 0 left, more in 3s
                4000: wait 2s
                6000: passes, 0 left, more in 3s
            "#]],
        );
    }

    #[test]
    fn a_lowered_limit_waits_for_enough_calls_to_leave() {
        let start = Instant::now();
        let mut window = Window::default();
        for s in 0..5 {
            window.take(Rate::per_minute(5), start + Duration::from_secs(s));
        }
        let standing = window.look(Rate::per_minute(2), start + Duration::from_secs(10));
        assert_eq!((standing.remaining, standing.wait), (0, Duration::from_secs(53)));
    }

    proptest! {
        #[test]
        fn never_more_than_n_in_any_window(n in 1u32..20, gaps_ms in prop::collection::vec(0u64..9_000, 1..200)) {
            let rate = Rate::per_minute(n);
            let start = Instant::now();
            let mut window = Window::default();
            let mut passed = Vec::new();
            let mut now = start;
            for gap in gaps_ms {
                now += Duration::from_millis(gap);
                let standing = window.look(rate, now);
                let inside = passed.iter().filter(|at| now - **at < rate.window).count();
                // It says no exactly when N calls are inside the window.
                prop_assert_eq!(standing.wait.is_zero(), inside < n as usize);
                prop_assert_eq!(standing.remaining as usize, (n as usize).saturating_sub(inside));
                if standing.wait.is_zero() {
                    let after = window.pass(rate, standing, now);
                    prop_assert_eq!(after, window.look(rate, now));
                    passed.push(now);
                }
            }
        }
    }
}
