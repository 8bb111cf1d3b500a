//! The log as its one writer has it: it appends, signs, begins new segments, and mends itself after an error.
//!
//! Invariant: what the fields say of the end of the chain is what was written whole. A write that fails leaves
//! the fields as they were; [`Log::mend`] then looks at what did reach the file.

use std::{
    fs::File,
    io::{self, ErrorKind, Write as _},
    os::unix::fs::FileExt as _,
    sync::Arc,
};

use ed25519_dalek::SigningKey;
use serde_json::Value;
use tool::Clock;

use crate::{
    AuditError, checkpoint,
    folder::{CHECKPOINTS_FILE, Folder, segment_name, segments},
    lines::{Lines, Next},
    opening::{self, End},
    record::{self, Link},
};

/// Room kept for the checkpoint that ends a segment, in bytes.
const CHECKPOINT_BYTES: u64 = 640;

/// What a line holds beside its members, in bytes: its seq, both hashes, and their names.
const LINK_BYTES: u64 = 192;

/// The files' last border: what tests make fail.
pub(crate) trait Disk: Send {
    /// Writes some of the bytes, and says how many.
    fn write(&mut self, file: &File, bytes: &[u8]) -> io::Result<usize>;
    /// Returns once the content is on the disk.
    fn sync(&mut self, file: &File) -> io::Result<()>;
}

/// The disk as the system has it.
pub(crate) struct RealDisk;

/// How large segments get, and how many are kept.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) segment_bytes_max: u64,
    pub(crate) keep_segments: Option<u32>,
}

/// One record on its way: what stands between its `seq` and its `prev`, and where it came to stand.
pub(crate) struct Slot {
    /// The members `timestamp` and `event`.
    pub(crate) head: Vec<u8>,
    /// The rest, each member followed by a comma.
    pub(crate) members: Vec<u8>,
    pub(crate) seq: u64,
}

/// A log that is open for writing.
pub(crate) struct Log {
    folder: Folder,
    disk: Box<dyn Disk>,
    key: SigningKey,
    clock: Arc<dyn Clock>,
    bounds: Bounds,
    segment: u64,
    file: File,
    /// Bytes of the segment that were written whole.
    length: u64,
    /// Bytes of the segment that are on the disk.
    synced: u64,
    /// The last record.
    link: Link,
    /// Records since the last checkpoint.
    unsigned: u64,
    /// The first record that is kept.
    oldest: u64,
    filed: File,
    filed_length: u64,
    /// A checkpoint of the chain that is still to be filed.
    unfiled: Option<Vec<u8>>,
    buffer: Vec<u8>,
    /// Why the last write failed.
    failure: Option<AuditError>,
}

impl Log {
    /// Opens the log in a folder, and makes it where there is none.
    pub(crate) fn open(
        folder: Folder,
        bounds: Bounds,
        clock: Arc<dyn Clock>,
        disk: Box<dyn Disk>,
    ) -> Result<Self, AuditError> {
        let numbers = segments(folder.path()).map_err(|e| folder.error("list the segments", e))?;
        let is_new = numbers.is_empty() && !folder.path().join(CHECKPOINTS_FILE).exists();
        let key = checkpoint::open_key(&folder, is_new)?;
        let end = opening::find_end(&folder, &key.verifying_key(), &numbers)?;
        let open = || -> io::Result<(File, File)> {
            let file = match end.segment {
                0 => folder.begin_segment(1)?,
                number => folder.open_to_append(&segment_name(number))?,
            };
            Ok((file, folder.open_to_append(CHECKPOINTS_FILE)?))
        };
        let (file, filed) = open().map_err(|e| folder.error("open the segment", e))?;
        let End { segment, length, torn, link, unsigned, oldest, filed_length, unfiled } = end;
        let mut log = Self {
            folder,
            disk,
            key,
            clock,
            bounds,
            segment: segment.max(1),
            file,
            length,
            synced: 0,
            link,
            unsigned,
            oldest,
            filed,
            filed_length,
            unfiled: None,
            buffer: Vec::new(),
            failure: None,
        };
        let taken_up = log.take_up(torn, unfiled);
        taken_up.map_err(|e| log.folder.error("take up the log", e))?;
        Ok(log)
    }

