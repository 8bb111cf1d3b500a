use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
    ops::ControlFlow,
};

use regex::bytes::{Regex, RegexBuilder};
use rustix::fs::FileType;

use crate::{
    Config,
    error::FilesError,
    halt::Halt,
    jail::Jail,
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

/// Looks through the files beneath a folder, or through one file.
pub(crate) fn lines(
    config: &Config,
    jail: &Jail,
    rules: &Rules,
    wanted: &Wanted,
    halt: &Halt,
) -> Result<SearchResult, FilesError> {
    let reach = Reach { depth_max: config.depth_max, entries_max: config.scan_entries_max };
    let mut search = Search {
        wanted,
        halt,
        line_chars_max: config.search_line_chars_max as usize,
        files_left: config.search_files_max,
        bytes_left: config.search_bytes_max,
        result: SearchResult { matches: Vec::new(), files_searched: 0, files_skipped: 0, truncated: false },
    };
    match jail.file(&wanted.path) {
        Ok(opened) => {
            let _ = search.file(opened.file, &wanted.path)?;
        }
        Err(FilesError::Folder { .. }) => {
            Walk::new(jail, rules, reach, halt).run(&wanted.path, None, |found| {
                let fits = wanted.glob.as_ref().is_none_or(|glob| glob.takes(&found.path, found.name));
                if found.kind != FileType::RegularFile || !fits {
                    return Ok(ControlFlow::Continue(()));
                }
                match jail.file(&found.path) {
                    Ok(opened) => search.file(opened.file, &found.path),
                    Err(FilesError::Busy { source }) => Err(FilesError::Busy { source }),
                    Err(_) => Ok(search.skip()),
                }
            })?;
        }
        Err(error) => return Err(error),
    }
    Ok(search.result)
}

struct Search<'a> {
    wanted: &'a Wanted,
    halt: &'a Halt,
    line_chars_max: usize,
    files_left: u32,
    bytes_left: u64,
    result: SearchResult,
}

impl Search<'_> {
    fn skip(&mut self) -> ControlFlow<()> {
        self.result.files_skipped += 1;
        ControlFlow::Continue(())
    }

    fn bounded(&mut self) -> ControlFlow<()> {
        self.result.truncated = true;
        ControlFlow::Break(())
    }

    /// Looks through one file; breaks where a bound is met.
    fn file(&mut self, file: File, path: &RelPath) -> Result<ControlFlow<()>, FilesError> {
        if self.files_left == 0 || self.bytes_left == 0 {
            return Ok(self.bounded());
        }
        self.files_left -= 1;
        let mut reader = BufReader::with_capacity(64 * 1024, file);
        let failed = |e| FilesError::from_io("read", path, e);
        if reader.fill_buf().map_err(failed)?.contains(&0) {
            return Ok(self.skip());
        }
        self.result.files_searched += 1;
        let (mut number, mut piece, mut goes_on) = (0, Vec::new(), false);
        loop {
            self.halt.check()?;
            piece.clear();
            let most = LINE_BYTES_MAX.min(self.bytes_left);
            let read = (&mut reader).take(most).read_until(b'\n', &mut piece).map_err(failed)?;
            if read == 0 {
                let is_end = reader.fill_buf().map_err(failed)?.is_empty();
                return Ok(if is_end { ControlFlow::Continue(()) } else { self.bounded() });
            }
            self.bytes_left -= read as u64;
            number += u64::from(!goes_on);
            goes_on = piece.last() != Some(&b'\n');
            let line = trim_end(&piece);
            if self.wanted.pattern.is_match(line) && self.note(path, number, line).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }

    /// Notes a line that matches, once, however many pieces of it do.
    fn note(&mut self, path: &RelPath, line: u64, text: &[u8]) -> ControlFlow<()> {
        if self.result.matches.last().is_some_and(|last| last.line == line && last.path == path.as_str()) {
            return ControlFlow::Continue(());
        }
        if self.result.matches.len() as u64 == u64::from(self.wanted.limit) {
            return self.bounded();
        }
        let text = String::from_utf8_lossy(text).chars().take(self.line_chars_max).collect();
        self.result.matches.push(Match { path: path.to_string(), line, text });
        ControlFlow::Continue(())
    }
}

fn trim_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}
