//! The handle through which records are written, and the thread behind it.
//!
//! A record that need not be on the disk, and finds nobody before it, is written where it is: one `write(2)` into
//! the kernel's memory costs less than waking a thread for it. All else is queued for the thread: what must be
//! synced, what finds the log taken, what ends a segment or is signed next, and everything after an error.
//!
//! Group commit: the thread takes all that is queued, writes it with one `write(2)`, syncs once where any of it
//! asks for that, and then answers all. What arrives meanwhile is the next group, so the busier the log, the
//! cheaper a record. Checkpoints are the thread's, too.

use std::{
    path::Path,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{Semaphore, oneshot};
use tool::Clock;

use crate::{
    AuditError, Config, Durability, Record, SyncMode,
    folder::Folder,
    log::{Bounds, Disk, Log, RealDisk, Slot},
};

/// How long after an error the log is tried again where no record asks for it.
const MEND_AFTER: Duration = Duration::from_secs(1);

/// How often a record looks whether the log is free, before it is queued: some microseconds.
const SPINS_MAX: u32 = 128;

/// The audit log, open for writing. Clones write to the same log.
///
/// When the last clone is dropped without [`Audit::close`], what is queued is still written and signed, but nobody
/// waits for it.
#[derive(Clone)]
pub struct Audit {
    handle: Arc<Handle>,
}

struct Handle {
    shared: Arc<Shared>,
    sync: SyncMode,
    record_bytes_max: usize,
    queue_wait: Duration,
    checkpoint_records: u64,
}

struct Shared {
    /// `None` once it is closed. Locked after the queue or without it, never before.
    log: Mutex<Option<Log>>,
    queue: Mutex<Queue>,
    /// Entries that wait for the log: while there are any, nobody writes past them.
    queued: AtomicUsize,
    /// Rung when the queue gets its first record while the thread sleeps, or is to end.
    bell: Condvar,
    /// One permit for each free place in the queue.
    room: Semaphore,
    /// Changed only by who holds the log.
    broken: AtomicBool,
}

#[derive(Default)]
struct Queue {
    entries: Vec<Entry>,
    asleep: bool,
    /// A checkpoint is to be planned.
    nudged: bool,
    closing: bool,
    closers: Vec<oneshot::Sender<Result<(), AuditError>>>,
    /// How the thread ended.
    ended: Option<Result<(), AuditError>>,
}

struct Entry {
    slot: Slot,
    sync: bool,
    answer: oneshot::Sender<Result<u64, AuditError>>,
}

impl Audit {
    /// Opens the log in a folder and starts its thread. Makes folder, signing key and first segment where they
    /// are missing; cuts a torn last line and records that as `audit.recovered`.
    ///
    /// Blocks while it reads the last segment. Error: another process writes there ([`AuditError::Locked`]), or
    /// what is there does not fit together ([`AuditError::Damaged`], [`AuditError::Key`]); nothing is changed then.
    pub fn open(dir: &Path, config: &Config, clock: Arc<dyn Clock>) -> Result<Self, AuditError> {
        Self::open_on(dir, config, clock, Box::new(RealDisk))
    }

    /// As [`Audit::open`], on a disk that tests can make fail.
    pub(crate) fn open_on(
        dir: &Path,
        config: &Config,
        clock: Arc<dyn Clock>,
        disk: Box<dyn Disk>,
    ) -> Result<Self, AuditError> {
        let folder = Folder::lock(dir)?;
        let bounds =
            Bounds { segment_bytes_max: config.segment_bytes_max, keep_segments: config.keep_segments };
        let log = Log::open(folder, bounds, clock, disk)?;
        let shared = Arc::new(Shared {
            log: Mutex::new(Some(log)),
            queue: Mutex::default(),
            queued: AtomicUsize::new(0),
            bell: Condvar::new(),
            room: Semaphore::new(config.queue_max as usize),
            broken: AtomicBool::new(false),
        });
        let writer = Writer {
            shared: Arc::clone(&shared),
            checkpoint_records: config.checkpoint_records,
            checkpoint_after: Duration::from_secs(config.checkpoint_seconds),
            checkpoint_at: None,
        };
        let thread = std::thread::Builder::new().name("audit".to_owned()).spawn(move || writer.run());
        thread.map_err(|e| AuditError::io("start the audit thread", dir, e))?;
        let queue_wait = Duration::from_millis(config.queue_wait_ms);
        Ok(Self {
            handle: Arc::new(Handle {
                shared,
                sync: config.sync,
                record_bytes_max: config.record_bytes_max,
                queue_wait,
                checkpoint_records: config.checkpoint_records,
            }),
        })
    }

    /// Writes one record and returns its seq, once it is as safe as asked.
    ///
    /// A body over `record_bytes_max` is shortened: its long members are replaced by their length and digest. A
    /// record that is queued is written even where this future is dropped.
    ///
    /// Error: the record does not count as written, so what it records must not be done: the queue stayed full
    /// ([`AuditError::Full`]), the log cannot be written ([`AuditError::Broken`]; the next write tries to mend
    /// it), it is closed, or the body holds a name that belongs to the log ([`AuditError::Record`]).
    pub async fn write(&self, record: Record, durability: Durability) -> Result<u64, AuditError> {
        let Handle { shared, record_bytes_max, queue_wait, .. } = &*self.handle;
        let mut slot = record.into_slot(*record_bytes_max)?;
        let sync = must_sync(self.handle.sync, durability == Durability::Synced);
        if !sync && let Some(written) = shared.write_here(&mut slot, self.handle.checkpoint_records) {
            return written.map(|()| slot.seq);
        }
        shared.take_place(*queue_wait).await?;
        let (answer, answered) = oneshot::channel();
        shared.push(Entry { slot, sync, answer });
        answered.await.unwrap_or(Err(AuditError::Closed))
    }

    /// True from an error of the disk until a write has succeeded again, which the log tries by itself every
    /// second where nobody else does; and for good where its thread has died. For health.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.handle.shared.broken.load(Ordering::Relaxed)
    }

    /// Writes what is queued, signs a last checkpoint, makes all of it safe on the disk and frees the folder.
    /// Later writes are refused. Closing twice is no error.
    pub async fn close(&self) -> Result<(), AuditError> {
        let (closer, closed) = oneshot::channel();
        {
            let mut queue = self.handle.shared.lock();
            if let Some(ended) = &queue.ended {
                return ended.clone();
            }
            queue.closers.push(closer);
        }
        self.handle.shared.begin_to_close();
        closed.await.unwrap_or(Err(AuditError::Closed))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.begin_to_close();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_log(&self) -> MutexGuard<'_, Option<Log>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a record on the calling thread, where nobody is before it and nothing but writing is to be done.
    /// `None` where it has to be queued.
    fn write_here(&self, slot: &mut Slot, checkpoint_records: u64) -> Option<Result<(), AuditError>> {
        if self.room.is_closed() || self.queued.load(Ordering::Acquire) > 0 {
            return None;
        }
        let mut log = self.take_log()?;
        // The record that a checkpoint is due after is the thread's as well.
        let is_plain = |log: &&mut Log| {
            !log.is_broken() && log.has_room(slot) && log.unsigned() + 1 < checkpoint_records
        };
        let open = log.as_mut().filter(is_plain)?;
        let result = open.append(std::iter::once(slot), false);
        let is_first = open.unsigned() == 1;
        if result.is_err() {
            // Before the log is free: the thread may mend it at once, and says so under the same lock.
            self.broken.store(true, Ordering::Relaxed);
        }
        drop(log);
        if is_first || result.is_err() {
            self.nudge();
        }
        Some(result)
    }

    /// The log, where it is free or will be in a moment: another record takes microseconds, and to wait for it costs
    /// less than to wake the thread. A sync is not waited for. A log whose writer panicked is left to the thread.
    fn take_log(&self) -> Option<MutexGuard<'_, Option<Log>>> {
        for _ in 0..SPINS_MAX {
            match self.log.try_lock() {
                Ok(log) => return Some(log),
                Err(TryLockError::WouldBlock) => std::hint::spin_loop(),
                Err(TryLockError::Poisoned(_)) => return None,
            }
        }
        None
    }

    /// Has the thread plan its next checkpoint, or the mending of the log.
    fn nudge(&self) {
        let mut queue = self.lock();
        queue.nudged = true;
        let asleep = std::mem::take(&mut queue.asleep);
        drop(queue);
        if asleep {
            self.bell.notify_one();
        }
    }

    /// Takes a place in the queue; the thread gives it back.
    async fn take_place(&self, wait: Duration) -> Result<(), AuditError> {
        let place = match self.room.try_acquire() {
            Ok(place) => place,
            Err(tokio::sync::TryAcquireError::Closed) => return Err(AuditError::Closed),
            Err(tokio::sync::TryAcquireError::NoPermits) => {
                let full =
                    AuditError::Full { waited_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX) };
                let place = tokio::time::timeout(wait, self.room.acquire()).await;
                place.map_err(|_| full)?.map_err(|_| AuditError::Closed)?
            }
        };
        place.forget();
        Ok(())
    }

    /// Queues an entry; drops it, which answers it, where the thread has ended.
    fn push(&self, entry: Entry) {
        let mut queue = self.lock();
        if queue.ended.is_some() {
            return;
        }
        queue.entries.push(entry);
        self.queued.store(queue.entries.len(), Ordering::Release);
        let asleep = std::mem::take(&mut queue.asleep);
        drop(queue);
        if asleep {
            self.bell.notify_one();
        }
    }

    fn begin_to_close(&self) {
        self.room.close();
        self.lock().closing = true;
        self.bell.notify_one();
    }
}

