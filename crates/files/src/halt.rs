use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use tool::{Fault, Stop};

use crate::error::FilesError;

/// Why work on a thread of its own may have to end early: it was asked to, its time is up, or nobody waits for
/// it any more.
#[derive(Clone)]
pub(crate) struct Halt {
    stop: Stop,
    left: Arc<AtomicBool>,
    deadline: Instant,
}

impl Halt {
    /// Ends at `deadline`, or when `stop` is asked.
    pub(crate) fn new(stop: Stop, deadline: Instant) -> Self {
        Self { stop, left: Arc::new(AtomicBool::new(false)), deadline }
    }

    /// Ends at `deadline` alone.
    pub(crate) fn at(deadline: Instant) -> Self {
        Self::new(Stop::never(), deadline)
    }

    /// Looked at between chunks and entries. Whoever asks to stop when the time is up does so for that.
    pub(crate) fn check(&self) -> Result<(), FilesError> {
        if self.left.load(Ordering::Acquire) {
            return Err(FilesError::Stopped);
        }
        if Instant::now() >= self.deadline {
            return Err(FilesError::Late);
        }
        if self.stop.is_asked() { Err(FilesError::Stopped) } else { Ok(()) }
    }
}

/// Does blocking work on a thread for it. Where this future is dropped, the work ends at its next check.
pub(crate) async fn on_thread<T: Send + 'static>(
    halt: Halt,
    work: impl FnOnce(&Halt) -> Result<T, FilesError> + Send + 'static,
) -> Result<T, Fault> {
    let _leaving = Leaving(Arc::clone(&halt.left));
    let task = tokio::task::spawn_blocking(move || {
        halt.check()?;
        work(&halt)
    });
    Ok(task.await.map_err(Fault::internal)??)
}

struct Leaving(Arc<AtomicBool>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}
