//! JSON as we take it in: strictly, and with one canonical form to digest.

mod known;
mod scan;
mod words;
mod write;

use std::{collections::HashSet, fmt, io, sync::LazyLock};

use serde::{
    Deserializer as _,
    de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value, json, map::Entry, value::RawValue};

pub use known::{known, known_box};
pub use scan::{Member, check, checked_members, first_look, shallow_members, unescaped};
pub use write::write_text;

/// The deepest nesting that is taken. `serde_json` itself stops at 128.
pub const DEPTH_MAX: usize = 64;

/// Why a text is not JSON as we take it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text}")]
pub struct JsonError {
    /// What is wrong and where, for the caller.
    pub text: String,
}

/// Parses one JSON value and nothing after it.
///
/// Refused beyond what RFC 8259 forbids: an object with the same name twice (two readers may disagree about
/// which one counts), nesting deeper than [`DEPTH_MAX`], and lone surrogates.
pub fn parse(text: &[u8]) -> Result<Value, JsonError> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = Strict { depth: 0 }.deserialize(&mut reader).map_err(JsonError::from)?;
    reader.end().map_err(JsonError::from)?;
    Ok(value)
}

/// The first integer literal in `text` that neither `i64` nor `u64` holds, and that a parsed [`Value`] would
/// therefore only come near. `text` is valid JSON.
#[must_use]
pub fn inexact_integer(text: &str) -> Option<&str> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = string_end(bytes, at),
            b'-' | b'0'..=b'9' => {
                let end = number_end(bytes, at);
                let literal = &text[at..end];
                // Eighteen digits always fit.
                let integer = literal.len() > 18 && !literal.contains(['.', 'e', 'E']);
                if integer && literal.parse::<i64>().is_err() && literal.parse::<u64>().is_err() {
                    return Some(literal);
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    None
}

/// The text of a value that is the same for equal values: no spaces, names sorted by code point.
///
/// Close to RFC 8785, but numbers are written as `serde_json` writes them.
#[must_use]
pub fn canonical(value: &Value) -> String {
    let mut text = Vec::new();
    write::write_canonical(value, &mut text);
    String::from_utf8(text).expect("JSON text is UTF-8")
}

/// The digest of a value: `b3:` and the BLAKE3 hash of its canonical text in hex.
#[must_use]
pub fn digest(value: &Value) -> String {
    let mut text = Vec::with_capacity(128);
    write::write_canonical(value, &mut text);
    digest_bytes(&text)
}

/// The digest of some bytes: `b3:` and their BLAKE3 hash in hex.
#[must_use]
pub fn digest_bytes(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(3 + 2 * blake3::OUT_LEN);
    text.push_str("b3:");
    text.push_str(&blake3::hash(bytes).to_hex());
    text
}

/// The JSON Schema of an object with these members and no others.
#[must_use]
pub fn closed_object(members: &Value, required: &[&str]) -> Value {
    json!({ "type": "object", "properties": members, "required": required, "additionalProperties": false })
}

/// A schema made from a Rust type, without the names of Rust's number types (`"format": "uint64"`), which validators
/// elsewhere do not know and complain of.
#[must_use]
pub fn without_rust_formats(mut schema: Value) -> Value {
    match &mut schema {
        Value::Object(members) => {
            let is_number =
                |name: &str| ["uint", "int", "float", "double"].iter().any(|kind| name.starts_with(kind));
            if members.get("format").and_then(Value::as_str).is_some_and(is_number) {
                members.shift_remove("format");
            }
            members.values_mut().for_each(|member| *member = without_rust_formats(member.take()));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = without_rust_formats(item.take())),
        _ => {}
    }
    schema
}

/// `{}`.
#[must_use]
pub fn empty_object() -> &'static RawValue {
    static EMPTY: LazyLock<Box<RawValue>> =
        LazyLock::new(|| RawValue::from_string("{}".to_owned()).expect("an empty object is JSON"));
    &EMPTY
}

/// A value as raw JSON.
#[must_use]
pub fn raw(value: &Value) -> Box<RawValue> {
    let mut text = Vec::with_capacity(64);
    match value {
        Value::String(value) => write_text(&mut text, value),
        // Writing to memory cannot fail.
        value => drop(serde_json::to_writer(&mut text, value)),
    }
    known_box(text)
}

/// How long a value is as JSON text, in bytes.
#[must_use]
pub fn text_len(value: &Value) -> usize {
    struct Count(usize);
    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // Writing to a counter does not fail.
    let _ = serde_json::to_writer(&mut count, value);
    count.0
}

/// Adds one name or index to an RFC 6901 pointer.
pub fn push_pointer(pointer: &mut String, part: impl fmt::Display) {
    pointer.push('/');
    pointer.push_str(&part.to_string().replace('~', "~0").replace('/', "~1"));
}

fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(found) = words::special(bytes, at) {
        match bytes[found] {
            b'"' => return found + 1,
            b'\\' => at = found + 2,
            _ => at = found + 1,
        }
    }
    bytes.len()
}