    /// Appends these records with as few writes as there are segments to write to, and says in each its seq.
    ///
    /// Error: none of them counts as written. Some may have been.
    pub(crate) fn append<'a>(
        &mut self,
        batch: impl Iterator<Item = &'a mut Slot>,
        sync: bool,
    ) -> Result<(), AuditError> {
        self.mend()?;
        self.put(batch).map_err(|e| self.fail("writing", e))?;
        if sync {
            self.sync().map_err(|e| self.fail("syncing", e))?;
        }
        Ok(())
    }

    /// Signs what was written since the last checkpoint, if anything, and makes all of it safe on the disk.
    pub(crate) fn checkpoint(&mut self) -> Result<(), AuditError> {
        self.mend()?;
        self.sign().map_err(|e| self.fail("writing a checkpoint", e))
    }

    /// Records since the last checkpoint.
    pub(crate) fn unsigned(&self) -> u64 {
        self.unsigned
    }

    /// True from an error until it is mended.
    pub(crate) fn is_broken(&self) -> bool {
        self.failure.is_some()
    }

    fn fail(&mut self, doing: &'static str, error: io::Error) -> AuditError {
        let error = AuditError::Broken { doing, source: Arc::new(error) };
        if self.failure.is_none() {
            tracing::error!(error = %error, "the audit log refuses all records until it can be written again");
        }
        self.failure = Some(error.clone());
        error
    }

    fn put<'a>(&mut self, batch: impl Iterator<Item = &'a mut Slot>) -> io::Result<()> {
        let mut link = self.link;
        self.buffer.clear();
        for slot in batch {
            let before = self.buffer.len();
            let mut next = link.push_parts(&slot.head, &slot.members, &mut self.buffer);
            if self.is_over(before) {
                self.buffer.truncate(before);
                self.flush(link)?;
                self.rotate()?;
                next = self.link.push_parts(&slot.head, &slot.members, &mut self.buffer);
            }
            slot.seq = next.seq;
            link = next;
        }
        self.flush(link)
    }

    /// True where this record goes into the segment that is open.
    pub(crate) fn has_room(&self, slot: &Slot) -> bool {
        let line = (slot.head.len() + slot.members.len()) as u64 + LINK_BYTES;
        self.length + line + CHECKPOINT_BYTES <= self.bounds.segment_bytes_max
    }

    /// True where the buffer makes the segment too long, unless it holds nothing but one record; `before` is the
    /// length of the buffer without its last.
    fn is_over(&self, before: usize) -> bool {
        let length = self.length + self.buffer.len() as u64 + CHECKPOINT_BYTES;
        length > self.bounds.segment_bytes_max && self.length + before as u64 > 0
    }

    /// Writes the buffer, which ends with `link`.
    fn flush(&mut self, link: Link) -> io::Result<()> {
        write_all(self.disk.as_mut(), &self.file, &self.buffer)?;
        self.length += self.buffer.len() as u64;
        self.unsigned += link.seq - self.link.seq;
        self.link = link;
        self.buffer.clear();
        Ok(())
    }

    fn put_own(&mut self, event: &str, body: &[(&str, Value)]) -> io::Result<()> {
        let mut members = record::head(self.clock.now(), event);
        for (name, member) in body {
            record::push_member(&mut members, name, member);
        }
        self.buffer.clear();
        let link = self.link.push_line(&members, &mut self.buffer);
        self.flush(link)
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.synced < self.length {
            self.disk.sync(&self.file)?;
            self.synced = self.length;
        }
        Ok(())
    }

    fn sign(&mut self) -> io::Result<()> {
        if self.unsigned > 0 {
            let now = self.clock.now();
            let members = checkpoint::members(&self.key, &self.link, now, self.segment, self.oldest);
            self.buffer.clear();
            let link = self.link.push_line(&members, &mut self.buffer);
            let line = self.buffer.clone();
            self.flush(link)?;
            self.unsigned = 0;
            self.unfiled = Some(line);
        }
        self.sync()?;
        self.file_checkpoint()
    }

    /// Copies the last checkpoint to `checkpoints.jsonl`, once the chain is on the disk.
    fn file_checkpoint(&mut self) -> io::Result<()> {
        if let Some(line) = &self.unfiled {
            write_all(self.disk.as_mut(), &self.filed, line)?;
            self.disk.sync(&self.filed)?;
            self.filed_length += line.len() as u64;
            self.unfiled = None;
        }
        Ok(())
    }

    /// Ends the segment with a checkpoint and begins the next.
    fn rotate(&mut self) -> io::Result<()> {
        self.sign()?;
        self.file = self.folder.begin_segment(self.segment + 1)?;
        self.segment += 1;
        self.length = 0;
        self.synced = 0;
        match self.bounds.keep_segments {
            Some(keep) => self.prune(keep),
            None => Ok(()),
        }
    }

    /// Removes the oldest segments, after a checkpoint has said so.
    fn prune(&mut self, keep: u32) -> io::Result<()> {
        let numbers = segments(self.folder.path())?;
        let too_many = numbers.len().saturating_sub(keep as usize);
        if too_many == 0 {
            return Ok(());
        }
        let first = match numbers[too_many] {
            newest if newest == self.segment => self.link.seq + 1,
            kept => opening::first_seq(&self.folder, kept).map_err(io::Error::other)?.unwrap_or(self.oldest),
        };
        self.oldest = self.oldest.max(first);
        let removed = numbers[..too_many].iter().map(|number| segment_name(*number)).collect::<Vec<_>>();
        self.put_own(
            "audit.pruned",
            &[("segments", removed.clone().into()), ("oldest", self.oldest.into())],
        )?;
        self.sign()?;
        for name in &removed {
            if let Err(error) = self.folder.remove(name) {
                tracing::warn!(segment = %name, %error, "an old audit segment cannot be removed");
            }
        }
        self.folder.sync()
    }

    /// Cuts the torn line of a log that was just opened, files the checkpoints that were not, and says so.
    fn take_up(&mut self, torn: u64, unfiled: Vec<Vec<u8>>) -> io::Result<()> {
        self.cut()?;
        self.disk.sync(&self.file)?;
        self.synced = self.length;
        for mut line in unfiled {
            line.push(b'\n');
            self.unfiled = Some(line);
            self.file_checkpoint()?;
        }
        if torn > 0 {
            tracing::warn!(bytes = torn, "the audit log ended in a torn line, which was cut");
            self.put_own("audit.recovered", &[("bytes_cut", torn.into())])?;
            self.sync()?;
        }
        Ok(())
    }

    /// Cuts both files after their last whole line.
    fn cut(&self) -> io::Result<()> {
        for (file, length) in [(&self.file, self.length), (&self.filed, self.filed_length)] {
            if file.metadata()?.len() > length {
                file.set_len(length)?;
            }
        }
        Ok(())
    }

    /// After an error: looks at what reached the file, keeps the whole lines, cuts the rest, and makes all of it
    /// safe again. Nothing to do where there was no error.
    fn mend(&mut self) -> Result<(), AuditError> {
        let Some(failure) = self.failure.clone() else { return Ok(()) };
        self.try_mend(&failure).map_err(|e| self.fail("mending it", e))?;
        self.failure = None;
        tracing::info!("the audit log can be written again");
        Ok(())
    }

    fn try_mend(&mut self, failure: &AuditError) -> io::Result<()> {
        self.file = self.folder.open_to_append(&segment_name(self.segment))?;
        self.filed = self.folder.open_to_append(CHECKPOINTS_FILE)?;
        let length = self.file.metadata()?.len();
        if length < self.length || self.filed.metadata()?.len() < self.filed_length {
            return Err(io::Error::new(
                ErrorKind::UnexpectedEof,
                "a file is shorter than what was written to it",
            ));
        }
        let known = self.length;
        self.keep_whole_lines()?;
        self.cut()?;
        self.write_again()?;
        self.disk.sync(&self.file)?;
        self.synced = self.length;
        self.file_checkpoint()?;
        let body = [
            ("bytes_cut", Value::from(length - self.length)),
            ("bytes_kept", Value::from(self.length - known)),
            ("after", Value::from(failure.to_string())),
        ];
        self.put_own("audit.recovered", &body)
    }

    /// Takes up the records that were written whole although the write failed.
    fn keep_whole_lines(&mut self) -> io::Result<()> {
        let mut lines = Lines::from(self.file.try_clone()?, self.length)?;
        while lines.advance()? == Next::Line {
            let Ok(line) = self.link.read_next(lines.line()) else { break };
            self.link = line.link();
            self.length = lines.end;
            self.unsigned += 1;
            if line.is_checkpoint() {
                self.unsigned = 0;
                self.unfiled = Some([lines.line(), b"\n"].concat());
            }
        }
        Ok(())
    }

    /// Writes the bytes that may not have reached the disk once more in their place: after an fsync that failed,
    /// the kernel takes them for written and would never write them again.
    fn write_again(&self) -> io::Result<()> {
        let file = File::options()
            .read(true)
            .write(true)
            .open(self.folder.path().join(segment_name(self.segment)))?;
        let mut block = vec![0; 64 << 10];
        let mut at = self.synced;
        while at < self.length {
            let length = block.len().min(usize::try_from(self.length - at).unwrap_or(usize::MAX));
            file.read_exact_at(&mut block[..length], at)?;
            file.write_all_at(&block[..length], at)?;
            at += length as u64;
        }
        Ok(())
    }
}

impl Disk for RealDisk {
    fn write(&mut self, mut file: &File, bytes: &[u8]) -> io::Result<usize> {
        file.write(bytes)
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        file.sync_data()
    }
}

fn write_all(disk: &mut dyn Disk, file: &File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match disk.write(file, bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
