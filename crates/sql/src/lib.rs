//! SQL tools: declared statements with bound parameters, and free SQL that can only read.
//!
//! Invariants: values reach a statement only as bound parameters. A connection is opened for reading only, under
//! an authorizer that allows a list of things and denies the rest; the statement scanner is the second line. Every
//! question stops at its deadline, when it is asked to, and when its future is dropped.

mod answer;
mod bind;
mod check;
mod config;
mod cte;
mod declared;
mod engine;
mod error;
mod free;
mod functions;
mod pool;
mod reader;
mod rows;
mod scan;
mod script;
mod tables;
mod tools;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use tool::{
    Code, ConfigFault, Fault, Meter, Outcome, Parts, Permit, Probe, ProbeState, Provider, Reply, Talk, Tool,
};

use crate::{
    check::{did_you_mean, pointer},
    declared::Prepared,
    engine::{Bounds, Engine, FreeQuery, Run},
    error::SqlError,
    pool::SqlitePool,
    reader::{Mode, Reader},
};
pub use crate::{
    config::{
        Config, DatabaseConfig, DeprecatedConfig, EffectConfig, ExposureConfig, LimitsConfig, PagingConfig,
        ParameterConfig, ParameterType, QueryConfig, ResultConfig, ToolConfig,
    },
    script::{ScriptError, create_from_script},
};

/// How long a database has for a sign of life.
const PROBE_TIME: Duration = Duration::from_secs(5);

