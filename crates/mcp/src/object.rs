use std::borrow::Cow;

use serde_json::value::RawValue;
use tool::json::{self, JsonError, Member};

use crate::{WireError, id};

/// A JSON object read one level deep: its members in their order, each as it stands in the text.
///
/// Names are unique. What the members hold is not parsed before it is asked for. Most messages have few
/// members, so a name is looked for one by one.
#[derive(Clone, Debug)]
pub struct Object<'a> {
    raw: &'a RawValue,
    members: Vec<Member<'a>>,
}

impl<'a> Object<'a> {
    /// Reads the members. What they hold is stepped over unchecked: for text that was checked before, or that
    /// is passed on as it came.
    ///
    /// Errors: a value that is no object, and a name that stands twice.
    pub fn read(raw: &'a RawValue) -> Result<Self, JsonError> {
        Ok(Self { raw, members: json::shallow_members(raw)? })
    }

    /// Reads the members and checks all that they hold: names that stand twice at any depth, nesting deeper
    /// than [`json::DEPTH_MAX`], lone surrogates.
    pub fn read_checked(raw: &'a RawValue) -> Result<Self, JsonError> {
        Ok(Self { raw, members: json::checked_members(raw)? })
    }

    /// An object whose members were read, and checked where it is to be, in passing.
    pub(crate) fn of_members(raw: &'a RawValue, members: Vec<Member<'a>>) -> Self {
        Self { raw, members }
    }

    /// The whole object.
    #[must_use]
    pub fn raw(&self) -> &'a RawValue {
        self.raw
    }

    /// The members.
    #[must_use]
    pub fn members(&self) -> &[Member<'a>] {
        &self.members
    }

    /// The JSON text of a member.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.members.iter().find(|member| member.name == name).map(|member| member.value)
    }

    /// A member as raw JSON.
    #[must_use]
    pub fn raw_of(&self, name: &str) -> Option<&'a RawValue> {
        self.get(name).map(json::known)
    }

    /// A member that is a string; `None` where it is left out.
    ///
    /// Error: invalid params, where it is anything else.
    pub fn text(&self, name: &str) -> Result<Option<Cow<'a, str>>, WireError> {
        let Some(json) = self.get(name) else { return Ok(None) };
        let wrong = || WireError::invalid_params(format!("{name:?} must be a string"));
        id::text(json).map(Some).ok_or_else(wrong)
    }

    /// A member that is a string and must be there.
    ///
    /// Error: invalid params, where it is left out or anything else.
    pub fn needed_text(&self, name: &str) -> Result<Cow<'a, str>, WireError> {
        self.text(name)?
            .ok_or_else(|| WireError::invalid_params(format!("{name:?} is missing; it must be a string")))
    }

    /// A member that is an object; `None` where it is left out.
    ///
    /// Error: invalid params, where it is anything else.
    pub fn object(&self, name: &str) -> Result<Option<Object<'a>>, WireError> {
        let Some(raw) = self.raw_of(name) else { return Ok(None) };
        let wrong = |_| WireError::invalid_params(format!("{name:?} must be an object"));
        Object::read(raw).map(Some).map_err(wrong)
    }

    /// A member that is there and is neither `null` nor `false`.
    #[must_use]
    pub fn is_on(&self, name: &str) -> bool {
        self.get(name).is_some_and(|text| !matches!(text, "null" | "false"))
    }
}

/// An object without members.
impl Default for Object<'_> {
    fn default() -> Self {
        Self { raw: json::empty_object(), members: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn shown<T: std::fmt::Debug>(result: Result<T, WireError>) -> String {
        result.map_or_else(|error| format!("{} {}", error.code, error.message), |value| format!("{value:?}"))
    }

    #[test]
    fn members_of_a_kind() {
        let raw: &RawValue =
            serde_json::from_str(r#"{"s":"a\n","o":{"x":1},"n":null,"b":true,"z":12}"#).unwrap();
        let object = Object::read(raw).unwrap();
        let text = |name: &str, expected: Expect| expected.assert_eq(&shown(object.text(name)));
        text("s", expect![[r#"Some("a\n")"#]]);
        text("none", expect!["None"]);
        text("z", expect![[r#"-32602 "z" must be a string"#]]);
        text("n", expect![[r#"-32602 "n" must be a string"#]]);
        expect![[r#"-32602 "none" is missing; it must be a string"#]]
            .assert_eq(&shown(object.needed_text("none")));
        let inner = |name: &str, expected: Expect| {
            expected.assert_eq(&shown(object.object(name).map(|o| o.map(|o| o.raw().get().to_owned()))));
        };
        inner("o", expect![[r#"Some("{\"x\":1}")"#]]);
        inner("none", expect!["None"]);
        inner("s", expect![[r#"-32602 "s" must be an object"#]]);
        for (name, is_on) in [("s", true), ("n", false), ("b", true), ("z", true), ("none", false)] {
            assert_eq!(object.is_on(name), is_on, "{name}");
        }
        assert_eq!(Object::default().raw().get(), "{}");
    }
}
