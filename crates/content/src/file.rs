//! Opening a file below the folder of the configuration, and nothing else.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Component, Path},
};

use cap_std::{
    ambient_authority,
    fs::{Dir, OpenOptions, OpenOptionsExt as _},
};
use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, openat, statat},
    io::Errno,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Neither waits for a FIFO's other end nor takes a terminal, and is closed in children.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// What happens to symbolic links on the way to a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Symlinks {
    /// No path through a link is opened.
    #[default]
    Refuse,
    /// Links that stay below the folder of the configuration are followed, as mounted ConfigMaps need it. Whoever can
    /// make a link there can then show any file below that folder.
    Beneath,
}

/// Why a file is not read. Texts are for operators: they may name a path.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("there is no such file")]
    Absent,
    #[error("it is or passes a symbolic link that is not followed (`symlinks`)")]
    Link,
    #[error("it leads out of the folder of the configuration")]
    Escapes,
    #[error("it is no regular file")]
    Special,
    #[error("it has more than {bytes_max} bytes (`bytes_max`)")]
    TooLarge { bytes_max: u64 },
    #[error("it cannot be read")]
    Io(#[source] io::Error),
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => Self::Absent,
            Some(Errno::LOOP) => Self::Link,
            Some(Errno::XDEV) => Self::Escapes,
            Some(Errno::NXIO | Errno::ISDIR) => Self::Special,
            // cap-std reports an escape as its own `PermissionDenied`, without a number.
            None if error.kind() == io::ErrorKind::PermissionDenied => Self::Escapes,
            _ => Self::Io(error),
        }
    }
}

/// Why a path is none of a file below the folder; `None` where it is one.
pub(crate) fn wrong_path(path: &Path) -> Option<&'static str> {
    match path.components().find(|part| !matches!(part, Component::Normal(_))) {
        _ if path.as_os_str().is_empty() => Some("the file has no name"),
        Some(Component::ParentDir) => Some("`..` leads out of the folder of the configuration"),
        Some(Component::CurDir) => Some("leave the `./` out"),
        Some(_) => Some("a path starts at the folder of the configuration, not at the root"),
        None => None,
    }
}

/// Reads a regular file whole, at most `bytes_max` bytes. `path` passed [`wrong_path`].
pub(crate) fn read(
    folder: &Path,
    path: &Path,
    symlinks: Symlinks,
    bytes_max: u64,
) -> Result<Vec<u8>, FileError> {
    let file = open(folder, path, symlinks, bytes_max)?;
    let mut bytes = Vec::new();
    // A file may grow while it is read.
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max { Err(FileError::TooLarge { bytes_max }) } else { Ok(bytes) }
}

/// Opens a regular file of at most `bytes_max` bytes.
pub(crate) fn open(
    folder: &Path,
    path: &Path,
    symlinks: Symlinks,
    bytes_max: u64,
) -> Result<File, FileError> {
    let file = match symlinks {
        Symlinks::Refuse => by_names(folder, path)?,
        Symlinks::Beneath => beneath(folder, path)?,
    };
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(FileError::Special);
    }
    if meta.len() > bytes_max { Err(FileError::TooLarge { bytes_max }) } else { Ok(file) }
}

/// Opens name by name, following no link below the folder: each step starts in a folder that is already open.
fn by_names(folder: &Path, path: &Path) -> io::Result<File> {
    let mut at = openat(CWD, folder, FOLDER, Mode::empty())?;
    let mut names = path.iter().peekable();
    while let Some(name) = names.next() {
        let flags = if names.peek().is_some() { FOLDER } else { READ };
        at = openat(&at, name, flags | OFlags::NOFOLLOW, Mode::empty()).map_err(|error| {
            // A link that was to be a folder is reported as `ENOTDIR` (open(2)).
            let stat = || statat(&at, name, AtFlags::SYMLINK_NOFOLLOW);
            let is_link =
                || stat().is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink);
            if error == Errno::NOTDIR && is_link() { Errno::LOOP } else { error }
        })?;
    }
    Ok(at.into())
}

/// Opens with the links that stay below the folder followed.
fn beneath(folder: &Path, path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(OFlags::NONBLOCK.union(OFlags::NOCTTY).bits().cast_signed());
    let folder = Dir::open_ambient_dir(folder, ambient_authority())?;
    Ok(folder.open_with(path, &options)?.into_std())
}
