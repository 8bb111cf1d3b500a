//! Opening things beneath the root, and nothing else.
//!
//! Invariant: the kernel judges each path while it opens it, so a link or a rename at the wrong moment has no
//! moment to be wrong in. On Linux that is `openat2` with `RESOLVE_BENEATH` (openat2(2)); where it is missing
//! (before 5.6, or forbidden by a seccomp filter) names are opened one at a time without following links, and
//! links that stay beneath are followed by `cap-std`.
//!
//! Invariant: a file is looked at before it is opened. What the kernel found is held first by a handle that is good
//! for nothing else (`O_PATH`); only a regular file, with one name where that is the rule, is then opened, and through
//! that same handle. Whatever else a name leads to is never opened, not even for a moment: closing a file gives up
//! every POSIX lock that this process holds on it (fcntl(2)), and SQLite's locks on our own state are of that kind.

use std::{
    ffi::OsStr,
    fs::{File, Metadata},
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    },
    path::Path,
};

use cap_std::fs::Dir;
use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, mkdirat, openat, statat},
    io::Errno,
};

use crate::{HardLinks, Symlinks, error::FilesError, path::RelPath};

/// A handle that can be looked at and opened further, and does nothing by itself: it waits for no FIFO's other end and
/// closing it gives up no lock.
#[cfg(target_os = "linux")]
const LOOK: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);
/// Neither waits for a FIFO's other end nor takes a terminal, and is closed in children.
#[cfg(not(target_os = "linux"))]
const LOOK: OFlags = READ;
/// Neither waits for a FIFO's other end nor takes a terminal, and is closed in children.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const NEW_FOLDER_MODE: u32 = 0o755;

/// How paths are opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// `openat2`: the kernel resolves the whole path beneath the root.
    #[cfg(target_os = "linux")]
    Kernel,
    /// Name by name.
    Steps,
}

/// The root, held open: a folder that is moved or replaced by name stays the same folder here.
#[derive(Debug)]
pub(crate) struct Jail {
    root: OwnedFd,
    steps: Dir,
    way: Way,
    symlinks: Symlinks,
    hard_links: HardLinks,
}

/// A regular file, open for reading.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) file: File,
    pub(crate) meta: Metadata,
}

impl Jail {
    /// Opens the root by its name: the one time that a name outside of it is used.
    pub(crate) fn open(root: &Path, symlinks: Symlinks, hard_links: HardLinks) -> io::Result<Self> {
        let root = openat(CWD, root, FOLDER, Mode::empty())?;
        let steps = Dir::from_std_file(File::from(root.try_clone()?));
        let way = best_way(&root);
        Ok(Self { root, steps, way, symlinks, hard_links })
    }

    /// The same, opened the other way.
    #[cfg(test)]
    pub(crate) fn by(mut self, way: Way) -> Self {
        self.way = way;
        self
    }

    /// The root itself.
    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Opens a regular file for reading.
    pub(crate) fn file(&self, path: &RelPath) -> Result<Opened, FilesError> {
        let opened = match self.way {
            #[cfg(target_os = "linux")]
            Way::Kernel => self.by_kernel(path, LOOK),
            // What the links lead to is found first, and is then walked to as if there had been none.
            Way::Steps if self.symlinks == Symlinks::Beneath => self
                .steps
                .canonicalize(path.as_str())
                .and_then(|real| self.by_steps(real.iter().map(OsStr::as_bytes), LOOK)),
            Way::Steps => self.by_steps(names(path), LOOK),
        };
        self.regular(opened.map_err(|e| FilesError::from_io("open", path, e))?, path)
    }

