//! Texts with gaps: `{name}` is a gap, `{{` is `{` and `}}` is `}`. There is nothing else to it, so that a text can
//! neither loop nor look at anything.

/// The longest name of a gap, in bytes.
pub(crate) const NAME_BYTES_MAX: usize = 64;

/// A text whose gaps can be filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Gap(String),
}

/// Why a text with gaps cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PatternError {
    /// A brace without its other.
    #[error("a `{0}` stands alone on line {1}; write `{0}{0}` for the character itself")]
    Brace(char, usize),
    /// A gap whose name is none.
    #[error("{{{0}}} is no gap; write the name of an argument in it, or `{{{{` for the character itself")]
    Name(String),
}

impl Pattern {
    /// Reads a text with gaps.
    pub(crate) fn parse(text: &str) -> Result<Self, PatternError> {
        let mut pattern = Self { parts: Vec::new() };
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            pattern.text(&rest[..at]);
            let brace = if rest[at..].starts_with('{') { '{' } else { '}' };
            let after = &rest[at + 1..];
            rest = if let Some(after) = after.strip_prefix(brace) {
                pattern.text(&rest[at..=at]);
                after
            } else {
                let line = || 1 + text[..text.len() - after.len()].matches('\n').count();
                let end = after.find(['{', '}']).filter(|end| brace == '{' && after[*end..].starts_with('}'));
                let end = end.ok_or_else(|| PatternError::Brace(brace, line()))?;
                pattern.gap(&after[..end])?;
                &after[end + 1..]
            };
        }
        pattern.text(rest);
        Ok(pattern)
    }

    /// A text without gaps, as it is.
    pub(crate) fn plain(text: &str) -> Self {
        Self { parts: vec![Part::Text(text.to_owned())] }
    }

    /// The names of the gaps, in their order; one that stands several times comes as often.
    pub(crate) fn gaps(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Gap(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// The text with its gaps filled, each once; `None` where it would have more than `bytes_max` bytes.
    pub(crate) fn fill<'a>(&self, value: impl Fn(&str) -> &'a str, bytes_max: usize) -> Option<String> {
        let mut filled = String::new();
        for part in &self.parts {
            let piece = match part {
                Part::Text(text) => text.as_str(),
                Part::Gap(name) => value(name),
            };
            if filled.len() + piece.len() > bytes_max {
                return None;
            }
            filled.push_str(piece);
        }
        Some(filled)
    }

    fn text(&mut self, text: &str) {
        match self.parts.last_mut() {
            _ if text.is_empty() => {}
            Some(Part::Text(before)) => before.push_str(text),
            _ => self.parts.push(Part::Text(text.to_owned())),
        }
    }

    fn gap(&mut self, name: &str) -> Result<(), PatternError> {
        if !is_name(name) {
            return Err(PatternError::Name(name.chars().take(NAME_BYTES_MAX).collect()));
        }
        self.parts.push(Part::Gap(name.to_owned()));
        Ok(())
    }
}

/// Whether a text can name a gap: 1 to 64 of `a-z A-Z 0-9 _ . -`.
pub(crate) fn is_name(text: &str) -> bool {
    let is_one = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_one)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: Expect) {
        let shown = match Pattern::parse(text) {
            Ok(pattern) => pattern.fill(|name| if name == "a" { "<A>" } else { "{a}" }, 100).unwrap(),
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&shown);
    }

    #[test]
    fn gaps_are_filled_once_and_braces_are_doubled() {
        check("", expect![""]);
        check("no gap", expect!["no gap"]);
        check("{a}", expect!["<A>"]);
        check("x{a}y{a}{a}é", expect!["x<A>y<A><A>é"]);
        check("{b} is not read again", expect!["{a} is not read again"]);
        check("{{a}} and {{{a}}}", expect!["{a} and {<A>}"]);
        check(r#"{{"q": "{a}", "in": {{}}}}"#, expect![[r#"{"q": "<A>", "in": {}}"#]]);
        check("${a} $5", expect!["$<A> $5"]);
    }

    #[test]
    fn what_is_no_gap_is_said() {
        check("a { b", expect!["a `{` stands alone on line 1; write `{{` for the character itself"]);
        check("a\n\nb }", expect!["a `}` stands alone on line 3; write `}}` for the character itself"]);
        check("{a{b}", expect!["a `{` stands alone on line 1; write `{{` for the character itself"]);
        check("{a", expect!["a `{` stands alone on line 1; write `{{` for the character itself"]);
        check("{{a}", expect!["a `}` stands alone on line 1; write `}}` for the character itself"]);
        check(
            "{}",
            expect!["{} is no gap; write the name of an argument in it, or `{{` for the character itself"],
        );
        check(
            "{a b}",
            expect!["{a b} is no gap; write the name of an argument in it, or `{{` for the character itself"],
        );
        check(
            "{if x}y{end}",
            expect![
                "{if x} is no gap; write the name of an argument in it, or `{{` for the character itself"
            ],
        );
    }

    #[test]
    fn a_filled_text_is_as_long_as_it_may_be_and_no_longer() {
        let pattern = Pattern::parse("ab{x}cd{x}").unwrap();
        assert_eq!(pattern.fill(|_| "123", 10).as_deref(), Some("ab123cd123"));
        assert_eq!(pattern.fill(|_| "123", 9), None);
        assert_eq!(pattern.fill(|_| "", 4).as_deref(), Some("abcd"));
    }

    proptest! {
        #[test]
        fn what_is_doubled_comes_out_as_it_was(text in "\\PC{0,40}") {
            let doubled = text.replace('{', "{{").replace('}', "}}");
            let pattern = Pattern::parse(&doubled).unwrap();
            prop_assert_eq!(pattern.gaps().count(), 0);
            prop_assert_eq!(pattern.fill(|_| "", 1_000), Some(text));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[{}a\n é]{0,16}") {
            let _ = Pattern::parse(&text);
        }
    }
}
