//! When a connection has taken too long: a small state machine that takes `now`, so that its tests need no clock.

use std::time::Duration;

use tokio::time::Instant;

/// The bounds of one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// From the first byte of a head, or from the connection, to the whole head.
    pub(crate) header: Duration,
    /// Between one answer and the next request.
    pub(crate) idle: Duration,
    /// From the first byte of an answer that the client does not take to its last one.
    pub(crate) write: Duration,
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Open, and nothing was sent yet.
    Fresh(Instant),
    /// A part of a head has come.
    Head(Instant),
    /// A request is being answered; its own bounds hold.
    Busy,
    /// Between two requests.
    Idle(Instant),
}

/// Where a connection stands, and when it is overdue.
#[derive(Debug)]
pub(crate) struct Pulse {
    bounds: Bounds,
    phase: Phase,
    stuck: Option<Instant>,
    must_linger: bool,
    length_lines: u64,
    lengths_taken: u64,
}

impl Pulse {
    pub(crate) fn new(bounds: Bounds, now: Instant) -> Self {
        Self {
            bounds,
            phase: Phase::Fresh(now),
            stuck: None,
            must_linger: false,
            length_lines: 0,
            lengths_taken: 0,
        }
    }

    /// Bytes have come in.
    pub(crate) fn heard(&mut self, now: Instant) {
        if let Phase::Fresh(_) | Phase::Idle(_) = self.phase {
            self.phase = Phase::Head(now);
        }
    }

    /// A whole head has come.
    pub(crate) fn asked(&mut self) {
        self.phase = Phase::Busy;
    }

    /// The answer was handed over.
    pub(crate) fn answered(&mut self, now: Instant) {
        self.phase = Phase::Idle(now);
    }

    /// Lines that begin with `content-length:` have come in.
    pub(crate) fn heard_lengths(&mut self, lines: u64) {
        self.length_lines += lines;
    }

    /// A head was read: whether it had a length, and whether its body comes in chunks. True where it had both, which
    /// two readers may read in two ways (RFC 9112, 6.1); the parser keeps only one of them, so that this is told by
    /// the lines that came in. A length that is announced too early counts against the client.
    pub(crate) fn is_ambiguous(&mut self, has_length: bool, is_chunked: bool) -> bool {
        self.lengths_taken += u64::from(has_length);
        is_chunked && self.length_lines > self.lengths_taken
    }

    /// The client does not take what we send.
    pub(crate) fn write_stuck(&mut self, now: Instant) {
        self.stuck.get_or_insert(now);
    }

    /// Everything was sent.
    pub(crate) fn flushed(&mut self) {
        self.stuck = None;
    }

    /// The client is still sending a body that nobody will read: close gently.
    pub(crate) fn linger(&mut self) {
        self.must_linger = true;
    }

    /// True where the close must be gentle, so that the answer is not lost.
    pub(crate) fn must_linger(&self) -> bool {
        self.must_linger
    }

    /// When the connection is overdue; never while a request is worked on.
    pub(crate) fn due(&self) -> Option<Instant> {
        let by_phase = match self.phase {
            Phase::Fresh(since) | Phase::Head(since) => Some(since + self.bounds.header),
            Phase::Idle(since) => Some(since + self.bounds.idle),
            Phase::Busy => None,
        };
        let by_write = self.stuck.map(|since| since + self.bounds.write);
        match (by_phase, by_write) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// True where a word of ours would not come in the middle of an answer.
    pub(crate) fn may_speak(&self) -> bool {
        self.stuck.is_none() && self.phase != Phase::Busy
    }

    /// True while a request is being answered.
    pub(crate) fn is_busy(&self) -> bool {
        self.phase == Phase::Busy
    }

    /// True where closing loses nothing: no request has begun and no answer is on its way.
    pub(crate) fn is_quiet(&self) -> bool {
        self.stuck.is_none() && matches!(self.phase, Phase::Fresh(_) | Phase::Idle(_))
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    /// Events at these seconds; one line each, with when the connection is due afterwards.
    fn check(events: &[(u64, &str)], expected: Expect) {
        let start = Instant::now();
        let seconds = Duration::from_secs;
        let bounds = Bounds { header: seconds(10), idle: seconds(75), write: seconds(60) };
        let mut pulse = Pulse::new(bounds, start);
        let mut shown = String::new();
        for (at, event) in events {
            let now = start + seconds(*at);
            match *event {
                "heard" => pulse.heard(now),
                "asked" => pulse.asked(),
                "answered" => pulse.answered(now),
                "stuck" => pulse.write_stuck(now),
                "flushed" => pulse.flushed(),
                other => panic!("no event {other}"),
            }
            let due = pulse.due().map(|due| (due - start).as_secs());
            shown += &format!("{at} s {event}: due {due:?} quiet {}\n", pulse.is_quiet());
        }
        expected.assert_eq(&shown);
    }

    #[test]
    fn a_drip_does_not_move_the_deadline_of_a_head() {
        check(
            &[(1, "heard"), (5, "heard"), (9, "heard"), (10, "asked"), (40, "answered"), (50, "heard")],
            expect![[r#"
                1 s heard: due Some(11) quiet false
                5 s heard: due Some(11) quiet false
                9 s heard: due Some(11) quiet false
                10 s asked: due None quiet false
                40 s answered: due Some(115) quiet true
                50 s heard: due Some(60) quiet false
            "#]],
        );
    }

    #[test]
    fn a_client_that_does_not_read_is_overdue_even_between_requests() {
        check(
            &[(1, "heard"), (1, "asked"), (2, "stuck"), (3, "answered"), (30, "stuck"), (40, "flushed")],
            expect![[r#"
                1 s heard: due Some(11) quiet false
                1 s asked: due None quiet false
                2 s stuck: due Some(62) quiet false
                3 s answered: due Some(62) quiet false
                30 s stuck: due Some(62) quiet false
                40 s flushed: due Some(78) quiet true
            "#]],
        );
    }
}
