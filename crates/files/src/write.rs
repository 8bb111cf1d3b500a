//! Carrying out a planned write.
//!
//! Invariant: whoever looks, at any moment and after a kill at any moment, sees the file wholly old or wholly new.
//! The text is written to a file of its own in the same folder, made durable, and then takes the name in one step
//! (rename(2)); the folder is made durable before the call answers.

use std::{
    fs::{File, Permissions},
    io::{self, Write as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::fs::{MetadataExt as _, PermissionsExt as _, fchown},
    },
    sync::PoisonError,
};

use rustix::{
    fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, flock, fsync, openat, statat, unlinkat},
    io::Errno,
};
use tool::{Plan, Standing};

use crate::{
    Room, attributes,
    error::FilesError,
    halt::Halt,
    path::{RelPath, STAGED_PREFIX, STAGED_SUFFIX},
    plan::{self, MODE_MASK, Payload, Present},
    tools::WriteResult,
};

const CHUNK_BYTES: usize = 64 * 1024;

/// Applies a plan: does it where the file is as planned, says so where it was done already, and otherwise refuses.
/// It can be stopped until the new file takes its name; from then on it runs to its end.
pub(crate) fn apply(room: &Room, plan: &Plan, halt: &Halt) -> Result<WriteResult, FilesError> {
    let (path, payload) = plan::payload(room, plan)?;
    let Some((parent, name)) = path.split() else {
        return Err(FilesError::Folder { path: path.to_string() });
    };
    // One write at a time: two plans for one file cannot both find it as it was.
    let _turn = room.writing.lock().unwrap_or_else(PoisonError::into_inner);
    halt.check()?;
    let present = plan::present(room, &path, halt).map_err(|e| drifted(e, &path))?;
    match plan::standing(plan, plan::digest_of(present.as_ref())) {
        Standing::Before => {}
        Standing::After => return confirm(room, plan, &path, &parent, present),
        Standing::Elsewhere(_) => return Err(FilesError::Drifted { path: path.to_string() }),
    }
    let mut made = Vec::new();
    let folder = if payload.create_parents {
        room.jail.folder_or_new(&parent, &mut made)
    } else {
        room.jail.folder(&parent)
    };
    let written = folder.and_then(|folder| {
        let write = Write { room, plan, path: &path, name, folder: &folder, halt };
        write.put(&payload, present.as_ref())
    });
    // A folder that went away meanwhile is another place than the plan found.
    let written = written.map_err(|e| drifted(e, &path));
    if written.is_err() {
        undo_folders(room, &made);
    }
    written
}

/// The write was done before, perhaps by a call that was killed before it could say so: makes it durable, and says so.
fn confirm(
    room: &Room,
    plan: &Plan,
    path: &RelPath,
    parent: &RelPath,
    present: Option<Present>,
) -> Result<WriteResult, FilesError> {
    let failed = |source| FilesError::Unsure { path: path.to_string(), source };
    if let Some(present) = &present {
        present.opened.file.sync_all().map_err(failed)?;
    }
    fsync(room.jail.folder(parent)?).map_err(|e| failed(e.into()))?;
    let bytes = present.map_or(0, |present| present.bytes.len() as u64);
    Ok(WriteResult { path: path.to_string(), bytes, digest: plan.after.clone(), created: is_new(plan) })
}

/// One write in one open folder.
struct Write<'a> {
    room: &'a Room,
    plan: &'a Plan,
    path: &'a RelPath,
    name: &'a str,
    folder: &'a OwnedFd,
    halt: &'a Halt,
}

