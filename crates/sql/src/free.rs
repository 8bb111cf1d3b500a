//! Free SQL: prepares a statement of a caller's, or says what is wrong with it in words that give nothing away.

use std::sync::Arc;

use rusqlite::{Error, Statement, ffi::ErrorCode};

use crate::{
    error::{self, SqlError},
    pool::Inner,
    reader::{Denial, Mode, Reader, Watch},
    scan,
    tables::{Tables, nearest},
};

/// Prepares one reading statement. Three lines must agree that it reads: the scanner, the authorizer, and
/// `sqlite3_stmt_readonly`; the connection could not write in any case.
pub(crate) fn prepare<'r>(
    inner: &Inner,
    reader: &'r Reader,
    watch: &Arc<Watch>,
    sql: &str,
) -> Result<Statement<'r>, SqlError> {
    scan::check_free(sql, &inner.limits)?;
    let tables = reader.tables();
    let names = scan::tokens(sql).into_iter().filter_map(|token| scan::name(sql, &token));
    if let Some(name) = names.into_iter().find(|name| tables.is_shadow(name)) {
        return Err(SqlError::Statement(with_hint(&format!("no such table: {name}"), &tables)));
    }
    match reader.in_mode(Mode::Free).prepare(sql) {
        Ok(statement) if !statement.readonly() || statement.column_count() == 0 => {
            Err(SqlError::Refused("this one would write".to_owned()))
        }
        Ok(statement) => Ok(statement),
        Err(Error::MultipleStatement) => Err(SqlError::Refused("there are several".to_owned())),
        Err(e) => match (reader.denied(), on_the_mirror(inner, watch, &tables, sql)) {
            // The hidden name is also one that the statement gives to an expression of its own, and means by it.
            (Some(Denial::Table(_)), Ok(None)) => {
                let again = reader.in_mode(Mode::Vouched).prepare(sql);
                again.map_err(|e| explain(inner, reader, watch, sql, e))
            }
            _ => Err(explain(inner, reader, watch, sql, e)),
        },
    }
}

/// Says why a statement was not taken.
fn explain(inner: &Inner, reader: &Reader, watch: &Arc<Watch>, sql: &str, cause: Error) -> SqlError {
    if reader.denied() == Some(Denial::Other) {
        return SqlError::Refused("this one does something else".to_owned());
    }
    let code = error::engine_code(&cause);
    if !matches!(code, Some(ErrorCode::Unknown | ErrorCode::AuthorizationForStatementDenied)) {
        return inner.sort(watch, cause);
    }
    let (denied, tables) = (reader.denied(), reader.tables());
    match (on_the_mirror(inner, watch, &tables, sql), denied) {
        (Ok(Some(said)), _) => said,
        (Ok(None), Some(denial)) => SqlError::Statement(denial_text(&denial, &tables)),
        (Ok(None), None) => SqlError::Statement(sentence(sql, &cause, &tables)),
        (Err(e), _) => inner.sort(watch, e),
    }
}

/// What the engine says where nothing exists but the shown tables; `None` where it takes the statement there.
///
/// So a table that is hidden and one that is not there get the same answer, whichever way they are asked for.
fn on_the_mirror(
    inner: &Inner,
    watch: &Arc<Watch>,
    tables: &Arc<Tables>,
    sql: &str,
) -> rusqlite::Result<Option<SqlError>> {
    let mirror = Reader::mirror(&inner.limits, Arc::clone(&inner.functions))?;
    tables.reflect(mirror.in_mode(Mode::House))?;
    mirror.show(Arc::clone(tables));
    mirror.watch(watch, std::time::Duration::ZERO)?;
    let said = match mirror.in_mode(Mode::Vouched).prepare(sql) {
        Ok(_) => return Ok(None),
        Err(said) => said,
    };
    Ok(Some(match mirror.denied() {
        Some(denial) => SqlError::Statement(denial_text(&denial, tables)),
        None if error::engine_code(&said) == Some(ErrorCode::Unknown) => {
            SqlError::Statement(sentence(sql, &said, tables))
        }
        None => inner.sort(watch, said),
    }))
}

fn denial_text(denial: &Denial, tables: &Tables) -> String {
    match denial {
        Denial::Table(name) => with_hint(&format!("no such table: {name}"), tables),
        Denial::Column(table, column) => {
            format!(
                "no such column: {table}.{column}; name the columns you want instead of *, sql_schema lists them"
            )
        }
        Denial::Function(name) => format!("no such function: {name}"),
        Denial::Other => "only reading is allowed".to_owned(),
    }
}

/// The engine's message with the place and, for a wrong name, the nearest right one.
fn sentence(sql: &str, cause: &Error, tables: &Tables) -> String {
    let (message, offset) = error::engine_says(cause);
    let hinted = with_hint(&message, tables);
    match offset {
        Some(offset) if hinted == message => {
            let (line, column) = error::place(sql, offset);
            format!("{message} at line {line} column {column}")
        }
        _ => hinted,
    }
}

fn with_hint(message: &str, tables: &Tables) -> String {
    let near = |kind: &str, names: &mut dyn Iterator<Item = &str>| {
        let name = message.strip_prefix(kind)?;
        let name = name.rsplit('.').next().unwrap_or(name);
        Some(match nearest(name, names) {
            Some(near) => format!("{message}; did you mean {near}?"),
            None => format!("{message}; sql_schema lists what there is"),
        })
    };
    let mut table_names = tables.list().map(|table| table.name.as_str());
    let mut column_names = tables.list().flat_map(|table| table.columns.iter().map(|c| c.name.as_str()));
    near("no such table: ", &mut table_names)
        .or_else(|| near("no such column: ", &mut column_names))
        .unwrap_or_else(|| message.to_owned())
}
