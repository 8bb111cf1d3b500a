//! Verification: one pass over the whole log, in step with the checkpoints that were filed.

use std::{
    fmt,
    io::{self, ErrorKind},
    path::Path,
};

use ed25519_dalek::VerifyingKey;
use serde::Serialize;

use crate::{
    AuditError,
    checkpoint::{self, PUBLIC_FILE, Stamp},
    folder::{CHECKPOINTS_FILE, has_writer, segment_name, segments},
    lines::{Lines, Next},
    opening::gone,
    record::{Line, Link},
};

/// What was found in a log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Records that fit together, up to the end or the problem.
    pub records: u64,
    /// Segments read.
    pub segments: u64,
    /// Checkpoints whose signature fits.
    pub checkpoints: u64,
    /// The first record that is kept; `None` where there is none.
    pub first_seq: Option<u64>,
    /// The last record that fits.
    pub last_seq: Option<u64>,
    /// The hash of that record, in hex.
    pub head: Option<String>,
    /// The first thing that is wrong; `None` where nothing is.
    pub problem: Option<Problem>,
}

/// The first thing that is wrong with a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file, such as `audit-000001.jsonl`.
    pub segment: String,
    /// The line, from 1; 0 where it is about the file as a whole.
    pub line: u64,
    /// The record that should stand there; 0 where that cannot be told.
    pub seq: u64,
    /// What is wrong.
    pub what: String,
}

/// What is known about a log from elsewhere, out of reach of whoever could change its folder.
#[derive(Clone, Debug, Default)]
pub struct Anchor {
    /// The public key as `signing.pub` holds it.
    pub public_key: Option<String>,
    /// A record and its hash in hex: of a checkpoint that was shipped, or `last_seq` and `head` of an earlier
    /// report.
    pub record: Option<(u64, String)>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.segment)?;
        if self.line > 0 {
            write!(f, " line {}", self.line)?;
        }
        if self.seq > 0 {
            write!(f, " (seq {})", self.seq)?;
        }
        write!(f, ": {}", self.what)
    }
}

/// Reads the whole log and names the first thing that is wrong with it. Only reads, and needs no lock: while a
/// server writes, the log is verified up to where it had got.
///
/// Error: a file cannot be read.
pub fn verify(dir: &Path) -> Result<Report, AuditError> {
    verify_against(dir, &Anchor::default())
}

/// As [`verify`], and also checks that the log is the one, and at least as long, as is known from elsewhere.
pub fn verify_against(dir: &Path, anchor: &Anchor) -> Result<Report, AuditError> {
    let mut report = Report::default();
    let mut walk = || -> Result<(), Stop> {
        let Some(mut verifier) = Verifier::open(dir, anchor, &mut report)? else { return Ok(()) };
        verifier.walk()
    };
    match walk() {
        Ok(()) => {}
        Err(Stop::Problem(problem)) => report.problem = Some(problem),
        Err(Stop::Io(e)) => return Err(AuditError::io("read the log", dir, e)),
    }
    Ok(report)
}

/// Why a walk ends early.
enum Stop {
    Problem(Problem),
    Io(io::Error),
}

struct Verifier<'a> {
    dir: &'a Path,
    anchor: &'a Anchor,
    report: &'a mut Report,
    key: VerifyingKey,
    filed: Filed,
    link: Link,
    segment: u64,
    line: u64,
}

/// The checkpoints that were filed, read in step with the chain.
struct Filed {
    lines: Option<Lines>,
    next: Option<(u64, Vec<u8>)>,
    /// Where the file ended when the walk began: what comes later may be ahead of what the walk reads.
    length: u64,
    /// A checkpoint of the chain that was not filed. Only the last may be like that.
    missing: Option<Problem>,
}

impl<'a> Verifier<'a> {
    /// `None` where there is no log at all.
    fn open(dir: &'a Path, anchor: &'a Anchor, report: &'a mut Report) -> Result<Option<Self>, Stop> {
        let filed = Filed::open(dir)?;
        let numbers = segments(dir)?;
        let public = checkpoint::read_public(dir);
        if numbers.is_empty() && filed.length == 0 && public.is_none() && anchor.record.is_none() {
            return Ok(None);
        }
        let about_key = |what: &str| problem(PUBLIC_FILE.to_owned(), 0, 0, what);
        let key = public.ok_or_else(|| about_key("there is no public key in it"))?;
        if let Some(expected) = &anchor.public_key
            && expected.trim() != checkpoint::public_text(&key).trim()
        {
            return Err(about_key("it is not the key that was expected"));
        }
        let segment = numbers.first().copied().unwrap_or(1);
        Ok(Some(Self { dir, anchor, report, key, filed, link: Link::START, segment, line: 0 }))
    }

