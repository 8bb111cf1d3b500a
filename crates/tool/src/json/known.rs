//! Raw JSON out of text that is known to be JSON, without parsing it once more.
//!
//! `serde_json` makes a [`RawValue`] only of what a deserializer hands it. This one hands over text as it stands, so it
//! is for text that was walked through a moment ago, or was written from pieces that are JSON themselves.

use serde::{
    Deserialize, Deserializer,
    de::{
        DeserializeSeed, Error as _, IntoDeserializer, MapAccess, Visitor,
        value::{BorrowedStrDeserializer, Error},
    },
    forward_to_deserialize_any,
};
use serde_json::value::RawValue;

/// `text` as raw JSON. It is one JSON value without spaces around it: a part of a [`RawValue`], for one.
///
/// What it is made of is not looked at again, except in builds with debug assertions.
#[must_use]
pub fn known(text: &str) -> &RawValue {
    debug_assert!(is_one(text), "not one JSON value: {text:?}");
    // Should `serde_json` ever want it otherwise, the text is parsed after all.
    match <&RawValue>::deserialize(Known(text)) {
        Ok(raw) => raw,
        Err(_) => serde_json::from_str(text).unwrap_or_else(|_| super::empty_object()),
    }
}

/// The same of text that is owned. What is no JSON, which breaks the promise, becomes an empty object.
#[must_use]
pub fn known_box(text: Vec<u8>) -> Box<RawValue> {
    // Bytes become text only where they are UTF-8, which costs little.
    let Ok(text) = String::from_utf8(text) else { return super::empty_object().to_owned() };
    debug_assert!(is_one(&text), "not one JSON value: {text:?}");
    <Box<RawValue>>::deserialize(Known(text)).unwrap_or_else(|_| super::empty_object().to_owned())
}

fn is_one(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok_and(|raw| raw.get().len() == text.len())
}

struct Known<T>(T);

impl<'de, T: Handed<'de>> Deserializer<'de> for Known<T> {
    type Error = Error;

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_map(Only { name: Some(name), text: Some(self.0) })
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("only raw JSON is made here"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// The one member that raw JSON is read from: its name is that of the type.
struct Only<T> {
    name: Option<&'static str>,
    text: Option<T>,
}

impl<'de, T: Handed<'de>> MapAccess<'de> for Only<T> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some(name) = self.name.take() else { return Ok(None) };
        seed.deserialize(BorrowedStrDeserializer::new(name)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        let text = self.text.take().ok_or_else(|| Error::custom("there is one member"))?;
        text.hand(seed)
    }
}

/// Text that is handed over, borrowed or owned.
trait Handed<'de> {
    fn hand<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Error>;
}

impl<'de> Handed<'de> for &'de str {
    fn hand<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Error> {
        seed.deserialize(BorrowedStrDeserializer::new(self))
    }
}

impl<'de> Handed<'de> for String {
    fn hand<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Error> {
        seed.deserialize(IntoDeserializer::<Error>::into_deserializer(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_handed_over_as_it_stands() {
        for text in ["{ \"a\" : 1e400 }", "[]", "\"\\u0061\"", "null", "12345678901234567890123"] {
            // Not by way of the parser, which would hide that the short way has gone.
            let borrowed = <&RawValue>::deserialize(Known(text)).unwrap();
            assert!(std::ptr::eq(borrowed.get(), text));
            assert_eq!(<Box<RawValue>>::deserialize(Known(text.to_owned())).unwrap().get(), text);
            assert_eq!((known(text).get(), known_box(text.into()).get()), (text, text));
        }
        assert!(u8::deserialize(Known("1")).is_err());
    }
}
