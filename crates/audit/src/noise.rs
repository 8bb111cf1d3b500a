//! Refused logins in bulk: the first few of a minute are recorded one by one, the rest as one record with a count,
//! so that nobody without a key can fill the disk.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::Body;

const WINDOW: Duration = Duration::from_secs(60);

/// Reasons that are counted apart; more are counted as `other`.
const REASONS_MAX: usize = 16;

/// Decides which refusals are recorded one by one. Knows no clock: time comes in.
///
/// The gate asks [`Noise::see`] for each refusal, and [`Noise::tick`] on a timer and before it ends.
#[derive(Debug)]
pub struct Noise {
    per_minute: u32,
    window: Option<Window>,
}

#[derive(Debug)]
struct Window {
    started: Instant,
    passed: u32,
    held: u64,
    reasons: BTreeMap<&'static str, u64>,
}

/// What to do about one refusal.
#[derive(Debug, PartialEq, Eq)]
pub struct Seen {
    /// True where it is recorded by itself.
    pub record: bool,
    /// What was held back in the minute before, to be recorded first.
    pub summary: Option<Summary>,
}

/// The refusals of a minute that were not recorded one by one.
#[derive(Debug, PartialEq, Eq)]
pub struct Summary {
    /// How many.
    pub count: u64,
    /// How many for each reason.
    pub reasons: BTreeMap<&'static str, u64>,
}

impl Noise {
    /// Lets so many a minute through; 0 sums all of them up.
    #[must_use]
    pub fn new(per_minute: u32) -> Self {
        Self { per_minute, window: None }
    }

    /// One more refusal. `reason` is one of a few fixed words, never what the caller sent.
    pub fn see(&mut self, now: Instant, reason: &'static str) -> Seen {
        let summary = self.tick(now);
        let window = self.window.get_or_insert_with(|| Window::new(now));
        let record = window.passed < self.per_minute;
        if record {
            window.passed += 1;
        } else {
            window.hold(reason);
        }
        Seen { record, summary }
    }

    /// Ends the minute where it is over, and says what was held back in it.
    pub fn tick(&mut self, now: Instant) -> Option<Summary> {
        self.window.as_ref().filter(|window| now.saturating_duration_since(window.started) >= WINDOW)?;
        self.finish()
    }

    /// Ends the minute at once, as before a stop.
    pub fn finish(&mut self) -> Option<Summary> {
        let window = self.window.take()?;
        (window.held > 0).then_some(Summary { count: window.held, reasons: window.reasons })
    }
}

impl Summary {
    /// The event under which a summary is recorded.
    pub const EVENT: &str = "auth.refused.more";

    /// The body of its record: `count` and `reasons`.
    #[must_use]
    pub fn body(&self) -> Body {
        let mut body = Body::default();
        body.put("count", &self.count);
        body.put("reasons", &self.reasons);
        body
    }
}

impl Window {
    fn new(started: Instant) -> Self {
        Self { started, passed: 0, held: 0, reasons: BTreeMap::new() }
    }

    fn hold(&mut self, reason: &'static str) {
        self.held += 1;
        let known = self.reasons.len() < REASONS_MAX - 1 || self.reasons.contains_key(reason);
        *self.reasons.entry(if known { reason } else { "other" }).or_insert(0) += 1;
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    /// Refusals at these seconds; one line each. A reason of `""` is a tick.
    fn check(per_minute: u32, refusals: &[(u64, &'static str)], expected: Expect) {
        let start = Instant::now();
        let mut noise = Noise::new(per_minute);
        let mut shown = String::new();
        for &(second, reason) in refusals {
            let now = start + Duration::from_secs(second);
            let (verdict, summary) = match reason {
                "" => ("tick", noise.tick(now)),
                reason => {
                    let seen = noise.see(now, reason);
                    (if seen.record { "recorded" } else { "held" }, seen.summary)
                }
            };
            let summary = summary.map(|summary| format!(", {:?}", summary.body())).unwrap_or_default();
            shown += &format!("{second} s: {verdict}{summary}\n");
        }
        shown += &format!("end: {:?}\n", noise.finish().map(|summary| summary.count));
        expected.assert_eq(&shown);
    }

    #[test]
    fn the_first_of_a_minute_pass_and_the_rest_is_summed_up() {
        check(
            2,
            &[
                (0, "key"),
                (1, "key"),
                (2, "key"),
                (59, "expired"),
                (60, "key"),
                (61, ""),
                (119, "key"),
                (120, ""),
            ],
            expect![[r#"
                0 s: recorded
                1 s: recorded
                2 s: held
                59 s: held
                60 s: recorded, {"count":2,"reasons":{"expired":1,"key":1}}
                61 s: tick
                119 s: recorded
                120 s: tick
                end: None
            "#]],
        );
        check(
            2,
            &[(0, "key"), (60, ""), (61, "key"), (62, "key"), (63, "key")],
            expect![[r#"
            0 s: recorded
            60 s: tick
            61 s: recorded
            62 s: recorded
            63 s: held
            end: Some(1)
        "#]],
        );
        check(
            0,
            &[(0, "key"), (59, ""), (200, "")],
            expect![[r#"
            0 s: held
            59 s: tick
            200 s: tick, {"count":1,"reasons":{"key":1}}
            end: None
        "#]],
        );
    }

    #[test]
    fn reasons_are_bounded() {
        const MANY: [&str; 20] = [
            "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s",
            "t",
        ];
        let now = Instant::now();
        let mut noise = Noise::new(0);
        for reason in MANY {
            noise.see(now, reason);
        }
        let summary = noise.finish().map(|s| (s.count, s.reasons.len(), s.reasons.get("other").copied()));
        assert_eq!(summary, Some((20, REASONS_MAX, Some(5))));
    }
}