/// Opens the databases and prepares every declared statement against its own.
///
/// Error: everything that is wrong, with its place: what [`Config::check`] finds, a file that cannot be read, a table
/// that is not there, a statement that writes, a parameter that is missing or unused.
pub fn open(config: &Config, parts: &Parts) -> Result<Arc<dyn Provider>, Vec<ConfigFault>> {
    let mut faults = config.check();
    if !config.check_bounds().is_empty() {
        // Nothing is opened under bounds that are none.
        return Err(faults);
    }
    let mut pools = BTreeMap::new();
    for (name, database) in &config.databases {
        let path = std::path::absolute(parts.base_dir.join(&database.sqlite));
        let path = path.unwrap_or_else(|_| parts.base_dir.join(&database.sqlite));
        let pool = SqlitePool::new(name, path, database, &config.limits);
        match pool.at_once(|reader| look(name, database, config.memory_bytes_max, reader)) {
            Ok(found) => faults.extend(found),
            Err(e) => {
                let at = pointer(&["sql", "databases", name, "sqlite"]);
                let text = format!("cannot read {:?}: {}", database.sqlite, error::engine_says(&e).0);
                faults
                    .push(ConfigFault::new(at, text).hint("the file must be a SQLite database that exists"));
                continue;
            }
        }
        pools.insert(name.clone(), pool);
    }
    let mut declared = BTreeMap::new();
    for (name, tool) in &config.tools {
        let Some(pool) = pools.get(&tool.database) else {
            continue;
        };
        match declared::prepare(name, tool, pool) {
            Ok(prepared) => {
                declared.insert(name.clone(), prepared);
            }
            Err(found) => {
                let new = found.into_iter().filter(|fault| !faults.contains(fault)).collect::<Vec<_>>();
                faults.extend(new);
            }
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(Arc::new(Sql::new(config, pools, declared, Arc::clone(&parts.meter))))
}

/// Looks whether a database can be read, and has what it is said to expose.
fn look(
    name: &str,
    config: &DatabaseConfig,
    memory_bytes_max: u64,
    reader: &mut Reader,
) -> rusqlite::Result<Vec<ConfigFault>> {
    reader.schema_changed()?;
    let conn = reader.in_mode(Mode::House);
    conn.query_row(&format!("PRAGMA hard_heap_limit={memory_bytes_max}"), [], |_| Ok(()))?;
    let Some(exposure) = &config.query else {
        return Ok(Vec::new());
    };
    let at = pointer(&["sql", "databases", name, "query", "tables"]);
    let all = tables::all(conn)?;
    let names = || all.iter().map(|(name, ..)| name.as_str());
    let mut faults = Vec::new();
    for (i, table) in exposure.tables.iter().enumerate().filter(|(_, table)| *table != "*") {
        if !names().any(|name| name.eq_ignore_ascii_case(table)) {
            let fault =
                ConfigFault::new(format!("{at}/{i}"), format!("there is no table {table:?} in {name}"));
            faults.push(did_you_mean(fault, table, names()));
        }
    }
    let shown = Arc::new(tables::Tables::load(conn, exposure)?);
    reader.show(Arc::clone(&shown));
    for view in shown.list().filter(|table| table.kind == "view") {
        let sql = format!("SELECT 1 FROM {}", tables::quoted(&view.name));
        let failed = reader.in_mode(Mode::Free).prepare(&sql).is_err();
        if let (true, Some(reader::Denial::Table(hidden))) = (failed, reader.denied()) {
            let fault = ConfigFault::new(
                &at,
                format!("the view {:?} reads {hidden:?}, which is not listed", view.name),
            );
            faults.push(fault.hint("list that table too, or declare a tool for what the view shows"));
        }
    }
    Ok(faults)
}

struct Sql {
    engines: BTreeMap<String, Box<dyn Engine>>,
    declared: BTreeMap<String, Prepared>,
    tools: Arc<[Arc<Tool>]>,
    /// The database that free SQL goes to where the call does not say.
    usual: Option<String>,
    bounds: Bounds,
    sql_chars_max: usize,
    meter: Arc<dyn Meter>,
}

impl Sql {
    fn new(
        config: &Config,
        pools: BTreeMap<String, SqlitePool>,
        declared: BTreeMap<String, Prepared>,
        meter: Arc<dyn Meter>,
    ) -> Self {
        let free = tools::free(config).into_iter().map(Arc::new);
        let tools = declared.values().map(|prepared| Arc::clone(&prepared.tool)).chain(free).collect();
        let usual = tools::usual(config).map(str::to_owned);
        let engines =
            pools.into_iter().map(|(name, pool)| (name, Box::new(pool) as Box<dyn Engine>)).collect();
        let size = |count| usize::try_from(count).unwrap_or(usize::MAX);
        let bounds =
            Bounds { rows_max: size(config.query.rows_max), bytes_max: size(config.query.bytes_max) };
        let sql_chars_max = size(config.query.sql_chars_max);
        Self { engines, declared, tools, usual, bounds, sql_chars_max, meter }
    }

    /// The database a call of free SQL names, or the usual one.
    fn engine(&self, database: Option<String>) -> Result<(String, &dyn Engine), Fault> {
        let name = database.or_else(|| self.usual.clone());
        let name = name.ok_or_else(|| Fault::bad_argument("/database", "say which database"))?;
        match self.engines.get(&name) {
            Some(engine) => Ok((name, engine.as_ref())),
            None => Err(Fault::bad_argument("/database", format!("there is no database {name:?}"))),
        }
    }

    async fn query(&self, permit: &Permit, run: Run) -> Result<(String, Result<Outcome, SqlError>), Fault> {
        let arguments: tools::QueryArguments = permit.parse()?;
        if arguments.sql.chars().nth(self.sql_chars_max).is_some() {
            let text = format!("the statement is longer than {} characters", self.sql_chars_max);
            return Err(Fault::bad_argument("/sql", text));
        }
        let (database, engine) = self.engine(arguments.database)?;
        let offset = arguments.offset;
        let bytes_max = self.bounds.bytes_max.saturating_sub(answer::ENVELOPE_BYTES);
        let bounds = Bounds { bytes_max, ..self.bounds };
        let query = FreeQuery { sql: arguments.sql, params: arguments.params, offset, bounds };
        let page = engine.free(query, run).await;
        let answer = page.map(|page| answer::free(page, offset, bounds));
        Ok((database, answer))
    }

    async fn schema(&self, permit: &Permit, run: Run) -> Result<(String, Result<Outcome, SqlError>), Fault> {
        let arguments: tools::SchemaArguments = permit.parse()?;
        let (database, engine) = self.engine(arguments.database)?;
        let tables = engine.tables(run).await;
        let answer = tables.map(|tables| Outcome::new(json!({ "database": database, "tables": tables })));
        Ok((database, answer))
    }

    async fn call(&self, permit: &Permit, run: Run) -> Result<(String, Result<Outcome, SqlError>), Fault> {
        let name = permit.tool().name.as_str();
        let Some(prepared) = self.declared.get(name) else {
            return match name {
                tools::QUERY => self.query(permit, run).await,
                tools::SCHEMA => self.schema(permit, run).await,
                _ => Err(Fault::new(Code::Internal, format!("sql has no tool {name}"))),
            };
        };
        let Some(engine) = self.engines.get(&prepared.database) else {
            return Err(Fault::new(Code::Internal, format!("{name} has no database")));
        };
        let declared = Arc::clone(&prepared.declared);
        let page = engine.declared(declared, permit.arguments().clone(), run).await;
        let answer = page.and_then(|page| prepared.answer(page, permit.arguments()));
        Ok((prepared.database.clone(), answer))
    }
}

#[async_trait]
impl Provider for Sql {
    fn name(&self) -> &str {
        "sql"
    }

    fn tools(&self) -> Arc<[Arc<Tool>]> {
        Arc::clone(&self.tools)
    }

    fn target(&self, tool: &Tool, arguments: &mut Value) -> Result<String, Fault> {
        if let Some(prepared) = self.declared.get(tool.name.as_str()) {
            return Ok(tools::source(&prepared.database));
        }
        let named = arguments.get("database").and_then(Value::as_str).map(str::to_owned);
        let (database, _) = self.engine(named)?;
        if let Some(members) = arguments.as_object_mut() {
            members.insert("database".to_owned(), json!(database));
        }
        Ok(tools::source(&database))
    }

    async fn run(&self, permit: Permit, talk: Talk) -> Result<Reply, Fault> {
        let began = Instant::now();
        let run = Run { deadline: permit.deadline(), stop: talk.stop().clone() };
        let (database, answer) = self.call(&permit, run).await?;
        self.meter.db_query(permit.tool().name.as_str(), began.elapsed());
        answer.map(Reply::Done).map_err(|error| {
            if let Some(status) = error.source_status() {
                self.meter.api_error(&tools::source(&database), status);
            }
            let mut fault = Fault::from(error);
            if self.declared.contains_key(permit.tool().name.as_str())
                && fault.pointer.as_deref() == Some("/sql")
            {
                // The statement is not the caller's: what it did not take are the arguments as a whole.
                fault.pointer = Some(String::new());
            }
            fault
        })
    }

    async fn probe(&self) -> Vec<Probe> {
        let mut probes = Vec::new();
        for (name, engine) in &self.engines {
            let began = Instant::now();
            let result = engine.probe(PROBE_TIME).await;
            let (connections, connections_max) = engine.connections();
            let mut details = Map::new();
            details.insert("connections".to_owned(), json!(connections));
            details.insert("max_connections".to_owned(), json!(connections_max));
            let state = match result {
                Ok(()) => ProbeState::Healthy,
                Err(SqlError::Locked(_)) => ProbeState::Degraded,
                Err(error) => {
                    tracing::warn!(database = %name, %error, "a database gives no sign of life");
                    details.insert("error".to_owned(), json!(error.to_string()));
                    ProbeState::Unhealthy
                }
            };
            let source = tools::source(name).into();
            probes.push(Probe { source, kind: "database", state, latency: began.elapsed(), details });
        }
        probes
    }

    async fn close(&self) {
        for engine in self.engines.values() {
            engine.close();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
