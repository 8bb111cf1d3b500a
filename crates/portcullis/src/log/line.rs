//! One event as one line.

use std::{fmt, io::Write as _, ops::Range};

use audit::{is_plain, push_number, push_timestamp};
use tool::{Timestamp, is_invisible};
use tracing::{Level, field::Field};

/// The members that come first, in this order, where an event has them: as they stand in the line.
const FIRST: [&str; 6] = [
    r#","request_id":"#,
    r#","correlation_id":"#,
    r#","tool_name":"#,
    r#","user_id":"#,
    r#","latency_ms":"#,
    r#","message":"#,
];

/// The most bytes of one member's text; the rest is cut, and `..` says so.
const MEMBER_BYTES_MAX: usize = 16 * 1024;

/// What most lines need, in bytes.
const LINE_BYTES: usize = 512;

/// The members of an event or a span: name, and value as JSON text.
#[derive(Debug, Default)]
pub(crate) struct Members {
    /// The values, one after the other.
    text: Vec<u8>,
    list: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    name: &'static str,
    place: Place,
    value: Range<usize>,
}

/// Where a member stands in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// This row of [`FIRST`].
    First(usize),
    /// After those.
    Rest,
}

impl Place {
    fn of(name: &str) -> Self {
        match name {
            "request_id" => Self::First(0),
            "correlation_id" => Self::First(1),
            "tool_name" => Self::First(2),
            "user_id" => Self::First(3),
            "latency_ms" => Self::First(4),
            "message" => Self::First(5),
            _ => Self::Rest,
        }
    }
}

impl Members {
    /// Adds those of an outer span; what is there already stays.
    pub(crate) fn inherit(&mut self, outer: &Self) {
        for member in &outer.list {
            if self.find(member.name).is_none() {
                let start = self.text.len();
                self.text.extend_from_slice(outer.value(member));
                let value = start..self.text.len();
                self.list.push(Member { value, ..*member });
            }
        }
    }

    /// Empties it; its room stays.
    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.list.clear();
    }

    /// Bytes it has room for.
    pub(crate) fn capacity(&self) -> usize {
        self.text.capacity()
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.list.iter().position(|member| member.name == name)
    }

    fn value(&self, member: &Member) -> &[u8] {
        &self.text[member.value.clone()]
    }

    fn put(&mut self, field: &Field, push: impl FnOnce(&mut Vec<u8>)) {
        let name = field.name();
        // `log.*` are bookkeeping of the bridge from the `log` crate.
        if name.starts_with("log.") {
            return;
        }
        let start = self.text.len();
        push(&mut self.text);
        let value = start..self.text.len();
        match self.find(name) {
            Some(known) => self.replace(known, value),
            None => self.list.push(Member { name, place: Place::of(name), value }),
        }
    }

    /// Gives a member a value that stands at the end of the text, and removes the one it had.
    fn replace(&mut self, known: usize, value: Range<usize>) {
        let old = std::mem::replace(&mut self.list[known].value, value);
        self.text.drain(old.clone());
        for member in self.list.iter_mut().filter(|member| member.value.start >= old.end) {
            member.value.start -= old.len();
            member.value.end -= old.len();
        }
    }
}

