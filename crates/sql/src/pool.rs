//! A SQLite database: a few connections that can only look, each busy with one question at a time on a blocking
//! thread.

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use rusqlite::{Connection, ErrorCode};
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tool::Stop;

use crate::{
    bind,
    config::{DatabaseConfig, ExposureConfig, LimitsConfig},
    engine::{Declared, Engine, FreeQuery, Page, Run},
    error::{self, SqlError},
    free,
    reader::{Mode, Reader, Watch, allowed_functions},
    rows::{self, RowError},
    tables::{Table, Tables},
};

/// How long an answer waits for its thread after it was told to stop. A single step of the engine can take
/// longer; then the thread ends by itself, and keeps its place in the pool until it does.
const GRACE: Duration = Duration::from_millis(200);

/// One SQLite file and the connections to it.
pub(crate) struct SqlitePool {
    inner: Arc<Inner>,
}

/// What the threads share.
pub(crate) struct Inner {
    pub(crate) name: String,
    path: PathBuf,
    pub(crate) limits: LimitsConfig,
    pub(crate) functions: Arc<HashSet<String>>,
    exposure: Option<ExposureConfig>,
    busy_max: Duration,
    age_max: Duration,
    readers_max: usize,
    idle: Mutex<Vec<Reader>>,
    /// One permit a reader.
    readers: Arc<Semaphore>,
    /// Free SQL may take all readers but one.
    free: Arc<Semaphore>,
}

