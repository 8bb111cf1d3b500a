use std::{
    fmt,
    fs::File,
    io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom},
    ops::ControlFlow,
};

use regex::bytes::{Regex, RegexBuilder};
use rustix::fs::FileType;

use crate::{
    Config,
    error::FilesError,
    halt::Halt,
    jail::{Jail, Opened},
    path::{self, RelPath, Rules},
    tools::{Match, SearchResult},
    walk::{Reach, Walk},
};

/// The longest piece of a line that is compared at once; a longer line is taken in pieces.
const LINE_BYTES_MAX: u64 = 64 * 1024;
/// How large a compiled expression may become (`regex` refuses `(a{1000}){1000}` and the like).
const PROGRAM_BYTES_MAX: usize = 1 << 20;

/// What to look for.
pub(crate) struct Wanted {
    pub(crate) path: RelPath,
    pub(crate) pattern: Regex,
    pub(crate) glob: Option<Glob>,
    /// The most matches, at least 1.
    pub(crate) limit: u32,
    /// Where the search before ended.
    pub(crate) after: Option<Mark>,
}

/// Where a search goes on: `<byte>:<lines>:<path>`. A file that changed meanwhile is gone on with all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    path: RelPath,
    from: Spot,
}

/// Where in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Spot {
    /// The byte.
    byte: u64,
    /// How many lines are before it.
    lines: u64,
}

impl Mark {
    /// Takes the `next` of an answer.
    pub(crate) fn parse(text: &str, rules: &Rules) -> Result<Self, FilesError> {
        let parts = || {
            let (byte, rest) = text.split_once(':')?;
            let (lines, path) = rest.split_once(':')?;
            Some((Spot { byte: byte.parse().ok()?, lines: lines.parse().ok()? }, path))
        };
        let (from, path) = parts().ok_or_else(no_mark)?;
        Ok(Self { path: rules.normal(path)?, from })
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.from.byte, self.from.lines, self.path)
    }
}

fn no_mark() -> FilesError {
    let what = "it is not `next` of an answer to this search".to_owned();
    FilesError::BadArgument { pointer: "/after", what }
}

/// Which files to look through.
pub(crate) struct Glob {
    matcher: globset::GlobMatcher,
    whole_path: bool,
}

impl Glob {
    /// Compiles a glob: by the name alone, or by the whole path where it holds a `/`.
    pub(crate) fn parse(text: &str) -> Result<Self, FilesError> {
        let bad = |e: globset::Error| {
            let what = format!("{text:?} is not a glob: {}", e.kind());
            FilesError::BadArgument { pointer: "/glob", what }
        };
        Ok(Self { matcher: path::glob(text).map_err(bad)?.compile_matcher(), whole_path: text.contains('/') })
    }

    fn takes(&self, path: &RelPath, name: &str) -> bool {
        self.matcher.is_match(if self.whole_path { path.as_str() } else { name })
    }
}

/// Compiles what is looked for. An expression runs in time linear in the line, whatever it says.
pub(crate) fn pattern(query: &str, is_regex: bool) -> Result<Regex, FilesError> {
    let source = if is_regex { query.to_owned() } else { regex::escape(query) };
    RegexBuilder::new(&source)
        .size_limit(PROGRAM_BYTES_MAX)
        .dfa_size_limit(PROGRAM_BYTES_MAX)
        .build()
        .map_err(|error| {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
            let what = format!("not a regular expression that can be used: {last}");
            FilesError::BadArgument { pointer: "/query", what }
        })
}

