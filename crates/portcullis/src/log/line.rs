//! One event as one line.

use std::fmt::Write as _;

use tool::{Timestamp, is_invisible};
use tracing::{Level, field::Field};

/// The members that come first, in this order, where an event has them.
const FIRST: &[&str] = &["request_id", "correlation_id", "tool_name", "user_id", "latency_ms", "message"];

/// The most bytes of one member's text; the rest is cut, and `..` says so.
const MEMBER_BYTES_MAX: usize = 16 * 1024;

/// What most lines need, in bytes.
const LINE_BYTES: usize = 512;

/// The members of an event or a span: name, and value as JSON text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Members(Vec<(&'static str, String)>);

impl Members {
    /// Adds those of an outer span; what is there already stays.
    pub(crate) fn inherit(&mut self, outer: &Self) {
        for (name, value) in &outer.0 {
            if self.get(name).is_none() {
                self.0.push((name, value.clone()));
            }
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| *other == name).map(|(_, value)| value.as_str())
    }

    fn put(&mut self, field: &Field, json: String) {
        // `log.*` are bookkeeping of the bridge from the `log` crate.
        if field.name().starts_with("log.") {
            return;
        }
        let name = field.name();
        match self.0.iter_mut().find(|(other, _)| *other == name) {
            Some((_, value)) => *value = json,
            None => self.0.push((name, json)),
        }
    }
}

impl tracing::field::Visit for Members {
    fn record_f64(&mut self, field: &Field, value: f64) {
        let json = if value.is_finite() { value.to_string() } else { "null".to_owned() };
        self.put(field, json);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.to_string());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.to_string());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.to_string());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, quoted(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.put(field, quoted(&format!("{value:?}")));
    }
}

/// The level's name in the log.
pub(crate) fn level_name(level: &Level) -> &'static str {
    match *level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARNING",
        Level::INFO => "INFO",
        Level::DEBUG | Level::TRACE => "DEBUG",
    }
}

/// An event as a JSON object and a line end.
pub(crate) fn json(at: Timestamp, level: &Level, target: &str, members: &Members) -> String {
    let mut line = String::with_capacity(LINE_BYTES);
    let _ = write!(line, r#"{{"timestamp":"{at}","level":"{}""#, level_name(level));
    let first = FIRST.iter().filter_map(|name| Some((*name, members.get(name)?)));
    let rest = members.0.iter().filter(|(name, _)| !FIRST.contains(name)).map(|(n, v)| (*n, v.as_str()));
    for (name, value) in first.chain(rest) {
        // Two members are ours whatever an event calls its own.
        let name = if matches!(name, "timestamp" | "level" | "target") { "field" } else { name };
        line.push(',');
        push_quoted(&mut line, name);
        line.push(':');
        line.push_str(value);
    }
    line.push_str(r#","target":"#);
    push_quoted(&mut line, target);
    line.push_str("}\n");
    line
}

/// An event for a person, and a line end.
pub(crate) fn text(at: Timestamp, level: &Level, members: &Members) -> String {
    let message = members.get("message").map(unquoted).unwrap_or_default();
    let mut line = format!("{at} {:<7} {message}", level_name(level));
    for (name, value) in members.0.iter().filter(|(name, _)| *name != "message") {
        let _ = write!(line, " {name}={value}");
    }
    line.push('\n');
    line
}

fn unquoted(json: &str) -> &str {
    json.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(json)
}

/// A text as a JSON string. Control characters are escaped, those of C1 and the invisible ones as well, so that no
/// line can move a terminal's cursor or pretend to be two.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(MEMBER_BYTES_MAX) + 2);
    push_quoted(&mut out, text);
    out
}

fn push_quoted(out: &mut String, text: &str) {
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
    if text.len() <= MEMBER_BYTES_MAX && text.bytes().all(is_plain) {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        push_escaped(out, text);
    }
}

fn push_escaped(out: &mut String, text: &str) {
    let mut end = text.len().min(MEMBER_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    out.push('"');
    for c in text[..end].chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() || is_invisible(c) => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            c => out.push(c),
        }
    }
    if end < text.len() {
        out.push_str("..");
    }
    out.push('"');
}
