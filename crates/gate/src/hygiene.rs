//! What leaves the house is clean: no escape sequences, no control or invisible characters, no secrets.

use std::{borrow::Cow, iter::Peekable, str::Chars};

use serde_json::{Value, value::RawValue};
use tool::{Hygiene, is_invisible};

/// What was taken out of a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Removed {
    /// Characters that a person does not see, and escape sequences (each counts as its characters).
    pub(crate) characters: usize,
    /// Texts that were masked because they look like secrets or carry the name of one.
    pub(crate) secrets: usize,
}

/// Cleans every text of a result in place, names of members too.
///
/// Strings keep their newlines and tabs. Masking goes by the operator's names, and under the strict profile by
/// the known shapes of keys and tokens too.
pub(crate) fn clean(value: &mut Value, profile: Hygiene, secret_names: &[String]) -> Removed {
    let mut removed = Removed::default();
    if profile != Hygiene::Off {
        clean_value(value, profile, secret_names, &mut removed);
    }
    removed
}

/// True where JSON text can be told to be clean without being parsed: ASCII that a person sees, no name that stands
/// twice, nothing in it of the shape of a secret, and no names to mask by. False says nothing.
///
/// The shapes are looked for in the whole text, so whatever is found in one of its strings is found here too.
pub(crate) fn is_surely_clean(raw: &RawValue, secret_names: &[String]) -> bool {
    let json = raw.get();
    secret_names.is_empty()
        && is_plain(json)
        && without_escapes(json).is_some_and(|text| matches!(audit::mask_text(&text), Cow::Borrowed(_)))
        && tool::json::check(raw).is_ok()
}

/// JSON text with its strings as they are meant; `None` where one is written with an escape that may stand for something
/// that a person does not see. What needs no more than these is mostly JSON or code within a string.
fn without_escapes(json: &str) -> Option<Cow<'_, str>> {
    let Some(first) = json.find('\\') else { return Some(Cow::Borrowed(json)) };
    let mut text = String::with_capacity(json.len());
    let mut rest = json;
    let mut next = Some(first);
    while let Some(at) = next {
        text.push_str(&rest[..at]);
        text.push(match rest.as_bytes().get(at + 1)? {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'n' => '\n',
            b't' => '\t',
            _ => return None,
        });
        rest = &rest[at + 2..];
        next = rest.find('\\');
    }
    text.push_str(rest);
    Some(Cow::Owned(text))
}