    /// Opens a folder, for reading its entries and as the place of further work.
    pub(crate) fn folder(&self, path: &RelPath) -> Result<OwnedFd, FilesError> {
        let opened = match self.way {
            #[cfg(target_os = "linux")]
            Way::Kernel => self.by_kernel(path, FOLDER),
            Way::Steps if self.symlinks == Symlinks::Beneath => {
                // What cap-std opens may be good for nothing but opening further; this can be listed too.
                let opened = self.steps.open_dir(path.as_str());
                opened.and_then(|dir| Ok(openat(&dir, ".", FOLDER, Mode::empty())?))
            }
            Way::Steps => self.by_steps(names(path), FOLDER),
        };
        opened.map_err(|e| match e.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOTDIR) => FilesError::NotFolder { path: path.to_string() },
            _ => FilesError::from_io("open", path, e),
        })
    }

    /// Opens the regular file of this name in an open folder, and follows no link. `path` is for the error.
    pub(crate) fn file_in(
        &self,
        folder: BorrowedFd<'_>,
        name: &str,
        path: &RelPath,
    ) -> Result<Opened, FilesError> {
        let opened = openat(folder, name, LOOK | OFlags::NOFOLLOW, Mode::empty());
        self.regular(opened.map_err(|e| FilesError::from_io("open", path, e.into()))?, path)
    }

    /// Opens a folder and makes what is missing on the way, durably. Adds to `made` what was made, in that order.
    pub(crate) fn folder_or_new(
        &self,
        path: &RelPath,
        made: &mut Vec<RelPath>,
    ) -> Result<OwnedFd, FilesError> {
        let mut at = RelPath::root();
        let mut folder = self.folder(&at)?;
        for name in path.names() {
            let next = at.join(name);
            folder = match self.folder(&next) {
                Err(missing) if missing.is_absent() => {
                    let failed = |e: Errno| FilesError::from_io("make", &next, e.into());
                    match mkdirat(&folder, name, Mode::from_raw_mode(NEW_FOLDER_MODE)) {
                        Ok(()) => made.push(next.clone()),
                        Err(Errno::EXIST) => {}
                        Err(error) => return Err(failed(error)),
                    }
                    rustix::fs::fsync(&folder).map_err(failed)?;
                    self.folder(&next)?
                }
                found => found?,
            };
            at = next;
        }
        Ok(folder)
    }

    /// Lets only regular files through, and those with one name where that is the rule, and opens them.
    fn regular(&self, found: OwnedFd, path: &RelPath) -> Result<Opened, FilesError> {
        let found = File::from(found);
        let meta = found.metadata().map_err(|e| FilesError::from_io("look at", path, e))?;
        self.check(&meta, path)?;
        let file = really_open(found).map_err(|e| FilesError::from_io("open", path, e))?;
        Ok(Opened { file, meta })
    }

    fn check(&self, meta: &Metadata, path: &RelPath) -> Result<(), FilesError> {
        let path = || path.to_string();
        if meta.is_dir() {
            return Err(FilesError::Folder { path: path() });
        }
        if meta.is_symlink() {
            return Err(FilesError::Link { path: path() });
        }
        if !meta.is_file() {
            return Err(FilesError::Special { path: path() });
        }
        if meta.nlink() > 1 && self.hard_links == HardLinks::Refuse {
            return Err(FilesError::HardLink { path: path() });
        }
        Ok(())
    }

    #[cfg(target_os = "linux")]
    fn by_kernel(&self, path: &RelPath, flags: OFlags) -> io::Result<OwnedFd> {
        use rustix::fs::{ResolveFlags, openat2};
        /// A rename elsewhere can make the kernel unsure; it then says `EAGAIN` and wants to be asked again.
        const TRIES_MAX: usize = 32;
        let mut resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        if self.symlinks == Symlinks::Refuse {
            resolve |= ResolveFlags::NO_SYMLINKS;
        }
        let mut result = Err(Errno::AGAIN);
        for _ in 0..TRIES_MAX {
            result = openat2(&self.root, path.as_str(), flags, Mode::empty(), resolve);
            if !matches!(result, Err(Errno::AGAIN | Errno::INTR)) {
                break;
            }
        }
        Ok(result?)
    }

    /// Opens name by name, following no link at all: each step starts in a folder that is already open.
    fn by_steps<'a>(&self, names: impl Iterator<Item = &'a [u8]>, flags: OFlags) -> io::Result<OwnedFd> {
        let mut at = openat(&self.root, ".", FOLDER, Mode::empty())?;
        let mut names = names.peekable();
        if names.peek().is_none() {
            return Ok(openat(&self.root, ".", flags, Mode::empty())?);
        }
        while let Some(name) = names.next() {
            let flags = if names.peek().is_some() { FOLDER } else { flags };
            at = openat(&at, name, flags | OFlags::NOFOLLOW, Mode::empty())
                .map_err(|e| link_or(e, &at, name))?;
        }
        Ok(at)
    }
}

fn names(path: &RelPath) -> impl Iterator<Item = &[u8]> {
    path.names().map(str::as_bytes)
}

/// Opens for reading what a handle stands for: that very file, whatever its name leads to by now.
#[cfg(target_os = "linux")]
fn really_open(found: File) -> io::Result<File> {
    use std::os::fd::AsRawFd as _;
    let through = format!("/proc/self/fd/{}", found.as_raw_fd());
    Ok(File::from(openat(CWD, through, READ, Mode::empty())?))
}

/// Where there is no handle for looking alone, the file is open already.
#[cfg(not(target_os = "linux"))]
fn really_open(found: File) -> io::Result<File> {
    Ok(found)
}

/// A link that was to be a folder is reported as `ENOTDIR` (open(2)); says that it is a link.
fn link_or(error: Errno, folder: &OwnedFd, name: &[u8]) -> Errno {
    let stat = || statat(folder, name, AtFlags::SYMLINK_NOFOLLOW);
    let is_link = || stat().is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink);
    if error == Errno::NOTDIR && is_link() { Errno::LOOP } else { error }
}

#[cfg(target_os = "linux")]
fn best_way(root: &OwnedFd) -> Way {
    use rustix::fs::{ResolveFlags, openat2};
    let probe = openat2(root, ".", FOLDER, Mode::empty(), ResolveFlags::BENEATH);
    match probe {
        Err(Errno::NOSYS | Errno::PERM | Errno::INVAL) => Way::Steps,
        _ => Way::Kernel,
    }
}

#[cfg(not(target_os = "linux"))]
fn best_way(_root: &OwnedFd) -> Way {
    Way::Steps
}
