//! The store in one SQLite file.
//!
//! Invariants: one connection writes, so writers of this process queue fairly instead of finding the file
//! locked; several read, each statement from one consistent state. Every statement is a constant with bound
//! parameters. What takes more than one statement is one transaction.

mod artefacts;
mod changes;
mod grants;
mod keys;
mod ledger;
mod pins;
mod sessions;
mod tasks;
mod usage;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::de::{DeserializeOwned, IntoDeserializer, value::Error as WordError};
use sqlx::{
    Row as _, SqlSafeStr as _, Sqlite, SqlitePool, Transaction,
    migrate::{Migration, MigrationType, Migrator},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous},
};
use state::StateError;
use tool::Timestamp;

use crate::error::{OpenError, failed};

/// The steps of the schema, oldest first: `(version, name, statements)`. A step that was released is never
/// edited; the next one goes below it.
const STEPS: &[Step] = &[
    (1, "first", include_str!("../migrations/sqlite/0001_first.sql")),
    (2, "mcp", include_str!("../migrations/sqlite/0002_mcp.sql")),
    (3, "pins", include_str!("../migrations/sqlite/0003_pins.sql")),
    (4, "grants", include_str!("../migrations/sqlite/0004_grants.sql")),
];

type Step = (i64, &'static str, &'static str);

/// `PRAGMA application_id` of our files: "Port" in ASCII.
const APPLICATION_ID: i64 = 0x506f_7274;

/// Connections that read.
const READERS_MAX: u32 = 4;

/// The longest an operation waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest a statement waits for another process to let go of the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The write-ahead log is cut back to this after a checkpoint.
const WAL_BYTES_MAX: &str = "16777216";

/// Keys, usage, ledger, artefacts, changes, tasks, sessions, pins and grants in one SQLite file.
///
/// Implements [`state::Keys`], [`state::Usage`], [`state::Ledger`], [`state::Artefacts`], [`state::Changes`],
/// [`state::Tasks`], [`state::Sessions`], [`state::Pins`] and [`state::Grants`]. Keys, ledger, changes, new tasks and ended
/// ones, pins and grants are on disk when a write returns; the rest survives the end of the process, and reaches the disk with the next durable write or checkpoint.
pub struct SqliteStore {
    path: PathBuf,
    readers: SqlitePool,
    writer: SqlitePool,
}

/// What a write outlives once it has returned.
#[derive(Clone, Copy)]
enum Durability {
    /// The end of the process, but maybe not a power cut: no `fsync` at the end.
    Process,
    /// A power cut: an `fsync` of the write-ahead log before it returns.
    PowerCut,
}

impl SqliteStore {
    /// Opens the store, makes it where there is none (mode 0600), and brings its schema up to date.
    ///
    /// One process at a time: the caller holds the lock of the data directory.
    ///
    /// Error: where the file cannot be read and written, is damaged, belongs to another program, or was written
    /// by a newer version. The text names the file and says what to do.
    pub async fn open(path: &Path) -> Result<Arc<Self>, StateError> {
        let open = async {
            // An absolute path has no special meaning for SQLite, as `:memory:` and `file:` have.
            let path = std::path::absolute(path).map_err(|source| OpenError::File { source })?;
            make_private(&path).await.map_err(|source| OpenError::File { source })?;
            let writer = connect(write_options(&path), 1).await?;
            recognize(&writer).await?;
            migrate(&writer, STEPS).await?;
            let readers = connect(read_options(&path), READERS_MAX).await?;
            Ok::<_, OpenError>(Arc::new(Self { path, readers, writer }))
        };
        open.await.map_err(|error| error.at(path))
    }