/// Looks through the files beneath a folder, or through one file, and says which bound ended it early, where one did.
pub(crate) fn lines(
    config: &Config,
    jail: &Jail,
    rules: &Rules,
    wanted: &Wanted,
    halt: &Halt,
) -> Result<(SearchResult, Option<&'static str>), FilesError> {
    let mark = wanted.after.as_ref();
    if mark.is_some_and(|mark| !mark.path.is_beneath(&wanted.path)) {
        return Err(no_mark());
    }
    let mut search = Search::new(config, wanted, halt);
    let from =
        |path: &RelPath| mark.filter(|mark| mark.path == *path).map_or(Spot::default(), |mark| mark.from);
    match jail.file(&wanted.path) {
        Ok(opened) => {
            let _ = search.file(opened, &wanted.path, from(&wanted.path))?;
        }
        Err(FilesError::Folder { .. }) => {
            let reach = Reach { depth_max: config.depth_max, entries_max: config.scan_entries_max };
            let mut walk = Walk::new(jail, rules, reach, halt);
            let walked = walk.run(&wanted.path, mark.map(|mark| &mark.path), |found| {
                let fits = wanted.glob.as_ref().is_none_or(|glob| glob.takes(&found.path, found.name));
                if found.kind != FileType::RegularFile || !fits {
                    return Ok(ControlFlow::Continue(()));
                }
                match jail.file(&found.path) {
                    Ok(opened) => search.file(opened, &found.path, from(&found.path)),
                    Err(FilesError::Busy { source }) => Err(FilesError::Busy { source }),
                    Err(_) => Ok(search.skip()),
                }
            });
            search.result.folders_skipped = walk.folders_skipped();
            search.unless_late(walked)?;
        }
        Err(error) => return Err(error),
    }
    let Search { mut result, cut, .. } = search;
    result.truncated = cut.is_some();
    result.next = cut.as_ref().map(|(_, mark)| mark.to_string());
    Ok((result, cut.map(|(bound, _)| bound)))
}

struct Search<'a> {
    wanted: &'a Wanted,
    halt: &'a Halt,
    line_chars_max: usize,
    files_left: u32,
    bytes_left: u64,
    /// Where it would go on if its time were up now; `None` as long as nothing was looked through.
    reached: Option<Mark>,
    /// The bound that ended it early, and where to go on.
    cut: Option<(&'static str, Mark)>,
    result: SearchResult,
}

/// A line being read, in pieces where it is long.
struct Line {
    /// Where it begins, with the lines before it.
    from: Spot,
    /// Where its next piece begins.
    at: u64,
}

impl<'a> Search<'a> {
    fn new(config: &Config, wanted: &'a Wanted, halt: &'a Halt) -> Self {
        let result = SearchResult {
            matches: Vec::new(),
            files_searched: 0,
            files_skipped: 0,
            folders_skipped: 0,
            truncated: false,
            next: None,
        };
        Self {
            wanted,
            halt,
            line_chars_max: config.search_line_chars_max as usize,
            files_left: config.search_files_max,
            bytes_left: config.search_bytes_max,
            reached: None,
            cut: None,
            result,
        }
    }

    fn skip(&mut self) -> ControlFlow<()> {
        self.result.files_skipped += 1;
        ControlFlow::Continue(())
    }

    fn bounded(&mut self, bound: &'static str, path: &RelPath, from: Spot) -> ControlFlow<()> {
        self.cut = Some((bound, Mark { path: path.clone(), from }));
        ControlFlow::Break(())
    }

    /// Takes the end of the time for a bound like the others, where anything was looked through before.
    fn unless_late(&mut self, walked: Result<(), FilesError>) -> Result<(), FilesError> {
        match (walked, self.reached.take()) {
            (Err(FilesError::Late), Some(reached)) => self.cut = Some(("time", reached)),
            (walked, _) => walked?,
        }
        Ok(())
    }

