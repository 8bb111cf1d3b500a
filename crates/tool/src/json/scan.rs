//! A walk over text that is already known to be JSON: where the parts of an object begin and end, and what
//! RFC 8259 leaves open.
//!
//! A [`RawValue`] carries the proof that its text is JSON, so nothing is parsed here a second time: numbers and
//! words are stepped over, strings are looked through for their end. Text that is not JSON after all (a
//! `RawValue` can be made no other way, but a walk should not have to trust that) ends in an error, never in a panic.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{DEPTH_MAX, JsonError};

/// So many names are compared with each other; more are sorted first.
const COMPARED_MAX: usize = 8;

/// One member of an object, as it stands in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    /// The name, without quotes and escapes.
    pub name: Cow<'a, str>,
    /// The text of the value.
    pub value: &'a str,
    /// The text of the whole member: name, colon and value, and nothing around them.
    pub text: &'a str,
}

/// Checks what RFC 8259 leaves open, as [`super::parse`] does but without building anything.
///
/// Errors: an object with the same name twice at any depth, nesting deeper than [`DEPTH_MAX`], lone surrogates.
pub fn check(value: &RawValue) -> Result<(), JsonError> {
    let mut walk = Walk::over(value);
    walk.checked(0)
}

/// The members of an object, in their order, after the same check of everything in it as [`check`] makes.
///
/// Errors: those of [`check`], and a value that is no object.
pub fn checked_members(object: &RawValue) -> Result<Vec<Member<'_>>, JsonError> {
    members_by(object, |walk| walk.checked(1))
}

/// The members of an object, in their order. What they hold is stepped over, however deep it is.
///
/// Errors: a value that is no object, and a name that stands twice among these members.
pub fn shallow_members(object: &RawValue) -> Result<Vec<Member<'_>>, JsonError> {
    members_by(object, Walk::skipped)
}

fn members_by<'a>(
    object: &'a RawValue,
    mut step: impl FnMut(&mut Walk<'a>) -> Result<(), JsonError>,
) -> Result<Vec<Member<'a>>, JsonError> {
    let mut walk = Walk::over(object);
    let mut members = Vec::with_capacity(4);
    walk.open(b'{')?;
    while !walk.closes(b'}') {
        let start = walk.at;
        let name = walk.name()?;
        let from = walk.at;
        step(&mut walk)?;
        let text = walk.text;
        members.push(Member { name, value: &text[from..walk.at], text: &text[start..walk.at] });
        walk.separator();
    }
    if members.len() <= COMPARED_MAX {
        compare(&members, |member| &member.name)?;
    } else {
        unique(&mut members.iter().map(|member| &*member.name).collect::<Vec<_>>())?;
    }
    Ok(members)
}

struct Walk<'a> {
    text: &'a str,
    at: usize,
    /// The names of all objects that are open, the innermost last.
    names: Vec<Cow<'a, str>>,
}

impl<'a> Walk<'a> {
    fn over(value: &'a RawValue) -> Self {
        Self { text: value.get(), at: 0, names: Vec::new() }
    }

    /// Steps over one value, looking into it.
    fn checked(&mut self, depth: usize) -> Result<(), JsonError> {
        match self.peek() {
            Some(b'{') => self.checked_object(depth),
            Some(b'[') => self.checked_array(depth),
            Some(b'"') => self.checked_string(),
            _ => self.word(),
        }
    }

    fn checked_object(&mut self, depth: usize) -> Result<(), JsonError> {
        deep_enough(depth)?;
        if self.names.capacity() == 0 {
            self.names.reserve(16);
        }
        let outer = self.names.len();
        self.open(b'{')?;
        while !self.closes(b'}') {
            let name = self.name()?;
            self.names.push(name);
            self.checked(depth + 1)?;
            self.separator();
        }
        unique(&mut self.names[outer..])?;
        self.names.truncate(outer);
        Ok(())
    }

