//! Reads the words of a statement as SQLite's own tokenizer does (<https://www.sqlite.org/draft/tokenreq.html>):
//! the second line behind the engine's authorizer, and the one that finds the clear words for a refusal.
//!
//! It is a scanner and not a full parser on purpose: it takes time and stack linear in the text, whatever is
//! thrown at it, and it cannot disagree with the engine about grammar, only be stricter.

use std::ops::Range;

use crate::{config::LimitsConfig, cte, error::SqlError};

/// The words that begin a statement which does anything but read. Beside SQLite's own there are those of other
/// engines, so that their speakers get the same clear answer.
const OTHER_STATEMENTS: &[&str] = &[
    "alter",
    "analyze",
    "attach",
    "begin",
    "call",
    "checkpoint",
    "commit",
    "copy",
    "create",
    "delete",
    "detach",
    "do",
    "drop",
    "end",
    "exec",
    "execute",
    "explain",
    "grant",
    "handler",
    "import",
    "insert",
    "install",
    "load",
    "lock",
    "merge",
    "pragma",
    "prepare",
    "reindex",
    "release",
    "rename",
    "replace",
    "revoke",
    "rollback",
    "savepoint",
    "set",
    "truncate",
    "update",
    "upsert",
    "use",
    "vacuum",
];

/// What a token is; what matters here, no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A bare word: a keyword or a name.
    Word,
    /// A name in quotes.
    Quoted,
    /// A number, a text, a blob.
    Literal,
    /// A bound parameter.
    Parameter,
    /// One of `( ) ;`.
    Mark(char),
    /// Anything else.
    Sign,
}

/// One token and where it stands, in bytes.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) at: Range<usize>,
}

/// Lets one statement pass that can only read, as far as its words tell; the engine has the last word.
pub(crate) fn check_free(sql: &str, limits: &LimitsConfig) -> Result<(), SqlError> {
    if sql.contains('\0') {
        return Err(SqlError::statement("the statement holds a NUL character"));
    }
    let tokens = tokens(sql);
    check_reads(sql, &tokens)?;
    check_size(sql, &tokens, limits)?;
    cte::check(sql, &tokens)
}

/// Refuses everything but a single `SELECT`, `VALUES`, `WITH .. SELECT` or `EXPLAIN QUERY PLAN` of one.
pub(crate) fn check_reads(sql: &str, tokens: &[Token]) -> Result<(), SqlError> {
    let mut rest = tokens;
    while let [Token { kind: Kind::Mark(';'), .. }, more @ ..] = rest {
        rest = more;
    }
    if starts(sql, rest, &["explain", "query", "plan"]) {
        rest = &rest[3..];
    }
    let Some(first) = rest.first() else {
        return Err(SqlError::statement("there is no statement"));
    };
    let word = word(sql, first);
    let semicolon = rest.iter().position(|token| token.kind == Kind::Mark(';'));
    if semicolon.is_some_and(|at| rest[at..].iter().any(|token| token.kind != Kind::Mark(';'))) {
        return Err(SqlError::Refused("there are several".to_owned()));
    }
    if OTHER_STATEMENTS.contains(&word.as_str()) {
        return Err(SqlError::Refused(format!("this one begins with {}", word.to_uppercase())));
    }
    if word == "with"
        && let Some(written) = writes_after_with(sql, rest)
    {
        return Err(SqlError::Refused(format!("this one ends in {written}")));
    }
    Ok(())
}

/// The verb of a `WITH ..` that does not end in a `SELECT`.
fn writes_after_with(sql: &str, tokens: &[Token]) -> Option<&'static str> {
    let mut depth = 0_usize;
    for (i, token) in tokens.iter().enumerate() {
        match token.kind {
            Kind::Mark('(') => depth += 1,
            Kind::Mark(')') => depth = depth.saturating_sub(1),
            Kind::Word if depth == 0 => {
                let rest = &tokens[i..];
                match word(sql, token).as_str() {
                    "insert" => return Some("INSERT"),
                    "update" => return Some("UPDATE"),
                    "delete" => return Some("DELETE"),
                    "replace" if starts(sql, rest, &["replace", "into"]) => return Some("REPLACE"),
                    _ => {}
                }
            }
            _ => {}
        }
    }
    None
}

