//! The seam between tools and database engines: what a tool asks, and what an engine answers with.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use serde_json::Value;
use tool::Stop;

use crate::{config::ParameterType, error::SqlError, tables::Table};

/// How long one question may take, and how it hears that it should stop.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) deadline: Instant,
    pub(crate) stop: Stop,
}

/// How much an answer may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Rows at most.
    pub(crate) rows_max: usize,
    /// Bytes of the rows as JSON, with their commas, at most.
    pub(crate) bytes_max: usize,
}

/// A statement of a caller's.
#[derive(Clone, Debug)]
pub(crate) struct FreeQuery {
    pub(crate) sql: String,
    /// An array by position, an object by name, or null.
    pub(crate) params: Value,
    /// Rows to skip.
    pub(crate) offset: u64,
    pub(crate) bounds: Bounds,
}

/// A statement of the configuration's.
#[derive(Debug)]
pub(crate) struct Declared {
    pub(crate) statement: String,
    /// Counts all rows, where the tool tells their number.
    pub(crate) count: Option<String>,
    pub(crate) parameters: Vec<(String, ParameterType)>,
    pub(crate) bounds: Bounds,
}

/// Rows, and what became of the others.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page {
    /// The names of the columns, each of them once.
    pub(crate) columns: Vec<String>,
    /// Each an object with its members in the order of the columns.
    pub(crate) rows: Vec<Value>,
    /// The bound that kept further rows out: `rows`, `bytes` or `time`.
    pub(crate) cut: Option<&'static str>,
    /// All rows there are, where that was counted.
    pub(crate) total: Option<u64>,
}

/// A database engine. All its questions are read-only, stop at their deadline and when asked, and also when their
/// future is dropped.
#[async_trait]
pub(crate) trait Engine: Send + Sync {
    /// Answers a statement of a caller's, within what the database exposes.
    async fn free(&self, query: FreeQuery, run: Run) -> Result<Page, SqlError>;

    /// Answers a declared statement; `arguments` is an object with every required parameter.
    async fn declared(&self, declared: Arc<Declared>, arguments: Value, run: Run) -> Result<Page, SqlError>;

    /// The tables that free SQL sees.
    async fn tables(&self, run: Run) -> Result<Vec<Table>, SqlError>;

    /// Asks the database for a sign of life, beside all other questions.
    async fn probe(&self, time_max: Duration) -> Result<(), SqlError>;

    /// How many connections are open, and how many there may be.
    fn connections(&self) -> (usize, usize);

    /// Closes the connections that are idle.
    fn close(&self);
}
