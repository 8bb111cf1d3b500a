//! Resource templates: `test://template/{id}/data`.
//!
//! Source: RFC 6570, level 1 (`{name}`) and of level 2 the reserved expansion (`{+name}`); server/resources,
//! "Resource Templates". Other operators are for others to match: a template that has them does not parse.

use std::fmt::Write as _;

/// The longest template, in bytes.
pub const TEMPLATE_BYTES_MAX: usize = 2_048;
/// The longest URI that is matched, in bytes.
pub const URI_BYTES_MAX: usize = 8_192;
/// How many variables a template has at most.
pub const VARIABLES_MAX: usize = 16;

/// A template that can be matched and filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Variable {
        name: String,
        /// True where the value may hold reserved characters as they are: `{+name}`.
        reserved: bool,
    },
}

/// Why a template does not parse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Longer than [`TEMPLATE_BYTES_MAX`].
    #[error("a template is longer than {TEMPLATE_BYTES_MAX} bytes")]
    TooLong,
    /// More variables than [`VARIABLES_MAX`].
    #[error("a template has more than {VARIABLES_MAX} variables")]
    TooMany,
    /// A brace without its other.
    #[error("a brace stands alone")]
    Brace,
    /// Something else than `{name}` and `{+name}`.
    #[error("{{{0}}} is neither {{name}} nor {{+name}}")]
    Expression(String),
    /// A name that stands twice.
    #[error("{{{0}}} stands twice")]
    Twice(String),
    /// Two variables with nothing between them: nobody could tell where one ends.
    #[error("{{{0}}} follows another variable at once")]
    Adjacent(String),
}

impl Template {
    /// Reads a template.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.len() > TEMPLATE_BYTES_MAX {
            return Err(TemplateError::TooLong);
        }
        let mut template = Self { parts: Vec::new() };
        let mut rest = text;
        while let Some(open) = rest.find(['{', '}']) {
            let inner = rest[open..].strip_prefix('{').ok_or(TemplateError::Brace)?;
            let close = inner.find(['{', '}']).ok_or(TemplateError::Brace)?;
            if inner[close..].starts_with('{') {
                return Err(TemplateError::Brace);
            }
            template.literal(&rest[..open]);
            template.variable(&inner[..close])?;
            rest = &inner[close + 1..];
        }
        template.literal(rest);
        Ok(template)
    }

    /// The names of the variables, in their order.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Variable { name, .. } => Some(name.as_str()),
            Part::Literal(_) => None,
        })
    }

    /// The values that make the template into this URI, decoded; `None` where there are none.
    ///
    /// `{name}` stands for unreserved and percent-encoded characters and ends where what follows first begins;
    /// `{+name}` stands for any and ends where what follows last begins. No value is empty.
    #[must_use]
    pub fn matches(&self, uri: &str) -> Option<Vec<(&str, String)>> {
        if uri.len() > URI_BYTES_MAX {
            return None;
        }
        let mut values = Vec::new();
        let mut rest = uri;
        for (i, part) in self.parts.iter().enumerate() {
            match part {
                Part::Literal(literal) => rest = rest.strip_prefix(literal.as_str())?,
                Part::Variable { name, reserved } => {
                    let is_last = i + 2 >= self.parts.len();
                    let end = match self.parts.get(i + 1) {
                        Some(Part::Literal(next)) if is_last => rest.len().checked_sub(next.len())?,
                        Some(Part::Literal(next)) if *reserved => rest.rfind(next.as_str())?,
                        Some(Part::Literal(next)) => rest.find(next.as_str())?,
                        _ => rest.len(),
                    };
                    let (value, after) = rest.split_at_checked(end)?;
                    values.push((name.as_str(), decode(value, *reserved)?));
                    rest = after;
                }
            }
        }
        rest.is_empty().then_some(values)
    }

    /// The URI with these values; a variable without one expands to nothing (RFC 6570, 3.2.1).
    #[must_use]
    pub fn expand(&self, values: &[(&str, &str)]) -> String {
        let mut uri = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(literal) => uri.push_str(literal),
                Part::Variable { name, reserved } => {
                    let value = values.iter().find(|(known, _)| known == name).map(|(_, value)| *value);
                    encode(value.unwrap_or_default(), *reserved, &mut uri);
                }
            }
        }
        uri
    }

    fn literal(&mut self, text: &str) {
        if !text.is_empty() {
            self.parts.push(Part::Literal(text.to_owned()));
        }
    }

    fn variable(&mut self, expression: &str) -> Result<(), TemplateError> {
        let (reserved, name) = expression.strip_prefix('+').map_or((false, expression), |name| (true, name));
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        if name.is_empty() || !name.bytes().all(is_name) {
            return Err(TemplateError::Expression(expression.to_owned()));
        }
        if self.variables().any(|known| known == name) {
            return Err(TemplateError::Twice(name.to_owned()));
        }
        if matches!(self.parts.last(), Some(Part::Variable { .. })) {
            return Err(TemplateError::Adjacent(name.to_owned()));
        }
        if self.variables().count() >= VARIABLES_MAX {
            return Err(TemplateError::TooMany);
        }
        self.parts.push(Part::Variable { name: name.to_owned(), reserved });
        Ok(())
    }
}

/// RFC 3986, 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// RFC 3986, 2.2.
fn is_reserved(byte: u8) -> bool {
    b":/?#[]@!$&'()*+,;=".contains(&byte)
}