impl Write<'_> {
    fn put(&self, payload: &Payload, present: Option<&Present>) -> Result<WriteResult, FilesError> {
        let staged = Staged::make(self.folder, self.path)?;
        staged.fill(payload.text.as_bytes(), self.path, self.halt)?;
        staged
            .take_after(present, &payload.mode)
            .map_err(|e| FilesError::from_io("keep the owner of", self.path, e))?;
        staged.file.sync_all().map_err(|e| FilesError::from_io("write", self.path, e))?;
        self.halt.check()?;
        self.check_again(present)?;
        let named = if present.is_some() { staged.replace(self.name) } else { staged.name_anew(self.name) };
        named.map_err(|error| match error {
            Errno::EXIST => FilesError::Drifted { path: self.path.to_string() },
            other => FilesError::from_io("write", self.path, other.into()),
        })?;
        fsync(self.folder)
            .map_err(|e| FilesError::Unsure { path: self.path.to_string(), source: e.into() })?;
        Ok(WriteResult {
            path: self.path.to_string(),
            bytes: payload.text.len() as u64,
            digest: self.plan.after.clone(),
            created: is_new(self.plan),
        })
    }

    /// The last look before the name is taken: the same file, with the same content. The instant between this and
    /// the rename cannot be closed for a file that is there; for a new one, the rename itself refuses.
    fn check_again(&self, present: Option<&Present>) -> Result<(), FilesError> {
        let now = plan::present_in(self.room, self.folder, self.name, self.path, self.halt)?;
        let inode = |p: &Present| (p.opened.meta.dev(), p.opened.meta.ino());
        let same = match (present, &now) {
            (None, None) => true,
            (Some(then), Some(now)) => inode(then) == inode(now) && then.digest == now.digest,
            _ => false,
        };
        if same { Ok(()) } else { Err(FilesError::Drifted { path: self.path.to_string() }) }
    }
}

/// The new content under a name of its own, locked while it is in use. Dropped before it takes its name, it goes away.
struct Staged<'a> {
    folder: &'a OwnedFd,
    name: String,
    file: File,
    named: std::cell::Cell<bool>,
}

impl<'a> Staged<'a> {
    fn make(folder: &'a OwnedFd, path: &RelPath) -> Result<Self, FilesError> {
        /// A sweep can take the file in the instant before it is locked; nothing else clashes with a random name.
        const TRIES_MAX: usize = 4;
        let failed = |e: io::Error| FilesError::from_io("write next to", path, e);
        for _ in 0..TRIES_MAX {
            let name = staged_name().map_err(failed)?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = match openat(folder, &name, flags, Mode::RUSR | Mode::WUSR) {
                Err(Errno::EXIST) => continue,
                made => File::from(made.map_err(|e| failed(e.into()))?),
            };
            let staged = Self { folder, name, file, named: false.into() };
            // Where a file system has no locks, only the sweep of another process could notice.
            let _ = flock(&staged.file, FlockOperation::NonBlockingLockExclusive);
            if staged.file.metadata().map_err(failed)?.nlink() > 0 {
                return Ok(staged);
            }
        }
        Err(failed(Errno::AGAIN.into()))
    }

    fn fill(&self, text: &[u8], path: &RelPath, halt: &Halt) -> Result<(), FilesError> {
        for chunk in text.chunks(CHUNK_BYTES) {
            halt.check()?;
            (&self.file).write_all(chunk).map_err(|e| FilesError::from_io("write", path, e))?;
        }
        Ok(())
    }

    /// Takes owner, group, permissions and attributes after the file that it replaces; a new file gets the planned ones.
    fn take_after(&self, present: Option<&Present>, mode: &str) -> io::Result<()> {
        let mode = match present {
            Some(present) => {
                let (old, new) = (&present.opened.meta, self.file.metadata()?);
                if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
                    fchown(&self.file, Some(old.uid()), Some(old.gid()))?;
                }
                old.mode()
            }
            None => u32::from_str_radix(mode, 8).map_err(|_| Errno::INVAL)?,
        };
        self.file.set_permissions(Permissions::from_mode(mode & MODE_MASK))?;
        present.map_or(Ok(()), |present| attributes::copy(&present.opened.file, &self.file))
    }

    /// Takes the name of the file that is there.
    fn replace(self, name: &str) -> rustix::io::Result<()> {
        rustix::fs::renameat(self.folder, &self.name, self.folder, name)?;
        self.named.set(true);
        Ok(())
    }

    /// Takes a name that nothing has; `EXIST` where something has it.
    fn name_anew(self, name: &str) -> rustix::io::Result<()> {
        match rename_new(self.folder, &self.name, name) {
            // Some file systems cannot rename like that; a second name can be given everywhere, and is exclusive too.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                rustix::fs::linkat(self.folder, &self.name, self.folder, name, AtFlags::empty())
            }
            renamed => {
                self.named.set(renamed.is_ok());
                renamed
            }
        }
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        if !self.named.get() {
            // What cannot be removed now is swept when the folder is opened next.
            let _ = unlinkat(self.folder, &self.name, AtFlags::empty());
        }
    }
}