impl SqlitePool {
    /// A pool for a file that need not be there yet; nothing is opened.
    pub(crate) fn new(name: &str, path: PathBuf, config: &DatabaseConfig, limits: &LimitsConfig) -> Self {
        let readers = usize::try_from(config.readers).unwrap_or(1).max(1);
        let functions = config.query.as_ref().map(|query| query.functions.as_slice()).unwrap_or_default();
        let inner = Inner {
            name: name.to_owned(),
            path,
            limits: limits.clone(),
            functions: allowed_functions(functions),
            exposure: config.query.clone(),
            busy_max: Duration::from_millis(config.busy_timeout_ms),
            age_max: Duration::from_secs(config.recycle_seconds),
            readers_max: readers,
            idle: Mutex::default(),
            readers: Arc::new(Semaphore::new(readers)),
            free: Arc::new(Semaphore::new(readers.saturating_sub(1).max(1))),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Does some work on a connection at once, on this thread. For the time before the first call.
    pub(crate) fn at_once<T>(
        &self,
        work: impl FnOnce(&mut Reader) -> Result<T, rusqlite::Error>,
    ) -> Result<T, rusqlite::Error> {
        let mut reader = self.inner.take()?;
        let result = work(&mut reader);
        self.inner.put(reader);
        result
    }

    /// Does some work on a connection of its own, on a blocking thread, until the run's deadline.
    async fn run<T: Send + 'static>(
        &self,
        run: Run,
        free_sql: bool,
        work: impl FnOnce(&Inner, &mut Reader, &Arc<Watch>) -> Result<T, SqlError> + Send + 'static,
    ) -> Result<T, SqlError> {
        let inner = Arc::clone(&self.inner);
        let permits = inner.admit(&run, free_sql).await?;
        let watch = Watch::new(run.deadline, run.stop.clone());
        // Dropped with this future, whatever ends it.
        let _leaving = Leaving(Arc::clone(&watch));
        let watched = Arc::clone(&watch);
        let mut thread = tokio::task::spawn_blocking(move || {
            let result = inner.work(&watched, work);
            drop(permits);
            result
        });
        tokio::select! {
            done = &mut thread => return done.map_err(SqlError::Broke)?,
            () = run.stop.asked() => {}
            () = tokio::time::sleep_until(run.deadline.into()) => {}
        }
        // The thread sees the same stop and the same deadline.
        match tokio::time::timeout(GRACE, thread).await {
            Ok(done) => done.map_err(SqlError::Broke)?,
            Err(_) => Err(watch.halted().unwrap_or(SqlError::TimedOut)),
        }
    }
}

/// Tells the thread that nobody waits any more.
struct Leaving(Arc<Watch>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl Inner {
    /// Waits for a reader to be free.
    async fn admit(&self, run: &Run, free_sql: bool) -> Result<Vec<OwnedSemaphorePermit>, SqlError> {
        let waiting = async {
            let mut permits = Vec::with_capacity(2);
            if free_sql {
                permits.push(Arc::clone(&self.free).acquire_owned().await);
            }
            permits.push(Arc::clone(&self.readers).acquire_owned().await);
            permits.into_iter().collect::<Result<Vec<_>, _>>()
        };
        tokio::select! {
            // The semaphores close with the pool.
            permits = waiting => permits.map_err(|_| SqlError::Stopped),
            () = run.stop.asked() => Err(SqlError::Stopped),
            () = tokio::time::sleep_until(run.deadline.into()) => Err(SqlError::Crowded(self.name.clone())),
        }
    }

    /// On the blocking thread: takes a reader, does the work under the watch, and puts the reader back.
    fn work<T>(
        &self,
        watch: &Arc<Watch>,
        work: impl FnOnce(&Self, &mut Reader, &Arc<Watch>) -> Result<T, SqlError>,
    ) -> Result<T, SqlError> {
        if let Some(halted) = watch.halted() {
            return Err(halted);
        }
        let mut reader = self.take().map_err(|e| self.sort(watch, e))?;
        reader.watch(watch, self.busy_max).map_err(|e| self.sort(watch, e))?;
        let result = work(self, &mut reader, watch);
        self.put(reader);
        result
    }

    fn take(&self) -> rusqlite::Result<Reader> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(reader) = idle {
            return Ok(reader);
        }
        Reader::open(&self.path, &self.limits, Arc::clone(&self.functions))
    }

    fn put(&self, reader: Reader) {
        if reader.reset(self.age_max) {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
        }
    }

    /// What a failure of the engine means for the caller.
    pub(crate) fn sort(&self, watch: &Watch, error: rusqlite::Error) -> SqlError {
        use ErrorCode as E;
        let stopped = matches!(
            error::engine_code(&error),
            Some(E::OperationInterrupted | E::DatabaseBusy | E::DatabaseLocked)
        );
        match watch.halted() {
            Some(halted) if stopped => halted,
            _ => error::sort(&self.name, error),
        }
    }

    /// Brings what free SQL sees up to date with the schema.
    fn refresh(&self, reader: &mut Reader, watch: &Watch) -> Result<(), SqlError> {
        let Some(exposure) = &self.exposure else {
            return Ok(());
        };
        let look = |reader: &mut Reader| -> rusqlite::Result<()> {
            if reader.schema_changed()? {
                reader.show(Arc::new(Tables::load(reader.in_mode(Mode::House), exposure)?));
            }
            Ok(())
        };
        look(reader).map_err(|e| self.sort(watch, e))
    }

    /// Runs a prepared statement's rows into a page.
    fn page(&self, watch: &Watch, result: Result<Page, RowError>) -> Result<Page, SqlError> {
        result.map_err(|e| match e {
            RowError::Engine(e) => self.sort(watch, e),
            RowError::TooLong(e) => e,
        })
    }

    fn free(&self, reader: &mut Reader, watch: &Arc<Watch>, query: &FreeQuery) -> Result<Page, SqlError> {
        self.refresh(reader, watch)?;
        let mut statement = free::prepare(self, reader, watch, &query.sql)?;
        bind::free(&mut statement, &query.params)?;
        let columns = rows::column_names(&statement);
        let is_late = |e: &rusqlite::Error| {
            error::engine_code(e) == Some(ErrorCode::OperationInterrupted) && watch.is_late()
        };
        let rows = statement.raw_query();
        self.page(watch, rows::collect(columns, rows, query.offset, query.bounds, &is_late))
    }

    fn declared(
        &self,
        reader: &mut Reader,
        watch: &Arc<Watch>,
        declared: &Declared,
        arguments: &Value,
    ) -> Result<Page, SqlError> {
        let failed = |e| self.sort(watch, e);
        if declared.count.is_some() {
            // Page and count are of one moment; `Reader::reset` ends the transaction.
            reader.in_mode(Mode::House).execute_batch("BEGIN").map_err(failed)?;
        }
        let conn = reader.in_mode(Mode::Declared);
        let mut statement = conn.prepare(&declared.statement).map_err(failed)?;
        bind::declared(&mut statement, &declared.parameters, arguments)?;
        let columns = rows::column_names(&statement);
        // Half an answer of a declared tool would be taken for a whole one.
        let result = rows::collect(columns, statement.raw_query(), 0, declared.bounds, &|_| false);
        let mut page = self.page(watch, result)?;
        if let Some(count) = &declared.count {
            page.total = Some(self.count(conn, watch, count, declared, arguments)?);
        }
        Ok(page)
    }

    fn count(
        &self,
        conn: &Connection,
        watch: &Watch,
        count: &str,
        declared: &Declared,
        arguments: &Value,
    ) -> Result<u64, SqlError> {
        let failed = |e| self.sort(watch, e);
        let mut statement = conn.prepare(count).map_err(failed)?;
        bind::declared(&mut statement, &declared.parameters, arguments)?;
        let mut rows = statement.raw_query();
        let counted = match rows.next().map_err(failed)? {
            Some(row) => row.get::<_, i64>(0).map_err(failed)?,
            None => 0,
        };
        Ok(u64::try_from(counted).unwrap_or(0))
    }
}

#[async_trait]
impl Engine for SqlitePool {
    async fn free(&self, query: FreeQuery, run: Run) -> Result<Page, SqlError> {
        self.run(run, true, move |inner, reader, watch| inner.free(reader, watch, &query)).await
    }

