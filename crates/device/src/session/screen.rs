//! What a device prints, as a reader at a terminal would see it: lines, after backspaces, carriage returns and erasures.
//!
//! Only the line with the cursor can still change; what is above it is done. That is what command lines do on devices,
//! and what pagers undo.

use vte::{Params, Parser, Perform};

/// The longest line that is kept, in characters; what is longer is broken.
const LINE_CHARS_MAX: usize = 65_536;
/// A character of a pager's prompt that nothing has overwritten yet.
const GHOST: char = '\u{0}';
/// A ghost that was overwritten by a blank: erased, as far as we know.
const ERASED: char = '\u{1}';

/// Bytes in, lines out.
#[derive(Default)]
pub(crate) struct Screen {
    parser: Parser,
    page: Page,
}

/// The lines, and the one that is being written.
#[derive(Default)]
struct Page {
    /// The lines that are done, each with its end.
    done: String,
    /// How many those are, with those that were taken away or cleared.
    rows: u64,
    /// The line with the cursor.
    cells: Vec<char>,
    column: usize,
    /// The row of the terminal that the cursor was put on, until the line ended.
    put_on: Option<u16>,
    /// The most bytes of finished lines that are kept.
    bytes_max: usize,
    /// True once lines were lost to that bound.
    overflowed: bool,
    /// How often a whole line with something on it was erased.
    wiped: u64,
}

impl Screen {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { parser: Parser::new(), page: Page { bytes_max, ..Page::default() } }
    }

    /// Takes what the device printed.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.parser.advance(&mut self.page, bytes);
    }

    /// The number of the row with the cursor, from the beginning of the session.
    pub(crate) fn row(&self) -> u64 {
        self.page.rows
    }

    /// How often a line was erased as a whole, from the beginning of the session.
    pub(crate) fn wiped(&self) -> u64 {
        self.page.wiped
    }

    /// The line with the cursor, without blanks at its end.
    pub(crate) fn line(&self) -> String {
        visible(&self.page.cells)
    }

    /// The lines above the cursor that were not taken away yet.
    pub(crate) fn above(&self) -> &str {
        &self.page.done
    }

    /// True once there was more than may be kept.
    pub(crate) fn overflowed(&self) -> bool {
        self.page.overflowed
    }

    /// Takes the lines above the cursor away.
    pub(crate) fn take(&mut self) -> String {
        self.page.overflowed = false;
        std::mem::take(&mut self.page.done)
    }

    /// Forgets the end of the line with the cursor, from where this text last stands: it was the prompt of a pager,
    /// which the device erases, overwrites or leaves standing as it likes.
    pub(crate) fn ghost(&mut self, text: &str) {
        let text: Vec<char> = text.chars().collect();
        let cells = &mut self.page.cells;
        let from = cells.windows(text.len().max(1)).rposition(|window| window == text).unwrap_or(0);
        cells[from..].fill(GHOST);
    }
}

/// The text of cells: ghosts are gone, blanks at the end too.
fn visible(cells: &[char]) -> String {
    let text: String = cells
        .iter()
        .filter(|cell| **cell != GHOST)
        .map(|cell| if *cell == ERASED { ' ' } else { *cell })
        .collect();
    text.trim_end().to_owned()
}

impl Page {
    fn end_line(&mut self) {
        let was_pager =
            !self.cells.is_empty() && self.cells.iter().all(|cell| matches!(*cell, GHOST | ERASED));
        let had_pager = self.cells.iter().any(|cell| matches!(*cell, GHOST | ERASED));
        self.rows += 1;
        if !was_pager {
            // Blanks that the device printed at the end of a line are its own, and stay.
            let is_blank = |cell: &char| matches!(*cell, GHOST | ERASED) || (had_pager && *cell == ' ');
            let end = self.cells.iter().rposition(|cell| !is_blank(cell)).map_or(0, |at| at + 1);
            let kept = || self.cells[..end].iter().filter(|cell| **cell != GHOST);
            let bytes: usize = kept().map(|cell| cell.len_utf8()).sum();
            if self.done.len() + bytes < self.bytes_max {
                let kept = kept();
                self.done.extend(kept.map(|cell| if *cell == ERASED { ' ' } else { *cell }));
                self.done.push('\n');
            } else {
                self.overflowed = true;
            }
        }
        self.cells.clear();
        self.column = 0;
        self.put_on = None;
    }

    /// Puts the cursor somewhere on the screen: what comes is part of this line only where it is on the same row.
    fn put(&mut self, row: u16, column: u16) {
        if self.put_on == Some(row) {
            self.column = usize::from(column.saturating_sub(1)).min(LINE_CHARS_MAX);
            return;
        }
        if !self.cells.is_empty() {
            self.end_line();
        }
        self.put_on = Some(row);
    }

    fn erase(&mut self, from: usize, to: usize) {
        let to = to.min(self.cells.len());
        if from == 0 && to == self.cells.len() && to > 0 {
            self.wiped += 1;
        }
        if to == self.cells.len() {
            self.cells.truncate(from.min(to));
        } else if from < to {
            self.cells[from..to].fill(' ');
        }
    }
}

impl Perform for Page {
    fn print(&mut self, c: char) {
        if self.column >= LINE_CHARS_MAX {
            self.end_line();
        }
        while self.cells.len() < self.column {
            self.cells.push(' ');
        }
        match self.cells.get_mut(self.column) {
            Some(cell) if c == ' ' && *cell == GHOST => *cell = ERASED,
            Some(cell) => *cell = c,
            None => self.cells.push(c),
        }
        self.column += 1;
    }