    /// Waits for the work under way, moves the write-ahead log into the file and closes it. Whatever is asked
    /// afterwards fails.
    pub async fn close(&self) {
        if self.writer.is_closed() {
            return;
        }
        self.readers.close().await;
        let checkpoint = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&self.writer).await;
        if let Err(error) = checkpoint.map_err(self.failed("move the write-ahead log")) {
            // Nothing is lost: the next start reads the log.
            tracing::warn!(error = %error, "the store was closed with its write-ahead log beside it");
        }
        self.writer.close().await;
    }

    /// Begins a write. Dropping the transaction takes everything back.
    async fn begin(&self, outlives: Durability) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
        // One trip to the connection's thread: it runs both before it answers.
        let statements = match outlives {
            Durability::Process => "PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE",
            Durability::PowerCut => "PRAGMA synchronous = FULL; BEGIN IMMEDIATE",
        };
        self.writer.begin_with(statements).await
    }

    /// Deletes rows by `statement`, whose one parameter is this, and says how many.
    async fn forget<'p, P>(&self, statement: &'static str, parameter: P) -> Result<u64, sqlx::Error>
    where
        P: sqlx::Encode<'p, Sqlite> + sqlx::Type<Sqlite> + Send + 'p,
    {
        let mut transaction = self.begin(Durability::Process).await?;
        let deleted = sqlx::query(statement).bind(parameter).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(deleted.rows_affected())
    }

    /// Turns an error of SQLite's into one that says what could not be done, where, and what to do.
    fn failed(&self, doing: &'static str) -> impl FnOnce(sqlx::Error) -> StateError {
        move |error| failed(doing, &self.path, error)
    }
}

/// A column that holds a moment.
fn moment(row: &SqliteRow, column: &'static str) -> Result<Timestamp, sqlx::Error> {
    row.try_get(column).map(Timestamp::from_unix_ms)
}

/// A column that may hold a moment.
fn moment_or_none(row: &SqliteRow, column: &'static str) -> Result<Option<Timestamp>, sqlx::Error> {
    Ok(row.try_get::<Option<i64>, _>(column)?.map(Timestamp::from_unix_ms))
}

/// A column that holds JSON.
fn json<T: DeserializeOwned>(row: &SqliteRow, column: &'static str) -> Result<T, sqlx::Error> {
    let text: String = row.try_get(column)?;
    serde_json::from_str(&text).map_err(|source| undecodable(column, source))
}

/// A column that holds one of the names of an enum.
fn word<T: DeserializeOwned>(row: &SqliteRow, column: &'static str) -> Result<T, sqlx::Error> {
    let text: String = row.try_get(column)?;
    T::deserialize(text.into_deserializer()).map_err(|source: WordError| undecodable(column, source))
}

/// The JSON text of a value.
fn to_json(value: &impl serde::Serialize) -> Result<String, sqlx::Error> {
    serde_json::to_string(value).map_err(|source| sqlx::Error::Encode(source.into()))
}

/// A number as SQLite's integers have it, which end at `i64::MAX`; nothing of ours comes near.
fn sql_integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// True where a unique column already holds the value.
fn is_taken(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

fn undecodable(column: &str, source: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: source.into() }
}

/// Makes the file where there is none, and lets only this user read it. SQLite gives its log and index the same
/// mode.
async fn make_private(path: &Path) -> std::io::Result<()> {
    let mut options = tokio::fs::OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true);
    #[cfg(unix)]
    options.mode(0o600);
    let file = options.open(path).await?;
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600)).await?;
    drop(file);
    Ok(())
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(path).foreign_keys(true).busy_timeout(BUSY_TIMEOUT)
}

fn write_options(path: &Path) -> SqliteConnectOptions {
    options(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("journal_size_limit", WAL_BYTES_MAX)
}

fn read_options(path: &Path) -> SqliteConnectOptions {
    options(path).read_only(true)
}

async fn connect(options: SqliteConnectOptions, connections_max: u32) -> Result<SqlitePool, OpenError> {
    let pool = SqlitePoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // A file does not go away as a server does: connections live as long as the store.
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false);
    pool.connect_with(options).await.map_err(|source| OpenError::Database { source })
}

/// Refuses a database that holds something and is not ours. The table of steps alone is what a first start leaves
/// that was killed at once.
async fn recognize(writer: &SqlitePool) -> Result<(), OpenError> {
    let (others, application_id): (i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM sqlite_schema WHERE tbl_name <> '_sqlx_migrations'), application_id \
         FROM pragma_application_id",
    )
    .fetch_one(writer)
    .await
    .map_err(|source| OpenError::Database { source })?;
    if others > 0 && application_id != APPLICATION_ID { Err(OpenError::Foreign) } else { Ok(()) }
}

