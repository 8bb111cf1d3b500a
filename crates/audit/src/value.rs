//! Values as JSON text. What most members are, texts and numbers, is written here; the rest by serde_json. The
//! bytes are the same.

use std::{fmt, io::Write as _};

use serde::{
    Serialize, Serializer,
    ser::{self, Impossible},
};
use tool::json;

use crate::plain::{is_plain, push_number};

/// Appends a value.
pub(crate) fn push(to: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    let start = to.len();
    if value.serialize(Single(to)).is_err() {
        to.truncate(start);
        push_any(to, value);
    }
}

fn push_any(to: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    serde_json::to_writer(to, value).expect("what is recorded always has JSON text");
}

/// Writes a value that is no list, object or the like.
struct Single<'a>(&'a mut Vec<u8>);

/// The value is left to serde_json.
#[derive(Debug)]
struct Other;

type Never = Impossible<(), Other>;

impl std::error::Error for Other {}

impl fmt::Display for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a single value")
    }
}

impl ser::Error for Other {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

impl Single<'_> {
    fn word(self, word: &str) -> Result<(), Other> {
        self.0.extend_from_slice(word.as_bytes());
        Ok(())
    }
}

/// Numbers that are written as wider ones are.
macro_rules! widened {
    ($($narrow:ident($number:ty) -> $wide:ident;)*) => {
        $(fn $narrow(self, value: $number) -> Result<(), Other> {
            self.$wide(value.into())
        })*
    };
}

impl Serializer for Single<'_> {
    type Ok = ();
    type Error = Other;
    type SerializeSeq = Never;
    type SerializeTuple = Never;
    type SerializeTupleStruct = Never;
    type SerializeTupleVariant = Never;
    type SerializeMap = Never;
    type SerializeStruct = Never;
    type SerializeStructVariant = Never;

    widened! {
        serialize_i8(i8) -> serialize_i64;
        serialize_i16(i16) -> serialize_i64;
        serialize_i32(i32) -> serialize_i64;
        serialize_u8(u8) -> serialize_u64;
        serialize_u16(u16) -> serialize_u64;
        serialize_u32(u32) -> serialize_u64;
    }

    fn serialize_bool(self, value: bool) -> Result<(), Other> {
        self.word(if value { "true" } else { "false" })
    }

    fn serialize_i64(self, value: i64) -> Result<(), Other> {
        if value < 0 {
            self.0.push(b'-');
        }
        push_number(value.unsigned_abs(), self.0);
        Ok(())
    }

    fn serialize_u64(self, value: u64) -> Result<(), Other> {
        push_number(value, self.0);
        Ok(())
    }

    fn serialize_f32(self, _: f32) -> Result<(), Other> {
        Err(Other)
    }

    fn serialize_f64(self, value: f64) -> Result<(), Other> {
        push_any(self.0, &value);
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), Other> {
        json::write_text(self.0, value.encode_utf8(&mut [0; 4]));
        Ok(())
    }

    fn serialize_str(self, value: &str) -> Result<(), Other> {
        json::write_text(self.0, value);
        Ok(())
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<(), Other> {
        Err(Other)
    }

    fn serialize_none(self) -> Result<(), Other> {
        self.word("null")
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Other> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Other> {
        self.word("null")
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Other> {
        self.word("null")
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Other> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Other> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), Other> {
        Err(Other)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Never, Other> {
        Err(Other)
    }

    fn serialize_tuple(self, _: usize) -> Result<Never, Other> {
        Err(Other)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Never, Other> {
        Err(Other)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Never, Other> {
        Err(Other)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Never, Other> {
        Err(Other)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Never, Other> {
        Err(Other)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Never, Other> {
        Err(Other)
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, value: &T) -> Result<(), Other> {
        self.0.push(b'"');
        let start = self.0.len();
        write!(self.0, "{value}").map_err(|_| Other)?;
        if !is_plain(&self.0[start..]) {
            return Err(Other);
        }
        self.0.push(b'"');
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json, value::RawValue};
    use tool::Timestamp;

    use super::*;

    #[derive(Serialize)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        NoContent,
        One(u8),
        Two(u8, u8),
        Named { x: u8 },
    }

    #[derive(Serialize)]
    struct Wrapped<T>(T);

    #[derive(Serialize)]
    struct Nothing;

    fn check(value: &(impl Serialize + ?Sized)) {
        let mut text = b"before".to_vec();
        push(&mut text, value);
        let expected = format!("before{}", serde_json::to_string(value).unwrap());
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }

    #[test]
    fn values_are_written_as_serde_json_writes_them() {
        check(&true);
        check(&false);
        for number in [i64::MIN, -10, -1, 0, 9, 10, i64::MAX] {
            check(&number);
            check(&(number as i8));
            check(&(number as i16));
            check(&(number as i32));
            check(&(number as u8));
            check(&(number as u16));
            check(&(number as u32));
            check(&(number as u64));
            check(&i128::from(number));
            check(&(number as f64));
            check(&(number as f32));
        }
        for number in [0.0, -0.0, 1.5, 12.345, 1e-7, 1e21, 1e300, f64::NAN, f64::INFINITY] {
            check(&number);
            check(&(number as f32));
        }
        for c in ['a', '"', '\\', '\n', '\u{7f}', 'é', '語', '🙂'] {
            check(&c);
            check(&c.to_string());
            check(&format_args!("{c}"));
        }
        check(&());
        check(&Nothing);
        check(&None::<u8>);
        check(&Some(Some("x")));
        check(&Wrapped("x"));
        check(&Wrapped(Some(vec!["a\nb"])));
        check(&Kind::NoContent);
        check(&Kind::One(1));
        check(&Kind::Two(1, 2));
        check(&Kind::Named { x: 1 });
        check(&(1, "a"));
        check(&["a", "b"]);
        check(&Timestamp::from_unix_ms(1_763_719_845_123));
        check(&std::collections::BTreeMap::from([(1, "a"), (2, "b")]));
        check(&json!({ "a": [1, -2.5, null, true, "é\t"], "b": {} }));
        check(&json!("x"));
        check(&Value::Null);
        check(&*RawValue::from_string(r#"{"a" : 1}"#.to_owned()).unwrap());
    }

    proptest! {
        #[test]
        fn texts_are_written_as_serde_json_writes_them(text in ".{0,40}", plain in "[ -~]{0,40}") {
            check(&text);
            check(&plain);
            check(&format_args!("{plain}"));
        }
    }
}