impl tracing::field::Visit for Members {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, |to| push_float(to, value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, |to| push_shown(to, format_args!("{value}")));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, |to| push_number(value, to));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, |to| push_shown(to, format_args!("{value}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, |to| push_quoted(to, value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, |to| push_debug(to, value));
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

/// Writes an event as a JSON object and a line end.
pub(crate) fn json(at: Timestamp, level: &Level, target: &str, members: &Members, line: &mut Vec<u8>) {
    line.reserve(LINE_BYTES);
    line.extend_from_slice(br#"{"timestamp":""#);
    push_timestamp(at, line);
    line.extend_from_slice(br#"","level":""#);
    line.extend_from_slice(level_name(level).as_bytes());
    line.push(b'"');
    let mut first = [None; FIRST.len()];
    for member in &members.list {
        if let Place::First(row) = member.place {
            first[row] = Some(member);
        }
    }
    for (name, member) in FIRST.iter().zip(first) {
        if let Some(member) = member {
            line.extend_from_slice(name.as_bytes());
            line.extend_from_slice(members.value(member));
        }
    }
    for member in members.list.iter().filter(|member| member.place == Place::Rest) {
        // These are ours whatever an event calls its own.
        let name =
            if matches!(member.name, "timestamp" | "level" | "target") { "field" } else { member.name };
        line.push(b',');
        push_quoted(line, name);
        line.push(b':');
        line.extend_from_slice(members.value(member));
    }
    line.extend_from_slice(br#","target":"#);
    push_quoted(line, target);
    line.extend_from_slice(b"}\n");
}

/// Writes an event for a person, and a line end.
pub(crate) fn text(at: Timestamp, level: &Level, members: &Members, line: &mut Vec<u8>) {
    push_shown(line, format_args!("{at} {:<7} ", level_name(level)));
    let is_message = |member: &&Member| member.name == "message";
    if let Some(message) = members.list.iter().find(is_message) {
        line.extend_from_slice(unquoted(members.value(message)));
    }
    for member in members.list.iter().filter(|member| !is_message(member)) {
        push_shown(line, format_args!(" {}=", member.name));
        line.extend_from_slice(members.value(member));
    }
    line.push(b'\n');
}

fn unquoted(json: &[u8]) -> &[u8] {
    json.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")).unwrap_or(json)
}

fn push_shown(out: &mut Vec<u8>, shown: fmt::Arguments<'_>) {
    // Memory takes all that is written to it.
    let _ = out.write_fmt(shown);
}

/// A number as it is displayed.
fn push_float(out: &mut Vec<u8>, number: f64) {
    if !number.is_finite() {
        out.extend_from_slice(b"null");
    } else if let Some(thousandths) = thousandths(number) {
        push_number(thousandths / 1_000, out);
        let rest = thousandths % 1_000;
        if rest > 0 {
            let digits = [rest / 100, rest / 10 % 10, rest % 10].map(|digit| b'0' + digit as u8);
            let end = digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
            out.push(b'.');
            out.extend_from_slice(&digits[..end]);
        }
    } else {
        push_shown(out, format_args!("{number}"));
    }
}

/// The thousandths of a number that has no finer part, as times in milliseconds have none. Up to 15 digits name one
/// `f64` each, so these are the digits it is displayed by.
fn thousandths(number: f64) -> Option<u64> {
    let is_short = number.is_sign_positive() && number < 1e12;
    let thousandths = (number * 1_000.0 + 0.5) as u64;
    (is_short && thousandths as f64 / 1_000.0 == number).then_some(thousandths)
}

/// A text as a JSON string. Control characters are escaped, those of C1 and the invisible ones as well, so that no
/// line can move a terminal's cursor or pretend to be two.
fn push_quoted(out: &mut Vec<u8>, text: &str) {
    if text.len() <= MEMBER_BYTES_MAX && is_plain(text.as_bytes()) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        push_escaped(out, text);
    }
}

/// As [`push_quoted`], of what `Debug` shows.
fn push_debug(out: &mut Vec<u8>, value: &dyn fmt::Debug) {
    let start = out.len();
    out.push(b'"');
    push_shown(out, format_args!("{value:?}"));
    let shown = &out[start + 1..];
    if shown.len() <= MEMBER_BYTES_MAX && is_plain(shown) {
        out.push(b'"');
    } else {
        let shown = String::from_utf8_lossy(shown).into_owned();
        out.truncate(start);
        push_escaped(out, &shown);
    }
}

fn push_escaped(out: &mut Vec<u8>, text: &str) {
    let end = text.floor_char_boundary(MEMBER_BYTES_MAX);
    out.push(b'"');
    for c in text[..end].chars() {
        match c {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            c if c.is_control() || is_invisible(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    push_shown(out, format_args!("\\u{unit:04x}"));
                }
            }
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    if end < text.len() {
        out.extend_from_slice(b"..");
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(number: f64) {
        let mut shown = Vec::new();
        push_float(&mut shown, number);
        let expected = if number.is_finite() { number.to_string() } else { "null".to_owned() };
        assert_eq!(String::from_utf8_lossy(&shown), expected);
    }

    #[test]
    fn numbers_are_as_they_are_displayed() {
        for thousandths in 0..50_000_u32 {
            check(f64::from(thousandths) / 1_000.0);
        }
        // Bits without a pattern, and times of every length.
        let mut bits = 0x9e37_79b9_7f4a_7c15_u64;
        for round in 0..50_000 {
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let time = (bits >> (10 + round % 54)) as f64 / 1_000.0;
            for number in [f64::from_bits(bits), time, -time, time.next_up(), time.next_down(), time / 10.0] {
                check(number);
            }
        }
        for number in [-0.0, 1e12, 999_999_999_999.999, 1e300, f64::MIN_POSITIVE, f64::NAN, f64::INFINITY] {
            check(number);
        }
    }
}