fn number_end(bytes: &[u8], start: usize) -> usize {
    let rest = &bytes[start..];
    let length = rest.iter().position(|b| !matches!(b, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9'));
    start + length.unwrap_or(rest.len())
}

impl From<serde_json::Error> for JsonError {
    fn from(error: serde_json::Error) -> Self {
        Self { text: format!("not valid JSON: {error}") }
    }
}

#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        if self.depth >= DEPTH_MAX {
            return Err(E::custom(format!("nested deeper than {DEPTH_MAX} levels")));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(inner)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut members = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            match members.entry(name) {
                Entry::Vacant(place) => {
                    place.insert(access.next_value_seed(inner)?);
                }
                Entry::Occupied(place) => {
                    let name = place.key();
                    return Err(de::Error::custom(format!("the name {name:?} stands twice in one object")));
                }
            }
        }
        Ok(Value::Object(members))
    }
}

/// One object's members, each as it stands in the text, so that an envelope can be read without touching what
/// it carries. Names may not stand twice.
pub fn members(text: &[u8]) -> Result<Vec<(String, &RawValue)>, JsonError> {
    struct Members;
    impl<'de> Visitor<'de> for Members {
        type Value = Vec<(String, &'de RawValue)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a JSON object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
            let mut seen = HashSet::new();
            let mut members = Vec::new();
            while let Some((name, member)) = access.next_entry::<String, &'de RawValue>()? {
                if !seen.insert(name.clone()) {
                    return Err(de::Error::custom(format!("the name {name:?} stands twice in one object")));
                }
                members.push((name, member));
            }
            Ok(members)
        }
    }
    if let Some(found) = few_members(text) {
        return Ok(found);
    }
    let mut reader = serde_json::Deserializer::from_slice(text);
    let found = reader.deserialize_map(Members).map_err(JsonError::from)?;
    reader.end().map_err(JsonError::from)?;
    Ok(found)
}

/// The members of an object with a few of them in which nothing is wrong.
fn few_members(text: &[u8]) -> Option<Vec<(String, &RawValue)>> {
    let mut members: Vec<(String, &RawValue)> = Vec::new();
    let mut is_plain = true;
    first_look(std::str::from_utf8(text).ok()?, None, |name, value, _| {
        // Each name is compared with all before it.
        is_plain = is_plain && members.len() < 16 && members.iter().all(|(other, _)| *other != name);
        if is_plain {
            members.push((name.into_owned(), value));
        }
    })?;
    is_plain.then_some(members)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    fn check(text: &str, expected: Expect) {
        let shown = match parse(text.as_bytes()) {
            Ok(value) => value.to_string(),
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&shown);
    }

    #[test]
    fn what_is_taken_and_what_is_not() {
        check(r#" {"b":1,"a":[1.5,-2,null,true,"x"]} "#, expect![[r#"{"b":1,"a":[1.5,-2,null,true,"x"]}"#]]);
        check(
            r#"{"a":1,"a":2}"#,
            expect![[r#"not valid JSON: the name "a" stands twice in one object at line 1 column 10"#]],
        );
        check(
            r#"{"a":1,"\u0061":2}"#,
            expect![[r#"not valid JSON: the name "a" stands twice in one object at line 1 column 15"#]],
        );
        check(r#""\ud800""#, expect!["not valid JSON: unexpected end of hex escape at line 1 column 8"]);
        check("{} {}", expect!["not valid JSON: trailing characters at line 1 column 4"]);
        check("", expect!["not valid JSON: EOF while parsing a value at line 1 column 0"]);
        check("NaN", expect!["not valid JSON: expected value at line 1 column 1"]);
        check("1e999", expect!["not valid JSON: number out of range at line 1 column 5"]);
        check("\u{feff}{}", expect!["not valid JSON: expected value at line 1 column 1"]);
        check(
            &"[".repeat(100_000),
            expect!["not valid JSON: nested deeper than 64 levels at line 1 column 65"],
        );
    }

    #[test]
    fn integers_that_would_be_rounded_are_found() {
        for (text, found) in [
            (r#"{"a":18446744073709551615,"b":-9223372036854775808}"#, None),
            (r#"{"a":18446744073709551616}"#, Some("18446744073709551616")),
            (r#"["18446744073709551616","\"99999999999999999999"]"#, None),
            ("[1e30, 2.5, -99999999999999999999]", Some("-99999999999999999999")),
        ] {
            assert_eq!(inexact_integer(text), found, "{text}");
        }
    }

    #[test]
    fn an_envelope_keeps_what_it_carries() {
        let found = members(br#"{"tool":"x","arguments":{ "n" : 18446744073709551616 }}"#).unwrap();
        assert_eq!(found[1].1.get(), r#"{ "n" : 18446744073709551616 }"#);
        assert!(members(br#"{"a":1,"a":1}"#).is_err());
        assert!(members(b"[]").is_err());
    }

    proptest! {
        #[test]
        fn equal_values_have_equal_digests(names in prop::collection::hash_set("[a-c]{1,2}", 0..5)) {
            let forward: Map<_, _> = names.iter().map(|n| (n.clone(), json!(n))).collect();
            let backward: Map<_, _> = forward.iter().rev().map(|(n, v)| (n.clone(), v.clone())).collect();
            prop_assert_eq!(digest(&Value::Object(forward)), digest(&Value::Object(backward)));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}") {
            if parse(text.as_bytes()).is_ok() {
                let _ = inexact_integer(&text);
            }
        }
    }
}
