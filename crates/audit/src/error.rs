use std::{io, path::PathBuf, sync::Arc, time::Duration};

use tool::{Code, Fault};

use crate::Problem;

/// Why the audit log took or told nothing. Whoever gets one from a write must not do what was to be recorded.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AuditError {
    /// The queue stayed full.
    #[error("the audit queue stayed full for {waited_ms} ms; raise `audit.queue_max` or use a faster disk")]
    Full {
        /// How long the write waited for room, in milliseconds.
        waited_ms: u64,
    },
    /// The log cannot be written now. The next write tries to mend it.
    #[error("the audit log cannot be written while {doing}: {source}")]
    Broken {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// The log was closed, or its thread is gone.
    #[error("the audit log is closed")]
    Closed,
    /// Another process writes there.
    #[error("another process writes the audit log in {}; stop it first", folder.display())]
    Locked {
        /// The folder of the log.
        folder: PathBuf,
    },
    /// What is there does not fit together. It is left as it is.
    #[error("the audit log is damaged: {0}; look with `portcullis audit verify`, then move the log away")]
    Damaged(Problem),
    /// The signing key is missing, unreadable or not the one that belongs to the log.
    #[error("{0}")]
    Key(String),
    /// The record itself cannot be taken.
    #[error("{0}")]
    Record(String),
    /// Reading or preparing the folder failed.
    #[error("cannot {doing} in {}: {source}", folder.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Where.
        folder: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
}

impl AuditError {
    pub(crate) fn io(doing: &'static str, folder: &std::path::Path, source: io::Error) -> Self {
        Self::Io { doing, folder: folder.to_owned(), source: Arc::new(source) }
    }
}

/// A call that cannot be recorded is not made: the caller gets 503 and may try again; the log gets the cause.
impl From<AuditError> for Fault {
    fn from(error: AuditError) -> Self {
        match error {
            AuditError::Full { .. } | AuditError::Broken { .. } | AuditError::Closed => {
                Fault::new(Code::Busy, "nothing can be recorded now, so nothing is done; try again later")
                    .retry_after(Duration::from_secs(1))
                    .because(error)
            }
            other => Fault::internal(other),
        }
    }
}