/// Takes the steps that the schema has not taken yet, each in a transaction with its bookkeeping.
async fn migrate(writer: &SqlitePool, steps: &[Step]) -> Result<(), OpenError> {
    let known = steps.iter().map(|(version, ..)| *version).max().unwrap_or(0);
    let steps = steps.iter().map(|&(version, name, statements)| {
        Migration::new(version, name.into(), MigrationType::Simple, statements.into_sql_str(), false)
    });
    let migrator = Migrator::with_migrations(steps.collect());
    migrator.run(writer).await.map_err(|error| OpenError::of_migration(error, known))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::needless_pass_by_value)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    async fn open() -> (tempfile::TempDir, Arc<SqliteStore>) {
        let folder = tempfile::TempDir::new().unwrap();
        let store = SqliteStore::open(&folder.path().join("store.db")).await.unwrap();
        (folder, store)
    }

    /// What the store says when a statement fails on this pool.
    async fn check(store: &SqliteStore, pool: &SqlitePool, statement: &'static str, expected: Expect) {
        let error = sqlx::raw_sql(statement).execute(pool).await.unwrap_err();
        let text = store.failed("try")(error).to_string();
        expected.assert_eq(text.split_once("store.db\": ").unwrap().1);
    }

    #[tokio::test]
    async fn each_write_lasts_as_long_as_it_says() {
        let (_folder, store) = open().await;
        // PRAGMA synchronous: 1 is NORMAL, 2 is FULL.
        for (outlives, level) in [
            (Durability::PowerCut, 2),
            (Durability::Process, 1),
            (Durability::Process, 1),
            (Durability::PowerCut, 2),
        ] {
            let mut transaction = store.begin(outlives).await.unwrap();
            let synchronous: i64 =
                sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut *transaction).await.unwrap();
            assert_eq!(synchronous, level);
        }
    }

    #[tokio::test]
    async fn what_fails_says_what_to_do() {
        let (_folder, store) = open().await;
        check(
            &store,
            &store.readers,
            "DELETE FROM keys",
            expect!["this user must be able to read and write the file and its folder"],
        )
        .await;
        check(&store, &store.readers, "SELECT nothing", expect!["the log has the cause"]).await;
        let full = "PRAGMA max_page_count = 1; INSERT INTO change_journal \
                    SELECT NULL, 'a', 1, 'e', hex(zeroblob(100000))";
        check(&store, &store.writer, full, expect!["the disk is full; make room"]).await;
        let other = connect(write_options(&store.path).busy_timeout(Duration::ZERO), 1).await.unwrap();
        let _held = store.begin(Durability::Process).await.unwrap();
        check(&store, &other, "BEGIN IMMEDIATE", expect!["another process holds it; stop that process"])
            .await;
    }

    #[tokio::test]
    async fn a_store_of_every_earlier_version_is_brought_up_to_date() {
        for steps in 1..STEPS.len() {
            let folder = tempfile::TempDir::new().unwrap();
            let path = folder.path().join("store.db");
            let earlier = connect(write_options(&path).create_if_missing(true), 1).await.unwrap();
            migrate(&earlier, &STEPS[..steps]).await.unwrap();
            let row = "INSERT INTO usage_by_day VALUES ('key_1', '2026-11-21', 7)";
            sqlx::raw_sql(row).execute(&earlier).await.unwrap();
            earlier.close().await;
            let store = SqliteStore::open(&path).await.unwrap();
            let now = "2026-11-21T00:00:00Z".parse().unwrap();
            assert_eq!(state::Usage::read(&*store, "key_1", now).await.unwrap(), (7, 7), "{steps}");
            assert_eq!(state::Tasks::unfinished(&*store).await.unwrap(), [], "{steps}");
        }
    }

    #[tokio::test]
    async fn closing_twice_is_closing_once() {
        let (_folder, store) = open().await;
        store.close().await;
        store.close().await;
    }
}