/// The thread's own.
struct Writer {
    shared: Arc<Shared>,
    checkpoint_records: u64,
    checkpoint_after: Duration,
    /// When the next checkpoint is due.
    checkpoint_at: Option<Instant>,
}

/// Answers everyone when the thread ends, even by a panic.
struct Ending {
    shared: Arc<Shared>,
    result: Result<(), AuditError>,
}

impl Writer {
    fn run(mut self) {
        let mut ending = Ending { shared: Arc::clone(&self.shared), result: Err(AuditError::Closed) };
        let mut batch = Vec::new();
        loop {
            self.plan_checkpoint();
            let closing = self.take(&mut batch);
            if !batch.is_empty() {
                self.write(&mut batch);
            } else if closing {
                break;
            }
            if self.is_checkpoint_due() {
                // An error is logged there, and the next write meets it again.
                let _ = self.with_log(Log::checkpoint);
                self.checkpoint_at = None;
            }
        }
        ending.result = self.with_log(Log::checkpoint);
    }

    /// Does something to the log, and notes whether it is broken after that.
    fn with_log(&self, work: impl FnOnce(&mut Log) -> Result<(), AuditError>) -> Result<(), AuditError> {
        let mut guard = self.shared.lock_log();
        let log = guard.as_mut().ok_or(AuditError::Closed)?;
        let result = work(log);
        self.shared.broken.store(log.is_broken(), Ordering::Relaxed);
        result
    }

