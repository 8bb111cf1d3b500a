//! One connection that can only look.
//!
//! Invariant: a statement of a caller's is prepared only in [`Mode::Free`] or [`Mode::Declared`], where the
//! engine itself asks [`Sight`] about every table, column and function, and everything but reading is denied.

use std::{
    collections::HashSet,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rusqlite::{
    Connection, OpenFlags,
    config::DbConfig,
    hooks::{AuthAction, AuthContext, Authorization},
    limits::Limit,
};
use tool::Stop;

use crate::{config::LimitsConfig, error::SqlError, functions, tables::Tables};

/// How many instructions run between two looks at the clock.
const LOOK_EVERY: i32 = 1_000;

/// In whose name statements are prepared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Our own few statements: pragmas, begin, rollback.
    House,
    /// A statement from the configuration: it reads any table.
    Declared,
    /// A statement of a caller's: it reads what it is shown.
    Free,
    /// A statement of a caller's that the mirror takes: a name that is not shown is one of its own common table
    /// expressions.
    Vouched,
}

/// What the authorizer denied first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Denial {
    /// A table that is not shown.
    Table(String),
    /// A column that is not shown.
    Column(String, String),
    /// A function that is not allowed.
    Function(String),
    /// Anything that is not reading.
    Other,
}

/// What statements on one connection may see; the authorizer's memory.
struct Sight {
    mode: Mode,
    tables: Arc<Tables>,
    functions: Arc<HashSet<String>>,
    denied: Option<Denial>,
}

/// One connection.
pub(crate) struct Reader {
    conn: Connection,
    sight: Arc<Mutex<Sight>>,
    opened: Instant,
    schema_version: i64,
}

/// The limits of one run: its deadline, and two ways to hear that it should stop.
pub(crate) struct Watch {
    deadline: Instant,
    stop: Stop,
    left: std::sync::atomic::AtomicBool,
}

impl Watch {
    pub(crate) fn new(deadline: Instant, stop: Stop) -> Arc<Self> {
        Arc::new(Self { deadline, stop, left: false.into() })
    }

    /// Nobody waits for the result any more.
    pub(crate) fn leave(&self) {
        self.left.store(true, std::sync::atomic::Ordering::Release);
    }

    /// Why the work must stop now, where it must. Whoever asks it to stop when its time is up does so for that.
    pub(crate) fn halted(&self) -> Option<SqlError> {
        if self.left.load(std::sync::atomic::Ordering::Acquire) {
            return Some(SqlError::Stopped);
        }
        if Instant::now() >= self.deadline {
            return Some(SqlError::TimedOut);
        }
        self.stop.is_asked().then_some(SqlError::Stopped)
    }

    /// True where the time is up while somebody still waits.
    pub(crate) fn is_late(&self) -> bool {
        matches!(self.halted(), Some(SqlError::TimedOut))
    }

    /// The time that is left.
    pub(crate) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

impl Reader {
    /// Opens a file for reading only, and bars everything that reading does not need.
    pub(crate) fn open(
        path: &Path,
        limits: &LimitsConfig,
        functions: Arc<HashSet<String>>,
    ) -> rusqlite::Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        Self::harden(Connection::open_with_flags(path, flags)?, limits, functions)
    }

    /// An empty database in memory with the same bars: the mirror that [`Tables::reflect`] fills.
    pub(crate) fn mirror(limits: &LimitsConfig, functions: Arc<HashSet<String>>) -> rusqlite::Result<Self> {
        Self::harden(Connection::open_in_memory()?, limits, functions)
    }

