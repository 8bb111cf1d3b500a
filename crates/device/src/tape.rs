//! Transcripts: what was typed and printed in the sessions of a call, with times and without secrets.
//!
//! One file a call, named by its request id, as the audit record has it.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use serde_json::{Value, json};

use crate::{mask::masked, platform::Platform};

/// The most bytes that are kept of one call.
const BYTES_MAX: usize = 4 * 1024 * 1024;
/// The most bytes of a transcript that are read.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What was typed, or printed, and when.
#[derive(Debug)]
struct Event {
    at_ms: u64,
    is_typed: bool,
    bytes: Vec<u8>,
}

/// What is recorded while a call runs.
#[derive(Debug)]
pub(crate) struct Tape {
    began: Instant,
    events: Mutex<(Vec<Event>, usize)>,
}

impl Tape {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { began: Instant::now(), events: Mutex::default() })
    }

    /// Something was typed; a secret is not written down.
    pub(crate) fn typed(&self, bytes: &[u8], is_secret: bool) {
        self.add(true, if is_secret { b"[redacted]\n" } else { bytes });
    }

    /// Something was printed.
    pub(crate) fn printed(&self, bytes: &[u8]) {
        self.add(false, bytes);
    }

    fn add(&self, is_typed: bool, bytes: &[u8]) {
        let at_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let (events, total) = &mut *events;
        let room = BYTES_MAX.saturating_sub(*total).min(bytes.len());
        *total += room;
        match events.last_mut() {
            // A secret may be split by the network, and is only found in the whole of a line.
            Some(last) if !last.is_typed && !is_typed => last.bytes.extend_from_slice(&bytes[..room]),
            _ if room > 0 => events.push(Event { at_ms, is_typed, bytes: bytes[..room].to_vec() }),
            _ => {}
        }
    }

    /// Writes it down, one JSON object a line, the first about the call itself.
    ///
    /// Error: a folder or a file that cannot be written.
    pub(crate) fn write(
        &self,
        folder: &Path,
        id: &str,
        about: &Value,
        platform: &Platform,
    ) -> io::Result<()> {
        let events = std::mem::take(&mut self.events.lock().unwrap_or_else(PoisonError::into_inner).0);
        if events.is_empty() {
            return Ok(());
        }
        let mut text = format!("{about}\n");
        for event in events {
            let said = masked(&String::from_utf8_lossy(&event.bytes), platform).0;
            let name = if event.is_typed { "typed" } else { "printed" };
            text.push_str(&format!("{}\n", json!({ "at_ms": event.at_ms, name: said })));
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        // A caller that sends an id twice adds to what there is, and takes nothing away.
        let mut file = fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path(folder, id))?;
        file.write_all(text.as_bytes())
    }
}

/// The file of a transcript. Ids come from outside: what is no letter of a name is none here.
fn path(folder: &Path, id: &str) -> PathBuf {
    let safe: String =
        id.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).take(128).collect();
    folder.join(format!("{safe}.jsonl"))
}

/// Reads a transcript: its lines, as they were written.
///
/// Error: there is none, or it cannot be read.
pub(crate) fn read(folder: &Path, id: &str) -> io::Result<Vec<Value>> {
    let path = path(folder, id);
    if fs::metadata(&path)?.len() > FILE_BYTES_MAX {
        return Err(io::Error::other("it is too large to be shown"));
    }
    let text = fs::read_to_string(path)?;
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// Removes the oldest transcripts beyond this many. Their names begin with a time where the ids are ours.
pub(crate) fn prune(folder: &Path, keep: usize) -> io::Result<usize> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        read => read?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        files.push((entry.metadata()?.modified()?, entry.path()));
    }
    files.sort();
    let old = files.len().saturating_sub(keep);
    for (_, path) in &files[..old] {
        fs::remove_file(path)?;
    }
    Ok(old)
}
