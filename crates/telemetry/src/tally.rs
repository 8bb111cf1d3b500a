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
        let mut complaints = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        let dropped = self.dropped.load(Ordering::Relaxed);
        let dropped_new = dropped - complaints.dropped_told;
        complaints.dropped_told = dropped;
        if let Some(cause) = cause.filter(|_| lost > 0) {
            complaints.cause = Some(cause.to_owned());
        }
        if let Some(spans) = complaints.failed.add(lost, now) {
            let cause = complaints.cause.take();
            tracing::warn!(
                spans,
                cause,
                "spans did not reach the trace collector; look at it and at `telemetry.otlp`"
            );
        }
        if let Some(spans) = complaints.dropped.add(dropped_new, now) {
            tracing::warn!(
                spans,
                queue_max = self.queue_max,
                "spans were dropped because too many waited to be sent; raise `telemetry.otlp.queue_max`"
            );
        }
    }
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
    use std::{io, sync::Arc};

    use expect_test::expect;

    use super::*;

    /// Collects what is logged.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

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

    #[test]
    fn the_log_says_how_many_spans_were_lost_and_why() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .without_time()
            .with_target(false)
            .finish();
        let (tally, start) = (Tally::new(1), Instant::now());
        tracing::subscriber::with_default(subscriber, || {
            tally.complain(0, None, start);
            tally.complain(3, Some("it answered 503 Service Unavailable"), start);
            tally.accept();
            tally.accept();
            tally.complain(4, Some("connection refused"), start + Duration::from_secs(1));
            tally.accept();
            tally.complain(0, None, start + Duration::from_secs(2));
            tally.complain(0, Some("a warning"), start + Duration::from_secs(61));
        });
        let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        // How levels are padded depends on the features that others in the workspace ask for.
        let log: String = log.lines().map(|line| format!("{}\n", line.trim_start())).collect();
        expect![[r#"
             WARN spans did not reach the trace collector; look at it and at `telemetry.otlp` spans=3 cause="it answered 503 Service Unavailable"
             WARN spans were dropped because too many waited to be sent; raise `telemetry.otlp.queue_max` spans=1 queue_max=1
             WARN spans did not reach the trace collector; look at it and at `telemetry.otlp` spans=4 cause="connection refused"
             WARN spans were dropped because too many waited to be sent; raise `telemetry.otlp.queue_max` spans=1 queue_max=1
        "#]].assert_eq(&log);
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