    fn execute(&mut self, byte: u8) {
        match byte {
            b'\n' => self.end_line(),
            b'\r' => self.column = 0,
            0x08 => self.column = self.column.saturating_sub(1),
            b'\t' => {
                // Output is full of them, and parsers tell them from blanks.
                self.print('\t');
            }
            _ => {}
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], _ignore: bool, action: char) {
        if !intermediates.is_empty() {
            return;
        }
        let first = params.iter().next().and_then(|param| param.first().copied()).unwrap_or(0);
        let count = usize::from(first.max(1));
        match (action, first) {
            ('K', 0) => self.erase(self.column, usize::MAX),
            ('K', 1) => self.erase(0, self.column),
            ('K', _) => self.erase(0, usize::MAX),
            ('J', 0) => self.erase(self.column, usize::MAX),
            ('J', _) => {
                // The screen is cleared: what comes is another line, wherever the cursor is.
                self.erase(0, usize::MAX);
                self.rows += 1;
            }
            ('H' | 'f', row) => {
                let column = params.iter().nth(1).and_then(|param| param.first().copied()).unwrap_or(1);
                self.put(row.max(1), column);
            }
            ('D', _) => self.column = self.column.saturating_sub(count),
            ('C', _) => self.column = (self.column + count).min(LINE_CHARS_MAX),
            ('G', _) => self.column = (count - 1).min(LINE_CHARS_MAX),
            ('P', _) => {
                let from = self.column.min(self.cells.len());
                self.cells.drain(from..(from + count).min(self.cells.len()));
            }
            ('@', _) => {
                let at = self.column.min(self.cells.len());
                self.cells.splice(at..at, std::iter::repeat_n(' ', count.min(LINE_CHARS_MAX)));
            }
            _ => {}
        }
    }

    fn esc_dispatch(&mut self, intermediates: &[u8], _ignore: bool, byte: u8) {
        // The next line, also where the screen scrolls for it.
        if intermediates.is_empty() && matches!(byte, b'D' | b'E') {
            self.end_line();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Printed, with the prompts of pagers marked by `«»`.
    fn seen(printed: &str) -> String {
        let mut screen = Screen::new(1 << 20);
        for piece in printed.split_inclusive('»') {
            screen.feed(piece.replace(['«', '»'], "").as_bytes());
            if let Some((_, pager)) = piece.trim_end_matches('»').split_once('«') {
                screen.ghost(pager);
            }
        }
        let line = screen.line();
        format!("{}{line}", screen.take())
    }

    #[test]
    fn lines_are_what_a_reader_sees() {
        let cases = [
            ("plain\r\nr1#", "plain\nr1#"),
            ("one\r\r\ntwo\r\n", "one\ntwo\n"),
            ("shwo\x08\x08ow\r\n", "show\n"),
            ("progress 10%\rprogress 99%\r\n", "progress 99%\n"),
            ("\x1b[4m\rLAB-R1#\x1b[m ", "LAB-R1#"),
            ("\x1b[?2004hbird> \x1b[?2004l", "bird>"),
            ("old line\r\x1b[Knew\r\n", "new\n"),
            ("\x1b[H\x1b[Jsw011# ", "sw011#"),
            ("a\0b\x07c\r\n", "abc\n"),
            ("caf\u{e9} \u{2713}\r\n", "caf\u{e9} \u{2713}\n"),
            ("kept \r\n", "kept \n"),
            ("\x1b]0;title\x07r1>", "r1>"),
            // a line that is painted piece by piece, on one row
            (
                "\x1b[24;1Hsw1# \x1b[24;1H\x1b[24;6H\x1b[24;6Hshow\x1b[24;0H\x1bE\x1b[24;1H\x1b[2Kone",
                "sw1# show\none",
            ),
            ("\x1b[1;1Hone\x1b[2;1Htwo", "one\ntwo"),
        ];
        for (printed, wanted) in cases {
            assert_eq!(seen(printed), wanted, "{printed:?}");
        }
    }

    #[test]
    fn pagers_leave_nothing_behind() {
        let cases = [
            // erased by backspaces and blanks
            (
                "a\r\n«--More--»\x08\x08\x08\x08\x08\x08\x08\x08        \x08\x08\x08\x08\x08\x08\x08\x08b\r\n",
                "a\nb\n",
            ),
            // erased by a carriage return and blanks, and then an indented line
            ("a\r\n«--More--»\r        \r   b\r\n", "a\n   b\n"),
            // erased by the terminal
            ("a\r\n«:»\r\x1b[K  b\r\n", "a\n  b\n"),
            // only overwritten
            ("a\r\n«--More--»\r  b\r\n", "a\n  b\n"),
            // left standing on a line of its own
            ("a\r\n«--More--»\r\nb\r\n", "a\nb\n"),
            // behind a line that is not done
            ("a «--More--»\x08\x08\x08\x08\x08\x08\x08\x08\x1b[Kb\r\n", "a b\n"),
            ("sys«--More--»\r\x1b[K\r\nb\r\n", "\nb\n"),
            // left standing, and text behind it
            ("a\r\n«--More--»b\r\n", "a\nb\n"),
        ];
        for (printed, wanted) in cases {
            assert_eq!(seen(printed), wanted, "{printed:?}");
        }
    }

    #[test]
    fn bytes_are_bounded_and_the_cursor_goes_on() {
        let mut screen = Screen::new(10);
        screen.feed(b"12345\n12345\nr1#");
        assert!(screen.overflowed());
        assert_eq!((screen.row(), screen.line().as_str()), (2, "r1#"));
        assert_eq!(screen.take(), "12345\n");
        assert!(!screen.overflowed());
    }
}
