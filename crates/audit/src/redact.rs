//! Parameters made fit to be recorded: without secrets, and bounded.
//!
//! Two tables decide: names of members that hold secrets, and shapes of secrets inside texts. It errs on the side
//! of masking: a record is for people who look into what happened, the full arguments are elsewhere.

use std::{borrow::Cow, sync::LazyLock};

use regex::{Captures, Regex, RegexSet};
use serde_json::{Map, Value};
use tool::json;

use crate::value;

/// What stands in place of a secret.
pub const MASK: &str = "[redacted]";

/// A text is cut after this many bytes.
const TEXT_BYTES_MAX: usize = 1_024;

/// So many bytes of texts and names are kept in all; after that only counts are.
const TOTAL_BYTES_MAX: usize = 16 << 10;

/// Nesting that is kept.
const DEPTH_MAX: u32 = 64;

/// Names of members that hold a secret, lowercase and without `-`, `_` and the like. `Part` is found anywhere in a
/// name; `PartOfText` too, but numbers and booleans under such a name are none (`max_tokens: 100`); `Whole` is the
/// whole name.
const NAMES: &[(&str, Match)] = &[
    ("password", Match::Part),
    ("passwd", Match::Part),
    ("passphrase", Match::Part),
    ("passcode", Match::Part),
    ("secret", Match::Part),
    ("apikey", Match::Part),
    ("accesskey", Match::Part),
    ("privatekey", Match::Part),
    ("signingkey", Match::Part),
    ("encryptionkey", Match::Part),
    ("sshkey", Match::Part),
    ("authorization", Match::Part),
    ("credential", Match::Part),
    ("connectionstring", Match::Part),
    ("cookie", Match::Part),
    ("bearer", Match::PartOfText),
    ("token", Match::PartOfText),
    ("jwt", Match::Whole),
    ("pwd", Match::Whole),
    ("pass", Match::Whole),
    ("pin", Match::Whole),
    ("otp", Match::Whole),
    ("auth", Match::Whole),
    ("psk", Match::Whole),
];

/// Shapes of secrets in a text. What the group `keep` holds stays. [`has_no_secret`] knows what the shortest of each
/// have in common.
const SHAPES: &[&str] = &[
    // PEM (RFC 7468); an end that was lost masks the rest
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\z)",
    // HTTP authentication schemes (RFC 6750, RFC 7617)
    r"(?i)(?<keep>\b(?:bearer|basic)\s+)[a-z0-9._~+/=-]{8,}",
    // JWT (RFC 7519): two parts that begin as `{"` does in Base64
    r"\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*)?",
    // our own keys, and those of OpenAI, Stripe and Anthropic
    r"\b(?:sk|pk|rk)[_-][A-Za-z0-9_-]{8,}",
    // GitHub, GitLab, Slack, AWS, Google
    r"\bgh[pousr]_[A-Za-z0-9]{16,}",
    r"\bgithub_pat_[A-Za-z0-9_]{16,}",
    r"\bglpat-[A-Za-z0-9_-]{16,}",
    r"\bxox[abprs]-[A-Za-z0-9-]{8,}",
    r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    r"\bAIza[A-Za-z0-9_-]{30,}",
    // user information in a URL
    r"(?<keep>\b[a-zA-Z][a-zA-Z0-9+.-]*://[^\s/:@]*:)[^\s/@]+(?<after>@)",
    // `password=x`, `"secret": "x"`, `api-key: x` in free text, SQL and configuration
    r#"(?i)(?<keep>(?:password|passwd|passphrase|secret|token|api[_-]?key|private[_-]?key)['"]?\s*[:=]\s*)(?:"(?:[^"\\]|\\.)*"?|'[^']*'?|[^\s"',;&)}]+)"#,
    // `enable secret 5 ..`, `password 7 ..` in device configurations
    r"(?i)(?<keep>\b(?:password|secret|key)\s+[0-9]\s+)\S+",
];

/// Which letters follow the first and which the second in the rows of [`NAMES`], which all have three
/// letters or more: most places of most names need no further look.
const BEGINNINGS: [[u32; 256]; 2] = {
    let mut tables = [[0; 256]; 2];
    let mut row = 0;
    while row < NAMES.len() {
        let name = NAMES[row].0.as_bytes();
        tables[0][name[0] as usize] |= letter(name[1]);
        tables[1][name[1] as usize] |= letter(name[2]);
        row += 1;
    }
    tables
};

/// The longest name that is looked at without a buffer of its own, in bytes.
const SHORT_NAME: usize = 64;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Match {
    Part,
    PartOfText,
    Whole,
}

