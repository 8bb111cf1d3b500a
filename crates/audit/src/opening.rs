//! Finding the end of a log that is there: what fits together is taken up, a torn last line is cut, anything else
//! is refused and left as it is.
//!
//! Only the last segment is read whole, so that opening stays quick; `verify` reads everything.

use std::io;

use ed25519_dalek::VerifyingKey;

use crate::{
    AuditError, Problem,
    checkpoint::Stamp,
    folder::{CHECKPOINTS_FILE, Folder, segment_name},
    lines::{Backwards, Lines, Next},
    record::{Line, Link, is_json},
};

/// Where a log ends.
pub(crate) struct End {
    /// The number of the last segment.
    pub(crate) segment: u64,
    /// Its length up to its last whole record, in bytes.
    pub(crate) length: u64,
    /// Bytes of a torn last line beyond.
    pub(crate) torn: u64,
    /// The last record.
    pub(crate) link: Link,
    /// Records since the last checkpoint.
    pub(crate) unsigned: u64,
    /// The first record that is kept.
    pub(crate) oldest: u64,
    /// The length of `checkpoints.jsonl` up to its last whole line, in bytes.
    pub(crate) filed_length: u64,
    /// Checkpoints of the chain that did not make it there.
    pub(crate) unfiled: Vec<Vec<u8>>,
}

/// The last checkpoint in `checkpoints.jsonl`.
struct Filed {
    length: u64,
    last: Option<Stamp>,
}

/// What stands in the last segment.
struct Scan {
    length: u64,
    torn: u64,
    link: Link,
    unsigned: u64,
    /// Checkpoints, from the one that was filed last.
    checkpoints: Vec<(u64, Vec<u8>)>,
}

/// Finds the end of the log. `segments` are the numbers of what is there, in order.
pub(crate) fn find_end(folder: &Folder, key: &VerifyingKey, segments: &[u64]) -> Result<End, AuditError> {
    let filed = filed(folder, key)?;
    let Some(&last) = segments.last() else {
        return match filed.last {
            None => Ok(End::of_a_new_log(filed.length)),
            Some(stamp) => Err(damaged(segment_name(1), 0, 1, gone(&stamp))),
        };
    };
    check_first(folder, segments, &filed)?;
    let before = link_before(folder, segments, &filed)?;
    let scan = scan(folder, last, before, filed.last.as_ref().map_or(0, |stamp| stamp.seq))?;
    let mut checkpoints = scan.checkpoints;
    if let Some(stamp) = &filed.last {
        let found = match checkpoints.first() {
            Some((seq, line)) if *seq == stamp.seq => {
                Line::read(line).is_ok_and(|l| l.hash == stamp.hash.as_bytes())
            }
            _ => before.seq == stamp.seq && before.head == stamp.hash.as_bytes(),
        };
        if !found {
            return Err(damaged(segment_name(last), 0, stamp.seq, gone(stamp)));
        }
        checkpoints.retain(|(seq, _)| *seq > stamp.seq);
    }
    for (seq, line) in &checkpoints {
        Stamp::verify(line, key).map_err(|what| damaged(segment_name(last), 0, *seq, what))?;
    }
    Ok(End {
        segment: last,
        length: scan.length,
        torn: scan.torn,
        link: scan.link,
        unsigned: scan.unsigned,
        oldest: filed.last.as_ref().map_or(1, |stamp| stamp.oldest),
        filed_length: filed.length,
        unfiled: checkpoints.into_iter().map(|(_, line)| line).collect(),
    })
}

/// What is said of a checkpoint that the chain no longer holds.
pub(crate) fn gone(stamp: &Stamp) -> String {
    format!(
        "{CHECKPOINTS_FILE} holds a checkpoint with seq {} that the chain does not hold: records were cut off, \
         or an old copy was put back",
        stamp.seq
    )
}

impl End {
    fn of_a_new_log(filed_length: u64) -> Self {
        Self {
            segment: 0,
            length: 0,
            torn: 0,
            link: Link::START,
            unsigned: 0,
            oldest: 1,
            filed_length,
            unfiled: Vec::new(),
        }
    }
}

/// Reads the last checkpoint that was filed. A torn last line is left out.
fn filed(folder: &Folder, key: &VerifyingKey) -> Result<Filed, AuditError> {
    let path = folder.path().join(CHECKPOINTS_FILE);
    let read = || -> io::Result<(u64, Option<Vec<u8>>)> {
        let mut lines = Backwards::open(&path)?;
        let mut length = std::fs::metadata(&path)?.len() - lines.torn;
        let mut last = lines.next_line()?;
        if let Some(line) = last.take_if(|line| !is_json(line)) {
            length -= line.len() as u64 + 1;
            last = lines.next_line()?;
        }
        Ok((length, last))
    };
    let (length, last) = match read() {
        Ok(found) => found,
        Err(e) if e.kind() == io::ErrorKind::NotFound => (0, None),
        Err(e) => return Err(folder.error("read the checkpoints", e)),
    };
    let problem = |what| damaged(CHECKPOINTS_FILE.to_owned(), 0, 0, what);
    let Some(line) = last else { return Ok(Filed { length, last: None }) };
    Line::read(&line).map_err(problem)?;
    Ok(Filed { length, last: Some(Stamp::verify(&line, key).map_err(problem)?) })
}

