//! From rows to JSON, never more of it than the bounds allow.

use std::collections::HashSet;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rusqlite::{Rows, Statement, types::ValueRef};
use serde_json::{Map, Number, Value, json};

use crate::{
    engine::{Bounds, Page},
    error::SqlError,
};

/// Why a row could not be had.
pub(crate) enum RowError {
    Engine(rusqlite::Error),
    TooLong(SqlError),
}

/// The names of a statement's columns; a name that was there before gets `_2`, `_3` and so on.
pub(crate) fn column_names(statement: &Statement<'_>) -> Vec<String> {
    unique(&statement.column_names())
}

fn unique(names: &[&str]) -> Vec<String> {
    let mut taken: HashSet<String> = HashSet::new();
    let mut given = Vec::with_capacity(names.len());
    for name in names {
        let mut candidate = (*name).to_owned();
        let mut n = 2;
        // A later column may really be called `a_2`: it keeps its name where it comes first.
        while !taken.insert(candidate.clone()) {
            candidate = format!("{name}_{n}");
            n += 1;
        }
        given.push(candidate);
    }
    given
}

/// Steps through rows after the first `skip` until they end or a bound is met. `is_late` says of a failure that it is
/// the end of the time: then the rows so far are the answer, where there are any.
pub(crate) fn collect(
    columns: Vec<String>,
    mut rows: Rows<'_>,
    skip: u64,
    bounds: Bounds,
    is_late: &dyn Fn(&rusqlite::Error) -> bool,
) -> Result<Page, RowError> {
    let mut page = Page { columns, ..Page::default() };
    let mut skipped = 0_u64;
    let mut bytes = 0_usize;
    loop {
        let row = match rows.next() {
            Ok(Some(row)) => row,
            Ok(None) => break,
            Err(e) if !page.rows.is_empty() && is_late(&e) => {
                page.cut = Some("time");
                break;
            }
            Err(e) => return Err(e.into()),
        };
        if skipped < skip {
            skipped += 1;
            continue;
        }
        if page.rows.len() >= bounds.rows_max {
            page.cut = Some("rows");
            break;
        }
        let mut object = Map::with_capacity(page.columns.len());
        let mut row_bytes = 2;
        for (i, name) in page.columns.iter().enumerate() {
            let value = value(row.get_ref(i)?);
            row_bytes += tool::json::text_len(&value) + name.len() + 4;
            object.insert(name.clone(), value);
        }
        if bytes + row_bytes > bounds.bytes_max {
            if page.rows.is_empty() {
                return Err(RowError::TooLong(SqlError::statement(format!(
                    "one row alone takes {row_bytes} bytes, more than an answer may hold; select fewer columns or \
                     parts of them with substr()"
                ))));
            }
            page.cut = Some("bytes");
            break;
        }
        bytes += row_bytes;
        page.rows.push(Value::Object(object));
    }
    Ok(page)
}

/// A value as JSON: integers exact, reals that JSON does not have as null, blobs as `{"base64": ".."}`, text that
/// is not UTF-8 with replacement characters.
fn value(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Number(number.into()),
        ValueRef::Real(number) => Number::from_f64(number).map_or(Value::Null, Value::Number),
        ValueRef::Text(bytes) => Value::String(String::from_utf8_lossy(bytes).into_owned()),
        ValueRef::Blob(bytes) => json!({ "base64": STANDARD.encode(bytes) }),
    }
}

impl From<rusqlite::Error> for RowError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Engine(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_has_a_name_of_its_own() {
        for (names, given) in [
            (vec!["a", "b"], vec!["a", "b"]),
            (vec!["a", "a", "a"], vec!["a", "a_2", "a_3"]),
            (vec!["a_2", "a", "a"], vec!["a_2", "a", "a_3"]),
            (vec!["a", "a", "a_2"], vec!["a", "a_2", "a_2_2"]),
            (vec!["", ""], vec!["", "_2"]),
        ] {
            assert_eq!(unique(&names), given);
        }
    }
}
