//! Parameters made fit to be recorded: without secrets, and bounded.
//!
//! Two tables decide: names of members that hold secrets, and shapes of secrets inside texts. It errs on the side
//! of masking: a record is for people who look into what happened, the full arguments are elsewhere.

use std::{borrow::Cow, sync::LazyLock};

use regex::{Captures, Regex, RegexSet};
use serde_json::{Map, Value};
use tool::json;

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

/// Shapes of secrets in a text. What the group `keep` holds stays.
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
        let name = plain(name);
        let known = |(secret, how): &(&str, Match)| match how {
            Match::Part => name.contains(secret),
            Match::PartOfText => name.contains(secret) && !member.is_number() && !member.is_boolean(),
            Match::Whole => name == *secret,
        };
        !member.is_null() && (NAMES.iter().any(known) || self.names.contains(&name))
    }
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
    if text.len() < 8 || !SHAPE_SET.is_match(text) {
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

#[cfg(test)]
mod tests;