    fn checked_array(&mut self, depth: usize) -> Result<(), JsonError> {
        deep_enough(depth)?;
        self.open(b'[')?;
        while !self.closes(b']') {
            self.checked(depth + 1)?;
            self.separator();
        }
        Ok(())
    }

    fn checked_string(&mut self) -> Result<(), JsonError> {
        let token = self.string()?;
        if token.escaped && has_lone_surrogate(token.text.as_bytes()) {
            return Err(lone_surrogate());
        }
        Ok(())
    }

    /// Steps over one value without looking into it.
    fn skipped(&mut self) -> Result<(), JsonError> {
        let mut open = 0_usize;
        loop {
            match self.peek() {
                Some(b'{' | b'[') => {
                    open += 1;
                    self.at += 1;
                }
                Some(b'}' | b']') => {
                    open = open.saturating_sub(1);
                    self.at += 1;
                }
                Some(b'"') => {
                    self.string()?;
                }
                Some(b' ' | b'\t' | b'\n' | b'\r' | b',' | b':') => self.at += 1,
                _ => self.word()?,
            }
            if open == 0 {
                return Ok(());
            }
        }
    }

    /// Steps over a name and the colon behind it, to the first byte of the value.
    fn name(&mut self) -> Result<Cow<'a, str>, JsonError> {
        let token = self.string()?;
        self.space();
        if self.peek() != Some(b':') {
            return Err(broken());
        }
        self.at += 1;
        self.space();
        if !token.escaped {
            return Ok(Cow::Borrowed(&token.text[1..token.text.len() - 1]));
        }
        // The grammar is known to hold, so what is left to be wrong is a lone surrogate.
        serde_json::from_str(token.text).map(Cow::Owned).map_err(|_| lone_surrogate())
    }

    fn string(&mut self) -> Result<Token<'a>, JsonError> {
        let start = self.at;
        if self.peek() != Some(b'"') {
            return Err(broken());
        }
        let bytes = self.text.as_bytes();
        let mut escaped = false;
        let mut at = start + 1;
        loop {
            at = special(bytes, at).ok_or_else(broken)?;
            if bytes[at] == b'"' {
                break;
            }
            escaped = true;
            at += 2;
        }
        self.at = at + 1;
        Ok(Token { text: &self.text[start..=at], escaped })
    }

    /// Steps over a number, `true`, `false` or `null`.
    fn word(&mut self) -> Result<(), JsonError> {
        let rest = &self.text.as_bytes()[self.at..];
        let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
        let length = rest.iter().take_while(|byte| is_word(byte)).count();
        if length == 0 {
            return Err(broken());
        }
        self.at += length;
        Ok(())
    }

    fn open(&mut self, bracket: u8) -> Result<(), JsonError> {
        if self.peek() != Some(bracket) {
            return Err(JsonError { text: "not a JSON object".to_owned() });
        }
        self.at += 1;
        self.space();
        Ok(())
    }

    /// True, and a step further, where the next byte closes what is open.
    fn closes(&mut self, bracket: u8) -> bool {
        let closes = self.peek() == Some(bracket);
        self.at += usize::from(closes);
        closes
    }

    fn separator(&mut self) {
        self.space();
        if self.peek() == Some(b',') {
            self.at += 1;
            self.space();
        }
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

/// A string with its quotes.
struct Token<'a> {
    text: &'a str,
    escaped: bool,
}

/// Where the next quote or backslash stands, from `at` on. Eight bytes at a time: strings are most of most texts.
fn special(bytes: &[u8], at: usize) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = ONES << 7;
    let rest = bytes.get(at..)?;
    let (eights, _) = rest.as_chunks::<8>();
    for (i, eight) in eights.iter().enumerate() {
        let word = u64::from_le_bytes(*eight);
        let (quote, slash) = (word ^ (ONES * u64::from(b'"')), word ^ (ONES * u64::from(b'\\')));
        // A byte that is zero borrows from above it; the lowest bit that is set is always right.
        let found = (quote.wrapping_sub(ONES) & !quote | slash.wrapping_sub(ONES) & !slash) & HIGHS;
        if found != 0 {
            return Some(at + 8 * i + (found.trailing_zeros() / 8) as usize);
        }
    }
    let from = eights.len() * 8;
    let found = rest[from..].iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
    Some(at + from + found)
}