/// Removes what killed writes have left beneath the root, and says how many files that were. Files of a write that
/// runs just now, in this process or another, are locked and stay.
pub(crate) fn sweep(room: &Room, halt: &Halt) -> Result<usize, FilesError> {
    let mut removed = 0;
    let mut left = room.config.scan_entries_max;
    let mut folders = vec![(RelPath::root(), 0)];
    while let Some((path, depth)) = folders.pop() {
        let Ok(folder) = room.jail.folder(&path) else { continue };
        let failed = |e: Errno| FilesError::from_io("list", &path, e.into());
        for entry in rustix::fs::Dir::read_from(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            halt.check()?;
            left = left.checked_sub(1).ok_or_else(|| FilesError::TooMany {
                path: path.to_string(),
                max: room.config.scan_entries_max,
            })?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if entry.file_type() == FileType::Directory {
                if !matches!(name, "." | "..") && depth < room.config.depth_max {
                    folders.push((path.join(name), depth + 1));
                }
            } else if crate::path::is_staged(name) {
                removed += usize::from(remove_left(&folder, name));
            }
        }
    }
    Ok(removed)
}

/// Removes a staged file that nobody holds. One with a second name is not opened to find out: either it has taken that
/// name and this one is to go, or somebody gave this name to another file, which keeps its own.
fn remove_left(folder: &OwnedFd, name: &str) -> bool {
    let Ok(found) = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) else { return false };
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        return false;
    }
    (found.st_nlink > 1 || is_free(folder, name)) && unlinkat(folder, name, AtFlags::empty()).is_ok()
}

fn is_free(folder: &OwnedFd, name: &str) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(file) = openat(folder.as_fd(), name, flags, Mode::empty()) else { return false };
    flock(&file, FlockOperation::NonBlockingLockExclusive) != Err(Errno::WOULDBLOCK)
}

fn staged_name() -> io::Result<String> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    Ok(format!("{STAGED_PREFIX}{:032x}{STAGED_SUFFIX}", u128::from_ne_bytes(random)))
}

#[cfg(any(target_os = "linux", target_vendor = "apple"))]
fn rename_new(folder: &OwnedFd, from: &str, to: &str) -> rustix::io::Result<()> {
    rustix::fs::renameat_with(folder, from, folder, to, rustix::fs::RenameFlags::NOREPLACE)
}

#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
fn rename_new(_folder: &OwnedFd, _from: &str, _to: &str) -> rustix::io::Result<()> {
    Err(Errno::NOSYS)
}

/// Removes the folders that a write made before it failed, as far as they are still empty.
fn undo_folders(room: &Room, made: &[RelPath]) {
    for path in made.iter().rev() {
        let Some((parent, name)) = path.split() else { return };
        let Ok(parent) = room.jail.folder(&parent) else { return };
        let _ = unlinkat(&parent, name, AtFlags::REMOVEDIR);
    }
}

/// What stands where the file was planned is of another kind, or cannot be reached any more.
fn drifted(error: FilesError, path: &RelPath) -> FilesError {
    if error.is_another_kind() || error.is_absent() {
        return FilesError::Drifted { path: path.to_string() };
    }
    error
}

fn is_new(plan: &Plan) -> bool {
    plan.before == plan::ABSENT
}
