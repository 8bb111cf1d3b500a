use std::{borrow::Cow, fmt, sync::Arc};

use crate::splice::Splice;

/// The longest id that is taken, in bytes of its text without quotes and escapes.
pub const ID_BYTES_MAX: usize = 256;

/// What a request is known by on its wire, and also what its progress is known by: a string or an integer.
///
/// Two ids are equal where they are of the same kind and have the same value: `1` is not `"1"`, and `"a"` is
/// `"\u0061"`. An integer of any size keeps every digit. Cloning is cheap.
///
/// Source: 2026-07-28 basic, "Requests"; patterns/progress, "Progress Flow".
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Id(Kind);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Kind {
    Integer(i64),
    /// An integer that no `i64` holds, in decimal digits.
    Big(Arc<str>),
    Text(Arc<str>),
}

/// Why something is not an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Null, a fraction, a boolean, an array or an object.
    #[error("must be a string or an integer")]
    Kind,
    /// Longer than [`ID_BYTES_MAX`].
    #[error("is longer than {ID_BYTES_MAX} bytes")]
    TooLong,
}

impl Id {
    /// An integer of our own.
    #[must_use]
    pub fn integer(value: i64) -> Self {
        Self(Kind::Integer(value))
    }

    /// A string.
    pub fn text(value: &str) -> Result<Self, IdError> {
        if value.len() > ID_BYTES_MAX {
            return Err(IdError::TooLong);
        }
        Ok(Self(Kind::Text(value.into())))
    }

    /// Reads an id from its JSON text. `1.0` and `1e0` are no integers here.
    pub fn parse(json: &str) -> Result<Self, IdError> {
        if json.starts_with('"') {
            // Escapes make the text longer than the value, at most six times.
            if json.len() > 2 + 6 * ID_BYTES_MAX {
                return Err(IdError::TooLong);
            }
            let value = text(json).ok_or(IdError::Kind)?;
            return Self::text(&value);
        }
        let digits = json.strip_prefix('-').unwrap_or(json);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(IdError::Kind);
        }
        if json.len() > ID_BYTES_MAX {
            return Err(IdError::TooLong);
        }
        Ok(Self(json.parse().map_or_else(|_| Kind::Big(json.into()), Kind::Integer)))
    }

    /// The value of an integer that fits.
    #[must_use]
    pub fn as_integer(&self) -> Option<i64> {
        if let Kind::Integer(value) = self.0 { Some(value) } else { None }
    }

    /// The value of a string.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        if let Kind::Text(value) = &self.0 { Some(value) } else { None }
    }
}

impl From<i64> for Id {
    fn from(value: i64) -> Self {
        Self::integer(value)
    }
}

impl Splice for Id {
    fn splice(&self, out: &mut Vec<u8>) {
        match &self.0 {
            Kind::Integer(value) => value.splice(out),
            Kind::Big(digits) => out.extend_from_slice(digits.as_bytes()),
            Kind::Text(value) => (&**value).splice(out),
        }
    }
}

/// The JSON text.
impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Integer(value) => write!(f, "{value}"),
            Kind::Big(digits) => f.write_str(digits),
            Kind::Text(value) => f.write_str(&serde_json::Value::from(&**value).to_string()),
        }
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The value of a JSON string, borrowed where it has no escapes; `None` where the JSON text is something else, or no
/// text: half a surrogate pair.
pub(crate) fn text(json: &str) -> Option<Cow<'_, str>> {
    match tool::json::unescaped(json) {
        Some(text) => Some(Cow::Borrowed(text)),
        None => serde_json::from_str(json).ok().map(|Text(text)| text),
    }
}

/// A string that is borrowed where it has no escapes.
#[derive(serde::Deserialize)]
#[serde(transparent)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    fn id(json: &str) -> Result<Id, IdError> {
        Id::parse(json)
    }

    #[test]
    fn what_is_an_id() {
        for good in [
            "0",
            "-7",
            "9223372036854775807",
            "9223372036854775808",
            "12345678901234567890123",
            r#""""#,
            r#""a\"\\é""#,
        ] {
            let read = id(good).unwrap();
            assert_eq!(read.to_string(), good);
            let mut out = Vec::new();
            read.splice(&mut out);
            assert_eq!(out, good.as_bytes());
        }
        for bad in ["null", "true", "1.0", "1e3", "-", "", "[]", "{}", r#""\ud800""#] {
            assert_eq!(id(bad), Err(IdError::Kind), "{bad}");
        }
    }

    #[test]
    fn equal_by_kind_and_value() {
        assert_eq!(id(r#""a""#), id(r#""\u0061""#));
        assert_eq!(id("0"), id("-0"));
        assert_ne!(id("1"), id(r#""1""#));
        assert_ne!(id("9223372036854775808"), id(r#""9223372036854775808""#));
        assert_ne!(id("12345678901234567890123"), id("12345678901234567890124"));
        assert_eq!(id("5").unwrap().as_integer(), Some(5));
        assert_eq!(id(r#""5""#).unwrap().as_text(), Some("5"));
    }

    #[test]
    fn the_bound_is_in_bytes_of_the_value() {
        assert!(id(&format!("{:?}", "x".repeat(256))).is_ok());
        assert_eq!(id(&format!("{:?}", "x".repeat(257))), Err(IdError::TooLong));
        assert!(id(&format!("\"{}\"", r"\u0061".repeat(256))).is_ok());
        assert_eq!(id(&format!("\"{}\"", r"\u0061".repeat(257))), Err(IdError::TooLong));
        assert!(id(&"9".repeat(256)).is_ok());
        assert_eq!(id(&"9".repeat(257)), Err(IdError::TooLong));
    }
}
