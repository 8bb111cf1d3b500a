use std::{borrow::Cow, fmt::Write as _, os::unix::fs::MetadataExt as _, time::Duration};

use serde::{Deserialize, Serialize};
use similar::{ChangeTag, TextDiff};
use tool::{Plan, Risk, Standing, json::digest_bytes};

use crate::{
    Room,
    error::FilesError,
    halt::Halt,
    jail::Opened,
    path::RelPath,
    read,
    tools::{self, WriteArguments},
};

/// What stands in a plan for the digest of a file that is not there.
pub(crate) const ABSENT: &str = "absent";
/// The permissions that are kept or given; set-uid and set-gid are dropped, as by the kernel when a file is written.
pub(crate) const MODE_MASK: u32 = 0o777;
const NEW_FILE_MODE: u32 = 0o644;
/// How long the shortest difference is looked for; after it, a longer one that is just as exact is shown.
const DIFF_TIME_MAX: Duration = Duration::from_secs(1);
const DIFF_CONTEXT_LINES: usize = 3;
/// A text above this size is a high risk: nobody reads that much with care.
const MUCH_BYTES: usize = 64 * 1024;
/// Up to so many lines that come or go are a low risk.
const FEW_LINES: usize = 10;

/// What `apply` needs of a plan. It is part of the plan's digest.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Payload {
    pub(crate) path: String,
    pub(crate) text: String,
    /// The permissions of the file in octal, for the approver; a file that is there keeps its own.
    pub(crate) mode: String,
    pub(crate) create_parents: bool,
}

/// A file as it is now.
pub(crate) struct Present {
    pub(crate) opened: Opened,
    pub(crate) bytes: Vec<u8>,
    pub(crate) digest: String,
}

/// The digest of what is there, or [`ABSENT`].
pub(crate) fn digest_of(present: Option<&Present>) -> &str {
    present.map_or(ABSENT, |present| present.digest.as_str())
}

/// Plans a write, and changes nothing.
pub(crate) fn write(room: &Room, arguments: WriteArguments, halt: &Halt) -> Result<Plan, FilesError> {
    let path = room.rules.normal(&arguments.path)?;
    check_size(room, &arguments.text)?;
    let present = present(room, &path, halt)?;
    if present.is_none() && !arguments.create_parents {
        check_parent(room, &path)?;
    }
    halt.check()?;
    let shown = Difference::new(&path, present.as_ref(), &arguments.text);
    let diff_bytes_max = room.config.diff_bytes_max;
    if shown.diff.len() as u64 > diff_bytes_max {
        let what = format!(
            "the difference is larger than {diff_bytes_max} bytes (`files.diff_bytes_max`) and cannot be shown to an \
             approver; write it in smaller steps"
        );
        return Err(FilesError::BadArgument { pointer: "/text", what });
    }
    let mode = present.as_ref().map_or(NEW_FILE_MODE, |p| p.opened.meta.mode() & MODE_MASK);
    Ok(Plan {
        target: target(&path),
        summary: shown.summary(&path, present.as_ref(), &arguments.text),
        risk: shown.risk(&path, present.as_ref(), &arguments.text, mode),
        diff: shown.diff,
        before: digest_of(present.as_ref()).to_owned(),
        after: digest_bytes(arguments.text.as_bytes()),
        payload: serde_json::json!(Payload {
            path: path.to_string(),
            text: arguments.text,
            mode: format!("{mode:04o}"),
            create_parents: arguments.create_parents,
        }),
    })
}

/// Takes the payload out of a plan and sees that it is one of ours and whole.
pub(crate) fn payload(room: &Room, plan: &Plan) -> Result<(RelPath, Payload), FilesError> {
    let broken = |why: &str| FilesError::Clash { what: format!("this is no plan of fs_write_text: {why}") };
    let payload = Payload::deserialize(&plan.payload).map_err(|e| broken(&e.to_string()))?;
    let path = room.rules.normal(&payload.path)?;
    if path.as_str() != payload.path || plan.target != target(&path) {
        return Err(broken("its target is not its path"));
    }
    if digest_bytes(payload.text.as_bytes()) != plan.after {
        return Err(broken("its text is not what its digest says"));
    }
    check_size(room, &payload.text)?;
    Ok((path, payload))
}

/// Looks how the target stands against a plan.
pub(crate) fn look(room: &Room, plan: &Plan, halt: &Halt) -> Result<Standing, FilesError> {
    let (path, _) = payload(room, plan)?;
    match present(room, &path, halt) {
        Ok(now) => Ok(standing(plan, digest_of(now.as_ref()))),
        Err(error) if error.is_another_kind() => Ok(Standing::Elsewhere(error.to_string())),
        Err(error) => Err(error),
    }
}

/// How a digest stands against a plan.
pub(crate) fn standing(plan: &Plan, digest: &str) -> Standing {
    if digest == plan.after {
        Standing::After
    } else if digest == plan.before {
        Standing::Before
    } else {
        Standing::Elsewhere(digest.to_owned())
    }
}

/// The file at `path` as it is now, whole; `None` where there is none. No link is followed as the last name.
pub(crate) fn present(room: &Room, path: &RelPath, halt: &Halt) -> Result<Option<Present>, FilesError> {
    let Some((folder, name)) = path.split() else {
        return Err(FilesError::Folder { path: path.to_string() });
    };
    let folder = match room.jail.folder(&folder) {
        Err(error) if error.is_absent() => return Ok(None),
        folder => folder?,
    };
    present_in(room, &folder, name, path, halt)
}

