//! Lines of a file, forwards and backwards, within bounds.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom},
    os::unix::fs::FileExt as _,
    path::Path,
};

use crate::record::LINE_BYTES_MAX;

/// How much is read at once, in bytes.
const BLOCK: usize = 64 << 10;

/// Reads a file's lines from its start. A file that grows meanwhile is read on.
pub(crate) struct Lines {
    reader: BufReader<File>,
    line: Vec<u8>,
    /// Where the last whole line ended.
    pub(crate) end: u64,
    /// The number of the last whole line, from 1.
    pub(crate) number: u64,
}

/// What comes next in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// A whole line: [`Lines::line`].
    Line,
    /// Bytes without a line end: the last line is torn, or is being written.
    Torn,
    /// Nothing.
    End,
}

impl Lines {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Self::from(File::open(path)?, 0)
    }

    /// Starts at this offset of an open file.
    pub(crate) fn from(mut file: File, offset: u64) -> io::Result<Self> {
        file.seek(SeekFrom::Start(offset))?;
        Ok(Self { reader: BufReader::with_capacity(BLOCK, file), line: Vec::new(), end: offset, number: 0 })
    }

    /// Goes on to the next line. After `Torn` the same line is tried again. A line that is too long comes in
    /// pieces, none of which can be a record.
    pub(crate) fn advance(&mut self) -> io::Result<Next> {
        self.line.clear();
        let read = (&mut self.reader).take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut self.line)?;
        if read == 0 {
            return Ok(Next::End);
        }
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
        } else if read < LINE_BYTES_MAX {
            self.reader.seek(SeekFrom::Start(self.end))?;
            return Ok(Next::Torn);
        }
        self.end += read as u64;
        self.number += 1;
        Ok(Next::Line)
    }

    /// The line, without its line end; the piece that is there, where it is torn.
    pub(crate) fn line(&self) -> &[u8] {
        &self.line
    }

    /// True where nothing follows.
    pub(crate) fn is_at_end(&mut self) -> io::Result<bool> {
        Ok(self.reader.fill_buf()?.is_empty())
    }
}

/// Reads a file's whole lines from its end. What follows the last line end is left out.
pub(crate) struct Backwards {
    file: File,
    /// Where the bytes held begin in the file.
    start: u64,
    /// Bytes not yet given out, up to and with a line end.
    held: Vec<u8>,
    /// Bytes after the last line end of the file.
    pub(crate) torn: u64,
}

impl Backwards {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut lines = Self { file, start: length, held: Vec::new(), torn: 0 };
        while lines.held.last() != Some(&b'\n') {
            lines.held.pop();
            if lines.held.is_empty() && !lines.hold_more()? {
                break;
            }
        }
        lines.torn = length - lines.start - lines.held.len() as u64;
        Ok(lines)
    }

    /// The line before, without its line end.
    pub(crate) fn next_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let Some(text) = self.held.strip_suffix(b"\n") else { return Ok(None) };
            if let Some(before) = text.iter().rposition(|b| *b == b'\n') {
                let line = text[before + 1..].to_vec();
                self.held.truncate(before + 1);
                return Ok(Some(line));
            }
            if text.len() > LINE_BYTES_MAX || !self.hold_more()? {
                self.held.pop();
                return Ok(Some(std::mem::take(&mut self.held)));
            }
        }
    }

    /// Reads the block before what is held, at least as long as that; false at the start of the file.
    fn hold_more(&mut self) -> io::Result<bool> {
        let length = self.start.min(self.held.len().max(BLOCK) as u64);
        let mut block = vec![0; usize::try_from(length).expect("no longer than a block or what is held")];
        self.start -= length;
        self.file.read_exact_at(&mut block, self.start)?;
        block.append(&mut self.held);
        self.held = block;
        Ok(length > 0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn lines_of(content: &[u8]) -> (Vec<String>, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        std::fs::write(&path, content).unwrap();
        let (mut forwards, mut lines) = (Vec::new(), Lines::open(&path).unwrap());
        while lines.advance().unwrap() == Next::Line {
            forwards.push(String::from_utf8(lines.line().to_vec()).unwrap());
        }
        let (mut backwards, mut lines) = (Vec::new(), Backwards::open(&path).unwrap());
        while let Some(line) = lines.next_line().unwrap() {
            backwards.push(String::from_utf8(line).unwrap());
        }
        backwards.reverse();
        (forwards, backwards)
    }

    #[test]
    fn both_ways_give_the_same_whole_lines() {
        let mut long = String::new();
        for n in 0..5_000 {
            writeln!(long, "{n} {}", "x".repeat(n % 97)).unwrap();
        }
        let block = format!("{}\n", "y".repeat(BLOCK - 1));
        for (content, count) in [
            ("", 0),
            ("torn", 0),
            ("\n", 1),
            ("a\n\nb\ntorn", 3),
            (long.as_str(), 5_000),
            (block.as_str(), 1),
            (&block.repeat(3), 3),
            (&format!("{}\n{}", "z".repeat(3 * BLOCK + 1), "t".repeat(2 * BLOCK)), 1),
        ] {
            let (forwards, backwards) = lines_of(content.as_bytes());
            assert_eq!(forwards.len(), count);
            assert!(forwards == backwards, "{count} lines differ");
        }
    }
}
