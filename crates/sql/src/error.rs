use std::time::Duration;

use rusqlite::ffi::ErrorCode;
use tool::{Code, Fault};

/// Why a query came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SqlError {
    /// It is no reading statement. The text says what it is instead.
    #[error("only read-only SELECT statements are allowed, one at a time: {0}")]
    Refused(String),
    /// The statement is wrong, or beyond a bound; the caller can mend it.
    #[error("{0}")]
    Statement(String),
    /// An argument is wrong.
    #[error("{text}")]
    Argument { pointer: String, text: String },
    /// A single row was asked for and there is none.
    #[error("{0}")]
    NoRow(String),
    /// The deadline passed.
    #[error(
        "the query took longer than it may and was stopped; ask for less, or narrow it with WHERE and LIMIT"
    )]
    TimedOut,
    /// The caller went away or asked us to stop.
    #[error("the query was stopped")]
    Stopped,
    /// Every reader was taken until the deadline.
    #[error("every reader of the database {0:?} is taken; try again")]
    Crowded(String),
    /// A writer held its lock for too long.
    #[error("the database {0:?} is locked by a writer; try again")]
    Locked(String),
    /// The database itself fails: missing, damaged, unreadable.
    #[error("the database {database:?} cannot be read")]
    Source { database: String, source: rusqlite::Error },
    /// The work broke.
    #[error("the work broke")]
    Broke(#[source] tokio::task::JoinError),
}

impl SqlError {
    /// The statement is wrong; the text says how.
    pub(crate) fn statement(text: impl Into<String>) -> Self {
        Self::Statement(text.into())
    }

    /// One argument is wrong.
    pub(crate) fn argument(pointer: impl Into<String>, text: impl Into<String>) -> Self {
        Self::Argument { pointer: pointer.into(), text: text.into() }
    }

    /// The word that metrics use for a failure of the source; `None` where the source is not to blame.
    pub(crate) fn source_status(&self) -> Option<&'static str> {
        match self {
            Self::TimedOut => Some("timeout"),
            Self::Locked(_) => Some("locked"),
            Self::Source { .. } => Some("database"),
            _ => None,
        }
    }
}

impl From<SqlError> for Fault {
    fn from(error: SqlError) -> Self {
        let text = error.to_string();
        match error {
            SqlError::Refused(_) => Self::new(Code::Denied, text),
            SqlError::Statement(_) => Self::bad_argument("/sql", text),
            SqlError::Argument { pointer, .. } => Self::bad_argument(pointer, text),
            SqlError::NoRow(_) => Self::not_found(text),
            SqlError::TimedOut => Self::new(Code::TimedOut, text),
            SqlError::Stopped => Self::new(Code::Cancelled, text),
            SqlError::Crowded(_) | SqlError::Locked(_) => {
                Self::new(Code::Busy, text).retry_after(Duration::from_secs(1))
            }
            SqlError::Source { source, .. } => Self::new(Code::Upstream, text).because(source),
            SqlError::Broke(source) => Self::internal(source),
        }
    }
}

/// What the engine says of a statement that it does not take: its message, and the place as a byte offset.
pub(crate) fn engine_says(error: &rusqlite::Error) -> (String, Option<usize>) {
    match error {
        rusqlite::Error::SqlInputError { msg, offset, .. } => (msg.clone(), usize::try_from(*offset).ok()),
        rusqlite::Error::SqliteFailure(_, Some(text)) => (text.clone(), None),
        other => (other.to_string(), None),
    }
}

/// What kind of failure the engine reports.
pub(crate) fn engine_code(error: &rusqlite::Error) -> Option<ErrorCode> {
    match error {
        rusqlite::Error::SqliteFailure(error, _) | rusqlite::Error::SqlInputError { error, .. } => {
            Some(error.code)
        }
        _ => None,
    }
}

/// Sorts a failure while stepping or preparing into what the caller can mend and what the source must.
pub(crate) fn sort(database: &str, error: rusqlite::Error) -> SqlError {
    use ErrorCode as E;
    match engine_code(&error) {
        Some(E::DatabaseBusy | E::DatabaseLocked | E::FileLockingProtocolFailed) => {
            SqlError::Locked(database.to_owned())
        }
        Some(E::TooBig) => SqlError::statement(
            "a text, a blob or the statement itself is longer than the bound `limits.value_bytes_max` allows",
        ),
        Some(E::OutOfMemory) => {
            SqlError::statement("the query needs more memory than it may; sort, group or collect fewer rows")
        }
        Some(
            E::SystemIoFailure
            | E::DatabaseCorrupt
            | E::DiskFull
            | E::CannotOpen
            | E::NotADatabase
            | E::PermissionDenied
            | E::ReadOnly
            | E::InternalMalfunction
            | E::ApiMisuse
            | E::NoLargeFileSupport,
        ) => SqlError::Source { database: database.to_owned(), source: error },
        Some(E::AuthorizationForStatementDenied) => {
            SqlError::statement("a table in the statement does not exist; sql_schema lists what there is")
        }
        _ => SqlError::Statement(engine_says(&error).0),
    }
}

/// The line and column (both from 1) of a byte in a text.
pub(crate) fn place(sql: &str, offset: usize) -> (usize, usize) {
    let before = sql.get(..offset).unwrap_or(sql);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    (line, column)
}