fn encode(value: &str, reserved: bool, uri: &mut String) {
    let bytes = value.as_bytes();
    for (i, &byte) in bytes.iter().enumerate() {
        let is_triplet = byte == b'%' && reserved && triplet(&bytes[i..]).is_some();
        if is_unreserved(byte) || (reserved && is_reserved(byte)) || is_triplet {
            uri.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(uri, "%{byte:02X}");
        }
    }
}

/// The value that was encoded so; `None` where it is empty, holds what no value can, or is no UTF-8. A reserved
/// value is left as it stands: it is a piece of a URI.
fn decode(text: &str, reserved: bool) -> Option<String> {
    if text.is_empty() {
        return None;
    }
    if reserved {
        return Some(text.to_owned());
    }
    let mut value = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        if byte == b'%' {
            value.push(triplet(rest)?);
            rest = &rest[3..];
        } else if is_unreserved(byte) {
            value.push(byte);
            rest = after;
        } else {
            return None;
        }
    }
    String::from_utf8(value).ok()
}

/// The byte of the `%XX` that a text begins with.
fn triplet(text: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = text else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(*high)? << 4 | digit(*low)?)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;

    fn check(template: &str, uri: &str, expected: Expect) {
        let template = Template::parse(template).unwrap();
        let shown = template.matches(uri).map_or("no".to_owned(), |values| format!("{values:?}"));
        expected.assert_eq(&shown);
    }

    #[test]
    fn matching() {
        let data = "test://template/{id}/data";
        check(data, "test://template/42/data", expect![[r#"[("id", "42")]"#]]);
        check(data, "test://template/a%20b%2Fc/data", expect![[r#"[("id", "a b/c")]"#]]);
        check(data, "test://template/%C3%A9/data", expect![[r#"[("id", "é")]"#]]);
        for uri in [
            "test://template//data",
            "test://template/a/b/data",
            "test://template/a/data/",
            "test://template/a/data?x",
            "Test://template/a/data",
            "test://template/%2/data",
            "test://template/%ff/data",
            "test://template/é/data",
            "test://template/",
            "",
        ] {
            check(data, uri, expect!["no"]);
        }
        check("file:///{+path}", "file:///a/b%20c?d", expect![[r#"[("path", "a/b%20c?d")]"#]]);
        check("file:///{+path}/meta", "file:///a/meta/b/meta", expect![[r#"[("path", "a/meta/b")]"#]]);
        check("x://{+path}/v/{n}", "x://a/v/b/v/7", expect![[r#"[("path", "a/v/b"), ("n", "7")]"#]]);
        check("{a}.{b}.txt", "x.y.txt", expect![[r#"[("a", "x"), ("b", "y")]"#]]);
        check("{a}.txt", "x.txt.txt", expect![[r#"[("a", "x.txt")]"#]]);
        check("plain://x", "plain://x", expect!["[]"]);
        check("plain://x", "plain://xy", expect!["no"]);
        check("x://{a}é", "x://aé", expect![[r#"[("a", "a")]"#]]);
        check("x://{a}é", "x://a\u{a9}\u{e9}x", expect!["no"]);
        assert_eq!(Template::parse("{+a}").unwrap().matches(&"x".repeat(8_193)), None);
        assert!(Template::parse("{+a}").unwrap().matches(&"x".repeat(8_192)).is_some());
    }

    #[test]
    fn expanding() {
        let expand =
            |template: &str, values: &[(&str, &str)]| Template::parse(template).unwrap().expand(values);
        assert_eq!(expand("test://{id}/data", &[("id", "a b/é%")]), "test://a%20b%2F%C3%A9%25/data");
        assert_eq!(expand("file:///{+path}", &[("path", "a b/c%20%zz")]), "file:///a%20b/c%20%25zz");
        assert_eq!(expand("x://{a}/{b}", &[("b", "1")]), "x:///1");
    }

    #[test]
    fn what_does_not_parse() {
        let check = |text: &str, expected: Expect| {
            expected.assert_eq(&Template::parse(text).unwrap_err().to_string());
        };
        check("{", expect!["a brace stands alone"]);
        check("a}", expect!["a brace stands alone"]);
        check("{a{b}}", expect!["a brace stands alone"]);
        check("{}", expect!["{} is neither {name} nor {+name}"]);
        check("{?q}", expect!["{?q} is neither {name} nor {+name}"]);
        check("{a*}", expect!["{a*} is neither {name} nor {+name}"]);
        check("{a,b}", expect!["{a,b} is neither {name} nor {+name}"]);
        check("{a}/{a}", expect!["{a} stands twice"]);
        check("{a}{b}", expect!["{b} follows another variable at once"]);
        check(&"x".repeat(2_049), expect!["a template is longer than 2048 bytes"]);
        let many = |n: usize| (0..n).map(|i| format!("/{{v{i}}}")).collect::<String>();
        assert!(Template::parse(&many(16)).is_ok());
        check(&many(17), expect!["a template has more than 16 variables"]);
    }

    proptest! {
        #[test]
        fn what_is_expanded_is_matched(a in ".{1,10}", b in ".{1,10}") {
            let template = Template::parse("test://{a}/x/{b}/data").unwrap();
            let uri = template.expand(&[("a", &a), ("b", &b)]);
            prop_assert_eq!(template.matches(&uri), Some(vec![("a", a), ("b", b)]));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[{}+a%é/]{0,16}", uri in "[a%0é/]{0,16}") {
            if let Ok(template) = Template::parse(&text) {
                let _ = template.matches(&uri);
            }
        }
    }
}
