use std::os::unix::fs::FileExt as _;

use crate::{
    error::FilesError,
    halt::Halt,
    jail::{Jail, Opened},
    path::RelPath,
    tools::ReadResult,
};

/// The most bytes of one letter in UTF-8 (RFC 3629), and so the smallest window that always gets on.
pub(crate) const LETTER_BYTES_MAX: u64 = 4;
const CHUNK_BYTES: usize = 64 * 1024;

/// Reads a window of a text file: from the letter that byte `offset` is part of, at most `limit` bytes (at least
/// [`LETTER_BYTES_MAX`]), ending on a whole letter.
pub(crate) fn text(
    jail: &Jail,
    path: &RelPath,
    offset: u64,
    limit: u64,
    halt: &Halt,
) -> Result<ReadResult, FilesError> {
    let opened = jail.file(path)?;
    let size = opened.meta.len();
    if offset > size {
        let what = format!("the offset lies behind the end; {:?} has {size} bytes", path.as_str());
        return Err(FilesError::BadArgument { pointer: "/offset", what });
    }
    let start = offset.saturating_sub(LETTER_BYTES_MAX - 1);
    let bytes = window(&opened, path, start, offset - start + limit + LETTER_BYTES_MAX, halt)?;
    let begin = letter_start(&bytes, to_index(offset - start));
    let first = start + begin as u64;
    let end = bytes.len().min(begin + to_index(limit));
    let more = end < bytes.len();
    let text = whole_letters(&bytes[begin..end], more)
        .map_err(|at| FilesError::NotText { path: path.to_string(), at: first + at as u64 })?;
    let next = first + text.len() as u64;
    let total_bytes = size.max(start + bytes.len() as u64);
    let truncated = next < total_bytes;
    Ok(ReadResult {
        bytes: text.len() as u64,
        text: text.to_owned(),
        path: path.to_string(),
        offset: first,
        total_bytes,
        truncated,
        next_offset: truncated.then_some(next),
    })
}

/// Reads a whole file of at most `bytes_max` bytes; `None` where it is larger.
pub(crate) fn whole(
    opened: &Opened,
    path: &RelPath,
    bytes_max: u64,
    halt: &Halt,
) -> Result<Option<Vec<u8>>, FilesError> {
    let bytes = window(opened, path, 0, bytes_max + 1, halt)?;
    Ok((bytes.len() as u64 <= bytes_max).then_some(bytes))
}

/// The bytes from `start` on, at most `length` of them.
fn window(
    opened: &Opened,
    path: &RelPath,
    start: u64,
    length: u64,
    halt: &Halt,
) -> Result<Vec<u8>, FilesError> {
    let there = opened.meta.len().saturating_sub(start).min(length);
    let mut bytes = Vec::with_capacity(to_index(there) + 1);
    let mut chunk = vec![0; CHUNK_BYTES.min(to_index(length))];
    while (bytes.len() as u64) < length {
        halt.check()?;
        let room = chunk.len().min(to_index(length) - bytes.len());
        match opened.file.read_at(&mut chunk[..room], start + bytes.len() as u64) {
            Ok(0) => break,
            Ok(read) => bytes.extend_from_slice(&chunk[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(FilesError::from_io("read", path, error)),
        }
    }
    Ok(bytes)
}

/// Where the letter begins that the byte at `at` is part of. `at` itself where no letter leads up to it.
fn letter_start(bytes: &[u8], at: usize) -> usize {
    let is_inside = |b: &u8| (0x80..0xC0).contains(b);
    if !bytes.get(at).is_some_and(is_inside) {
        return at;
    }
    let lead = (at.saturating_sub(3)..at).rev().find(|&i| !is_inside(&bytes[i]));
    lead.unwrap_or(at)
}

/// The longest start of `bytes` that is text; where `more` follows, a last letter may be cut. Error: where it is
/// not text.
fn whole_letters(bytes: &[u8], more: bool) -> Result<&str, usize> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(e) if more && e.error_len().is_none() => {
            Ok(std::str::from_utf8(&bytes[..e.valid_up_to()]).expect("it is valid up to here"))
        }
        Err(e) => Err(e.valid_up_to()),
    }
}

/// A length that was bounded by the configuration, far below what a `usize` holds.
fn to_index(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}
