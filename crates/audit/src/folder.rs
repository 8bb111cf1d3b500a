//! The folder of a log: its lock, the names of its files, and small files written whole.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use crate::AuditError;

/// The copies of all checkpoints.
pub(crate) const CHECKPOINTS_FILE: &str = "checkpoints.jsonl";

/// How often and how long apart the lock is tried: someone who only looks whether there is a writer holds it for
/// an instant.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// A folder of which we are the one writer for as long as this lives.
pub(crate) struct Folder {
    path: PathBuf,
    handle: File,
}

impl Folder {
    /// Makes the folder where it is missing, and locks it.
    pub(crate) fn lock(path: &Path) -> Result<Self, AuditError> {
        let error = |doing, e| AuditError::io(doing, path, e);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|e| error("make the folder", e))?;
        let handle = File::open(path).map_err(|e| error("open the folder", e))?;
        for tries in 1.. {
            match handle.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if tries < LOCK_TRIES => std::thread::sleep(LOCK_PAUSE),
                Err(TryLockError::WouldBlock) => return Err(AuditError::Locked { folder: path.to_owned() }),
                Err(TryLockError::Error(e)) => return Err(error("lock the folder", e)),
            }
        }
        Ok(Self { path: path.to_owned(), handle })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// An error of this folder.
    pub(crate) fn error(&self, doing: &'static str, source: io::Error) -> AuditError {
        AuditError::io(doing, &self.path, source)
    }

    /// Opens a file to append to; made where it is missing. Only its owner may read it.
    pub(crate) fn open_to_append(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(self.path.join(name))
    }

    /// Begins a segment. An empty one left by a try that failed is taken over.
    pub(crate) fn begin_segment(&self, number: u64) -> io::Result<File> {
        let file = self.open_to_append(&segment_name(number))?;
        if file.metadata()?.len() > 0 {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, segment_name(number)));
        }
        self.sync()?;
        Ok(file)
    }

    /// Writes a small file whole or not at all.
    pub(crate) fn put_file(&self, name: &str, content: &[u8], mode: u32) -> io::Result<()> {
        let new = self.path.join(format!("{name}.new"));
        match std::fs::remove_file(&new) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&new, self.path.join(name))?;
        self.sync()
    }

    /// Reads a small file.
    pub(crate) fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        File::open(self.path.join(name))?.take(1 << 16).read_to_end(&mut content)?;
        Ok(content)
    }

    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path.join(name))
    }

    pub(crate) fn is_open_to_others(&self, name: &str) -> io::Result<bool> {
        Ok(std::fs::metadata(self.path.join(name))?.permissions().mode() & 0o077 != 0)
    }

    /// Makes new and removed names safe on the disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.handle.sync_all()
    }
}

/// `audit-000001.jsonl`.
pub(crate) fn segment_name(number: u64) -> String {
    format!("audit-{number:06}.jsonl")
}

/// The numbers of the segments that are there, in order.
pub(crate) fn segments(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        let name = name.to_str().unwrap_or_default();
        let digits = name.strip_prefix("audit-").and_then(|rest| rest.strip_suffix(".jsonl"));
        let number = digits.and_then(|digits| digits.parse().ok());
        numbers.extend(number.filter(|number| segment_name(*number) == name));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// True where some process, this one included, holds the folder as its writer.
pub(crate) fn has_writer(folder: &Path) -> bool {
    File::open(folder).is_ok_and(|handle| matches!(handle.try_lock_shared(), Err(TryLockError::WouldBlock)))
}
