//! From a page to an answer: what was left out, and how to get the rest.

use serde_json::{Map, Value, json};
use tool::{Cut, Outcome};

use crate::engine::{Bounds, Page};

/// What an answer holds beside its rows and the names of its columns, at most.
pub(crate) const ENVELOPE_BYTES: usize = 512;

/// The answer of `sql_query` to a statement whose first `offset` rows were skipped.
pub(crate) fn free(page: Page, offset: u64, bounds: Bounds) -> Outcome {
    let row_count = page.rows.len();
    let mut answer = Map::new();
    answer.insert("rows".to_owned(), Value::Array(page.rows));
    answer.insert("columns".to_owned(), json!(page.columns));
    answer.insert("row_count".to_owned(), json!(row_count));
    answer.insert("truncated".to_owned(), json!(page.cut.is_some()));
    if let Some(cut) = page.cut {
        let next_offset = offset.saturating_add(row_count as u64);
        let again = match cut {
            "time" => format!("narrow it with WHERE, or ask again with offset {next_offset}"),
            _ => format!("ask again with offset {next_offset}, and with an ORDER BY so that the order stays"),
        };
        answer.insert("next_offset".to_owned(), json!(next_offset));
        answer.insert("next".to_owned(), json!(format!("{}; {again}", why(cut, bounds))));
    }
    outcome(answer, page.cut)
}

/// An answer of these members, marked as cut by this bound.
pub(crate) fn outcome(answer: Map<String, Value>, cut: Option<&'static str>) -> Outcome {
    let mut outcome = Outcome::new(Value::Object(answer));
    outcome.cut = cut.map(|bound| Cut { bound, artefact: None });
    outcome
}

/// Why rows were left out, as the beginning of a sentence.
pub(crate) fn why(cut: &str, bounds: Bounds) -> String {
    match cut {
        "rows" => format!("there are more rows than the {} that one answer holds", bounds.rows_max),
        "time" => "there was no time for all rows".to_owned(),
        _ => format!("the rows take more bytes than the {} that one answer holds", bounds.bytes_max),
    }
}
