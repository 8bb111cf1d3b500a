//! The data folder: which one it is, what is in it, and that one process at a time works on it.
//!
//! ```text
//! lock              held by the process that works here
//! state.db          keys, usage, ledger, changes, artefacts, tasks, sessions
//! pepper.key        what keys are hashed with (0600)
//! audit/            the audit log, where the configuration names no other folder
//! portcullis.sock   the command line's way to a running server
//! server.json       where the last server listened, and by which file
//! ```

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::fs::FlockOperation;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::{
    cli::{Exit, Failure, Globals},
    config::{self, Examined, Loaded, Problems},
    secrets::SecretStore,
};

/// The file that is looked for where none is named.
pub(crate) const CONFIG_FILE: &str = "portcullis.yaml";

/// The database of the state, in the data folder.
pub(crate) const STATE_FILE: &str = "state.db";

/// The data folder, locked for as long as this lives.
#[derive(Debug)]
pub(crate) struct DataFolder {
    /// Where it is; absolute.
    pub dir: PathBuf,
    _lock: File,
}

/// Why the data folder cannot be worked on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataError {
    /// Another process has it.
    #[error("another process works on {}; stop it, or use another folder with --data", .0.display())]
    Locked(PathBuf),
    /// It cannot be made or read.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl DataFolder {
    /// Makes the folder where it is not there yet (0700), and takes its lock.
    pub(crate) fn open(dir: &Path) -> Result<Self, DataError> {
        let fail = |doing, path: &Path| {
            let path = path.to_owned();
            move |source| DataError::Io { doing, path, source }
        };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(fail("make", dir))?;
        let dir = fs::canonicalize(dir).map_err(fail("open", dir))?;
        let path = dir.join("lock");
        let mut options = OpenOptions::new();
        options.create(true).read(true).write(true).truncate(false).mode(0o600);
        let lock = options.open(&path).map_err(fail("open", &path))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { dir, _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(DataError::Locked(dir)),
            Err(error) => Err(fail("lock", &path)(error.into())),
        }
    }

    /// The database of the state.
    pub(crate) fn state_file(&self) -> PathBuf {
        self.dir.join(STATE_FILE)
    }

    /// What keys are hashed with; made at the first start.
    pub(crate) fn pepper(&self) -> Result<[u8; 32], DataError> {
        let path = self.dir.join("pepper.key");
        let fail = |doing| {
            let path = path.clone();
            move |source| DataError::Io { doing, path, source }
        };
        match fs::read(&path) {
            Ok(bytes) => {
                let bytes = Zeroizing::new(bytes);
                let wrong = || io::Error::new(io::ErrorKind::InvalidData, "it must have exactly 32 bytes");
                bytes.as_slice().try_into().map_err(|_| fail("read")(wrong()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut pepper = [0; 32];
                getrandom::fill(&mut pepper).map_err(|e| fail("make")(io::Error::other(e.to_string())))?;
                write_new(&path, &pepper).map_err(fail("write"))?;
                Ok(pepper)
            }
            Err(error) => Err(fail("read")(error)),
        }
    }

    /// Notes where a server listens, for the command line. Best effort: the socket works without it.
    pub(crate) fn note_server(&self, url: &str, config: Option<&Path>) {
        let config = config.map(|path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
        let note = json!({ "url": url, "config": config, "pid": std::process::id() });
        if let Err(error) = fs::write(self.dir.join("server.json"), format!("{note}\n")) {
            tracing::warn!(%error, "cannot note where the server listens");
        }
    }
}

/// Writes a new file that only its owner can read, whole and on the disk.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Puts bytes in the place of a file, whole or not at all; it may be read by whoever could read it before.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // What a link leads to is what is written, and stays where it is.
    let path = path.canonicalize()?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = folder.join(name);
    let written = write_new(&new, bytes).and_then(|()| {
        fs::set_permissions(&new, fs::metadata(&path)?.permissions())?;
        fs::rename(&new, &path)
    });
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

/// The same for a file that need not be there yet.
pub(crate) fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if !path.exists() {
        fs::write(path, "")?;
    }
    replace(path, bytes)
}

/// The socket of a folder.
pub(crate) fn socket(dir: &Path) -> PathBuf {
    dir.join("portcullis.sock")
}

/// Looks up a variable of this process's environment.
#[expect(clippy::disallowed_methods, reason = "the binary reads the environment, here alone")]
pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// What programs that we start may know of our environment: nothing that a secret may be in.
const CHILD_ENV: &[&str] =
    &["PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR"];

/// That part of our environment.
pub(crate) fn child_env() -> Arc<[(String, String)]> {
    let known = CHILD_ENV.iter().filter_map(|name| Some(((*name).to_owned(), environment(name)?)));
    known.collect()
}

/// The command line of a keeper of programs: this program itself, also where its file was replaced since.
pub(crate) fn keeper() -> [OsString; 2] {
    [OsString::from("/proc/self/exe"), child::COMMAND.into()]
}

/// The secrets of a configuration.
pub(crate) fn secrets(loaded: &Loaded) -> SecretStore {
    SecretStore::new(&loaded.base_dir, loaded.takes_placeholders)
}

/// The configuration file that is meant: the named one, or the one of the working folder.
pub(crate) fn config_file(named: Option<&Path>) -> Option<PathBuf> {
    let here = PathBuf::from(CONFIG_FILE);
    named.map(Path::to_owned).or_else(|| here.is_file().then_some(here))
}

/// Loads the configuration that is meant; where there is no file, the one that the environment makes.
pub(crate) fn load(named: Option<&Path>) -> Result<Loaded, Problems> {
    match config_file(named) {
        Some(file) => config::load(&file, &environment),
        None => config::from_environment(&environment, Path::new(".")),
    }
}

/// The same for `check`: as far as it fits the schema, so that everything else is looked at as well.
pub(crate) fn examine(named: Option<&Path>) -> Result<Examined, Problems> {
    match config_file(named) {
        Some(file) => config::examine(&file, &environment),
        None => config::examine_environment(&environment, Path::new(".")),
    }
}

/// The data folder of a configuration, unless the command line names another.
pub(crate) fn folder_of(loaded: &Loaded, globals: &Globals) -> PathBuf {
    let own = loaded.config.data_dir.as_deref().unwrap_or(Path::new("data"));
    globals.data.clone().unwrap_or_else(|| loaded.base_dir.join(own))
}

/// The data folder that a command means.
pub(crate) fn find(globals: &Globals) -> Result<PathBuf, Failure> {
    if let Some(dir) = &globals.data {
        return Ok(dir.clone());
    }
    if let Some(file) = config_file(globals.config.as_deref()) {
        let own = config::peek_data_dir(&file, &environment);
        return own.map_err(|problem| Failure::new(Exit::Unreachable, problem));
    }
    let last = pointer_file().and_then(|file| fs::read_to_string(file).ok());
    last.map(|text| PathBuf::from(text.trim_end())).filter(|dir| dir.is_dir()).ok_or_else(|| {
        let text = "no data folder is known; name one with --data, or start a server with `portcullis demo`";
        Failure::new(Exit::Unreachable, text)
    })
}

/// The folder of the audit log that a command means.
pub(crate) fn audit_dir(globals: &Globals) -> Result<PathBuf, Failure> {
    let dir = find(globals)?;
    let folder = match config_for(globals, &dir).map(|file| config::load(&file, &environment)) {
        Some(Ok(loaded)) => audit_of(&loaded, &dir),
        _ => dir.join("audit"),
    };
    if folder.is_dir() {
        return Ok(folder);
    }
    let text = format!("there is no audit log in {}", folder.display());
    Err(Failure::new(Exit::Unreachable, text))
}

/// Where the audit log of a configuration is.
pub(crate) fn audit_of(loaded: &Loaded, dir: &Path) -> PathBuf {
    match &loaded.config.audit.directory {
        Some(own) => loaded.base_dir.join(own),
        None => dir.join("audit"),
    }
}

/// The configuration file to work with on a folder where no server runs: the named one, else the one its last
/// server had, else one in the folder itself, else the one of the working folder.
pub(crate) fn config_for(globals: &Globals, dir: &Path) -> Option<PathBuf> {
    if let Some(named) = &globals.config {
        return Some(named.clone());
    }
    let noted = server_note(dir).and_then(|note| note["config"].as_str().map(PathBuf::from));
    let own = dir.join(CONFIG_FILE);
    noted.filter(|file| file.is_file()).or_else(|| own.is_file().then_some(own)).or_else(|| config_file(None))
}

/// Where the last server on a folder listened, without a path: `http://127.0.0.1:8000`.
pub(crate) fn noted_url(dir: &Path) -> Option<String> {
    server_note(dir)?["url"].as_str().map(str::to_owned)
}

/// What [`DataFolder::note_server`] noted.
fn server_note(dir: &Path) -> Option<Value> {
    serde_json::from_slice(&fs::read(dir.join("server.json")).ok()?).ok()
}

/// Remembers a folder as the last one, for commands that name none. Best effort.
pub(crate) fn remember(dir: &Path) {
    let Some(file) = pointer_file() else { return };
    let Some(folder) = file.parent() else { return };
    let written = fs::create_dir_all(folder).and_then(|()| fs::write(&file, format!("{}\n", dir.display())));
    if let Err(error) = written {
        tracing::debug!(%error, "cannot remember the data folder");
    }
}

/// The file that names the last data folder.
fn pointer_file() -> Option<PathBuf> {
    Some(state_folder()?.join("last-data-dir"))
}

/// What is remembered for a user: `$XDG_STATE_HOME/portcullis`, by default beneath `~/.local/state`.
pub(crate) fn state_folder() -> Option<PathBuf> {
    let state = environment("XDG_STATE_HOME").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let state = state.or_else(|| Some(std::env::home_dir()?.join(".local/state")))?;
    Some(state.join("portcullis"))
}
