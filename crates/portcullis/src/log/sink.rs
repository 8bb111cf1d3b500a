//! Where lines go: a bounded buffer, and a thread that writes it out.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    mem,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// The most bytes that wait to be written.
const BUFFER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How long a flush waits for a stream that does not take what it is given.
const FLUSH_MAX: Duration = Duration::from_secs(2);

/// How long lines gather before they are written together.
const LINGER: Duration = Duration::from_millis(5);

/// Takes lines. Clones share one buffer and one thread.
#[derive(Clone)]
pub(crate) struct Sink(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    filled: Condvar,
    emptied: Condvar,
}

#[derive(Default)]
struct State {
    buffer: Vec<u8>,
    writing: bool,
    dropped: u64,
}

/// What the thread writes to.
pub(super) struct Outputs {
    /// The stream.
    pub(super) stream: Stream,
    /// The file.
    pub(super) file: Option<RotatingFile>,
}

/// A stream of this process.
pub(super) enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// Memory, for tests.
    #[cfg(test)]
    Memory(Arc<Mutex<Vec<u8>>>),
}

impl Sink {
    /// Starts the thread. It ends with the process.
    pub(super) fn start(outputs: Outputs) -> Self {
        let shared =
            Arc::new(Shared { state: Mutex::default(), filled: Condvar::new(), emptied: Condvar::new() });
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("log".to_owned());
        // Without a thread there is no log, and nothing else to do about it than to go on.
        let _ = thread.spawn(move || write_out(&theirs, outputs));
        Self(shared)
    }

    /// Takes a line. Never waits; a line that finds the buffer full is dropped and counted.
    pub(super) fn write(&self, line: &[u8]) {
        let mut state = self.0.lock();
        if state.buffer.len() + line.len() > BUFFER_BYTES_MAX {
            state.dropped += 1;
            return;
        }
        let was_empty = state.buffer.is_empty();
        state.buffer.extend_from_slice(line);
        drop(state);
        if was_empty {
            self.0.filled.notify_one();
        }
    }

    /// Waits until everything is written, two seconds at most.
    pub(super) fn flush(&self) {
        let busy = |state: &mut State| state.writing || !state.buffer.is_empty();
        let state = self.0.lock();
        drop(self.0.emptied.wait_timeout_while(state, FLUSH_MAX, busy));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write_out(shared: &Shared, mut outputs: Outputs) {
    let mut lines = Vec::new();
    loop {
        let state = shared.lock();
        let mut state =
            shared.filled.wait_while(state, |s| s.buffer.is_empty()).unwrap_or_else(PoisonError::into_inner);
        lines.clear();
        mem::swap(&mut lines, &mut state.buffer);
        let dropped = mem::take(&mut state.dropped);
        state.writing = true;
        drop(state);
        outputs.write(&lines);
        if dropped > 0 {
            let note = format!(
                "{{\"level\":\"WARNING\",\"message\":\"{dropped} lines of log were dropped: nobody took them in time\"}}\n"
            );
            outputs.write(note.as_bytes());
        }
        // A burst must not be paid for for ever.
        if lines.capacity() > 1024 * 1024 {
            lines = Vec::new();
        }
        shared.lock().writing = false;
        shared.emptied.notify_all();
        // Under load a wake-up for each line would cost more than the line.
        std::thread::sleep(LINGER);
    }
}

impl Outputs {
    /// A log that cannot be written is not worth ending the server for: what fails here is lost.
    fn write(&mut self, lines: &[u8]) {
        let _ = match &self.stream {
            Stream::Stdout => io::stdout().lock().write_all(lines).and_then(|()| io::stdout().flush()),
            Stream::Stderr => io::stderr().lock().write_all(lines),
            #[cfg(test)]
            Stream::Memory(memory) => {
                memory.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(lines);
                Ok(())
            }
        };
        if let Some(file) = &mut self.file {
            let _ = file.write(lines);
        }
    }
}

/// A file that is turned over when it is full: `x`, `x.1` (the newest of the older), `x.2`, ..
pub(super) struct RotatingFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    bytes_max: u64,
    keep: u32,
}

impl RotatingFile {
    /// Opens or makes the file, and the folder it is in; readable by its owner and group.
    ///
    /// Error: a sentence that names the path.
    pub(super) fn open(path: &Path, bytes_max: u64, keep: u32) -> Result<Self, String> {
        let sentence = |e: io::Error| format!("cannot open the log file {}: {e}", path.display());
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(sentence)?;
        }
        let file = append(path).map_err(sentence)?;
        let bytes = file.metadata().map_err(sentence)?.len();
        Ok(Self { path: path.to_owned(), file, bytes, bytes_max, keep })
    }

    /// Writes whole lines, and turns the file over where they would not fit.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let mut rest = lines;
        while !rest.is_empty() {
            let room = usize::try_from(self.bytes_max.saturating_sub(self.bytes)).unwrap_or(usize::MAX);
            let mut part = whole_lines(rest, room);
            if part == 0 {
                if self.bytes > 0 {
                    self.turn_over()?;
                    continue;
                }
                // One line longer than a whole file: it gets a file of its own.
                part = rest.iter().position(|b| *b == b'\n').map_or(rest.len(), |at| at + 1);
            }
            self.file.write_all(&rest[..part])?;
            self.bytes += part as u64;
            rest = &rest[part..];
        }
        Ok(())
    }

    fn turn_over(&mut self) -> io::Result<()> {
        for n in (1..self.keep).rev() {
            // An older file that is not there yet is none to move.
            let _ = std::fs::rename(self.older(n), self.older(n + 1));
        }
        if self.keep > 0 {
            std::fs::rename(&self.path, self.older(1))?;
            self.file = append(&self.path)?;
        } else {
            self.file.set_len(0)?;
        }
        self.bytes = 0;
        Ok(())
    }

    fn older(&self, n: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{n}"));
        name.into()
    }
}

/// How many bytes of whole lines fit into `room`.
fn whole_lines(lines: &[u8], room: usize) -> usize {
    if lines.len() <= room {
        return lines.len();
    }
    lines[..room].iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1)
}

fn append(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}