/// Bounds what the engine would walk recursively.
fn check_size(sql: &str, tokens: &[Token], limits: &LimitsConfig) -> Result<(), SqlError> {
    let (mut depth, mut deepest, mut selects) = (0_u32, 0_u32, 0_u32);
    for token in tokens {
        match token.kind {
            Kind::Mark('(') => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            Kind::Mark(')') => depth = depth.saturating_sub(1),
            Kind::Word if matches!(word(sql, token).as_str(), "select" | "values") => selects += 1,
            _ => {}
        }
    }
    if deepest > limits.nesting_max {
        return Err(SqlError::statement(format!(
            "parentheses are nested deeper than {} levels",
            limits.nesting_max
        )));
    }
    if selects > limits.selects_max {
        return Err(SqlError::statement(format!("there are more than {} SELECTs", limits.selects_max)));
    }
    Ok(())
}

/// Where the last `LIMIT` outside all parentheses begins, provided that nothing but its numbers follows.
pub(crate) fn last_limit(sql: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut found = None;
    for token in tokens(sql) {
        match token.kind {
            Kind::Mark('(') => depth += 1,
            Kind::Mark(')') => depth = depth.saturating_sub(1),
            Kind::Word if depth == 0 && word(sql, &token) == "limit" => found = Some(token.at.start),
            _ => {}
        }
    }
    found
}

/// The statement less the semicolons and comments at its end.
pub(crate) fn trimmed(sql: &str) -> &str {
    let end = tokens(sql).into_iter().rev().find(|token| token.kind != Kind::Mark(';'));
    end.map_or("", |token| &sql[..token.at.end])
}

/// A token as the name that the engine may take it for: in lower case, without its quotes. Texts too, since SQLite
/// takes `'orders'` for a table where only a table can stand.
pub(crate) fn name(sql: &str, token: &Token) -> Option<String> {
    let text = sql[token.at.clone()].to_ascii_lowercase();
    let inside = || text.get(1..text.len() - 1).unwrap_or("");
    match text.as_bytes().first()? {
        quote @ (b'\'' | b'"' | b'`') => {
            let quote = char::from(*quote);
            Some(inside().replace(&format!("{quote}{quote}"), &quote.to_string()))
        }
        b'[' => Some(inside().to_owned()),
        _ => (token.kind == Kind::Word).then_some(text),
    }
}

/// A token's text in lower case.
fn word(sql: &str, token: &Token) -> String {
    sql[token.at.clone()].to_ascii_lowercase()
}

fn starts(sql: &str, tokens: &[Token], words: &[&str]) -> bool {
    tokens.len() >= words.len()
        && tokens.iter().zip(words).all(|(token, expected)| word(sql, token) == *expected)
}

/// Cuts a text into tokens; space and comments are left out.
pub(crate) fn tokens(sql: &str) -> Vec<Token> {
    let bytes = sql.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let (kind, length) = next(&bytes[at..]);
        if let Some(kind) = kind {
            tokens.push(Token { kind, at: at..at + length });
        }
        at += length;
    }
    tokens
}

/// The token at the start of `rest` and its length; no kind for space and comments. Every character that is not
/// ASCII counts as a letter, so a token never ends inside one.
fn next(rest: &[u8]) -> (Option<Kind>, usize) {
    let quoted = |kind, close| (Some(kind), quoted_end(rest, close));
    match rest {
        [b' ' | b'\t' | b'\n' | b'\x0c' | b'\r', ..] => (None, 1),
        // A byte order mark is space to SQLite, wherever it stands.
        [0xef, 0xbb, 0xbf, ..] => (None, 3),
        [b'-', b'-', ..] => (None, rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len())),
        [b'/', b'*', tail @ ..] => {
            let end = tail.windows(2).position(|pair| pair == b"*/");
            (None, end.map_or(rest.len(), |end| end + 4))
        }
        [b'\'', ..] => quoted(Kind::Literal, b'\''),
        [b'"', ..] => quoted(Kind::Quoted, b'"'),
        [b'`', ..] => quoted(Kind::Quoted, b'`'),
        [b'[', ..] => {
            let end = rest.iter().position(|&b| b == b']');
            (Some(Kind::Quoted), end.map_or(rest.len(), |end| end + 1))
        }
        [b'x' | b'X', b'\'', ..] => (Some(Kind::Literal), 1 + quoted_end(&rest[1..], b'\'')),
        [mark @ (b'(' | b')' | b';'), ..] => (Some(Kind::Mark(char::from(*mark))), 1),
        [b'?' | b':' | b'@' | b'$' | b'#', ..] => (Some(Kind::Parameter), parameter_end(rest)),
        [b'0'..=b'9', ..] => (Some(Kind::Literal), run(rest)),
        [b, ..] if is_letter(*b) => (Some(Kind::Word), run(rest)),
        _ => (Some(Kind::Sign), 1),
    }
}