    fn walk(&mut self) -> Result<(), Stop> {
        self.start()?;
        let next = |segment: u64| self.dir.join(segment_name(segment + 1));
        loop {
            // Asked before reading: a segment that has a successor grows no more, the last one may.
            let is_closed = next(self.segment).exists();
            self.segment()?;
            if !is_closed {
                break;
            }
            if self.line == 0 {
                return Err(self.problem("the segment is empty"));
            }
            self.segment += 1;
        }
        self.line += 1;
        let numbers = segments(self.dir)?;
        // A successor that is there by now was begun while we read.
        if numbers.last().is_some_and(|last| *last > self.segment) && !next(self.segment).exists() {
            let name = segment_name(self.segment + 1);
            return Err(problem(name, 0, self.link.seq + 1, "the segment is missing"));
        }
        self.filed_beyond()?;
        match &self.anchor.record {
            Some((seq, _)) if *seq > self.link.seq => Err(self
                .problem(&format!("the chain ends before record {seq}, which is known to have been there"))),
            _ => Ok(()),
        }
    }

    /// Finds where the chain starts: at its first record, or after older segments that a checkpoint says were
    /// removed.
    fn start(&mut self) -> Result<(), Stop> {
        if self.segment == 1 {
            return Ok(());
        }
        let mut lines = Lines::open(&self.dir.join(segment_name(self.segment)))?;
        let next = lines.advance()?;
        let first = if next == Next::Line { Line::read(lines.line()).ok() } else { None };
        let first = first.map_or(u64::MAX, |line| line.seq);
        let oldest = self.filed.last_oldest(self.dir, &self.key)?;
        if next == Next::Line && first == u64::MAX {
            return Ok(());
        }
        if first > oldest || first == 1 {
            let what = "the segment is missing, and no checkpoint says that it was removed";
            return Err(problem(segment_name(self.segment - 1), 0, oldest, what));
        }
        while let Some((seq, line)) = self.filed.next.take_if(|(seq, _)| *seq < first) {
            Stamp::verify(&line, &self.key)
                .map_err(|what| problem(CHECKPOINTS_FILE.to_owned(), 0, seq, &what))?;
            if seq + 1 == first {
                self.link = Line::read(&line).map_err(|what| self.problem(&what))?.link();
            }
            self.filed.advance()?;
        }
        if self.link.seq + 1 != first {
            let what = "it lacks the checkpoint after which older segments were removed";
            return Err(problem(CHECKPOINTS_FILE.to_owned(), 0, first - 1, what));
        }
        Ok(())
    }

    fn segment(&mut self) -> Result<(), Stop> {
        self.line = 0;
        let mut lines = match Lines::open(&self.dir.join(segment_name(self.segment))) {
            Ok(lines) => lines,
            Err(e) if e.kind() == ErrorKind::NotFound => return Err(self.problem("the segment is missing")),
            Err(e) => return Err(e.into()),
        };
        self.report.segments += 1;
        loop {
            match lines.advance()? {
                Next::End => return Ok(()),
                Next::Torn if self.is_being_written(&mut lines)? => return Ok(()),
                Next::Torn => {
                    self.line += 1;
                    let bytes = lines.line().len();
                    return Err(self.problem(&format!(
                        "the line is torn after {bytes} bytes: the server was stopped while it wrote, and cuts \
                         the line when it starts, or someone cut it"
                    )));
                }
                Next::Line => {
                    self.line += 1;
                    self.record(lines.line())?;
                }
            }
        }
    }

    /// True where the torn line is one that a server is about to complete. Reads on where it is complete by now.
    fn is_being_written(&mut self, lines: &mut Lines) -> Result<bool, Stop> {
        let is_last = !self.dir.join(segment_name(self.segment + 1)).exists();
        if is_last && has_writer(self.dir) {
            return Ok(true);
        }
        while lines.advance()? == Next::Line {
            self.line += 1;
            self.record(lines.line())?;
        }
        Ok(lines.line().is_empty())
    }

