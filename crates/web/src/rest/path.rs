//! Paths with places in them: `/customers/{customer_id}/orders`.
//!
//! Invariant: what a caller gives stays within its one segment. It is percent-encoded but for unreserved
//! characters (RFC 3986, 2.3), and refused where it could become a separator or a step up in a server that
//! decodes more than once.

use serde_json::Value;

/// A parsed path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// Sent as it is.
    Fixed(String),
    /// The value of a parameter.
    Parameter(String),
}

/// Why a value cannot go into a path: the parameter, and what is wrong.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PathError {
    pub(crate) parameter: String,
    pub(crate) text: String,
}

impl Template {
    /// Parses a path.
    ///
    /// Error: where it does not begin with `/`, holds what a path cannot hold, or a brace stands alone.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if !text.starts_with('/') {
            return Err(format!("{text:?} does not begin with `/`"));
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((fixed, after)) = rest.split_once('{') {
            let (name, behind) = after.split_once('}').ok_or("a `{` is never closed")?;
            if name.is_empty() || name.contains('{') {
                return Err(format!("{name:?} in braces is not the name of a parameter"));
            }
            parts.push(Part::Fixed(fixed.to_owned()));
            parts.push(Part::Parameter(name.to_owned()));
            rest = behind;
        }
        parts.push(Part::Fixed(rest.to_owned()));
        parts.retain(|part| *part != Part::Fixed(String::new()));
        for part in &parts {
            if let Part::Fixed(fixed) = part {
                check_fixed(fixed)?;
            }
        }
        if text.split('/').any(|segment| matches!(segment, "." | "..")) {
            return Err(format!("{text:?} holds `.` or `..`"));
        }
        Ok(Self(parts))
    }

    /// The parameters it names, in order.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Parameter(name) => Some(name.as_str()),
            Part::Fixed(_) => None,
        })
    }

    /// The path with these arguments in it, encoded.
    pub(crate) fn fill(&self, arguments: &Value) -> Result<String, PathError> {
        let mut path = String::new();
        for part in &self.0 {
            match part {
                Part::Fixed(fixed) => path.push_str(fixed),
                Part::Parameter(name) => {
                    let refuse = |text: String| PathError { parameter: name.clone(), text };
                    let value = plain(&arguments[name.as_str()])
                        .ok_or_else(|| refuse("expected a text, a number or a boolean".to_owned()))?;
                    check_value(&value).map_err(|text| refuse(format!("{value:?} {text}")))?;
                    encode(&value, &mut path);
                }
            }
        }
        if path.split('/').any(|segment| matches!(segment, "." | "..")) {
            let parameter = self.parameters().next().unwrap_or_default().to_owned();
            return Err(PathError { parameter, text: "the path would step up".to_owned() });
        }
        Ok(path)
    }
}

/// A scalar as text; `None` for anything else.
pub(crate) fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn check_fixed(fixed: &str) -> Result<(), String> {
    // `pchar` and `/` of RFC 3986, 3.3.
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@/%".contains(c);
    match fixed.chars().find(|c| !fits(*c)) {
        Some('?') => Err("a path holds no `?`; make it a parameter `in: query`".to_owned()),
        Some(c) => Err(format!("a path cannot hold {c:?}; percent-encode it")),
        None => Ok(()),
    }
}

fn check_value(value: &str) -> Result<(), &'static str> {
    let folded = value.to_ascii_lowercase();
    if value.is_empty() {
        Err("is empty and cannot go into a path")
    } else if matches!(value, "." | "..") {
        Err("would step up or stay in the path")
    } else if value.contains(['/', '\\']) || value.chars().any(char::is_control) {
        Err("holds a separator or a control character and cannot go into a path")
    } else if ["%2f", "%5c", "%2e", "%00", "%25"].iter().any(|escape| folded.contains(escape)) {
        Err("holds a percent-encoded separator, dot or percent sign and cannot go into a path")
    } else {
        Ok(())
    }
}