fn deep_enough(depth: usize) -> Result<(), JsonError> {
    if depth < DEPTH_MAX {
        return Ok(());
    }
    Err(JsonError { text: format!("nested deeper than {DEPTH_MAX} levels") })
}

/// Fails where two of the names are equal; may sort them.
fn unique<T: AsRef<str> + Ord>(names: &mut [T]) -> Result<(), JsonError> {
    if names.len() <= COMPARED_MAX {
        return compare(names, AsRef::as_ref);
    }
    names.sort_unstable();
    let twice = names.windows(2).find(|pair| pair[0] == pair[1]);
    twice.map_or(Ok(()), |pair| Err(stands_twice(pair[0].as_ref())))
}

/// Fails where two of a few have equal names.
fn compare<T>(few: &[T], name: impl Fn(&T) -> &str) -> Result<(), JsonError> {
    for (i, one) in few.iter().enumerate() {
        if few[..i].iter().any(|other| name(other) == name(one)) {
            return Err(stands_twice(name(one)));
        }
    }
    Ok(())
}

fn stands_twice(name: &str) -> JsonError {
    let shown: String = name.chars().take(80).collect();
    JsonError { text: format!("the name {shown:?} stands twice in one object") }
}

/// True where a `\u` escape of one half of a pair stands without the other (RFC 8259, 8.2).
fn has_lone_surrogate(token: &[u8]) -> bool {
    let mut at = 0;
    while at + 1 < token.len() {
        if token[at] != b'\\' {
            at += 1;
            continue;
        }
        match unit(token, at) {
            Some(0xD800..=0xDBFF) => match unit(token, at + 6) {
                Some(0xDC00..=0xDFFF) => at += 12,
                _ => return true,
            },
            Some(0xDC00..=0xDFFF) => return true,
            Some(_) => at += 6,
            None => at += 2,
        }
    }
    false
}

