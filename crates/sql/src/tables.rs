//! What free SQL sees of a database, and a mirror that holds nothing else.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt::Write as _,
};

use rusqlite::{Connection, Error};
use serde::Serialize;

use crate::config::ExposureConfig;

/// The tables that free SQL sees.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    /// By name in lower case.
    shown: BTreeMap<String, Table>,
    /// The tables that shown virtual tables keep their data in. They are read by the engine, not shown.
    shadows: HashSet<String>,
    /// Every table and view there is, shown or not, in lower case.
    all: HashSet<String>,
    /// The modules behind virtual tables, some of which can be read like tables.
    modules: HashSet<String>,
    /// Hidden columns of shown tables, in lower case.
    hidden: HashSet<(String, String)>,
}

/// One table or view, as `sql_schema` shows it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Table {
    pub(crate) name: String,
    /// `table`, `view` or `virtual`.
    pub(crate) kind: String,
    pub(crate) columns: Vec<Column>,
    #[serde(skip)]
    without_rowid: bool,
}

/// One column.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// As declared; empty where it was not.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) nullable: bool,
    pub(crate) primary_key: bool,
}

/// Every table and view of a database, with its kind. Ours to know, not to show.
pub(crate) fn all(conn: &Connection) -> rusqlite::Result<Vec<(String, String, bool)>> {
    let mut statement = conn.prepare("PRAGMA table_list")?;
    let rows = statement.query_map([], |row| {
        Ok((row.get::<_, String>("schema")?, row.get("name")?, row.get("type")?, row.get("wr")?))
    })?;
    let mut found = Vec::new();
    for row in rows {
        let (schema, name, kind, without_rowid): (String, String, String, bool) = row?;
        if schema == "main" && !name.to_ascii_lowercase().starts_with("sqlite_") {
            found.push((name, kind, without_rowid));
        }
    }
    Ok(found)
}

impl Tables {
    /// Looks up what an operator exposes. The connection is in the house's mode.
    pub(crate) fn load(conn: &Connection, exposure: &ExposureConfig) -> rusqlite::Result<Self> {
        let everything = exposure.tables.iter().any(|name| name == "*");
        let wanted: BTreeSet<String> = exposure.tables.iter().map(|n| n.to_ascii_lowercase()).collect();
        let mut tables = Self::default();
        let all = all(conn)?;
        for (name, kind, without_rowid) in &all {
            let key = name.to_ascii_lowercase();
            if kind == "shadow" || !(everything || wanted.contains(&key)) {
                continue;
            }
            let columns = columns(conn, name)?;
            let table =
                Table { name: name.clone(), kind: kind.clone(), columns, without_rowid: *without_rowid };
            tables.shown.insert(key, table);
        }
        for (name, ..) in all.iter().filter(|(_, kind, _)| kind == "shadow") {
            let key = name.to_ascii_lowercase();
            let owned = |owner: &String| key.strip_prefix(owner.as_str()).is_some_and(|r| r.starts_with('_'));
            if tables.shown.iter().any(|(owner, table)| table.kind == "virtual" && owned(owner)) {
                tables.shadows.insert(key);
            }
        }
        tables.hide(&exposure.columns_hidden);
        tables.all = all.iter().map(|(name, ..)| name.to_ascii_lowercase()).collect();
        let mut modules = conn.prepare("PRAGMA module_list")?;
        let names = modules.query_map([], |row| row.get::<_, String>(0))?;
        tables.modules =
            names.map(|name| name.map(|name| name.to_ascii_lowercase())).collect::<Result<_, _>>()?;
        Ok(tables)
    }

    fn hide(&mut self, columns: &[String]) {
        for column in columns {
            let lower = column.to_ascii_lowercase();
            if let Some((table, column)) = lower.split_once('.') {
                if let Some(shown) = self.shown.get_mut(table) {
                    shown.columns.retain(|c| !c.name.eq_ignore_ascii_case(column));
                }
                self.hidden.insert((table.to_owned(), column.to_owned()));
            }
        }
    }

