//! Which functions a statement may use, and linear stand-ins for the few whose built-in form is not.

use rusqlite::{
    Connection, Error,
    functions::{Context, FunctionFlags},
    types::ValueRef,
};

/// The functions of SQLite that only compute, cheaply for values within the bounds. Everything else looks as if
/// it did not exist: `load_extension`, `readfile`, `randomblob`, and `json_patch` and `json_pretty`, whose cost is
/// not linear.
///
/// Source: <https://www.sqlite.org/lang_corefunc.html>, `lang_aggfunc`, `lang_datefunc`, `windowfunctions`, `json1`.
pub(crate) const ALLOWED: &[&str] = &[
    "->",
    "->>",
    "abs",
    "avg",
    "bm25",
    "char",
    "coalesce",
    "concat",
    "concat_ws",
    "count",
    "cume_dist",
    "current_date",
    "current_time",
    "current_timestamp",
    "date",
    "datetime",
    "dense_rank",
    "first_value",
    "format",
    "glob",
    "group_concat",
    "hex",
    "highlight",
    "if",
    "ifnull",
    "iif",
    "instr",
    "json",
    "json_array",
    "json_array_length",
    "json_extract",
    "json_group_array",
    "json_group_object",
    "json_insert",
    "json_object",
    "json_quote",
    "json_remove",
    "json_replace",
    "json_set",
    "json_type",
    "json_valid",
    "julianday",
    "lag",
    "last_value",
    "lead",
    "length",
    "like",
    "likelihood",
    "likely",
    "lower",
    "ltrim",
    "match",
    "max",
    "min",
    "nth_value",
    "ntile",
    "nullif",
    "octet_length",
    "percent_rank",
    "printf",
    "quote",
    "random",
    "rank",
    "replace",
    "round",
    "row_number",
    "rtrim",
    "sign",
    "snippet",
    "soundex",
    "strftime",
    "string_agg",
    "substr",
    "substring",
    "sum",
    "time",
    "timediff",
    "total",
    "trim",
    "typeof",
    "unhex",
    "unicode",
    "unixepoch",
    "unlikely",
    "upper",
];

/// Table-valued functions that only compute.
pub(crate) const ALLOWED_TABLES: &[&str] = &["json_each", "json_tree"];

/// Replaces `instr`, `replace` and the two-argument trims. The built-in ones compare at every position, which is
/// quadratic: a few hundred kilobytes keep one of them, which nothing can interrupt, busy for minutes.
pub(crate) fn make_linear(conn: &Connection, value_bytes_max: usize) -> rusqlite::Result<()> {
    let flags =
        FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_INNOCUOUS;
    conn.create_scalar_function("instr", 2, flags, instr)?;
    conn.create_scalar_function("replace", 3, flags, move |context| replace(context, value_bytes_max))?;
    conn.create_scalar_function("trim", 2, flags, |context| trim(context, true, true))?;
    conn.create_scalar_function("ltrim", 2, flags, |context| trim(context, true, false))?;
    conn.create_scalar_function("rtrim", 2, flags, |context| trim(context, false, true))
}

/// The position, from 1, of the second argument in the first: in bytes where both are blobs, else in characters.
fn instr(context: &Context<'_>) -> rusqlite::Result<Option<i64>> {
    if let (ValueRef::Blob(hay), ValueRef::Blob(needle)) = (context.get_raw(0), context.get_raw(1)) {
        return Ok(Some(find_bytes(hay, needle).map_or(0, |at| position(at + 1))));
    }
    let (Some(hay), Some(needle)) = (text(context, 0), text(context, 1)) else {
        return Ok(None);
    };
    Ok(Some(hay.find(&needle).map_or(0, |at| position(hay[..at].chars().count() + 1))))
}

fn replace(context: &Context<'_>, value_bytes_max: usize) -> rusqlite::Result<Option<String>> {
    let (Some(hay), Some(needle)) = (text(context, 0), text(context, 1)) else {
        return Ok(None);
    };
    if needle.is_empty() {
        return Ok(Some(hay));
    }
    let Some(with) = text(context, 2) else {
        return Ok(None);
    };
    let found = hay.matches(&needle).count();
    let bytes = (hay.len() - found * needle.len()).saturating_add(found.saturating_mul(with.len()));
    if bytes > value_bytes_max {
        return Err(Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_TOOBIG), None));
    }
    Ok(Some(hay.replace(&needle, &with)))
}

fn trim(context: &Context<'_>, left: bool, right: bool) -> rusqlite::Result<Option<String>> {
    let (Some(whole), Some(set)) = (text(context, 0), text(context, 1)) else {
        return Ok(None);
    };
    let set: std::collections::HashSet<char> = set.chars().collect();
    let mut rest = whole.as_str();
    if left {
        rest = rest.trim_start_matches(|c| set.contains(&c));
    }
    if right {
        rest = rest.trim_end_matches(|c| set.contains(&c));
    }
    Ok(Some(rest.to_owned()))
}

/// An argument as SQLite shows it as text; `None` for NULL.
fn text(context: &Context<'_>, index: usize) -> Option<String> {
    match context.get_raw(index) {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(real(number)),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
    }
}

/// A real as text, with a decimal point as SQLite has it; written out in full where SQLite has an exponent.
fn real(number: f64) -> String {
    let text = number.to_string();
    if text.bytes().all(|b| b.is_ascii_digit() || b == b'-') { text + ".0" } else { text }
}

/// Linear search for bytes: Rust's two-way search on text, with every byte mapped to one character.
fn find_bytes(hay: &[u8], needle: &[u8]) -> Option<usize> {
    let latin = |bytes: &[u8]| bytes.iter().map(|&b| char::from(b)).collect::<String>();
    let hay = latin(hay);
    let at = hay.find(&latin(needle))?;
    Some(hay[..at].chars().count())
}

fn position(at: usize) -> i64 {
    i64::try_from(at).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use rusqlite::types::Value;

    use super::*;

    fn values() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            (-20_i64..20).prop_map(Value::Integer),
            (-40_i32..40).prop_map(|n| Value::Real(f64::from(n) / 4.0)),
            "[ab1.\u{e4}\u{1F600} -]{0,6}".prop_map(Value::Text),
            prop::collection::vec(97_u8..99, 0..5).prop_map(Value::Blob),
        ]
    }

    proptest! {
        /// Ours and the built-in ones say the same.
        #[test]
        fn the_stand_ins_agree_with_what_they_stand_in_for(a in values(), b in values(), c in values()) {
            let built_in = Connection::open_in_memory().unwrap();
            let ours = Connection::open_in_memory().unwrap();
            make_linear(&ours, 1_000).unwrap();
            for call in ["instr(?1, ?2)", "replace(?1, ?2, ?3)", "trim(?1, ?2)", "ltrim(?1, ?2)", "rtrim(?1, ?2)"] {
                let say = |conn: &Connection| -> Value {
                    let mut statement = conn.prepare(&format!("SELECT {call}, ?1, ?2, ?3")).unwrap();
                    statement.query_row((&a, &b, &c), |row| row.get(0)).unwrap()
                };
                prop_assert_eq!(say(&ours), say(&built_in), "{} of {:?} {:?} {:?}", call, &a, &b, &c);
            }
        }
    }
}
