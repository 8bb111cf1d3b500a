//! The newest records that match a question, read from the end.

use std::{io, path::Path};

use serde_json::Value;

use crate::{
    AuditError,
    folder::{segment_name, segments},
    lines::Backwards,
    record::CHECKPOINT,
};

/// The most records that one question returns.
const COUNT_MAX: usize = 10_000;

/// Which records are wanted. All that is given must match; names are compared whole.
#[derive(Clone, Debug, Default)]
pub struct TailQuery {
    /// The newest so many, at most 10,000.
    pub count: usize,
    /// With this event. Checkpoints are left out unless they are asked for here.
    pub event: Option<String>,
    /// By this principal.
    pub principal: Option<String>,
    /// Of this tool.
    pub tool: Option<String>,
    /// Of this call.
    pub request_id: Option<String>,
    /// After this seq.
    pub since_seq: Option<u64>,
}

/// The newest records that match, the newest last.
///
/// Reads from the end and stops as soon as it has enough; blocks while it reads. Needs no lock: a line that is
/// being written, or is none of ours, is left out. Says nothing about whether the log is whole; `verify` does.
pub fn tail(dir: &Path, query: &TailQuery) -> Result<Vec<Value>, AuditError> {
    tail_until(dir, query, &|| false)
}

/// As [`tail`], and gives up where `is_stopped` says so: then what was found so far is returned.
pub fn tail_until(
    dir: &Path,
    query: &TailQuery,
    is_stopped: &dyn Fn() -> bool,
) -> Result<Vec<Value>, AuditError> {
    let mut found = search(dir, query, is_stopped).map_err(|e| AuditError::io("read the log", dir, e))?;
    found.reverse();
    Ok(found)
}

fn search(dir: &Path, query: &TailQuery, is_stopped: &dyn Fn() -> bool) -> io::Result<Vec<Value>> {
    let count = query.count.min(COUNT_MAX);
    let mut found = Vec::new();
    for number in segments(dir)?.into_iter().rev() {
        let mut lines = match Backwards::open(&dir.join(segment_name(number))) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => break,
            opened => opened?,
        };
        while found.len() < count
            && let Some(line) = lines.next_line()?
        {
            if is_stopped() {
                return Ok(found);
            }
            let Some(record) = query.read(&line) else { continue };
            if query.since_seq.is_some_and(|since| record["seq"].as_u64().is_none_or(|seq| seq <= since)) {
                return Ok(found);
            }
            if query.matches(&record) {
                found.push(record);
            }
        }
        if found.len() >= count {
            break;
        }
    }
    Ok(found)
}

impl TailQuery {
    fn members(&self) -> [(&'static str, Option<&str>); 4] {
        [
            ("event", self.event.as_deref()),
            ("principal", self.principal.as_deref()),
            ("tool", self.tool.as_deref()),
            ("request_id", self.request_id.as_deref()),
        ]
    }

    /// Reads a line, unless it is seen at once that it cannot matter.
    fn read(&self, line: &[u8]) -> Option<Value> {
        let plain = |text: &&str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        let wanted = self.members().into_iter().filter_map(|(_, wanted)| wanted);
        let may_match = wanted.filter(plain).all(|text| contains(line, text.as_bytes()));
        if !may_match && self.since_seq.is_none() {
            return None;
        }
        serde_json::from_slice(line).ok()
    }

    fn matches(&self, record: &Value) -> bool {
        let is_asked_for = self.event.is_some() || record["event"] != CHECKPOINT;
        let members = self.members();
        is_asked_for
            && members.into_iter().all(|(name, wanted)| wanted.is_none_or(|wanted| record[name] == *wanted))
    }
}

fn contains(line: &[u8], text: &[u8]) -> bool {
    text.is_empty() || line.windows(text.len()).any(|window| window == text)
}