/// Makes values fit to be recorded. Made once; knows names of secrets beside its own.
#[derive(Clone, Debug, Default)]
pub struct Redactor {
    names: Vec<String>,
}

/// A copy of `value` without secrets, and bounded. `secret_names` are further names of members that hold secrets.
///
/// Masked with `[redacted]`: members whose names look secret, however written (`api_key`, `API-Key`, `apiKey`); and
/// inside texts keys, tokens, PEM private keys, JWTs, passwords in URLs and `password=..`. A text over 1,024 bytes
/// is cut and ends in its length and digest; after 16 KiB in all, what remains of a list or an object is counted
/// only.
#[must_use]
pub fn redact(value: &Value, secret_names: &[String]) -> Value {
    Redactor::new(secret_names).redact(value)
}

impl Redactor {
    /// With these further names, compared whole and without regard to case, `-` and `_`.
    #[must_use]
    pub fn new(secret_names: &[String]) -> Self {
        Self { names: secret_names.iter().map(|name| plain(name)).collect() }
    }

    /// As [`redact`].
    #[must_use]
    pub fn redact(&self, value: &Value) -> Value {
        Walk { names: &self.names, left: TOTAL_BYTES_MAX }.value(value, DEPTH_MAX)
    }

    /// Appends the JSON text of what [`Redactor::redact`] makes of a value, mostly without making it.
    pub(crate) fn push(&self, value: &Value, to: &mut Vec<u8>) {
        let start = to.len();
        let mut walk = Walk { names: &self.names, left: TOTAL_BYTES_MAX };
        if walk.push(value, DEPTH_MAX, to).is_none() {
            to.truncate(start);
            value::push(to, &self.redact(value));
        }
    }
}

struct Walk<'a> {
    names: &'a [String],
    /// Bytes that may still be kept.
    left: usize,
}

impl Walk<'_> {
    fn value(&mut self, value: &Value, depth: u32) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(text)),
            Value::Array(_) | Value::Object(_) if depth == 0 => "[cut: nested too deep]".into(),
            Value::Array(items) => Value::Array(self.items(items, depth - 1)),
            Value::Object(members) => Value::Object(self.members(members, depth - 1)),
            plain => {
                self.spend(8);
                plain.clone()
            }
        }
    }

    /// As [`Walk::value`], as JSON text. `None` where something has to be cut, or a name masked: two names may
    /// become one then.
    fn push(&mut self, value: &Value, depth: u32, to: &mut Vec<u8>) -> Option<()> {
        match value {
            Value::String(text) => self.push_text(&mask_text(text), to)?,
            Value::Array(_) | Value::Object(_) if depth == 0 => return None,
            Value::Array(items) => {
                to.push(b'[');
                for (i, item) in items.iter().enumerate() {
                    self.push_comma(i, to)?;
                    self.push(item, depth - 1, to)?;
                }
                to.push(b']');
            }
            Value::Object(members) => {
                to.push(b'{');
                for (i, (name, member)) in members.iter().enumerate() {
                    self.push_comma(i, to)?;
                    let Cow::Borrowed(shown) = mask_text(name) else { return None };
                    self.push_text(shown, to)?;
                    to.push(b':');
                    if self.is_secret(name, member) {
                        json::write_text(to, MASK);
                    } else {
                        self.push(member, depth - 1, to)?;
                    }
                }
                to.push(b'}');
            }
            plain => {
                self.spend(8);
                value::push(to, plain);
            }
        }
        Some(())
    }

    fn push_comma(&self, i: usize, to: &mut Vec<u8>) -> Option<()> {
        if i > 0 {
            to.push(b',');
        }
        (self.left > 0).then_some(())
    }

    fn push_text(&mut self, masked: &str, to: &mut Vec<u8>) -> Option<()> {
        if masked.len() > TEXT_BYTES_MAX.min(self.left) {
            return None;
        }
        self.spend(masked.len() + 2);
        json::write_text(to, masked);
        Some(())
    }

    fn items(&mut self, items: &[Value], depth: u32) -> Vec<Value> {
        let mut kept = Vec::new();
        for (i, item) in items.iter().enumerate() {
            if self.left == 0 {
                kept.push(format!("[cut: {} more]", items.len() - i).into());
                break;
            }
            kept.push(self.value(item, depth));
        }
        kept
    }

    fn members(&mut self, members: &Map<String, Value>, depth: u32) -> Map<String, Value> {
        let mut kept = Map::new();
        for (i, (name, member)) in members.iter().enumerate() {
            if self.left == 0 {
                kept.insert("[cut]".to_owned(), format!("{} more", members.len() - i).into());
                break;
            }
            let shown = self.text(name);
            let member = if self.is_secret(name, member) { MASK.into() } else { self.value(member, depth) };
            kept.insert(shown, member);
        }
        kept
    }

    fn text(&mut self, text: &str) -> String {
        let masked = mask_text(text).into_owned();
        let length_max = TEXT_BYTES_MAX.min(self.left);
        self.spend(masked.len().min(length_max) + 2);
        if masked.len() <= length_max {
            return masked;
        }
        let start = &masked[..masked.floor_char_boundary(length_max)];
        format!("{start}[cut: {} bytes, {}]", masked.len(), json::digest_bytes(masked.as_bytes()))
    }

    fn spend(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes);
    }

    fn is_secret(&self, name: &str, member: &Value) -> bool {
        if member.is_null() {
            return false;
        }
        let mut room = [0; SHORT_NAME];
        match plain_ascii(name, &mut room) {
            Some(name) => self.is_known(name, member),
            None => self.is_known(plain(name).as_bytes(), member),
        }
    }

    /// True for the [`plain`] name of a secret.
    fn is_known(&self, name: &[u8], member: &Value) -> bool {
        let follows =
            |nth: usize, three: &[u8]| BEGINNINGS[nth][usize::from(three[nth])] & letter(three[nth + 1]) != 0;
        let known_at = |(at, three): (usize, &[u8])| {
            follows(0, three) && follows(1, three) && {
                let rest = &name[at..];
                NAMES.iter().any(|(secret, how)| {
                    rest.starts_with(secret.as_bytes())
                        && match how {
                            Match::Part => true,
                            Match::PartOfText => !member.is_number() && !member.is_boolean(),
                            Match::Whole => name.len() == secret.len(),
                        }
                })
            }
        };
        name.windows(3).enumerate().any(known_at) || self.names.iter().any(|own| own.as_bytes() == name)
    }
}

