//! One message a line, as stdio has it.
//!
//! Source: basic/transports/stdio.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// How much of a line that is skipped is given, in bytes.
const START_BYTES_MAX: usize = 1_024;

/// What comes out of a stream of lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A line without its end. Never empty, never only spaces.
    Text(Bytes),
    /// A line that was longer than the bound, and is skipped to its end: this is how it starts, at most 1,024 bytes.
    TooLong(Bytes),
}

/// Reads lines piece by piece. Feed it what comes, then take out lines until there are none.
///
/// A line that came within one piece is not copied. What is held is a line that has begun, within the bound,
/// and the lines of the last piece.
#[derive(Debug)]
pub struct Reader {
    line_bytes_max: usize,
    begun: BytesMut,
    is_skipping: bool,
    lines: VecDeque<Line>,
}

impl Reader {
    /// A reader that takes lines of up to so many bytes.
    #[must_use]
    pub fn new(line_bytes_max: usize) -> Self {
        Self { line_bytes_max, begun: BytesMut::new(), is_skipping: false, lines: VecDeque::new() }
    }

    /// Takes a piece of the stream in.
    pub fn feed(&mut self, mut piece: Bytes) {
        while let Some(at) = piece.iter().position(|byte| *byte == b'\n') {
            let part = piece.split_to(at);
            bytes::Buf::advance(&mut piece, 1);
            self.end_line(part);
        }
        if !self.is_skipping && self.fits(&piece) {
            self.begun.extend_from_slice(&piece);
        }
    }

    /// The next line, where there is one.
    pub fn pop(&mut self) -> Option<Line> {
        self.lines.pop_front()
    }

    /// Takes the end of the stream as the end of the line that has begun.
    pub fn finish(&mut self) {
        self.end_line(Bytes::new());
    }

    fn end_line(&mut self, part: Bytes) {
        if std::mem::take(&mut self.is_skipping) {
            return;
        }
        if !self.fits(&part) {
            self.is_skipping = false;
            return;
        }
        let line = if self.begun.is_empty() {
            part
        } else {
            self.begun.extend_from_slice(&part);
            self.begun.split().freeze()
        };
        let end = line.len() - usize::from(line.ends_with(b"\r"));
        if !line.trim_ascii().is_empty() {
            self.lines.push_back(Line::Text(line.slice(..end)));
        }
    }

    /// True where the line that has begun may grow by so much; otherwise the rest of it is skipped.
    fn fits(&mut self, more: &[u8]) -> bool {
        if self.begun.len() + more.len() <= self.line_bytes_max {
            return true;
        }
        let mut start = std::mem::take(&mut self.begun);
        start.truncate(START_BYTES_MAX);
        start.extend_from_slice(&more[..more.len().min(START_BYTES_MAX - start.len())]);
        self.is_skipping = true;
        self.lines.push_back(Line::TooLong(Bytes::copy_from_slice(&start)));
        false
    }
}

/// Appends one message as a line.
///
/// A line may hold no line end. JSON text has them only between its tokens, never in a string, so where an upstream
/// has laid its JSON out in lines they become spaces, and the message is the same.
pub fn write(out: &mut Vec<u8>, json: &[u8]) {
    out.reserve(json.len() + 1);
    out.extend(json.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_in(pieces: &[&[u8]], line_bytes_max: usize) -> Vec<String> {
        let mut reader = Reader::new(line_bytes_max);
        let mut lines = Vec::new();
        let mut take = |reader: &mut Reader| {
            while let Some(line) = reader.pop() {
                lines.push(match line {
                    Line::Text(text) => String::from_utf8(text.to_vec()).unwrap(),
                    Line::TooLong(_) => "too long".to_owned(),
                });
            }
        };
        for piece in pieces {
            reader.feed(Bytes::copy_from_slice(piece));
            take(&mut reader);
        }
        reader.finish();
        take(&mut reader);
        lines
    }

    #[test]
    fn lines_and_their_ends() {
        assert_eq!(read_in(&[b"a\nb\r\n\n \r\n\r\nc"], 10), ["a", "b", "c"]);
        assert_eq!(read_in(&[b"a", b"b\r", b"\nc\n"], 10), ["ab", "c"]);
        assert_eq!(read_in(&[b"", b"\n"], 10), [""; 0]);
        assert_eq!(read_in(&[b"a\rb\n"], 10), ["a\rb"]);
    }

    #[test]
    fn bounds_at_their_edge() {
        assert_eq!(read_in(&[b"12345\n123456\n1\n"], 5), ["12345", "too long", "1"]);
        assert_eq!(read_in(&[b"123", b"456", b"789\n12\n"], 5), ["too long", "12"]);
        assert_eq!(read_in(&[b"123456"], 5), ["too long"]);
        assert_eq!(read_in(&[b"12345", b"6\n", b"7\n"], 5), ["too long", "7"]);
        let mut reader = Reader::new(100);
        for _ in 0..1_000 {
            reader.feed(Bytes::from_static(&[b'x'; 1_000]));
        }
        assert!(matches!(reader.pop(), Some(Line::TooLong(start)) if start.len() == 1_000));
        assert_eq!((reader.pop(), reader.begun.len()), (None, 0));
    }

    #[test]
    fn a_line_within_a_piece_is_not_copied() {
        let piece = Bytes::from_static(b"abc\ndef\n");
        let mut reader = Reader::new(10);
        reader.feed(piece.clone());
        let Some(Line::Text(line)) = reader.pop() else { panic!("no line") };
        assert_eq!(line.as_ptr(), piece.as_ptr());
    }

    #[test]
    fn json_in_lines_becomes_one() {
        let mut out = Vec::new();
        write(&mut out, b"{\r\n \"a\\n\": 1\n}");
        assert_eq!(out, b"{   \"a\\n\": 1 }\n");
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(stream in "[a-c \r\n]{0,40}", cuts in prop::collection::vec(0_usize..41, 0..6), max in 0_usize..12) {
            let stream = stream.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
            cuts.sort_unstable();
            cuts.push(stream.len());
            let mut from = 0;
            let pieces: Vec<&[u8]> = cuts.into_iter().map(|cut| { let piece = &stream[from..cut]; from = cut; piece }).collect();
            prop_assert_eq!(read_in(&pieces, max), read_in(&[stream], max));
        }

        #[test]
        fn what_is_written_is_one_line(value in any::<Vec<String>>()) {
            let json = serde_json::to_string_pretty(&value).unwrap();
            let mut out = Vec::new();
            write(&mut out, json.as_bytes());
            prop_assert_eq!(out.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count(), 1);
            prop_assert_eq!(serde_json::from_slice::<Vec<String>>(&out).unwrap(), value);
        }
    }
}
