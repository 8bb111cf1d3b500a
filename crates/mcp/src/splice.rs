//! Putting JSON text into JSON text: what is not touched survives byte for byte.

use std::ops::Range;

use serde_json::{Value, value::RawValue};
use tool::json;

use crate::Object;

/// Something with a JSON text that can be put into a longer one.
pub trait Splice {
    /// Appends the JSON text.
    fn splice(&self, out: &mut Vec<u8>);
}

/// The JSON text on its own.
#[must_use]
pub fn to_vec(value: &dyn Splice) -> Vec<u8> {
    let mut out = Vec::new();
    value.splice(&mut out);
    out
}

/// As it stands.
impl Splice for &RawValue {
    fn splice(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.get().as_bytes());
    }
}

/// As it stands.
impl Splice for Box<RawValue> {
    fn splice(&self, out: &mut Vec<u8>) {
        (&**self).splice(out);
    }
}

impl Splice for Value {
    fn splice(&self, out: &mut Vec<u8>) {
        // Writing to memory cannot fail, and every value has a text.
        drop(serde_json::to_writer(out, self));
    }
}

/// As a JSON string.
impl Splice for &str {
    fn splice(&self, out: &mut Vec<u8>) {
        json::write_text(out, self);
    }
}

/// As a JSON string.
impl Splice for String {
    fn splice(&self, out: &mut Vec<u8>) {
        self.as_str().splice(out);
    }
}

impl Splice for bool {
    fn splice(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if *self { b"true" } else { b"false" });
    }
}

impl Splice for i64 {
    fn splice(&self, out: &mut Vec<u8>) {
        drop(serde_json::to_writer(out, self));
    }
}

impl Splice for u64 {
    fn splice(&self, out: &mut Vec<u8>) {
        drop(serde_json::to_writer(out, self));
    }
}

/// As it stands.
impl Splice for Object<'_> {
    fn splice(&self, out: &mut Vec<u8>) {
        self.raw().splice(out);
    }
}

/// An object with some members set or taken out. All others are copied as they stand: unknown names, large
/// integers and the spaces inside them survive; their order stays, and what is new comes last.
///
/// Nothing is copied before it is written.
#[derive(Clone, Debug)]
pub struct Edit<'a> {
    object: &'a Object<'a>,
    /// The JSON texts of all that is set, one behind the other.
    texts: Vec<u8>,
    changes: Vec<Change<'a>>,
}

#[derive(Clone, Debug)]
struct Change<'a> {
    name: &'a str,
    /// Where the new JSON text stands; `None` where the member goes.
    text: Option<Range<usize>>,
}

impl<'a> Edit<'a> {
    /// No change yet.
    #[must_use]
    pub fn of(object: &'a Object<'a>) -> Self {
        Self { object, texts: Vec::new(), changes: Vec::new() }
    }

    /// Puts `value` under `name`, whatever stood there.
    #[must_use]
    pub fn set(mut self, name: &'a str, value: &dyn Splice) -> Self {
        if self.texts.capacity() == 0 {
            self.texts.reserve(128);
        }
        let from = self.texts.len();
        value.splice(&mut self.texts);
        self.change(name, Some(from..self.texts.len()));
        self
    }

    /// Puts `value` under `name` where nothing of that name stands yet.
    #[must_use]
    pub fn set_missing(self, name: &'a str, value: &dyn Splice) -> Self {
        if self.has(name) { self } else { self.set(name, value) }
    }

    /// Takes `name` out.
    #[must_use]
    pub fn remove(mut self, name: &'a str) -> Self {
        self.change(name, None);
        self
    }

    /// Edits `name` as an object of its own; where there is none, or something else, it begins empty.
    #[must_use]
    pub fn within(self, name: &'a str, edit: impl FnOnce(Edit<'_>) -> Edit<'_>) -> Self {
        let changed = self.changed(name).map(|change| change.text.clone());
        let set = changed.clone().flatten().map(|text| json::known_box(self.texts[text].to_vec()));
        let raw = if changed.is_some() { set.as_deref() } else { self.object.raw_of(name) };
        let object = raw.and_then(|raw| Object::read(raw).ok()).unwrap_or_default();
        let edited = edit(Edit::of(&object));
        self.set(name, &edited)
    }

    /// True where the edited object has a member of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        match self.changed(name) {
            Some(change) => change.text.is_some(),
            None => self.object.get(name).is_some(),
        }
    }

    /// The edited object.
    #[must_use]
    pub fn to_raw(&self) -> Box<RawValue> {
        json::known_box(to_vec(self))
    }

    fn change(&mut self, name: &'a str, text: Option<Range<usize>>) {
        self.changes.retain(|change| change.name != name);
        self.changes.push(Change { name, text });
    }

    fn changed(&self, name: &str) -> Option<&Change<'a>> {
        self.changes.iter().find(|change| change.name == name)
    }
}

