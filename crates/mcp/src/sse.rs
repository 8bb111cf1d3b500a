//! `text/event-stream`: written, and read piece by piece within a bound.
//!
//! Source: WHATWG HTML, "Server-sent events", 9.2.5 and 9.2.6; what legacy streams add: 2025-11-25
//! basic/transports, "Sending Messages to the Server".

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;

/// The id of an event: any text without line ends and NUL.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EventId(Arc<str>);

impl EventId {
    /// Takes a text; `None` where an id cannot hold it.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        (!text.contains(['\r', '\n', '\0'])).then(|| Self(text.into()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Appends an event that carries one message. Modern streams have no ids.
///
/// The type is said, though it is the default: some clients look for it.
pub fn write_message(out: &mut Vec<u8>, id: Option<&EventId>, json: &[u8]) {
    out.reserve(json.len() + 64);
    out.extend_from_slice(b"event: message\n");
    write_id(out, id);
    for line in lines_of(json) {
        write_field(out, b"data", line);
    }
    out.push(b'\n');
}

/// Appends the event that lets a legacy client take the stream up again before anything was sent: an id and no data.
/// `retry_ms` is how long it should wait before it does, in milliseconds.
pub fn write_priming(out: &mut Vec<u8>, id: &EventId, retry_ms: Option<u64>) {
    write_id(out, Some(id));
    if let Some(wait) = retry_ms {
        write_field(out, b"retry", wait.to_string().as_bytes());
    }
    write_field(out, b"data", b"");
    out.push(b'\n');
}

/// Appends how long a client should wait before it comes back, in milliseconds: before a connection is closed
/// whose stream goes on.
pub fn write_retry(out: &mut Vec<u8>, retry_ms: u64) {
    write_field(out, b"retry", retry_ms.to_string().as_bytes());
    out.push(b'\n');
}

/// Appends a comment, which keeps a silent stream alive and is no event.
pub fn write_comment(out: &mut Vec<u8>, text: &str) {
    for line in lines_of(text.as_bytes()) {
        write_field(out, b"", line);
    }
    out.push(b'\n');
}

fn write_id(out: &mut Vec<u8>, id: Option<&EventId>) {
    if let Some(id) = id {
        write_field(out, b"id", id.as_str().as_bytes());
    }
}

fn write_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// The lines of a text by any of the three line ends; at least one.
fn lines_of(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(at) = line_end(text) else {
            rest = None;
            return Some(text);
        };
        let width = if text[at..].starts_with(b"\r\n") { 2 } else { 1 };
        rest = Some(&text[at + width..]);
        Some(&text[..at])
    })
}

fn line_end(text: &[u8]) -> Option<usize> {
    text.iter().position(|byte| matches!(byte, b'\n' | b'\r'))
}

/// What comes out of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// An event.
    Event(Event),
    /// How long to wait before coming back, in milliseconds.
    Retry(u64),
    /// An event that was larger than the bound, and is skipped to its end.
    TooLarge,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its type: `message` where none is said.
    pub kind: Arc<str>,
    /// The last id that the stream has named so far.
    pub id: Option<EventId>,
    /// Its data, several lines joined with line feeds; empty in the event that primes a stream. Bytes as they
    /// came: text that is not UTF-8 is not replaced, so that whoever parses it can refuse it.
    pub data: Bytes,
}

/// Reads a stream piece by piece. Feed it what comes, then take out items until there are none.
///
/// It holds what an event may have at most, and the items of the last piece. An event that the end of the
/// stream cuts off is none.
#[derive(Debug)]
pub struct Reader {
    event_bytes_max: usize,
    /// The line that has begun.
    line: Vec<u8>,
    /// True where the line is the stream's first, which may begin with a byte order mark.
    is_first: bool,
    /// True where the last byte was a CR, whose LF may yet come.
    after_cr: bool,
    /// True while an event that is too large is skipped.
    is_skipping: bool,
    /// True where the line that has begun has bytes, skipped ones too.
    has_line: bool,
    kind: Option<Arc<str>>,
    data: Option<Vec<u8>>,
    id: Option<EventId>,
    items: VecDeque<Item>,
}

impl Reader {
    /// A reader that takes events of up to so many bytes: data, type and the line that has begun.
    #[must_use]
    pub fn new(event_bytes_max: usize) -> Self {
        Self {
            event_bytes_max,
            line: Vec::new(),
            is_first: true,
            after_cr: false,
            is_skipping: false,
            has_line: false,
            kind: None,
            data: None,
            id: None,
            items: VecDeque::new(),
        }
    }

    /// Takes a piece of the stream in.
    pub fn feed(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() {
            if std::mem::take(&mut self.after_cr) && piece[0] == b'\n' {
                piece = &piece[1..];
                continue;
            }
            let Some(at) = line_end(piece) else { return self.gather(piece) };
            self.gather(&piece[..at]);
            self.after_cr = piece[at] == b'\r';
            piece = &piece[at + 1..];
            self.end_line();
        }
    }

    /// The next item, where there is one.
    pub fn pop(&mut self) -> Option<Item> {
        self.items.pop_front()
    }

    /// The last id that the stream has named: where to take it up again.
    #[must_use]
    pub fn last_id(&self) -> Option<&EventId> {
        self.id.as_ref()
    }

    fn gather(&mut self, bytes: &[u8]) {
        self.has_line |= !bytes.is_empty();
        if self.is_skipping {
            return;
        }
        if self.held() + bytes.len() > self.event_bytes_max {
            self.is_skipping = true;
            self.forget();
            self.line = Vec::new();
            self.items.push_back(Item::TooLarge);
            return;
        }
        self.line.extend_from_slice(bytes);
    }

    fn held(&self) -> usize {
        let data = self.data.as_ref().map_or(0, Vec::len);
        self.line.len() + data + self.kind.as_ref().map_or(0, |kind| kind.len())
    }

    fn end_line(&mut self) {
        let had_line = std::mem::take(&mut self.has_line);
        let is_first = std::mem::take(&mut self.is_first);
        if self.is_skipping {
            self.is_skipping = had_line;
            return;
        }
        let line = std::mem::take(&mut self.line);
        let text = if is_first { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line) } else { &line };
        if text.is_empty() {
            self.dispatch();
        } else {
            self.field(text);
        }
        self.line = line;
        self.line.clear();
    }

    fn field(&mut self, line: &[u8]) {
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = colon.map_or((line, &b""[..]), |at| (&line[..at], &line[at + 1..]));
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"data" => {
                if let Some(data) = &mut self.data {
                    data.push(b'\n');
                }
                self.data.get_or_insert_default().extend_from_slice(value);
            }
            b"event" => self.kind = Some(String::from_utf8_lossy(value).into()),
            b"id" => self.id = EventId::new(&String::from_utf8_lossy(value)).or_else(|| self.id.take()),
            b"retry" => self.items.extend(milliseconds(value).map(Item::Retry)),
            _ => {}
        }
    }

    fn dispatch(&mut self) {
        let kind = self.kind.take().filter(|kind| !kind.is_empty());
        if let Some(data) = self.data.take() {
            let kind = kind.unwrap_or_else(|| "message".into());
            self.items.push_back(Item::Event(Event { kind, id: self.id.clone(), data: data.into() }));
        }
    }

    fn forget(&mut self) {
        self.kind = None;
        self.data = None;
    }
}

/// A number of ASCII digits and nothing else.
fn milliseconds(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests;