/// The same, in an open folder.
pub(crate) fn present_in(
    room: &Room,
    folder: &impl std::os::fd::AsFd,
    name: &str,
    path: &RelPath,
    halt: &Halt,
) -> Result<Option<Present>, FilesError> {
    let opened = match room.jail.file_in(folder.as_fd(), name, path) {
        Err(error) if error.is_absent() => return Ok(None),
        opened => opened?,
    };
    let bytes_max = room.config.write_bytes_max;
    let bytes = read::whole(&opened, path, bytes_max, halt)?
        .ok_or_else(|| FilesError::TooLarge { path: path.to_string(), bytes_max })?;
    let digest = digest_bytes(&bytes);
    Ok(Some(Present { opened, bytes, digest }))
}

fn target(path: &RelPath) -> String {
    format!("{}:{path}", tools::SOURCE)
}

fn check_size(room: &Room, text: &str) -> Result<(), FilesError> {
    let bytes_max = room.config.write_bytes_max;
    if text.len() as u64 <= bytes_max {
        return Ok(());
    }
    let what = format!("the text is larger than {bytes_max} bytes (`files.write_bytes_max`)");
    Err(FilesError::BadArgument { pointer: "/text", what })
}

fn check_parent(room: &Room, path: &RelPath) -> Result<(), FilesError> {
    let Some((folder, _)) = path.split() else { return Ok(()) };
    match room.jail.folder(&folder) {
        Err(error) if error.is_absent() => Err(FilesError::BadArgument {
            pointer: "/create_parents",
            what: format!("there is no folder {:?}; set create_parents to make it", folder.as_str()),
        }),
        other => other.map(|_| ()),
    }
}

/// What an approver sees.
struct Difference {
    diff: String,
    lines_more: usize,
    lines_less: usize,
    binary: bool,
}

impl Difference {
    fn new(path: &RelPath, present: Option<&Present>, text: &str) -> Self {
        let old_bytes = present.map_or(&[][..], |present| &present.bytes);
        let old = std::str::from_utf8(old_bytes).ok().filter(|old| !old.contains('\0'));
        let Some(old) = old else {
            let mut diff =
                format!("the file is not text: {} bytes, {}\n", old_bytes.len(), digest_of(present));
            diff.push_str("all of it is replaced by:\n");
            let _ = write!(diff, "{}", visible(text));
            return Self { diff, lines_more: text.lines().count(), lines_less: 0, binary: true };
        };
        let (old, new) = (visible(old), visible(text));
        let diff = TextDiff::configure().timeout(DIFF_TIME_MAX).diff_lines(old.as_ref(), new.as_ref());
        let count = |tag| diff.iter_all_changes().filter(|change| change.tag() == tag).count();
        let from = if present.is_some() { format!("a/{path}") } else { "/dev/null".to_owned() };
        let mut shown = diff.unified_diff();
        shown.context_radius(DIFF_CONTEXT_LINES).header(&from, &format!("b/{path}"));
        Self {
            diff: shown.to_string(),
            lines_more: count(ChangeTag::Insert),
            lines_less: count(ChangeTag::Delete),
            binary: false,
        }
    }

    fn summary(&self, path: &RelPath, present: Option<&Present>, text: &str) -> String {
        let (path, bytes) = (path.as_str(), text.len());
        let mut summary = match present {
            None => format!("create {path:?} with {bytes} bytes in {}", lines(self.lines_more)),
            Some(old) if old.bytes == text.as_bytes() => format!("leave {path:?} as it is"),
            Some(old) => format!(
                "replace {path:?}: {} bytes become {bytes}, {} added, {} removed",
                old.bytes.len(),
                lines(self.lines_more),
                self.lines_less
            ),
        };
        if self.binary {
            summary.push_str("; what is there is not text");
        }
        let deceptive = count_deceptive(text);
        if deceptive > 0 {
            let _ =
                write!(summary, "; it holds {deceptive} control or invisible characters, shown as escapes");
        }
        summary
    }

    fn risk(&self, path: &RelPath, present: Option<&Present>, text: &str, mode: u32) -> Risk {
        let old_bytes = present.map_or(0, |present| present.bytes.len());
        let is_hidden = path.names().any(|name| name.starts_with('.'));
        let is_program = mode & 0o111 != 0 || text.starts_with("#!");
        if self.binary || is_hidden || is_program || text.len().max(old_bytes) > MUCH_BYTES {
            Risk::High
        } else if count_deceptive(text) > 0
            || (present.is_some() && self.lines_more + self.lines_less > FEW_LINES)
        {
            Risk::Medium
        } else {
            Risk::Low
        }
    }
}

fn lines(count: usize) -> String {
    format!("{count} {}", if count == 1 { "line" } else { "lines" })
}

/// The text as a person must see it: what shows nothing, or changes how its neighbours show, stands as an escape.
fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(needs_escape) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if needs_escape(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown.into()
}

fn needs_escape(c: char) -> bool {
    tool::is_deceptive(c)
}

/// How many characters stand as escapes, less the carriage returns of line ends.
fn count_deceptive(text: &str) -> usize {
    text.chars().filter(|c| needs_escape(*c)).count() - text.matches("\r\n").count()
}