    fn record(&mut self, text: &[u8]) -> Result<(), Stop> {
        let line = self.link.read_next(text).map_err(|what| self.problem(&what))?;
        let filed = self.filed.next.take_if(|(seq, _)| *seq == line.seq);
        if let Some((_, filed)) = &filed {
            if filed != text {
                return Err(self.problem(&format!("{CHECKPOINTS_FILE} holds another record with this seq")));
            }
            self.filed.advance()?;
        }
        if line.is_checkpoint() {
            let stamp = Stamp::verify(text, &self.key).map_err(|what| self.problem(&what))?;
            if stamp.segment != self.segment {
                let what = format!("it was signed for segment {}: the segments were renamed", stamp.segment);
                return Err(self.problem(&what));
            }
            if filed.is_none() {
                self.not_filed(line.seq, text)?;
            }
            self.report.checkpoints += 1;
        }
        let head = String::from_utf8_lossy(line.hash);
        if let Some((seq, expected)) = &self.anchor.record
            && *seq == line.seq
            && *expected != head
        {
            return Err(self.problem("it is not the record that is known to have been there"));
        }
        self.link = line.link();
        self.report.records += 1;
        self.report.first_seq.get_or_insert(line.seq);
        self.report.last_seq = Some(line.seq);
        self.report.head = Some(head.into_owned());
        Ok(())
    }

    /// A checkpoint of the chain is not in `checkpoints.jsonl`, or not yet: that is right for the last one only.
    fn not_filed(&mut self, seq: u64, text: &[u8]) -> Result<(), Stop> {
        if self.filed.next.is_none() {
            self.filed.advance()?;
            if self.filed.next.take_if(|(next, line)| *next == seq && line == text).is_some() {
                self.filed.missing = None;
                return self.filed.advance();
            }
            if self.filed.next.is_none() && !text.starts_with(self.filed.torn()) {
                let what = "its last line is torn, and not the beginning of the next checkpoint of the chain";
                return Err(problem(CHECKPOINTS_FILE.to_owned(), 0, seq, what));
            }
        }
        let found = self.found(&format!("this checkpoint is missing from {CHECKPOINTS_FILE}"));
        if let Some(missing) = self.filed.missing.replace(found.clone()) {
            return Err(Stop::Problem(missing));
        }
        if self.filed.next.is_some() { Err(Stop::Problem(found)) } else { Ok(()) }
    }

    /// A checkpoint that was filed when the walk began must be in the chain.
    fn filed_beyond(&mut self) -> Result<(), Stop> {
        let is_old = self.filed.lines.as_ref().is_some_and(|lines| lines.end <= self.filed.length);
        let Some((seq, line)) = self.filed.next.take_if(|_| is_old) else { return Ok(()) };
        let stamp = Line::read(&line).and_then(|_| Stamp::verify(&line, &self.key));
        match stamp {
            Ok(stamp) => Err(self.problem(&gone(&stamp))),
            Err(what) => Err(problem(CHECKPOINTS_FILE.to_owned(), 0, seq, &what)),
        }
    }

    fn found(&self, what: &str) -> Problem {
        let (segment, seq) = (segment_name(self.segment), self.link.seq + 1);
        Problem { segment, line: self.line, seq, what: what.to_owned() }
    }

    fn problem(&self, what: &str) -> Stop {
        Stop::Problem(self.found(what))
    }
}

impl Filed {
    fn open(dir: &Path) -> Result<Self, Stop> {
        let mut filed = Self { lines: None, next: None, length: 0, missing: None };
        match Lines::open(&dir.join(CHECKPOINTS_FILE)) {
            Ok(lines) => filed.lines = Some(lines),
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(filed),
            Err(e) => return Err(e.into()),
        }
        filed.length = std::fs::metadata(dir.join(CHECKPOINTS_FILE))?.len();
        filed.advance()?;
        Ok(filed)
    }

    /// Reads the next whole line, where there is one.
    fn advance(&mut self) -> Result<(), Stop> {
        let Some(lines) = &mut self.lines else { return Ok(()) };
        if lines.advance()? != Next::Line {
            return Ok(());
        }
        let line = Line::read(lines.line());
        let seq = line.map_err(|what| problem(CHECKPOINTS_FILE.to_owned(), lines.number, 0, &what))?.seq;
        self.next = Some((seq, lines.line().to_vec()));
        Ok(())
    }

    /// What follows the last whole line, where nothing else does.
    fn torn(&self) -> &[u8] {
        self.lines.as_ref().map_or(&[], |lines| lines.line())
    }

    /// The first record that is kept, as the last checkpoint in the file says.
    fn last_oldest(&self, dir: &Path, key: &VerifyingKey) -> Result<u64, Stop> {
        let Some(_) = &self.lines else { return Ok(1) };
        let last = crate::lines::Backwards::open(&dir.join(CHECKPOINTS_FILE))?.next_line()?;
        let Some(line) = last else { return Ok(1) };
        let stamp = Stamp::verify(&line, key);
        Ok(stamp.map_err(|what| problem(CHECKPOINTS_FILE.to_owned(), 0, 0, &what))?.oldest)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn problem(segment: String, line: u64, seq: u64, what: &str) -> Stop {
    Stop::Problem(Problem { segment, line, seq, what: what.to_owned() })
}