fn run(bytes: &[u8]) -> usize {
    bytes.iter().position(|&b| !is_letter(b)).unwrap_or(bytes.len())
}

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || !byte.is_ascii()
}

/// The end of a parameter, which may hold `::` and a part in parentheses as Tcl's variables do (`$a::b(c)`).
fn parameter_end(rest: &[u8]) -> usize {
    let mut at = 1;
    loop {
        at += run(&rest[at..]);
        match &rest[at..] {
            [b':', b':', ..] => at += 2,
            [b'(', tail @ ..] if at > 1 => {
                let end = tail.iter().position(|&b| b == b')' || b.is_ascii_whitespace());
                return end.map_or(rest.len(), |end| at + 2 + end);
            }
            _ => return at,
        }
    }
}

/// The end of a quoted token; the quote doubled stands for itself.
fn quoted_end(rest: &[u8], close: u8) -> usize {
    let mut at = 1;
    while at < rest.len() {
        if rest[at] == close {
            if rest.get(at + 1) != Some(&close) {
                return at + 1;
            }
            at += 1;
        }
        at += 1;
    }
    rest.len()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;

    fn check(sql: &str, expected: Expect) {
        let shown = match check_free(sql, &LimitsConfig::default()) {
            Ok(()) => "passes".to_owned(),
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&shown);
    }

    #[test]
    fn only_one_reading_statement_passes() {
        check("select 1", expect!["passes"]);
        check("/* a */ -- b\n SELECT 'x;y' ; ;", expect!["passes"]);
        check("; select 1", expect!["passes"]);
        check("explain query plan select 1", expect!["passes"]);
        check(
            "explain select 1",
            expect![
                "only read-only SELECT statements are allowed, one at a time: this one begins with EXPLAIN"
            ],
        );
        check(
            "explain query plan delete from t",
            expect![
                "only read-only SELECT statements are allowed, one at a time: this one begins with DELETE"
            ],
        );
        check(
            "select 1; select 2",
            expect!["only read-only SELECT statements are allowed, one at a time: there are several"],
        );
        check("select ';' /* ; */ -- ;\n", expect!["passes"]);
        check(
            "with a as (select 1) delete from t",
            expect!["only read-only SELECT statements are allowed, one at a time: this one ends in DELETE"],
        );
        check("with a as (select 'insert') select replace(a, 'update', '') from a", expect!["passes"]);
        check(
            "DrOp TABLE t",
            expect!["only read-only SELECT statements are allowed, one at a time: this one begins with DROP"],
        );
        check("/*/ drop */ select 1 /* ; drop", expect!["passes"]);
        check("", expect!["there is no statement"]);
        check("-- nothing", expect!["there is no statement"]);
        check(
            "select $x(--); drop table t",
            expect!["only read-only SELECT statements are allowed, one at a time: there are several"],
        );
        check("select 1\0; drop table t", expect!["the statement holds a NUL character"]);
        check(&format!("select {}1{}", "(".repeat(40), ")".repeat(40)), expect!["passes"]);
        check(
            &format!("select {}1{}", "(".repeat(41), ")".repeat(41)),
            expect!["parentheses are nested deeper than 40 levels"],
        );
        check(&["select 1"; 50].join(" union "), expect!["passes"]);
        check(&["select 1"; 51].join(" union "), expect!["there are more than 50 SELECTs"]);
    }

    #[test]
    fn the_paging_at_the_end_is_found() {
        for (sql, at) in [
            ("select 1 limit 2", Some("limit 2")),
            ("select (select 1 limit 1) from t", None),
            ("select 'limit' from (select 1 limit 1) LIMIT :a OFFSET :b", Some("LIMIT :a OFFSET :b")),
            ("select \"limit\" from t -- limit", None),
        ] {
            assert_eq!(last_limit(sql).map(|at| &sql[at..]), at, "{sql}");
        }
        assert_eq!(trimmed("select 1 ; -- x"), "select 1");
    }

    proptest! {
        #[test]
        fn any_text_is_cut_into_tokens_at_whole_characters(sql in "[-/*'\"`\\[\\];()a-zä $:0-9\n\u{1F600}]{0,60}") {
            let mut end = 0;
            for token in tokens(&sql) {
                prop_assert!(token.at.start >= end && token.at.end <= sql.len());
                prop_assert!(sql.get(token.at.clone()).is_some());
                end = token.at.end;
            }
            let _ = check_free(&sql, &LimitsConfig::default());
            let _ = (last_limit(&sql), trimmed(&sql));
        }
    }
}