    async fn declared(&self, declared: Arc<Declared>, arguments: Value, run: Run) -> Result<Page, SqlError> {
        let work = move |inner: &Inner, reader: &mut Reader, watch: &Arc<Watch>| {
            inner.declared(reader, watch, &declared, &arguments)
        };
        self.run(run, false, work).await
    }

    async fn tables(&self, run: Run) -> Result<Vec<Table>, SqlError> {
        let work = |inner: &Inner, reader: &mut Reader, watch: &Arc<Watch>| {
            inner.refresh(reader, watch)?;
            Ok(reader.tables().list().cloned().collect())
        };
        self.run(run, false, work).await
    }

    async fn probe(&self, time_max: Duration) -> Result<(), SqlError> {
        let inner = Arc::clone(&self.inner);
        let watch = Watch::new(Instant::now() + time_max, Stop::never());
        let _leaving = Leaving(Arc::clone(&watch));
        // A connection of its own: a pool that is fully taken is busy, not dead.
        let thread = tokio::task::spawn_blocking(move || {
            let look = || -> rusqlite::Result<()> {
                let mut reader = Reader::open(&inner.path, &inner.limits, Arc::clone(&inner.functions))?;
                reader.watch(&watch, inner.busy_max)?;
                reader.schema_changed()?;
                reader.in_mode(Mode::House).query_row("SELECT 1", [], |_| Ok(()))
            };
            look().map_err(|e| inner.sort(&watch, e))
        });
        match tokio::time::timeout(time_max, thread).await {
            Ok(done) => done.map_err(SqlError::Broke)?,
            Err(_) => Err(SqlError::TimedOut),
        }
    }

    fn connections(&self) -> (usize, usize) {
        let most = self.inner.readers_max;
        let taken = most.saturating_sub(self.inner.readers.available_permits());
        let idle = self.inner.idle.lock().unwrap_or_else(PoisonError::into_inner).len();
        ((taken + idle).min(most), most)
    }

    fn close(&self) {
        self.inner.readers.close();
        self.inner.free.close();
        self.inner.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