/// The code unit of the `\uXXXX` that stands here.
fn unit(token: &[u8], at: usize) -> Option<u16> {
    let escape = token.get(at..at + 6)?;
    let digits = escape.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn lone_surrogate() -> JsonError {
    JsonError { text: "half a surrogate pair is not text".to_owned() }
}

fn broken() -> JsonError {
    JsonError { text: "not valid JSON".to_owned() }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::{check as check_raw, *};

    fn raw(text: &str) -> &RawValue {
        serde_json::from_str(text).unwrap()
    }

    fn lines(found: Result<Vec<Member<'_>>, JsonError>) -> String {
        match found {
            Ok(members) => {
                members.iter().map(|m| format!("{} = {} | {}\n", m.name, m.value, m.text)).collect()
            }
            Err(error) => format!("{error}\n"),
        }
    }

    #[test]
    fn members_as_they_stand() {
        let check = |text: &str, expected: Expect| {
            let shallow = lines(shallow_members(raw(text)));
            assert_eq!(shallow, lines(checked_members(raw(text))), "{text}");
            expected.assert_eq(&shallow);
        };
        check("{}", expect![""]);
        check("{ }", expect![""]);
        check(
            r#"{ "a" : 18446744073709551616 ,"b":[ 1, {"c":"]}\""} ],"\u0063": null , "d":-1.5e+3}"#,
            expect![[r#"
                a = 18446744073709551616 | "a" : 18446744073709551616
                b = [ 1, {"c":"]}\""} ] | "b":[ 1, {"c":"]}\""} ]
                c = null | "\u0063": null
                d = -1.5e+3 | "d":-1.5e+3
            "#]],
        );
        check(
            "[1]",
            expect![[r#"
            not a JSON object
        "#]],
        );
        check(
            r#""{}""#,
            expect![[r#"
            not a JSON object
        "#]],
        );
        check(
            r#"{"a":1,"b":2,"\u0061":3}"#,
            expect![[r#"
            the name "a" stands twice in one object
        "#]],
        );
    }

    #[test]
    fn what_is_refused_at_any_depth() {
        let check = |text: &str, expected: Expect| {
            let shown = check_raw(raw(text)).map_or_else(|error| error.to_string(), |()| "fine".to_owned());
            expected.assert_eq(&shown);
        };
        check(r#"[{"a":{"a":{"a":1}}},{"a":1}]"#, expect!["fine"]);
        check(r#"[{"x":[{"a":1,"a":2}]}]"#, expect![[r#"the name "a" stands twice in one object"#]]);
        check(
            r#"{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":{},"\u0065":1}"#,
            expect![[r#"the name "e" stands twice in one object"#]],
        );
        check(r#"{"a":"\ud83d\ude00 \\ud800 \n"}"#, expect!["fine"]);
        check(r#"{"a":["\ud800"]}"#, expect!["half a surrogate pair is not text"]);
        check(r#"{"a":["\ud800\ud800"]}"#, expect!["half a surrogate pair is not text"]);
        check(r#"{"a":["\udc00"]}"#, expect!["half a surrogate pair is not text"]);
        check(r#"{"a":{"\ud800":1}}"#, expect!["half a surrogate pair is not text"]);
        check(&format!("{}{}", "[".repeat(64), "]".repeat(64)), expect!["fine"]);
        check(&format!("{}{}", "[".repeat(65), "]".repeat(65)), expect!["nested deeper than 64 levels"]);
        check(
            &format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)),
            expect!["nested deeper than 64 levels"],
        );
        check(&format!("{}1{}", r#"{"a":"#.repeat(64), "}".repeat(64)), expect!["fine"]);
        check(
            &format!("{}1{}", r#"{"a":"#.repeat(65), "}".repeat(65)),
            expect!["nested deeper than 64 levels"],
        );
    }

    #[test]
    fn members_count_as_a_level() {
        let nested = |levels: usize| format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
        assert!(checked_members(raw(&nested(64))).is_ok());
        assert!(checked_members(raw(&nested(65))).is_err());
        assert!(shallow_members(raw(&nested(100_000))).is_ok());
    }

    #[test]
    fn many_names_do_not_take_long() {
        let members: Vec<String> = (0..100_000).map(|n| format!(r#""{n}":{n}"#)).collect();
        let text = format!("{{{}}}", members.join(","));
        assert_eq!(checked_members(raw(&text)).unwrap().len(), 100_000);
    }

    proptest! {
        #[test]
        fn quotes_and_backslashes_are_found(bytes in prop::collection::vec(prop::sample::select(&b"\"\\!#[]\x22\x5c\xdc\xa2\x00a"[..]), 0..40), at in 0_usize..42) {
            let expected = (at..bytes.len()).find(|&i| matches!(bytes[i], b'"' | b'\\'));
            prop_assert_eq!(special(&bytes, at), expected);
        }

        #[test]
        fn agrees_with_the_parser(text in r#"[\[\]{}:,"ab1\\u]{0,24}"#) {
            if let Ok(raw) = serde_json::from_str::<&RawValue>(&text) {
                prop_assert_eq!(check(raw).is_ok(), super::super::parse(text.as_bytes()).is_ok(), "{}", text);
                let _ = (checked_members(raw), shallow_members(raw));
            }
        }

        #[test]
        fn agrees_with_the_parser_about_names(names in prop::collection::vec("[ab]{1,2}", 0..14), deep in any::<bool>()) {
            let members: Vec<String> = names.iter().map(|name| format!("{name:?} : [1]")).collect();
            let object = format!("{{{}}}", members.join(" , "));
            let text = if deep { format!(r#"{{"x":[{object}]}}"#) } else { object };
            prop_assert_eq!(checked_members(raw(&text)).is_ok(), super::super::parse(text.as_bytes()).is_ok());
        }
    }
}
