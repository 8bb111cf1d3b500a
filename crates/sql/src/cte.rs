//! How often a statement's common table expressions stand for one another.
//!
//! SQLite copies the body of one at each place that names it before it can be interrupted, so a few lines that name
//! each other three times over become millions of tables. This bounds the copies before the engine sees them.

use std::{collections::BTreeMap, ops::Range};

use crate::{
    error::SqlError,
    scan::{Kind, Token, name},
};

/// The most tables that a statement may name after all copies are made.
const COPIES_MAX: u64 = 1_000;

/// Refuses a statement whose common table expressions multiply beyond [`COPIES_MAX`], or share a name: then nobody
/// can tell which one is meant where.
pub(crate) fn check(sql: &str, tokens: &[Token]) -> Result<(), SqlError> {
    let names: Vec<Option<String>> = tokens.iter().map(|token| name(sql, token)).collect();
    let definitions = definitions(&names, tokens)?;
    let mut copies = Copies { names: &names, definitions: &definitions, known: BTreeMap::new() };
    let outside = copies.within(0..tokens.len(), &mut Vec::new());
    if outside > COPIES_MAX {
        return Err(SqlError::statement(format!(
            "the WITH expressions stand for each other more than {COPIES_MAX} times; join fewer of them"
        )));
    }
    Ok(())
}

/// One `name (..) AS (..)`: where it begins, and the tokens between its last parentheses.
#[derive(Clone)]
struct Definition {
    start: usize,
    body: Range<usize>,
}

fn definitions(names: &[Option<String>], tokens: &[Token]) -> Result<BTreeMap<String, Definition>, SqlError> {
    let mut definitions = BTreeMap::new();
    if !names.iter().flatten().any(|name| name == "with") {
        return Ok(definitions);
    }
    for (start, name) in names.iter().enumerate() {
        let Some(name) = name else { continue };
        // `name (a, b) AS [NOT] [MATERIALIZED] (`
        let mut at = start + 1;
        if is_mark(tokens, at, '(') {
            at = close(tokens, at) + 1;
        }
        if word(names, at) != Some("as") {
            continue;
        }
        at += 1;
        at += usize::from(word(names, at) == Some("not"));
        at += usize::from(word(names, at) == Some("materialized"));
        if !is_mark(tokens, at, '(') {
            continue;
        }
        let body = at + 1..close(tokens, at);
        if definitions.insert(name.clone(), Definition { start, body }).is_some() {
            let text = format!("two WITH expressions are called {name}; give each its own name");
            return Err(SqlError::statement(text));
        }
    }
    Ok(definitions)
}

fn is_mark(tokens: &[Token], at: usize, mark: char) -> bool {
    tokens.get(at).is_some_and(|token| token.kind == Kind::Mark(mark))
}

fn word(names: &[Option<String>], at: usize) -> Option<&str> {
    names.get(at)?.as_deref()
}

/// The parenthesis that closes the one at `open`; the end where none does.
fn close(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (i, token) in tokens.iter().enumerate().skip(open) {
        match token.kind {
            Kind::Mark('(') => depth += 1,
            Kind::Mark(')') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return i;
        }
    }
    tokens.len()
}

struct Copies<'a> {
    names: &'a [Option<String>],
    definitions: &'a BTreeMap<String, Definition>,
    known: BTreeMap<&'a str, u64>,
}

impl<'a> Copies<'a> {
    /// How many copies the names within some tokens stand for, definitions left out. Names of columns count too:
    /// it is a bound. `open` are the expressions being counted; one that names itself is recursive, and not copied
    /// for that.
    fn within(&mut self, tokens: Range<usize>, open: &mut Vec<&'a str>) -> u64 {
        let (names, definitions) = (self.names, self.definitions);
        let mut sum = 0_u64;
        let mut at = tokens.start;
        while at < tokens.end {
            let found = names[at].as_ref().and_then(|name| definitions.get_key_value(name));
            at += 1;
            let Some((name, definition)) = found else { continue };
            if definition.start + 1 == at {
                at = definition.body.end;
            } else if !open.contains(&name.as_str()) {
                sum = sum.saturating_add(self.of(name, definition, open));
            }
        }
        sum
    }

    fn of(&mut self, name: &'a str, definition: &Definition, open: &mut Vec<&'a str>) -> u64 {
        if let Some(copies) = self.known.get(name) {
            return *copies;
        }
        open.push(name);
        let copies = self.within(definition.body.clone(), open).saturating_add(1);
        open.pop();
        self.known.insert(name, copies);
        copies
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::tokens;

    #[test]
    fn copies_are_bounded_before_they_are_made() {
        let laughs = |n: usize, times: usize| {
            let bodies = (1..n)
                .map(|i| format!("a{i} AS (SELECT 1 FROM {})", vec![format!("a{}", i - 1); times].join(",")));
            format!(
                "WITH a0 AS (SELECT 1), {} SELECT * FROM a{}",
                bodies.collect::<Vec<_>>().join(", "),
                n - 1
            )
        };
        for (sql, passes) in [
            ("SELECT 1 AS a FROM t AS b".to_owned(), true),
            (
                "WITH a AS (SELECT 1), b(x, y) AS NOT MATERIALIZED (SELECT * FROM a, a) SELECT a.x FROM a, b"
                    .to_owned(),
                true,
            ),
            ("WITH RECURSIVE a AS (SELECT 1 UNION ALL SELECT x FROM a, a) SELECT * FROM a".to_owned(), true),
            ("WITH a AS (SELECT * FROM b), b AS (SELECT * FROM a) SELECT * FROM a, b".to_owned(), true),
            ("WITH a AS (WITH \"A\" AS (SELECT 1) SELECT * FROM a) SELECT * FROM a".to_owned(), false),
            ("WITH a AS (SELECT 1".to_owned(), true),
            ("WITH a AS (".to_owned(), true),
            (laughs(4, 5), true),
            (laughs(12, 3), false),
            (laughs(40, 1), true),
            (laughs(300, 3), false),
        ] {
            assert_eq!(check(&sql, &tokens(&sql)).is_ok(), passes, "{sql}");
        }
    }
}