    /// Looks through one file; breaks where a bound is met.
    fn file(&mut self, opened: Opened, path: &RelPath, from: Spot) -> Result<ControlFlow<()>, FilesError> {
        if self.files_left == 0 {
            return Ok(self.bounded("rows", path, from));
        }
        if self.bytes_left == 0 {
            return Ok(self.bounded("bytes", path, from));
        }
        let size = opened.meta.len();
        if from.byte > 0 && from.byte >= size {
            return Ok(ControlFlow::Continue(()));
        }
        self.files_left -= 1;
        let failed = |e| FilesError::from_io("read", path, e);
        let mut file = opened.file;
        file.seek(SeekFrom::Start(from.byte)).map_err(failed)?;
        let mut reader = BufReader::with_capacity(64 * 1024, file);
        if from == Spot::default() {
            if reader.fill_buf().map_err(failed)?.contains(&0) {
                return Ok(self.skip());
            }
            self.result.files_searched += 1;
        }
        let read = self.lines_of(&mut reader, path, from);
        if let Ok(ControlFlow::Continue(())) = read {
            let behind = Spot { byte: size.max(1), lines: 0 };
            self.reached = Some(Mark { path: path.clone(), from: behind });
        }
        read
    }

    /// Looks through what is left of a file, line by line.
    fn lines_of(
        &mut self,
        reader: &mut BufReader<File>,
        path: &RelPath,
        from: Spot,
    ) -> Result<ControlFlow<()>, FilesError> {
        let failed = |e| FilesError::from_io("read", path, e);
        let (mut line, mut piece) = (Line { from, at: from.byte }, Vec::new());
        loop {
            match (self.halt.check(), line.at > from.byte || self.reached.is_some()) {
                (Err(FilesError::Late), true) => return Ok(self.bounded("time", path, line.next(from))),
                (checked, _) => checked?,
            }
            piece.clear();
            let most = LINE_BYTES_MAX.min(self.bytes_left);
            let read = reader.by_ref().take(most).read_until(b'\n', &mut piece).map_err(failed)?;
            let ends_line = piece.last() == Some(&b'\n');
            let is_end = !ends_line && reader.fill_buf().map_err(failed)?.is_empty();
            if read == 0 && is_end {
                return Ok(ControlFlow::Continue(()));
            }
            let is_cut = self.bytes_left <= LINE_BYTES_MAX && !ends_line && !is_end;
            let next = line.next(from);
            if is_cut && (read == 0 || next.byte > from.byte || self.reached.is_some()) {
                // The whole line is looked at next time.
                return Ok(self.bounded("bytes", path, next));
            }
            self.bytes_left -= read as u64;
            let text = trim_end(&piece);
            if self.wanted.pattern.is_match(text)
                && self.note(path, &line, text, ends_line || is_end).is_break()
            {
                return Ok(ControlFlow::Break(()));
            }
            line.take(read as u64, ends_line);
        }
    }

    /// Notes a line that matches, once, however many pieces of it do.
    fn note(&mut self, path: &RelPath, line: &Line, text: &[u8], is_whole: bool) -> ControlFlow<()> {
        let number = line.from.lines + 1;
        if self.result.matches.last().is_some_and(|last| last.line == number && last.path == path.as_str()) {
            return ControlFlow::Continue(());
        }
        if self.result.matches.len() as u64 == u64::from(self.wanted.limit) {
            return self.bounded("rows", path, line.from);
        }
        let decoded = String::from_utf8_lossy(text);
        let shown: String = decoded.chars().take(self.line_chars_max).collect();
        let cut = !is_whole || line.at > line.from.byte || shown.len() < decoded.len();
        let (path, offset) = (path.to_string(), line.from.byte);
        self.result.matches.push(Match { path, line: number, text: shown, offset, cut });
        ControlFlow::Continue(())
    }
}

impl Line {
    /// Where a search that ends here goes on: at the beginning of the line, where that is further than the search
    /// began; else behind the piece.
    fn next(&self, began: Spot) -> Spot {
        if self.from.byte > began.byte { self.from } else { Spot { byte: self.at, lines: self.from.lines } }
    }

    /// Goes on behind a piece of so many bytes.
    fn take(&mut self, bytes: u64, ends_line: bool) {
        self.at += bytes;
        if ends_line {
            self.from = Spot { byte: self.at, lines: self.from.lines + 1 };
        }
    }
}

fn trim_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}