fn clean_value(value: &mut Value, profile: Hygiene, names: &[String], removed: &mut Removed) {
    match value {
        Value::String(text) => clean_string(text, profile, removed),
        Value::Array(items) => items.iter_mut().for_each(|item| clean_value(item, profile, names, removed)),
        Value::Object(members) => {
            if members.keys().any(|name| matches!(visible(name), Cow::Owned(_))) {
                for (name, member) in std::mem::take(members) {
                    let clean = visible(&name).into_owned();
                    removed.characters += name.chars().count() - clean.chars().count();
                    members.insert(clean, member);
                }
            }
            for (name, member) in members.iter_mut() {
                if names.iter().any(|secret| is_same_name(secret, name)) && !member.is_null() {
                    *member = Value::from(audit::MASK);
                    removed.secrets += 1;
                } else {
                    clean_value(member, profile, names, removed);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// True where two names differ only in case and in what stands between words: `api_key`, `API-Key`, `apiKey`.
fn is_same_name(one: &str, other: &str) -> bool {
    let plain = |name: &str| {
        name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect::<String>()
    };
    plain(one) == plain(other)
}

fn clean_string(text: &mut String, profile: Hygiene, removed: &mut Removed) {
    if let Cow::Owned(clean) = visible(text) {
        removed.characters += text.chars().count() - clean.chars().count();
        *text = clean;
    }
    if profile == Hygiene::Strict
        && let Cow::Owned(masked) = audit::mask_text(text)
    {
        removed.secrets += 1;
        *text = masked;
    }
}

/// True where all of it is ASCII that a person sees, newlines and tabs.
fn is_plain(text: &str) -> bool {
    let plain = |b: &u8| (0x20..0x7f).contains(b) || matches!(b, b'\n' | b'\t');
    let (pieces, rest) = text.as_bytes().as_chunks::<16>();
    // Without a way out in the middle of a piece, a piece is looked at as one.
    pieces.iter().all(|piece| piece.iter().fold(true, |all, b| all & plain(b))) && rest.iter().all(plain)
}

/// The text without what a person does not see. Borrowed where nothing had to go.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    if is_plain(text) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => skip_escape(&mut chars),
            '\u{9b}' => skip_parameters(&mut chars),
            '\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}' => skip_string(&mut chars),
            // A joiner that joins two letters beyond ASCII is part of the text (emoji, Persian, Indic scripts).
            '\u{200c}' | '\u{200d}' if clean.chars().next_back().is_some_and(is_joinable) => clean.push(c),
            _ if is_invisible(c) => {}
            _ => clean.push(c),
        }
    }
    if clean.len() == text.len() { Cow::Borrowed(text) } else { Cow::Owned(clean) }
}

fn is_joinable(c: char) -> bool {
    !c.is_ascii() && !matches!(c, '\u{200c}' | '\u{200d}')
}

/// After ESC (ECMA-48): a control sequence, a string, or one or two characters.
fn skip_escape(chars: &mut Peekable<Chars<'_>>) {
    match chars.peek() {
        Some('[') => {
            chars.next();
            skip_parameters(chars);
        }
        Some(']' | 'P' | 'X' | '^' | '_') => {
            chars.next();
            skip_string(chars);
        }
        Some(' '..='/') => {
            while chars.next_if(|c| (' '..='/').contains(c)).is_some() {}
            chars.next_if(|c| ('0'..='~').contains(c));
        }
        Some('0'..='~') => {
            chars.next();
        }
        _ => {}
    }
}

/// The rest of a control sequence: parameters, intermediates and one final character.
fn skip_parameters(chars: &mut Peekable<Chars<'_>>) {
    while chars.next_if(|c| (' '..='?').contains(c)).is_some() {}
    chars.next_if(|c| ('@'..='~').contains(c));
}

/// The rest of a control string, up to its terminator (ST or BEL) or the end of the line.
fn skip_string(chars: &mut Peekable<Chars<'_>>) {
    while let Some(c) = chars.peek() {
        match c {
            '\n' => return,
            '\u{7}' | '\u{9c}' => {
                chars.next();
                return;
            }
            '\u{1b}' => {
                chars.next();
                chars.next_if_eq(&'\\');
                return;
            }
            _ => {
                chars.next();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn check(text: &str, expected: Expect) {
        expected.assert_eq(&visible(text));
    }

    #[test]
    fn what_a_person_does_not_see_goes() {
        check("plain\ttext\n", expect!["plain\ttext\n"]);
        check("\u{1b}[31mred\u{1b}[0m \u{1b}[38;5;200mx", expect!["red x"]);
        check("\u{1b}]8;;http://evil\u{7}link\u{1b}]8;;\u{1b}\\!", expect!["link!"]);
        check("\u{1b}Pq#0;2;0\u{1b}\\after", expect!["after"]);
        check("\u{1b}(Bx \u{1b}c y \u{9b}2Jz", expect!["x  y z"]);
        check("a\u{8}b\u{7f}c\u{0}d\re", expect!["abcde"]);
        check("\u{202e}txt.exe\u{202c}", expect!["txt.exe"]);
        check("he\u{200b}l\u{feff}l\u{ad}o", expect!["hello"]);
        check("hi\u{e0068}\u{e0069}", expect!["hi"]);
        check("naïve Grüße 東京 👨‍👩‍👧 می‌خواهم", expect!["naïve Grüße 東京 👨‍👩‍👧 می‌خواهم"]);
        check("a\u{200d}b", expect!["ab"]);
        check("an unfinished \u{1b}]string stops at the line\nend", expect!["an unfinished \nend"]);
    }

    #[test]
    fn named_members_are_masked_and_counted() {
        let mut value =
            json!({ "Pin": 1234, "n": { "pin": null, "b\u{200b}": "x\u{200b}" }, "cardNumber": "4" });
        let names = ["pin", "card_number"].map(str::to_owned);
        let removed = clean(&mut value, Hygiene::Standard, &names);
        let masked =
            json!({ "Pin": "[redacted]", "n": { "pin": null, "b": "x" }, "cardNumber": "[redacted]" });
        assert_eq!(value, masked);
        assert_eq!(removed, Removed { characters: 2, secrets: 2 });
    }

    #[test]
    fn what_is_surely_clean_is_told_from_its_text() {
        for (json, expected) in [
            (r#"{"rows":[{"name":"Acme Corp","total":150000}]}"#, true),
            ("{\n\t\"a\": 1 }", true),
            (r#"{"a":"sk_live_0123456789abcdef"}"#, false),
            (r#"{"password":"hunter2-hunter2"}"#, false),
            (r#"{"a":"\u001b[31m"}"#, false),
            (r#"{"a":"naïve"}"#, false),
            (r#"{"a":1,"a":2}"#, false),
            (r#"{"text":"{\"sum\":42,\"path\":\"C:\\\\a\/b\"}\n\tdone"}"#, true),
            (r#"{"text":"token\n=\t\"abc"}"#, false),
            (r#"{"text":"one\rtwo"}"#, false),
            (r#"{"\/":1,"/":2}"#, false),
        ] {
            let raw = RawValue::from_string(json.to_owned()).unwrap();
            assert_eq!(is_surely_clean(&raw, &[]), expected, "{json}");
        }
        let raw = RawValue::from_string(r#"{"pin":1}"#.to_owned()).unwrap();
        assert!(is_surely_clean(&raw, &[]) && !is_surely_clean(&raw, &["pin".to_owned()]));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let text = prop_oneof![
            any::<String>(),
            "[ -~]{0,40}",
            "(token|password)[:=] ?[a-z]{0,9}",
            r#"[a-z\\"]?(token|api_key)["']?[ \n\t]{0,2}[:=][ \n\t]{0,2}["'\\]?[a-z"\\/]{0,9}"#,
            "sk_[a-z0-9]{6,12}"
        ];
        let leaf =
            prop_oneof![text.prop_map(Value::from), any::<i64>().prop_map(Value::from), Just(Value::Null)];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::vec(("[a-z_]{0,9}", inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn nothing_is_taken_out_of_what_is_surely_clean(value in any_json()) {
            if is_surely_clean(&tool::json::raw(&value), &[]) {
                prop_assert_eq!(clean(&mut value.clone(), Hygiene::Strict, &[]), Removed::default());
            }
        }

        #[test]
        fn clean_is_clean_and_stays_so(text in any::<String>()) {
            let once = visible(&text).into_owned();
            prop_assert_eq!(visible(&once), once.as_str());
            let joiners_only = once.chars().all(|c| !is_invisible(c) || matches!(c, '\u{200c}' | '\u{200d}'));
            prop_assert!(joiners_only);
        }

        #[test]
        fn plain_text_is_left_alone(text in "[ -~\n\tà-ÿа-я一-三]{0,60}") {
            prop_assert_eq!(visible(&text), text.as_str());
        }
    }
}
