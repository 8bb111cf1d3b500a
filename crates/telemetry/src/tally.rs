use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// The same complaint is logged again after this long at the earliest.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// What became of the spans of a process, or will.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The collector took them.
    pub exported: u64,
    /// They were sent, and did not arrive or were rejected; at a close also those there was no time to send.
    pub failed: u64,
    /// They were never sent, because the queue was full.
    pub dropped: u64,
}

/// Counts the spans in the queue and what becomes of them, and says now and then what went wrong.
#[derive(Debug)]
pub(crate) struct Tally {
    queue_max: usize,
    waiting: AtomicUsize,
    accepted: AtomicU64,
    exported: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
    is_closed: AtomicBool,
    complaints: Mutex<Complaints>,
}

#[derive(Debug, Default)]
struct Complaints {
    failed: Nag,
    dropped: Nag,
    dropped_told: u64,
    cause: Option<String>,
}

impl Tally {
    pub(crate) fn new(queue_max: u32) -> Self {
        Self {
            queue_max: usize::try_from(queue_max).unwrap_or(usize::MAX),
            waiting: AtomicUsize::new(0),
            accepted: AtomicU64::new(0),
            exported: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            is_closed: AtomicBool::new(false),
            complaints: Mutex::default(),
        }
    }

    /// A span wants to wait; false where the queue is full, and then it is counted as dropped.
    pub(crate) fn accept(&self) -> bool {
        if self.waiting.fetch_add(1, Ordering::AcqRel) >= self.queue_max {
            self.waiting.fetch_sub(1, Ordering::AcqRel);
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        self.accepted.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// These have left the queue.
    pub(crate) fn taken(&self, spans: usize) {
        self.waiting.fetch_sub(spans, Ordering::AcqRel);
    }

    /// A batch was sent: so many of it arrived, so many did not.
    pub(crate) fn sent(&self, arrived: u64, lost: u64, cause: Option<&str>) {
        self.exported.fetch_add(arrived, Ordering::Relaxed);
        self.failed.fetch_add(lost, Ordering::Relaxed);
        self.complain(lost, cause, Instant::now());
    }

    /// No time is left: batches that are still to be sent are lost.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    pub(crate) fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts { exported: read(&self.exported), failed: read(&self.failed), dropped: read(&self.dropped) }
    }

    /// The counts when no more spans are sent.
    pub(crate) fn final_counts(&self) -> Counts {
        let counts = self.counts();
        let accepted = self.accepted.load(Ordering::Relaxed);
        Counts { failed: accepted.saturating_sub(counts.exported), ..counts }
    }

    /// Logs what went wrong, off the road of any call.
    fn complain(&self, lost: u64, cause: Option<&str>, now: Instant) {
        let due = self.due(lost, cause, now);
        if let Some(Failed { spans, cause }) = due.failed {
            tracing::warn!(
                spans,
                cause,
                "spans did not reach the trace collector; look at it and at `telemetry.otlp`"
            );
        }
        if let Some(spans) = due.dropped {
            tracing::warn!(
                spans,
                queue_max = self.queue_max,
                "spans were dropped because too many waited to be sent; raise `telemetry.otlp.queue_max`"
            );
        }
    }

    /// What is to be said now that so many more were lost.
    fn due(&self, lost: u64, cause: Option<&str>, now: Instant) -> Due {
        let mut complaints = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        let dropped = self.dropped.load(Ordering::Relaxed);
        let dropped_new = dropped - complaints.dropped_told;
        complaints.dropped_told = dropped;
        if let Some(cause) = cause.filter(|_| lost > 0) {
            complaints.cause = Some(cause.to_owned());
        }
        let failed = complaints.failed.add(lost, now);
        Due {
            failed: failed.map(|spans| Failed { spans, cause: complaints.cause.take() }),
            dropped: complaints.dropped.add(dropped_new, now),
        }
    }
}

/// What is to be said at one time; `None` where there is nothing to say.
#[derive(Debug)]
struct Due {
    failed: Option<Failed>,
    dropped: Option<u64>,
}

#[derive(Debug)]
struct Failed {
    spans: u64,
    cause: Option<String>,
}

/// Adds up what is to be complained of, and says when.
#[derive(Debug, Default)]
struct Nag {
    last: Option<Instant>,
    held: u64,
}

impl Nag {
    /// The whole number to complain of now; `None` where there is nothing, or it is too early.
    fn add(&mut self, spans: u64, now: Instant) -> Option<u64> {
        self.held += spans;
        let is_due = self.last.is_none_or(|last| now.duration_since(last) >= LOG_EVERY);
        if self.held == 0 || !is_due {
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.held))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn complaints_come_once_a_minute_and_tell_all_that_was_lost() {
        let (start, mut nag) = (Instant::now(), Nag::default());
        let mut lines = String::new();
        for (at_ms, lost) in
            [(0, 0), (1, 5), (2, 7), (60_000, 1), (60_001, 0), (60_002, 3), (120_000, 0), (200_000, 2)]
        {
            let told = nag.add(lost, start + Duration::from_millis(at_ms));
            lines.push_str(&format!("{at_ms} ms, {lost} lost: {told:?}\n"));
        }
        expect![[r#"
            0 ms, 0 lost: None
            1 ms, 5 lost: Some(5)
            2 ms, 7 lost: None
            60000 ms, 1 lost: None
            60001 ms, 0 lost: Some(8)
            60002 ms, 3 lost: None
            120000 ms, 0 lost: None
            200000 ms, 2 lost: Some(5)
        "#]]
        .assert_eq(&lines);
    }

    /// Asked for what is said and not for the log: whether a line is logged at all is settled once a process, by
    /// whichever test comes there first.
    #[test]
    fn what_is_said_is_how_many_spans_were_lost_and_why() {
        let (tally, start) = (Tally::new(1), Instant::now());
        let mut said = String::new();
        let mut say = |after_s, lost, cause| {
            let due = tally.due(lost, cause, start + Duration::from_secs(after_s));
            said.push_str(&format!("{after_s} s: {due:?}\n"));
        };
        say(0, 0, None);
        say(0, 3, Some("it answered 503 Service Unavailable"));
        tally.accept();
        tally.accept();
        say(1, 4, Some("connection refused"));
        tally.accept();
        say(2, 0, None);
        say(61, 0, Some("a warning"));
        expect![[r#"
            0 s: Due { failed: None, dropped: None }
            0 s: Due { failed: Some(Failed { spans: 3, cause: Some("it answered 503 Service Unavailable") }), dropped: None }
            1 s: Due { failed: None, dropped: Some(1) }
            2 s: Due { failed: None, dropped: None }
            61 s: Due { failed: Some(Failed { spans: 4, cause: Some("connection refused") }), dropped: Some(1) }
        "#]].assert_eq(&said);
    }

    #[test]
    fn the_queue_takes_what_fits() {
        let tally = Tally::new(2);
        assert_eq!([tally.accept(), tally.accept(), tally.accept()], [true, true, false]);
        tally.taken(2);
        assert!(tally.accept());
        tally.sent(1, 1, Some("it said no"));
        assert_eq!(tally.counts(), Counts { exported: 1, failed: 1, dropped: 1 });
        assert_eq!(tally.final_counts(), Counts { exported: 1, failed: 2, dropped: 1 });
    }
}
