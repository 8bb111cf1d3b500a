use std::{cmp::Ordering, ops::ControlFlow, os::fd::OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Stat, statat};

use crate::{
    error::FilesError,
    halt::Halt,
    jail::Jail,
    path::{RelPath, Rules},
};

/// How far a walk goes.
pub(crate) struct Reach {
    /// Folders within folders; 0 for the one folder alone.
    pub(crate) depth_max: u32,
    /// Entries looked at before the walk gives up.
    pub(crate) entries_max: u32,
}

/// An entry that a walk came by.
pub(crate) struct Found<'a> {
    pub(crate) path: RelPath,
    pub(crate) name: &'a str,
    /// The open folder it is in.
    pub(crate) folder: &'a OwnedFd,
    pub(crate) kind: FileType,
}

impl Found<'_> {
    /// What the system says of it; a link is looked at itself. `None` where it is gone by now.
    pub(crate) fn stat(&self) -> Option<Stat> {
        statat(self.folder, self.name, AtFlags::SYMLINK_NOFOLLOW).ok()
    }
}

/// A walk through a folder, and folders within it, in the order of names: each folder before what is in it.
/// Links are never followed. Each folder is opened anew from the root, by its whole path.
pub(crate) struct Walk<'a> {
    pub(crate) jail: &'a Jail,
    pub(crate) rules: &'a Rules,
    pub(crate) reach: Reach,
    pub(crate) halt: &'a Halt,
    looked_at: u32,
    skipped: u64,
    folders_skipped: u64,
}

struct Level {
    path: RelPath,
    folder: OwnedFd,
    names: std::vec::IntoIter<(String, FileType)>,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(jail: &'a Jail, rules: &'a Rules, reach: Reach, halt: &'a Halt) -> Self {
        Self { jail, rules, reach, halt, looked_at: 0, skipped: 0, folders_skipped: 0 }
    }

    /// How many entries were left out: not for callers, too deep, or not open to the server.
    pub(crate) fn skipped(&self) -> u64 {
        self.skipped + self.folders_skipped
    }

    /// How many folders among them were too deep, or not open to the server.
    pub(crate) fn folders_skipped(&self) -> u64 {
        self.folders_skipped
    }

    /// Shows every entry beneath `start` to `visit` until that breaks; where there is a mark, from the entry at the
    /// mark on.
    pub(crate) fn run(
        &mut self,
        start: &RelPath,
        mark: Option<&RelPath>,
        mut visit: impl FnMut(Found<'_>) -> Result<ControlFlow<()>, FilesError>,
    ) -> Result<(), FilesError> {
        let mut levels = vec![self.level(start)?];
        while let Some(level) = levels.last_mut() {
            let Some((name, kind)) = level.names.next() else {
                levels.pop();
                continue;
            };
            self.halt.check()?;
            let path = level.path.join(&name);
            let place = mark.map_or(Place::After, |mark| place(&path, mark));
            if matches!(place, Place::At | Place::After) {
                let found = Found { path: path.clone(), name: &name, folder: &level.folder, kind };
                if visit(found)?.is_break() {
                    return Ok(());
                }
            }
            if kind == FileType::Directory && place != Place::Before && self.reach.depth_max > 0 {
                self.descend(&mut levels, &path)?;
            }
        }
        Ok(())
    }

    fn descend(&mut self, levels: &mut Vec<Level>, path: &RelPath) -> Result<(), FilesError> {
        if levels.len() > self.reach.depth_max as usize {
            self.folders_skipped += 1;
            return Ok(());
        }
        match self.level(path) {
            Ok(level) => levels.push(level),
            // Gone, replaced by a link, or not open to us: the rest of the walk goes on.
            Err(
                FilesError::NotFound { .. }
                | FilesError::NotFolder { .. }
                | FilesError::Link { .. }
                | FilesError::Escapes { .. }
                | FilesError::Forbidden { .. },
            ) => self.folders_skipped += 1,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Opens a folder and reads the names in it that callers may know of, in order.
    fn level(&mut self, path: &RelPath) -> Result<Level, FilesError> {
        let folder = self.jail.folder(path)?;
        let failed = |e: rustix::io::Errno| FilesError::from_io("list", path, e.into());
        let mut names = Vec::new();
        for entry in Dir::read_from(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            self.halt.check()?;
            self.looked_at += 1;
            if self.looked_at > self.reach.entries_max {
                return Err(FilesError::TooMany { path: path.to_string(), max: self.reach.entries_max });
            }
            match name.to_str() {
                Ok(name) if self.rules.takes_name(path, name) => {
                    let kind = known_kind(&folder, name, entry.file_type());
                    names.push((name.to_owned(), kind));
                }
                _ => self.skipped += 1,
            }
        }
        names.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Ok(Level { path: path.clone(), folder, names: names.into_iter() })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the mark, with everything beneath it.
    Before,
    /// A folder on the way to the mark.
    OnTheWay,
    /// The mark itself.
    At,
    After,
}

/// Where `path` stands in the walk's order against the mark.
fn place(path: &RelPath, mark: &RelPath) -> Place {
    match path.names().cmp(mark.names()) {
        Ordering::Greater => Place::After,
        Ordering::Equal => Place::At,
        Ordering::Less if mark.is_beneath(path) => Place::OnTheWay,
        Ordering::Less => Place::Before,
    }
}

/// Some file systems do not tell the kind with the name (readdir(3)).
fn known_kind(folder: &OwnedFd, name: &str, kind: FileType) -> FileType {
    if kind != FileType::Unknown {
        return kind;
    }
    let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW);
    stat.map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode))
}
