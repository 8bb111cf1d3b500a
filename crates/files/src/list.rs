use std::ops::ControlFlow;

use rustix::fs::{FileType, Stat};
use tool::Timestamp;

use crate::{
    Config,
    error::FilesError,
    halt::Halt,
    jail::Jail,
    path::{RelPath, Rules},
    tools::{Entry, Kind, ListResult},
    walk::{Found, Reach, Walk},
};

/// What to list.
pub(crate) struct Wanted {
    pub(crate) path: RelPath,
    pub(crate) recursive: bool,
    /// The most entries, at least 1.
    pub(crate) limit: u32,
    pub(crate) after: Option<RelPath>,
}

/// Lists one page, and says which bound cut it, where one did.
pub(crate) fn page(
    config: &Config,
    jail: &Jail,
    rules: &Rules,
    wanted: &Wanted,
    halt: &Halt,
) -> Result<(ListResult, Option<&'static str>), FilesError> {
    let depth_max = if wanted.recursive { config.depth_max } else { 0 };
    let reach = Reach { depth_max, entries_max: config.scan_entries_max };
    let mut walk = Walk::new(jail, rules, reach, halt);
    let mut entries: Vec<Entry> = Vec::new();
    let mut cut = None;
    let walked = walk.run(&wanted.path, wanted.after.as_ref(), |found| {
        if wanted.after.as_ref() == Some(&found.path) {
            return Ok(ControlFlow::Continue(()));
        }
        // One more than asked for is looked at: whether there is one is what `truncated` says.
        let Some(stat) = found.stat() else { return Ok(ControlFlow::Continue(())) };
        if entries.len() as u64 == u64::from(wanted.limit) {
            cut = Some("rows");
            return Ok(ControlFlow::Break(()));
        }
        entries.push(entry(&found, &stat));
        Ok(ControlFlow::Continue(()))
    });
    match walked {
        // What there was time for is an answer where there is any of it.
        Err(FilesError::Late) if !entries.is_empty() => cut = Some("time"),
        walked => walked?,
    }
    let next = entries.last().filter(|_| cut.is_some()).map(|last| last.path.clone());
    let (path, truncated) = (wanted.path.to_string(), cut.is_some());
    Ok((ListResult { path, entries, truncated, next, skipped: walk.skipped() }, cut))
}

fn entry(found: &Found<'_>, stat: &Stat) -> Entry {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Folder,
        FileType::Symlink => Kind::Link,
        _ => Kind::Other,
    };
    let bytes = if kind == Kind::File { u64::try_from(stat.st_size).unwrap_or(0) } else { 0 };
    Entry {
        name: found.name.to_owned(),
        path: found.path.to_string(),
        kind,
        bytes,
        modified_at: modified_at(stat),
    }
}

#[allow(clippy::unnecessary_cast, reason = "the members have other types on other systems")]
fn modified_at(stat: &Stat) -> Timestamp {
    let ms =
        (stat.st_mtime as i64).saturating_mul(1000).saturating_add(stat.st_mtime_nsec as i64 / 1_000_000);
    Timestamp::from_unix_ms(ms)
}
