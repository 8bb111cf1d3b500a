use std::path::Path;

use sqlx::migrate::MigrateError;
use state::StateError;

/// Why a file cannot be the store.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// The file itself cannot be made or opened.
    #[error("{source}; its folder must exist, and this user must be able to write to both")]
    File { source: std::io::Error },
    /// SQLite cannot work with it.
    #[error("{}", advice(source))]
    Database { source: sqlx::Error },
    /// Something else keeps its data there.
    #[error("it is the database of another program; choose another file")]
    Foreign,
    /// A later version has been here.
    #[error(
        "it was written by a newer version of portcullis (its schema has step {step}, this version knows \
         {known}); start that version again, or put back a copy from before the upgrade"
    )]
    Newer { step: i64, known: i64 },
    /// The schema's history is not ours.
    #[error(
        "its schema was made by another build of portcullis (step {step} differs); start the build that made \
         it, or put back a copy from before it"
    )]
    Altered { step: i64 },
    /// A step of the schema failed.
    #[error("its schema cannot be brought up to date; put back a copy and look into the log for the cause")]
    Schema { source: MigrateError },
}

impl OpenError {
    /// The error at the door of the room, with the path in it.
    pub(crate) fn at(self, path: &Path) -> StateError {
        StateError::new(format!("cannot open the store {path:?}: {self}"), self)
    }

    /// What went wrong while the schema was brought up to date; `known` is our newest step.
    pub(crate) fn of_migration(error: MigrateError, known: i64) -> Self {
        match error {
            MigrateError::VersionMissing(step) if step > known => Self::Newer { step, known },
            MigrateError::VersionMissing(step) | MigrateError::VersionMismatch(step) => {
                Self::Altered { step }
            }
            MigrateError::Execute(source) => Self::Database { source },
            source => Self::Schema { source },
        }
    }
}

/// The error of an operation on an open store: what could not be done (`read the key`), where, and what to do.
pub(crate) fn failed(doing: &str, path: &Path, error: sqlx::Error) -> StateError {
    StateError::new(format!("cannot {doing} in the store {path:?}: {}", advice(&error)), error)
}

/// What to do about an error of SQLite's, by its primary result code (<https://sqlite.org/rescode.html>).
fn advice(error: &sqlx::Error) -> &'static str {
    match error {
        sqlx::Error::PoolClosed => return "it is closed; the server is stopping",
        sqlx::Error::PoolTimedOut => return "all connections are busy; look whether the disk keeps up",
        _ => {}
    }
    let code = error.as_database_error().and_then(|e| e.code()?.parse::<i32>().ok());
    match code.map(|code| code & 0xff) {
        Some(5 | 6) => "another process holds it; stop that process",
        Some(3 | 8 | 14 | 23) => "this user must be able to read and write the file and its folder",
        Some(10) => "the disk refuses to read or write; look into the log of the system",
        Some(11 | 26) => "it is damaged or no SQLite database; move it away and put back a copy",
        Some(13) => "the disk is full; make room",
        _ => "the log has the cause",
    }
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value)] // `check(input, expect![..])`
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(errors: impl IntoIterator<Item = StateError>, expected: Expect) {
        let lines: Vec<_> = errors.into_iter().map(|e| e.to_string()).collect();
        expected.assert_eq(&lines.join("\n"));
    }

    #[test]
    fn every_error_says_where_and_what_to_do() {
        let path = Path::new("/var/lib/portcullis/store.db");
        let read_key = |error| failed("read the key", path, error);
        let migration = |error| OpenError::of_migration(error, 3).at(path);
        check(
            [
                read_key(sqlx::Error::PoolClosed),
                read_key(sqlx::Error::PoolTimedOut),
                read_key(sqlx::Error::RowNotFound),
                migration(MigrateError::VersionMissing(4)),
                migration(MigrateError::VersionMissing(2)),
                migration(MigrateError::VersionMismatch(3)),
                migration(MigrateError::Dirty(3)),
                OpenError::Foreign.at(path),
            ],
            expect![[r#"
                cannot read the key in the store "/var/lib/portcullis/store.db": it is closed; the server is stopping
                cannot read the key in the store "/var/lib/portcullis/store.db": all connections are busy; look whether the disk keeps up
                cannot read the key in the store "/var/lib/portcullis/store.db": the log has the cause
                cannot open the store "/var/lib/portcullis/store.db": it was written by a newer version of portcullis (its schema has step 4, this version knows 3); start that version again, or put back a copy from before the upgrade
                cannot open the store "/var/lib/portcullis/store.db": its schema was made by another build of portcullis (step 2 differs); start the build that made it, or put back a copy from before it
                cannot open the store "/var/lib/portcullis/store.db": its schema was made by another build of portcullis (step 3 differs); start the build that made it, or put back a copy from before it
                cannot open the store "/var/lib/portcullis/store.db": its schema cannot be brought up to date; put back a copy and look into the log for the cause
                cannot open the store "/var/lib/portcullis/store.db": it is the database of another program; choose another file"#]],
        );
    }
}