    /// True where the engine may read this table (lower case) for free SQL.
    pub(crate) fn reads(&self, table: &str) -> bool {
        self.shown.contains_key(table) || self.shadows.contains(table)
    }

    /// True where this name (lower case) belongs to nothing in the database, nor to the engine.
    pub(crate) fn is_no_table(&self, name: &str) -> bool {
        !self.all.contains(name) && !self.is_module(name)
    }

    /// True where this name (lower case) is the engine's own.
    pub(crate) fn is_module(&self, name: &str) -> bool {
        self.modules.contains(name) || name.starts_with("sqlite_") || name.starts_with("pragma_")
    }

    /// True where this name (lower case) is a table that a shown virtual table keeps its data in.
    pub(crate) fn is_shadow(&self, name: &str) -> bool {
        self.shadows.contains(name)
    }

    /// True where this column (lower case) is hidden.
    pub(crate) fn hides(&self, table: &str, column: &str) -> bool {
        !self.hidden.is_empty() && self.hidden.contains(&(table.to_owned(), column.to_owned()))
    }

    /// The tables in the order of their names.
    pub(crate) fn list(&self) -> impl Iterator<Item = &Table> {
        self.shown.values()
    }

    /// Fills an empty database with tables of the same names and columns and nothing else. What the engine says
    /// there about a statement is what it would say if the rest did not exist.
    pub(crate) fn reflect(&self, mirror: &Connection) -> rusqlite::Result<()> {
        for table in self.shown.values() {
            let mut sql = format!("CREATE TABLE {} (", quoted(&table.name));
            for (i, column) in table.columns.iter().enumerate() {
                let comma = if i > 0 { ", " } else { "" };
                let _ = write!(sql, "{comma}{}", quoted(&column.name));
            }
            if table.columns.is_empty() {
                sql.push_str("\"\"");
            }
            if table.kind == "virtual" {
                // The hidden columns of full-text tables, by which they are searched and ranked.
                let _ = write!(sql, ", {}, rank", quoted(&table.name));
            }
            if table.without_rowid {
                let keys: Vec<_> =
                    table.columns.iter().filter(|c| c.primary_key).map(|c| quoted(&c.name)).collect();
                let _ = match keys.as_slice() {
                    [] => write!(sql, ")"),
                    keys => write!(sql, ", PRIMARY KEY ({})) WITHOUT ROWID", keys.join(",")),
                };
            } else {
                sql.push(')');
            }
            mirror.execute_batch(&sql)?;
        }
        Ok(())
    }
}

fn columns(conn: &Connection, table: &str) -> rusqlite::Result<Vec<Column>> {
    let found = conn.prepare(&format!("PRAGMA table_xinfo({})", quoted(table))).and_then(|mut statement| {
        let rows = statement.query_map([], |row| {
            let column = Column {
                name: row.get("name")?,
                kind: row.get("type")?,
                nullable: !row.get::<_, bool>("notnull")?,
                primary_key: row.get::<_, i64>("pk")? > 0,
            };
            // 1: a hidden column of a virtual table; 2 and 3: generated ones, which can be read.
            Ok((row.get::<_, i64>("hidden")? != 1).then_some(column))
        })?;
        rows.filter_map(Result::transpose).collect()
    });
    match found {
        // A view over something that is gone has no columns; reading it says so.
        Err(Error::SqlInputError { .. }) => Ok(Vec::new()),
        other => other,
    }
}

/// A name as SQL has it.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The nearest of some names, where one is near enough to be what was meant.
pub(crate) fn nearest<'a>(name: &str, among: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    let length = name.chars().count();
    let far = (length / 3).min(3);
    let near = |other: &str| {
        let other = other.to_lowercase();
        // Texts are at least as far apart as their lengths, and a long one is dear to compare.
        let may_be_near = length.abs_diff(other.chars().count()) <= far;
        may_be_near.then(|| strsim::damerau_levenshtein(&name, &other)).filter(|distance| *distance <= far)
    };
    among.filter_map(|other| Some((near(other)?, other))).min().map(|(_, other)| other)
}
