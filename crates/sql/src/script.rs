use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags};

/// Why a database could not be made from a script.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// There is a file already; it was not touched.
    #[error("{0:?} is already there; remove it to make it anew")]
    Exists(PathBuf),
    /// The script fails.
    #[error("the script for {path:?} fails: {source}")]
    Script {
        /// The database that was to be made.
        path: PathBuf,
        /// Where and why.
        source: rusqlite::Error,
    },
    /// The file cannot be written.
    #[error("cannot write {path:?}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Makes a SQLite database from an SQL script, wholly or not at all: it is written beside its place, synced, and
/// then put there by one step that never replaces a file. The script runs in one transaction, so it must not begin
/// its own. Blocks; for samples and tests, not for a caller's SQL.
///
/// Error: a file that is there already, a script that fails, a folder that cannot be written.
pub fn create_from_script(path: &Path, script: &str) -> Result<(), ScriptError> {
    let failed = |source| ScriptError::Io { path: path.to_owned(), source };
    if path.try_exists().map_err(failed)? {
        return Err(ScriptError::Exists(path.to_owned()));
    }
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}.draft", std::process::id()));
    let draft = Draft(PathBuf::from(draft));
    let _ = fs::remove_file(&draft.0);
    write(&draft.0, script).map_err(|source| ScriptError::Script { path: path.to_owned(), source })?;
    File::open(&draft.0).and_then(|file| file.sync_all()).map_err(failed)?;
    match fs::hard_link(&draft.0, path) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            return Err(ScriptError::Exists(path.to_owned()));
        }
        Err(e) => return Err(failed(e)),
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}

fn write(path: &Path, script: &str) -> rusqlite::Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let conn = Connection::open_with_flags(path, flags)?;
    // Nothing beside the file survives a crash that the file itself would need.
    conn.execute_batch("PRAGMA journal_mode=MEMORY; BEGIN;")?;
    conn.execute_batch(script)?;
    conn.execute_batch("COMMIT;")?;
    conn.close().map_err(|(_, e)| e)
}

/// A file that goes away when this does.
struct Draft(PathBuf);

impl Drop for Draft {
    fn drop(&mut self) {
        // It is gone already where nothing was written.
        let _ = fs::remove_file(&self.0);
    }
}