    fn is_broken(&self) -> bool {
        self.shared.lock_log().as_ref().is_some_and(Log::is_broken)
    }

    fn unsigned(&self) -> u64 {
        self.shared.lock_log().as_ref().map_or(0, Log::unsigned)
    }

    /// Waits for entries, for the next checkpoint or for the end, and takes all that is queued into `batch`, which
    /// is empty. True where the end has come.
    fn take(&self, batch: &mut Vec<Entry>) -> bool {
        let mut queue = self.shared.lock();
        while queue.entries.is_empty() && !queue.closing && !queue.nudged {
            queue.asleep = true;
            queue = match self.checkpoint_at.map(|at| at.saturating_duration_since(Instant::now())) {
                None => self.shared.bell.wait(queue).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => break,
                Some(wait) => {
                    let woken = self.shared.bell.wait_timeout(queue, wait);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        (queue.asleep, queue.nudged) = (false, false);
        std::mem::swap(&mut queue.entries, batch);
        queue.closing
    }

    fn write(&mut self, batch: &mut Vec<Entry>) {
        let sync = batch.iter().any(|entry| entry.sync);
        let result = self.with_log(|log| {
            // From here on the lock keeps others from writing past this batch.
            self.shared.queued.store(0, Ordering::Release);
            log.append(batch.iter_mut().map(|entry| &mut entry.slot), sync)
        });
        self.shared.room.add_permits(batch.len());
        for entry in batch.drain(..) {
            // Whoever asked may be gone; the record stands all the same.
            let _ = entry.answer.send(result.clone().map(|()| entry.slot.seq));
        }
    }

    /// A log that cannot be written is tried again soon: where health says so, no call may come that would.
    fn plan_checkpoint(&mut self) {
        let mend_at = self.is_broken().then(|| Instant::now() + MEND_AFTER);
        self.checkpoint_at = match (self.checkpoint_at, mend_at) {
            (Some(at), Some(mend_at)) => Some(at.min(mend_at)),
            (None, None) if self.unsigned() > 0 => Some(Instant::now() + self.checkpoint_after),
            (at, mend_at) => at.or(mend_at),
        };
    }

    fn is_checkpoint_due(&self) -> bool {
        self.unsigned() >= self.checkpoint_records
            || self.checkpoint_at.is_some_and(|at| at <= Instant::now())
    }
}

/// Whether a record has to be on the disk before it counts as written.
fn must_sync(mode: SyncMode, asked: bool) -> bool {
    match mode {
        SyncMode::Written => false,
        SyncMode::Always => true,
        SyncMode::Changes => asked,
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let Self { shared, result } = self;
        shared.room.close();
        // The folder is free once the log is gone; whoever closes it is answered after that.
        drop(shared.lock_log().take());
        if result.is_err() {
            shared.broken.store(true, Ordering::Relaxed);
        }
        let mut queue = shared.lock();
        queue.ended = Some(result.clone());
        queue.entries.clear();
        for closer in queue.closers.drain(..) {
            let _ = closer.send(result.clone());
        }
    }
}
