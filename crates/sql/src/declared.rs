//! Declared tools: each statement is prepared once when the section opens, under the same authorizer as later, so
//! what would fail or write is found before anyone calls it.

use std::sync::Arc;

use rusqlite::{Connection, Error};
use serde_json::{Map, Value, json};
use tool::{ConfigFault, Outcome, Tool, ToolName};

use crate::{
    answer, bind,
    check::{did_you_mean, pointer},
    config::ToolConfig,
    engine::{Bounds, Declared, Page},
    error::{self, SqlError},
    pool::SqlitePool,
    reader::{Denial, Mode, Reader},
    rows, scan, tools,
};

/// A declared tool, ready to run.
pub(crate) struct Prepared {
    pub(crate) tool: Arc<Tool>,
    pub(crate) database: String,
    pub(crate) declared: Arc<Declared>,
    config: ToolConfig,
}

/// Prepares a declared tool, or says all that is wrong with its statements.
pub(crate) fn prepare(
    name: &str,
    config: &ToolConfig,
    pool: &SqlitePool,
) -> Result<Prepared, Vec<ConfigFault>> {
    let at = pointer(&["sql", "tools", name]);
    let tool_name = ToolName::parse(name).map_err(|e| vec![ConfigFault::new(&at, e.to_string())])?;
    let mut faults = Vec::new();
    let statement = scan::trimmed(&config.statement).to_owned();
    let count = count_statement(&at, config, &statement, &mut faults);
    let seen = pool.at_once(|reader| {
        let columns = look(reader, &format!("{at}/statement"), &statement, config, true, &mut faults);
        if let Some(count) = &count {
            look(reader, &format!("{at}/count_statement"), count, config, false, &mut faults);
        }
        Ok(columns)
    });
    let columns = seen.map_err(|e| vec![ConfigFault::new(&at, error::engine_says(&e).0)])?;
    if !faults.is_empty() {
        return Err(faults);
    }
    let tool = tools::declared(tool_name, config, &columns);
    let bounds = Bounds {
        rows_max: if config.result.single { 1 } else { size(config.rows_max) },
        bytes_max: size(config.bytes_max).saturating_sub(answer::ENVELOPE_BYTES),
    };
    let parameters =
        config.parameters.iter().map(|(name, parameter)| (name.clone(), parameter.kind)).collect();
    Ok(Prepared {
        tool: Arc::new(tool),
        database: config.database.clone(),
        declared: Arc::new(Declared { statement, count, parameters, bounds }),
        config: config.clone(),
    })
}

/// The statement that counts all rows, where the tool pages.
fn count_statement(
    at: &str,
    config: &ToolConfig,
    statement: &str,
    faults: &mut Vec<ConfigFault>,
) -> Option<String> {
    config.paging.as_ref()?;
    if let Some(count) = &config.count_statement {
        return Some(scan::trimmed(count).to_owned());
    }
    let Some(limit) = scan::last_limit(statement) else {
        let text = "paging needs `LIMIT :limit OFFSET :offset` at the end of the statement";
        faults.push(ConfigFault::new(format!("{at}/statement"), text));
        return None;
    };
    Some(format!("SELECT COUNT(*) FROM ({})", &statement[..limit]))
}

/// Prepares a statement and looks at its parameters; its columns.
fn look(
    reader: &Reader,
    at: &str,
    sql: &str,
    config: &ToolConfig,
    uses_all: bool,
    faults: &mut Vec<ConfigFault>,
) -> Vec<String> {
    if let Err(refused) = scan::check_reads(sql, &scan::tokens(sql)) {
        faults.push(ConfigFault::new(at, refused.to_string()));
        return Vec::new();
    }
    let prepared = reader.in_mode(Mode::Declared).prepare(sql);
    let statement = match prepared {
        Ok(statement) if statement.readonly() && statement.column_count() > 0 => statement,
        Ok(_) => {
            faults.push(ConfigFault::new(at, "only read-only SELECT statements are allowed"));
            return Vec::new();
        }
        Err(cause) => {
            faults.push(explain(reader, at, sql, &cause));
            return Vec::new();
        }
    };
    let mut used = Vec::new();
    for index in 1..=statement.parameter_count() {
        let Some(name) = bind::bare_name(&statement, index) else {
            let text = "a parameter without a name; name it, as in `:customer_id`";
            faults.push(ConfigFault::new(at, text));
            continue;
        };
        if !config.parameters.contains_key(&name) {
            let names = config.parameters.keys().map(String::as_str);
            let fault =
                ConfigFault::new(at, format!("the statement uses :{name}, which `parameters` does not have"));
            faults.push(did_you_mean(fault, &name, names));
        }
        used.push(name);
    }
    for name in config.parameters.keys().filter(|name| uses_all && !used.contains(name)) {
        let place = at.replace("/statement", "/parameters");
        let fault = ConfigFault::new(
            format!("{place}/{name}"),
            format!("the statement does not use the parameter {name:?}"),
        );
        faults.push(did_you_mean(fault, name, used.iter().map(String::as_str)));
    }
    rows::column_names(&statement)
}