    fn harden(
        conn: Connection,
        limits: &LimitsConfig,
        functions: Arc<HashSet<String>>,
    ) -> rusqlite::Result<Self> {
        set_switches(&conn)?;
        set_limits(&conn, limits)?;
        let value_bytes_max = usize::try_from(limits.value_bytes_max).unwrap_or(usize::MAX);
        functions::make_linear(&conn, value_bytes_max)?;
        let sight = Sight { mode: Mode::House, tables: Arc::default(), functions, denied: None };
        let sight = Arc::new(Mutex::new(sight));
        let asked = Arc::clone(&sight);
        conn.authorizer(Some(move |context: AuthContext<'_>| lock(&asked).judge(context)))?;
        Ok(Self { conn, sight, opened: Instant::now(), schema_version: -1 })
    }

    /// The connection, with statements now prepared in the name of `mode`.
    pub(crate) fn in_mode(&self, mode: Mode) -> &Connection {
        let mut sight = lock(&self.sight);
        sight.mode = mode;
        sight.denied = None;
        &self.conn
    }

    /// What was denied since [`Reader::in_mode`].
    pub(crate) fn denied(&self) -> Option<Denial> {
        lock(&self.sight).denied.clone()
    }

    /// What free SQL sees, as known now.
    pub(crate) fn tables(&self) -> Arc<Tables> {
        Arc::clone(&lock(&self.sight).tables)
    }

    /// Shows free SQL these tables.
    pub(crate) fn show(&self, tables: Arc<Tables>) {
        lock(&self.sight).tables = tables;
    }

    /// True where the schema is another than the last time this was asked.
    pub(crate) fn schema_changed(&mut self) -> rusqlite::Result<bool> {
        let conn = self.in_mode(Mode::House);
        let version: i64 = conn.query_row("PRAGMA schema_version", [], |row| row.get(0))?;
        let changed = version != self.schema_version;
        self.schema_version = version;
        Ok(changed)
    }

    /// From now on every statement stops when the watch says so.
    pub(crate) fn watch(&self, watch: &Arc<Watch>, busy_max: Duration) -> rusqlite::Result<()> {
        self.conn.busy_timeout(busy_max.min(watch.left()))?;
        let watch = Arc::clone(watch);
        self.conn.progress_handler(LOOK_EVERY, Some(move || watch.halted().is_some()))
    }

    /// Makes it ready for the next caller; false where it is not fit for one.
    pub(crate) fn reset(&self, age_max: Duration) -> bool {
        let conn = self.in_mode(Mode::House);
        let clear = conn.progress_handler(0, None::<fn() -> bool>).is_ok();
        let ended = conn.is_autocommit() || conn.execute_batch("ROLLBACK").is_ok();
        clear && ended && !conn.is_busy() && self.opened.elapsed() < age_max
    }
}

impl Sight {
    fn judge(&mut self, context: AuthContext<'_>) -> Authorization {
        if self.mode == Mode::House {
            return Authorization::Allow;
        }
        match self.denial(&context) {
            None => Authorization::Allow,
            Some(denial) => {
                self.denied.get_or_insert(denial);
                Authorization::Deny
            }
        }
    }

    /// The list of what is allowed is here and ends here.
    ///
    /// `context.accessor` is not looked at: SQLite sets it to the name of any common table expression too, so a
    /// caller could borrow the rights of a view by its name.
    fn denial(&self, context: &AuthContext<'_>) -> Option<Denial> {
        match context.action {
            AuthAction::Select | AuthAction::Recursive => None,
            AuthAction::Read { table_name, column_name } => {
                let seen = match context.database_name {
                    Some("main") => self.sees(table_name, column_name),
                    None if column_name.is_empty() => self.sees_name(table_name),
                    _ => Err(Denial::Table(table_name.to_owned())),
                };
                seen.err()
            }
            // Full-text tables ask by themselves whether somebody else wrote; a caller's pragma is refused by the
            // scanner, and reading `pragma_data_version` as a table is denied above.
            AuthAction::Pragma { pragma_name: "data_version", pragma_value: None } => None,
            AuthAction::Function { function_name } => {
                let name = function_name.to_ascii_lowercase();
                (!self.functions.contains(&name)).then(|| Denial::Function(function_name.to_owned()))
            }
            _ => Some(Denial::Other),
        }
    }
}

impl Sight {
    /// Whether a column of a table can be read.
    fn sees(&self, table_name: &str, column_name: &str) -> Result<(), Denial> {
        let table = table_name.to_ascii_lowercase();
        if self.mode == Mode::Declared || functions::ALLOWED_TABLES.contains(&table.as_str()) {
            return Ok(());
        }
        if !self.tables.reads(&table) {
            return Err(Denial::Table(table_name.to_owned()));
        }
        if self.tables.hides(&table, &column_name.to_ascii_lowercase()) {
            return Err(Denial::Column(table_name.to_owned(), column_name.to_owned()));
        }
        Ok(())
    }

    /// Whether something of this name can be counted without looking at a column of it. SQLite asks so, without a
    /// database, for tables and common table expressions alike.
    fn sees_name(&self, name: &str) -> Result<(), Denial> {
        let lower = name.to_ascii_lowercase();
        let own =
            self.tables.is_no_table(&lower) || (self.mode == Mode::Vouched && !self.tables.is_module(&lower));
        if own { Ok(()) } else { self.sees(name, "") }
    }
}

/// The functions that are allowed: ours and these.
pub(crate) fn allowed_functions(more: &[String]) -> Arc<HashSet<String>> {
    let usual = functions::ALLOWED.iter().map(|name| (*name).to_owned());
    Arc::new(usual.chain(more.iter().map(|name| name.to_ascii_lowercase())).collect())
}

/// Source: <https://www.sqlite.org/c3ref/c_dbconfig_defensive.html>, <https://www.sqlite.org/security.html>.
fn set_switches(conn: &Connection) -> rusqlite::Result<()> {
    for (switch, on) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, false),
        (DbConfig::SQLITE_DBCONFIG_DQS_DML, false),
        (DbConfig::SQLITE_DBCONFIG_DQS_DDL, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_CREATE, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_WRITE, false),
        (DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true),
    ] {
        conn.set_db_config(switch, on)?;
    }
    // Sorting and grouping stay in memory, under the process-wide bound: no temporary file is ever written.
    conn.execute_batch("PRAGMA temp_store=MEMORY; PRAGMA cell_size_check=ON; PRAGMA mmap_size=0;")
}

/// Source: <https://www.sqlite.org/limits.html>.
fn set_limits(conn: &Connection, limits: &LimitsConfig) -> rusqlite::Result<()> {
    for (limit, value) in [
        (Limit::SQLITE_LIMIT_LENGTH, limits.value_bytes_max),
        (Limit::SQLITE_LIMIT_SQL_LENGTH, 100_000),
        (Limit::SQLITE_LIMIT_COLUMN, limits.columns_max),
        (Limit::SQLITE_LIMIT_EXPR_DEPTH, limits.expression_depth_max),
        (Limit::SQLITE_LIMIT_COMPOUND_SELECT, limits.selects_max),
        (Limit::SQLITE_LIMIT_VDBE_OP, limits.instructions_max),
        (Limit::SQLITE_LIMIT_FUNCTION_ARG, 50),
        (Limit::SQLITE_LIMIT_ATTACHED, 0),
        (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, limits.pattern_bytes_max),
        (Limit::SQLITE_LIMIT_VARIABLE_NUMBER, limits.parameters_max),
        (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 1),
        (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
    ] {
        conn.set_limit(limit, i32::try_from(value).unwrap_or(i32::MAX))?;
    }
    Ok(())
}

fn lock(sight: &Mutex<Sight>) -> MutexGuard<'_, Sight> {
    sight.lock().unwrap_or_else(PoisonError::into_inner)
}