fn encode(value: &str, path: &mut String) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use expect_test::expect;
    use serde_json::json;
    use url::Url;

    use super::*;

    #[test]
    fn values_stay_within_their_segment() {
        let template = Template::parse("/a/{id}/b").unwrap();
        let shown: Vec<_> = [
            json!("42"),
            json!(42),
            json!(-1.5),
            json!(true),
            json!("a b"),
            json!("a+b&c=d?e#f;g:h@i"),
            json!("n\u{e4}h"),
            json!("\u{1f980}"),
            json!("50%"),
            json!("..."),
            json!(".a"),
            json!("..;"),
            json!("\u{ff0f}\u{2215}\u{2024}\u{2024}"),
            json!(""),
            json!("."),
            json!(".."),
            json!("/"),
            json!("../x"),
            json!("a/b"),
            json!("a\\b"),
            json!("%2f"),
            json!("%2F.."),
            json!("%2e%2e"),
            json!("%5c"),
            json!("%252f"),
            json!("%00"),
            json!("a\0"),
            json!("a\r\nb"),
            json!("a\u{85}b"),
            json!(null),
            json!(["a"]),
            json!({"a": 1}),
        ]
        .into_iter()
        .map(|value| match template.fill(&json!({ "id": value })) {
            Ok(path) => {
                // A browser's URL parser finds the same path and the same number of segments.
                let url = Url::parse(&format!("http://h{path}?q")).unwrap();
                assert_eq!(url.path(), path);
                assert_eq!(url.path_segments().unwrap().count(), 3);
                format!("{value} -> {path}")
            }
            Err(e) => format!("{value} -> {}: {}", e.parameter, e.text),
        })
        .collect();
        expect![[r#"
            "42" -> /a/42/b
            42 -> /a/42/b
            -1.5 -> /a/-1.5/b
            true -> /a/true/b
            "a b" -> /a/a%20b/b
            "a+b&c=d?e#f;g:h@i" -> /a/a%2Bb%26c%3Dd%3Fe%23f%3Bg%3Ah%40i/b
            "näh" -> /a/n%C3%A4h/b
            "🦀" -> /a/%F0%9F%A6%80/b
            "50%" -> /a/50%25/b
            "..." -> /a/.../b
            ".a" -> /a/.a/b
            "..;" -> /a/..%3B/b
            "／∕․․" -> /a/%EF%BC%8F%E2%88%95%E2%80%A4%E2%80%A4/b
            "" -> id: "" is empty and cannot go into a path
            "." -> id: "." would step up or stay in the path
            ".." -> id: ".." would step up or stay in the path
            "/" -> id: "/" holds a separator or a control character and cannot go into a path
            "../x" -> id: "../x" holds a separator or a control character and cannot go into a path
            "a/b" -> id: "a/b" holds a separator or a control character and cannot go into a path
            "a\\b" -> id: "a\\b" holds a separator or a control character and cannot go into a path
            "%2f" -> id: "%2f" holds a percent-encoded separator, dot or percent sign and cannot go into a path
            "%2F.." -> id: "%2F.." holds a percent-encoded separator, dot or percent sign and cannot go into a path
            "%2e%2e" -> id: "%2e%2e" holds a percent-encoded separator, dot or percent sign and cannot go into a path
            "%5c" -> id: "%5c" holds a percent-encoded separator, dot or percent sign and cannot go into a path
            "%252f" -> id: "%252f" holds a percent-encoded separator, dot or percent sign and cannot go into a path
            "%00" -> id: "%00" holds a percent-encoded separator, dot or percent sign and cannot go into a path
            "a\u0000" -> id: "a\0" holds a separator or a control character and cannot go into a path
            "a\r\nb" -> id: "a\r\nb" holds a separator or a control character and cannot go into a path
            "ab" -> id: "a\u{85}b" holds a separator or a control character and cannot go into a path
            null -> id: expected a text, a number or a boolean
            ["a"] -> id: expected a text, a number or a boolean
            {"a":1} -> id: expected a text, a number or a boolean"#]].assert_eq(&shown.join("\n"));
    }

    #[test]
    fn values_cannot_join_into_a_step_up() {
        let template = Template::parse("/a/{x}{y}").unwrap();
        assert!(template.fill(&json!({ "x": ".", "y": "." })).is_err());
        let template = Template::parse("/a/.{x}").unwrap();
        assert!(template.fill(&json!({ "x": "." })).is_err());
        assert_eq!(template.fill(&json!({ "x": "b." })).unwrap(), "/a/.b.");
    }

    #[test]
    fn a_path_is_checked_when_it_is_declared() {
        let shown: Vec<_> =
            ["/a/{b}.json", "/", "/a%20b", "a", "", "/{", "/{}", "/{a{b}}", "/a}", "/a?b=1", "/a b", "/../a"]
                .into_iter()
                .map(|text| match Template::parse(text) {
                    Ok(template) => format!("{text:?} takes {:?}", template.parameters().collect::<Vec<_>>()),
                    Err(e) => format!("{text:?}: {e}"),
                })
                .collect();
        expect![[r#"
            "/a/{b}.json" takes ["b"]
            "/" takes []
            "/a%20b" takes []
            "a": "a" does not begin with `/`
            "": "" does not begin with `/`
            "/{": a `{` is never closed
            "/{}": "" in braces is not the name of a parameter
            "/{a{b}}": "a{b" in braces is not the name of a parameter
            "/a}": a path cannot hold '}'; percent-encode it
            "/a?b=1": a path holds no `?`; make it a parameter `in: query`
            "/a b": a path cannot hold ' '; percent-encode it
            "/../a": "/../a" holds `.` or `..`"#]]
        .assert_eq(&shown.join("\n"));
    }
}