/// The bit of a letter; of any other byte, the bit of some letter.
const fn letter(byte: u8) -> u32 {
    1 << (byte & 31)
}

/// As [`plain`], for a name of ASCII that is not too long.
fn plain_ascii<'a>(name: &str, room: &'a mut [u8; SHORT_NAME]) -> Option<&'a [u8]> {
    if name.len() > SHORT_NAME || !name.is_ascii() {
        return None;
    }
    let mut length = 0;
    for byte in name.bytes().filter(u8::is_ascii_alphanumeric) {
        room[length] = byte.to_ascii_lowercase();
        length += 1;
    }
    Some(&room[..length])
}

/// A name in lowercase, letters and digits only.
fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// A text with what has the shape of a secret masked by [`MASK`]: borrowed where there was none. Results that leave
/// the house go through it too.
#[must_use]
pub fn mask_text(text: &str) -> Cow<'_, str> {
    static SHAPE_SET: LazyLock<RegexSet> =
        LazyLock::new(|| RegexSet::new(SHAPES).expect("a test compiles every row"));
    static SHAPE_LIST: LazyLock<Vec<Regex>> = LazyLock::new(|| {
        let compile = |shape: &&str| Regex::new(shape).expect("a test compiles every row");
        SHAPES.iter().map(compile).collect()
    });
    let mut masked = Cow::Borrowed(text);
    // Nearly every text holds none: one pass over all shapes at once tells.
    if text.len() < 8 || has_no_secret(text.as_bytes()) || !SHAPE_SET.is_match(text) {
        return masked;
    }
    for shape in SHAPE_LIST.iter() {
        let replaced = shape.replace_all(&masked, |found: &Captures<'_>| {
            let group = |name| found.name(name).map_or("", |part| part.as_str());
            format!("{}{MASK}{}", group("keep"), group("after"))
        });
        if let Cow::Owned(replaced) = replaced {
            masked = replaced.into();
        }
    }
    masked
}

/// True for most names and short words: they have neither the length nor the bytes of any row of [`SHAPES`]. Of
/// letters, digits and `_` alone, only `sk_`, `pk_` and `rk_` begin a secret under 20 bytes.
fn has_no_secret(text: &[u8]) -> bool {
    let mut before = 0;
    text.len() < 20
        && text.iter().all(|byte| {
            let harmless = match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => true,
                b'_' => before != b'k',
                _ => false,
            };
            before = *byte;
            harmless
        })
}

#[cfg(test)]
mod tests;
