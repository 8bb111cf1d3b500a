//! Writing JSON: texts, and the one canonical form.

use serde_json::Value;

use super::words::special;

/// Appends a text as a JSON string, as `serde_json` would write it. What needs no escape is copied in one piece.
pub fn write_text(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    let mut from = 0;
    while let Some(at) = special(bytes, from) {
        out.extend_from_slice(&bytes[from..at]);
        escape(out, bytes[at]);
        from = at + 1;
    }
    out.extend_from_slice(&bytes[from..]);
    out.push(b'"');
}

fn escape(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        b'\t' => b't',
        b'\n' => b'n',
        0x0c => b'f',
        b'\r' => b'r',
        _ => {
            let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
            out.extend_from_slice(b"\\u00");
            return out.extend_from_slice(&digits);
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// Appends the text of a value that is the same for equal values: see [`super::canonical`].
pub(super) fn write_canonical(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::String(text) => write_text(out, text),
        Value::Array(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_canonical(item, out);
            }
            out.push(b']');
        }
        Value::Object(members) => {
            out.push(b'{');
            if members.keys().is_sorted() {
                write_members(members.iter(), out);
            } else {
                let mut sorted: Vec<_> = members.iter().collect();
                sorted.sort_unstable_by_key(|(name, _)| name.as_str());
                write_members(sorted.into_iter(), out);
            }
            out.push(b'}');
        }
        // Writing to memory cannot fail.
        Value::Number(number) => drop(serde_json::to_writer(out, number)),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Null => out.extend_from_slice(b"null"),
    }
}

fn write_members<'a>(members: impl Iterator<Item = (&'a String, &'a Value)>, out: &mut Vec<u8>) {
    for (i, (name, member)) in members.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write_text(out, name);
        out.push(b':');
        write_canonical(member, out);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn canonical_text() {
        let value = json!({ "b": [1, -2.5, null, true, false, "\u{7f}\"\\/\u{1}\n"], "a\n": { "z": {}, "ä": 1e300 } });
        let mut out = Vec::new();
        write_canonical(&value, &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"a\\n\":{\"z\":{},\"ä\":1e+300},\"b\":[1,-2.5,null,true,false,\"\u{7f}\\\"\\\\/\\u0001\\n\"]}"
        );
    }

    proptest! {
        #[test]
        fn texts_are_written_as_serde_json_writes_them(text in prop_oneof!["[ -~]{0,40}", "[\\x00-\\x7fä€😀]{0,40}"]) {
            let mut out = Vec::new();
            write_text(&mut out, &text);
            prop_assert_eq!(String::from_utf8(out).unwrap(), serde_json::to_string(&text).unwrap());
        }
    }
}
