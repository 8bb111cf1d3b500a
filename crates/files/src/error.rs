use std::io;

use rustix::io::Errno;
use tool::{Code, Fault};

use crate::path::RelPath;

/// Everything that can go wrong in this room. Paths in texts are the caller's own, beneath the root; the root
/// itself is never named.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FilesError {
    #[error("{sent:?} is no path here: {why}")]
    BadPath { sent: String, why: &'static str },
    #[error("{sent:?} leads out of the folder; give a path beneath it, without '..'")]
    Escapes { sent: String },
    #[error("{path:?} is hidden, and hidden files are not served (`files.hidden`)")]
    Hidden { path: String },
    #[error("there is no {path:?}; fs_list shows what there is")]
    NotFound { path: String },
    #[error("{path:?} is or passes a symbolic link that is not followed (`files.symlinks`)")]
    Link { path: String },
    #[error(
        "{path:?} has more than one name (hard links), and such files are not served (`files.hard_links`)"
    )]
    HardLink { path: String },
    #[error("{path:?} is a folder; fs_list shows what is in it")]
    Folder { path: String },
    #[error("{path:?} is not a folder; fs_read_text reads a file")]
    NotFolder { path: String },
    #[error("{path:?} is neither a file nor a folder")]
    Special { path: String },
    #[error("the server itself may not open {path:?}; ask an operator")]
    Forbidden { path: String },
    #[error("{path:?} is not UTF-8 text near byte {at}")]
    NotText { path: String, at: u64 },
    #[error("{path:?} is larger than {bytes_max} bytes (`files.write_bytes_max`)")]
    TooLarge { path: String, bytes_max: u64 },
    #[error("{what}")]
    BadArgument { pointer: &'static str, what: String },
    #[error(
        "too many entries beneath {path:?} to look at (`files.scan_entries_max` is {max}); name a folder further down"
    )]
    TooMany { path: String, max: u32 },
    #[error("{path:?} is no longer as the plan found it; nothing was changed, plan again")]
    Drifted { path: String },
    #[error("{what}; plan again")]
    Clash { what: String },
    #[error("the call was stopped, and nothing was changed")]
    Stopped,
    #[error("the call took longer than it may (`files.timeout_ms`), and changed nothing")]
    Late,
    #[error("too many files are open just now; try again")]
    Busy { source: io::Error },
    #[error("cannot {doing} {path:?}: {}", source.kind())]
    Io { doing: &'static str, path: String, source: io::Error },
    #[error("{path:?} was replaced, but the folder could not be made durable; look before you ask again")]
    Unsure { path: String, source: io::Error },
}

impl FilesError {
    /// Turns what the system said while `doing` something to `path` into what it means.
    pub(crate) fn from_io(doing: &'static str, path: &RelPath, source: io::Error) -> Self {
        let path = path.to_string();
        match source.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOENT | Errno::NOTDIR) => Self::NotFound { path },
            Some(Errno::LOOP) => Self::Link { path },
            Some(Errno::XDEV) => Self::Escapes { sent: path },
            Some(Errno::ACCESS | Errno::PERM | Errno::ROFS) => Self::Forbidden { path },
            Some(Errno::NAMETOOLONG) => Self::BadPath { sent: path, why: "it is too long" },
            Some(Errno::NXIO) => Self::Special { path },
            Some(Errno::ISDIR) => Self::Folder { path },
            Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM) => Self::Busy { source },
            // cap-std reports an escape as its own `PermissionDenied`, without a number.
            None if source.kind() == io::ErrorKind::PermissionDenied => Self::Escapes { sent: path },
            _ => Self::Io { doing, path, source },
        }
    }

    /// True where something else stands at the place of a file: a folder, a link, more than fits.
    pub(crate) fn is_another_kind(&self) -> bool {
        matches!(
            self,
            Self::Folder { .. }
                | Self::NotFolder { .. }
                | Self::Special { .. }
                | Self::Link { .. }
                | Self::HardLink { .. }
                | Self::TooLarge { .. }
        )
    }

    /// True where there is simply nothing of that name.
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }
}

impl From<FilesError> for Fault {
    fn from(error: FilesError) -> Self {
        use FilesError as E;
        let (code, pointer) = match &error {
            E::BadPath { .. }
            | E::Folder { .. }
            | E::NotFolder { .. }
            | E::Special { .. }
            | E::NotText { .. } => (Code::BadArguments, Some("/path")),
            E::BadArgument { pointer, .. } => (Code::BadArguments, Some(*pointer)),
            E::TooMany { .. } | E::TooLarge { .. } => (Code::BadArguments, Some("/path")),
            E::Escapes { .. }
            | E::Hidden { .. }
            | E::Link { .. }
            | E::HardLink { .. }
            | E::Forbidden { .. } => (Code::Denied, Some("/path")),
            E::NotFound { .. } => (Code::NotFound, Some("/path")),
            E::Drifted { .. } => (Code::Drifted, None),
            E::Clash { .. } => (Code::Conflict, None),
            E::Stopped => (Code::Cancelled, None),
            E::Late => (Code::TimedOut, None),
            E::Busy { .. } => (Code::Busy, None),
            E::Io { .. } => (Code::Upstream, None),
            E::Unsure { .. } => (Code::OutcomeUnknown, None),
        };
        let mut fault = Fault::new(code, error.to_string());
        fault.pointer = pointer.map(str::to_owned);
        match error {
            E::Busy { source } | E::Io { source, .. } | E::Unsure { source, .. } => fault.because(source),
            _ => fault,
        }
    }
}