impl Splice for Edit<'_> {
    fn splice(&self, out: &mut Vec<u8>) {
        if self.changes.is_empty() {
            return self.object.splice(out);
        }
        let names: usize = self.changes.iter().map(|change| change.name.len() + 4).sum();
        out.reserve(self.object.raw().get().len() + self.texts.len() + names);
        let mut separator = b'{';
        for member in self.object.members() {
            match self.changed(&member.name) {
                None => {
                    out.push(separator);
                    out.extend_from_slice(member.text.as_bytes());
                }
                Some(Change { text: Some(text), .. }) => {
                    push_member(out, separator, &member.name, &self.texts[text.clone()]);
                }
                Some(Change { text: None, .. }) => continue,
            }
            separator = b',';
        }
        for change in &self.changes {
            if let (Some(text), None) = (&change.text, self.object.get(change.name)) {
                push_member(out, separator, change.name, &self.texts[text.clone()]);
                separator = b',';
            }
        }
        if separator == b'{' {
            out.push(b'{');
        }
        out.push(b'}');
    }
}

/// Appends a member whose name needs no escapes, with what parts it from the one before, or opens the object.
pub fn push_plain(out: &mut Vec<u8>, separator: &mut u8, name: &'static str, value: &dyn Splice) {
    out.push(std::mem::replace(separator, b','));
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    value.splice(out);
}

fn push_member(out: &mut Vec<u8>, separator: u8, name: &str, value: &[u8]) {
    out.push(separator);
    name.splice(out);
    out.push(b':');
    out.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;

    fn check(text: &str, edit: impl FnOnce(Edit<'_>) -> Edit<'_>, expected: Expect) {
        let raw: &RawValue = serde_json::from_str(text).unwrap();
        let object = Object::read(raw).unwrap();
        let edited = edit(Edit::of(&object));
        expected.assert_eq(edited.to_raw().get());
    }

    #[test]
    fn what_is_not_touched_survives() {
        let text = r#"{ "big" : 12345678901234567890123, "x" :{"y": [ 1 ]},"z":1.0}"#;
        check(text, |e| e, expect![[r#"{ "big" : 12345678901234567890123, "x" :{"y": [ 1 ]},"z":1.0}"#]]);
        check(
            text,
            |e| e.set("x", &true),
            expect![[r#"{"big" : 12345678901234567890123,"x":true,"z":1.0}"#]],
        );
        check(
            text,
            |e| e.set("new", &json!({ "a": 1 })).remove("x"),
            expect![[r#"{"big" : 12345678901234567890123,"z":1.0,"new":{"a":1}}"#]],
        );
        check(
            text,
            |e| e.remove("none"),
            expect![[r#"{"big" : 12345678901234567890123,"x" :{"y": [ 1 ]},"z":1.0}"#]],
        );
        check(r#"{"a":1}"#, |e| e.remove("a"), expect!["{}"]);
        check("{ }", |e| e.set("a\"", &"b\n"), expect![[r#"{"a\"":"b\n"}"#]]);
        check(r#"{"\u0061":1}"#, |e| e.set("a", &2_u64), expect![[r#"{"a":2}"#]]);
    }

    #[test]
    fn missing_members_are_set_once() {
        check(
            r#"{"a":1}"#,
            |e| e.set_missing("a", &2_i64).set_missing("b", &3_i64),
            expect![[r#"{"a":1,"b":3}"#]],
        );
        check(r#"{"a":null}"#, |e| e.set_missing("a", &2_i64), expect![[r#"{"a":null}"#]]);
        check(r#"{"a":1}"#, |e| e.remove("a").set_missing("a", &2_i64), expect![[r#"{"a":2}"#]]);
        check(r#"{}"#, |e| e.set("a", &1_i64).set("a", &2_i64), expect![[r#"{"a":2}"#]]);
    }

    #[test]
    fn objects_within() {
        check(
            r#"{"_meta":{"x" : 1 }}"#,
            |e| e.within("_meta", |m| m.set("y", &2_i64)).within("_meta", |m| m.set("z", &3_i64)),
            expect![[r#"{"_meta":{"x" : 1,"y":2,"z":3}}"#]],
        );
        check("{}", |e| e.within("_meta", |m| m.set("y", &2_i64)), expect![[r#"{"_meta":{"y":2}}"#]]);
        check(
            r#"{"_meta":null}"#,
            |e| e.within("_meta", |m| m.set("y", &2_i64)),
            expect![[r#"{"_meta":{"y":2}}"#]],
        );
    }
}