/// Checks that no segment is missing, at the start or between, but those that were removed by us.
fn check_first(folder: &Folder, segments: &[u64], filed: &Filed) -> Result<(), AuditError> {
    if let Some(pair) = segments.windows(2).find(|pair| pair[0] + 1 != pair[1]) {
        return Err(damaged(segment_name(pair[0] + 1), 0, 0, "the segment is missing".to_owned()));
    }
    let first = segments[0];
    if first == 1 {
        return Ok(());
    }
    let oldest = filed.last.as_ref().map_or(1, |stamp| stamp.oldest);
    let seq = first_seq(folder, first)?;
    if seq.is_none_or(|seq| seq > oldest) {
        let what =
            format!("the segment is missing, and no checkpoint says that records from {oldest} were removed");
        return Err(damaged(segment_name(first - 1), 0, oldest, what));
    }
    Ok(())
}

/// The seq of a segment's first record; `None` where it has none.
pub(crate) fn first_seq(folder: &Folder, segment: u64) -> Result<Option<u64>, AuditError> {
    let name = segment_name(segment);
    let error = |e| folder.error("read a segment", e);
    let mut lines = Lines::open(&folder.path().join(&name)).map_err(error)?;
    if lines.advance().map_err(error)? != Next::Line {
        return Ok(None);
    }
    let line = Line::read(lines.line()).map_err(|what| damaged(name, 1, 0, what))?;
    Ok(Some(line.seq))
}

/// The record before the last segment.
fn link_before(folder: &Folder, segments: &[u64], filed: &Filed) -> Result<Link, AuditError> {
    match *segments {
        [1] => Ok(Link::START),
        [only] => match (first_seq(folder, only)?, &filed.last) {
            (Some(seq), _) => filed_link(folder, seq - 1),
            (None, last) => filed_link(folder, last.as_ref().map_or(0, |stamp| stamp.seq)),
        },
        [.., before, _] => {
            let name = segment_name(before);
            let read = |path| Backwards::open(path)?.next_line();
            let line = read(&folder.path().join(&name)).map_err(|e| folder.error("read a segment", e))?;
            let line = line.ok_or_else(|| damaged(name.clone(), 0, 0, "the segment is empty".to_owned()))?;
            Ok(Line::read(&line).map_err(|what| damaged(name, 0, 0, what))?.link())
        }
        [] => Ok(Link::START),
    }
}

/// A checkpoint as `checkpoints.jsonl` holds it.
fn filed_link(folder: &Folder, seq: u64) -> Result<Link, AuditError> {
    let error = |e| folder.error("read the checkpoints", e);
    let mut lines = Lines::open(&folder.path().join(CHECKPOINTS_FILE)).map_err(error)?;
    while lines.advance().map_err(error)? == Next::Line {
        if let Ok(line) = Line::read(lines.line())
            && line.seq == seq
        {
            return Ok(line.link());
        }
    }
    let what = format!("it lacks the checkpoint with seq {seq}, after which older segments were removed");
    Err(damaged(CHECKPOINTS_FILE.to_owned(), 0, seq, what))
}

/// Reads a segment from its start; `before` is the record before it, `filed` the seq of the checkpoint that was
/// filed last.
fn scan(folder: &Folder, segment: u64, before: Link, filed: u64) -> Result<Scan, AuditError> {
    let name = segment_name(segment);
    let error = |e| folder.error("read a segment", e);
    let mut lines = Lines::open(&folder.path().join(&name)).map_err(error)?;
    let mut scan = Scan { length: 0, torn: 0, link: before, unsigned: 0, checkpoints: Vec::new() };
    loop {
        match lines.advance().map_err(error)? {
            Next::End => return Ok(scan),
            Next::Torn => {
                scan.torn += lines.line().len() as u64;
                return Ok(scan);
            }
            Next::Line => {}
        }
        match scan.take(lines.line(), lines.end, filed) {
            Ok(()) => {}
            Err(_) if is_torn(&mut lines).map_err(error)? => {
                scan.torn = lines.end - scan.length;
                return Ok(scan);
            }
            Err(what) => return Err(damaged(name, lines.number, scan.link.seq + 1, what)),
        }
    }
}

impl Scan {
    /// Takes the next record, whose line ends at `end`.
    fn take(&mut self, text: &[u8], end: u64, filed: u64) -> Result<(), String> {
        let line = self.link.read_next(text)?;
        self.link = line.link();
        self.length = end;
        self.unsigned += 1;
        if line.is_checkpoint() {
            self.unsigned = 0;
            if line.seq >= filed {
                self.checkpoints.push((line.seq, text.to_vec()));
            }
        }
        Ok(())
    }
}

/// True where the line is no JSON and the very last: a write that did not get to its end.
fn is_torn(lines: &mut Lines) -> io::Result<bool> {
    Ok(!is_json(lines.line()) && lines.is_at_end()?)
}

fn damaged(segment: String, line: u64, seq: u64, what: String) -> AuditError {
    AuditError::Damaged(Problem { segment, line, seq, what })
}