fn explain(reader: &Reader, at: &str, sql: &str, cause: &Error) -> ConfigFault {
    match (reader.denied(), cause) {
        (Some(Denial::Function(name)), _) => {
            ConfigFault::new(at, format!("the function {name} is not allowed"))
                .hint("the database's `query.functions` allows more")
        }
        (Some(_), _) | (None, Error::MultipleStatement) => {
            ConfigFault::new(at, "only read-only SELECT statements are allowed, one in each tool")
        }
        (None, cause) => {
            let (message, offset) = error::engine_says(cause);
            let place = offset.map(|offset| error::place(sql, offset));
            let text = place
                .map(|(line, column)| format!("{message} at line {line} column {column} of the statement"));
            let fault = ConfigFault::new(at, text.unwrap_or_else(|| message.clone()));
            match message.strip_prefix("no such table: ") {
                Some(name) => {
                    let names = table_names(reader.in_mode(Mode::House));
                    did_you_mean(fault, name, names.iter().map(String::as_str))
                }
                None => fault,
            }
        }
    }
}

fn table_names(conn: &Connection) -> Vec<String> {
    crate::tables::all(conn).unwrap_or_default().into_iter().map(|(name, ..)| name).collect()
}

impl Prepared {
    /// The answer as the configuration shapes it.
    pub(crate) fn answer(&self, page: Page, arguments: &Value) -> Result<Outcome, SqlError> {
        if self.config.result.single {
            let Some(row) = page.rows.into_iter().next() else {
                return Err(SqlError::NoRow(fill(&self.config.result.not_found, arguments)));
            };
            return Ok(Outcome::new(row));
        }
        let mut answer = Map::new();
        let row_count = page.rows.len();
        answer.insert(self.config.result.rows.clone(), Value::Array(page.rows));
        match &self.config.paging {
            Some(paging) => {
                for name in [&paging.limit, &paging.offset] {
                    answer.insert(name.clone(), arguments.get(name).cloned().unwrap_or(json!(0)));
                }
                answer.insert("total_count".to_owned(), json!(page.total.unwrap_or(0)));
            }
            None => {
                answer.insert("row_count".to_owned(), json!(row_count));
            }
        }
        if let Some(cut) = page.cut {
            answer.insert("truncated".to_owned(), json!(true));
            self.tell_next(cut, row_count, arguments, &mut answer);
        }
        Ok(answer::outcome(answer, page.cut))
    }

    /// How to get the rows that were left out: behind those that are here, where the tool pages.
    fn tell_next(&self, cut: &str, row_count: usize, arguments: &Value, answer: &mut Map<String, Value>) {
        let why = answer::why(cut, self.declared.bounds);
        let next = match &self.config.paging {
            Some(paging) => {
                let offset = arguments.get(&paging.offset).and_then(Value::as_u64).unwrap_or(0);
                let next = offset.saturating_add(row_count as u64);
                answer.insert("next_offset".to_owned(), json!(next));
                format!("{why}; ask again with {} {next}", paging.offset)
            }
            None => format!("{why}; give arguments that match fewer rows"),
        };
        answer.insert("next".to_owned(), json!(next));
    }
}

/// Puts arguments into a sentence where it has `{name}`; a long one is cut.
fn fill(sentence: &str, arguments: &Value) -> String {
    let mut filled = sentence.to_owned();
    for (name, value) in arguments.as_object().into_iter().flatten() {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let short: String = text.chars().take(80).collect();
        filled = filled.replace(&format!("{{{name}}}"), &short);
    }
    filled
}

fn size(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
