//! The keeper of a program: it stays outside, passes on what is asked, and sees to it that nothing outlives it.

use std::{
    ffi::OsString,
    fs,
    io::{self, Read as _, Write as _},
    os::{
        fd::OwnedFd,
        unix::{
            fs::chown,
            net::UnixStream,
            process::{CommandExt as _, ExitStatusExt as _},
        },
    },
    process::{Command, ExitCode, ExitStatus, Stdio},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    process::{
        Pid, PidfdFlags, Signal, WaitOptions, getpid, kill_process, kill_process_group, pidfd_open,
        set_child_subreaper, wait,
    },
    time::Timespec,
};
use tempfile::TempDir;

use crate::{
    namespaces,
    order::{Level, Order, Place, Stage, TERMINATE, Tree, Word},
    tree,
    wire::{self, Pipes},
};

/// How often those are reaped whose parents left them behind: their end wakes nobody.
pub(crate) const REAP_EVERY: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

/// Keeps the program of an order from its start to the end of all that came of it.
pub(crate) fn keep(socket: &UnixStream, mut order: Order, pipes: Pipes, arguments: &[OsString]) -> ExitCode {
    let begun = begin(&mut order, &pipes, arguments);
    drop(pipes);
    let (how, temporary) = match begun {
        Ok((below, inside, temporary)) => (watch(socket, &inside, below, order.held.tree), temporary),
        Err(error) => (Err(error), None),
    };
    // Of a namespace nothing is left by now.
    tree::end_all();
    drop(temporary);
    match how {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(how)) => {
            wire::say(socket, &Word::Ended(how));
            ExitCode::SUCCESS
        }
        Err(error) => {
            wire::say(socket, &Word::Failed(error.to_string()));
            ExitCode::FAILURE
        }
    }
}

/// Starts the process beneath, and gives it the order.
fn begin(
    order: &mut Order,
    pipes: &Pipes,
    arguments: &[OsString],
) -> io::Result<(Pid, UnixStream, Option<TempDir>)> {
    set_child_subreaper(Some(getpid()))?;
    let temporary = temporary(order)?;
    order.held = namespaces::enter(&order.rules);
    let place = match order.held.tree {
        Tree::Namespace => Place::Init,
        Tree::Adopted => Place::Program,
    };
    order.stage = Stage::Inside(place);
    let (ours, theirs) = UnixStream::pair()?;
    let mut command = Command::new("/proc/self/exe");
    command.args(arguments).stdin(OwnedFd::from(theirs)).stdout(Stdio::null());
    // As the leader of a group it is asked to end together with its own.
    let inside = command.process_group(0).spawn()?;
    wire::send(&ours, order, pipes)?;
    Ok((Pid::from_child(&inside), ours, temporary))
}

/// A folder of the program's own, gone with it.
fn temporary(order: &mut Order) -> io::Result<Option<TempDir>> {
    if order.rules.level != Level::Strict {
        return Ok(None);
    }
    let folder = tempfile::Builder::new().prefix("portcullis-").tempdir()?;
    if let Some(user) = order.rules.user {
        chown(folder.path(), Some(user.uid), Some(user.gid))?;
    }
    let path = fs::canonicalize(folder.path())?;
    let text = path.to_string_lossy().into_owned();
    for name in ["TMPDIR", "TMP", "TEMP"] {
        order.env.retain(|(known, _)| known != name);
        order.env.push((name.to_owned(), text.clone()));
    }
    if !order.env.iter().any(|(name, _)| name == "HOME") {
        order.env.push(("HOME".to_owned(), text));
    }
    order.temporary = Some(path);
    Ok(Some(folder))
}

/// What the process beneath has said so far.
#[derive(Default)]
struct Said {
    /// The beginning of a line.
    piece: Vec<u8>,
    /// That it runs, of what says so before it becomes the program: that counts once it says nothing else.
    early: Option<Word>,
    /// True once its end was told.
    has_ended: bool,
    /// True once nothing more will come.
    is_over: bool,
}

/// Does what it is asked and passes on what is said, until the process beneath has ended. Says how it ended, where that
/// was not told from inside.
///
/// One thread does all of it: what has entered a user or process namespace starts no other.
fn watch(socket: &UnixStream, inside: &UnixStream, below: Pid, tree: Tree) -> io::Result<Option<String>> {
    let end = pidfd_open(below, PidfdFlags::empty())?;
    let (mut said, mut is_asked) = (Said::default(), true);
    let how = loop {
        let mut polled = vec![PollFd::new(&end, PollFlags::IN)];
        // What is over would be ready for ever.
        let (asks_at, says_at) =
            (is_asked.then_some(1), (!said.is_over).then_some(1 + usize::from(is_asked)));
        polled.extend(is_asked.then(|| PollFd::new(socket, PollFlags::IN)));
        polled.extend((!said.is_over).then(|| PollFd::new(inside, PollFlags::IN)));
        match poll(&mut polled, Some(&REAP_EVERY)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let is_ready = |at: Option<usize>| at.is_some_and(|at| !polled[at].revents().is_empty());
        if is_ready(says_at) {
            said.hear(socket, inside, tree);
        }
        if is_ready(asks_at) {
            is_asked = obey(socket, inside, below, tree);
        }
        if let Some(how) = reaped(below)? {
            break how;
        }
    };
    while !said.is_over {
        said.hear(socket, inside, tree);
    }
    Ok((!said.has_ended).then_some(how))
}

/// Does what it is asked. Where nobody is there to ask any more, everything is to end: false.
fn obey(mut asked: &UnixStream, mut inside: &UnixStream, below: Pid, tree: Tree) -> bool {
    let mut byte = [0];
    match asked.read(&mut byte) {
        Ok(1) if byte[0] == TERMINATE => match tree {
            // Its end is noticed by whoever waits for it.
            Tree::Namespace => drop(inside.write_all(&byte)),
            Tree::Adopted => drop(kill_process_group(below, Signal::TERM)),
        },
        Ok(1) => {}
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
        _ => {
            let _ = kill_process(below, Signal::KILL);
            return false;
        }
    }
    true
}

impl Said {
    /// Takes what there is to hear, and passes it on.
    fn hear(&mut self, told: &UnixStream, mut inside: &UnixStream, tree: Tree) {
        let mut piece = [0; 4096];
        match inside.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => {
                self.is_over = true;
                if let Some(started) = self.early.take().filter(|_| !self.has_ended) {
                    wire::say(told, &started);
                }
            }
            Ok(got) => {
                self.piece.extend_from_slice(&piece[..got]);
                while let Some(end) = self.piece.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = self.piece.drain(..=end).collect();
                    self.take(&line, told, tree);
                }
            }
        }
    }

    fn take(&mut self, line: &[u8], told: &UnixStream, tree: Tree) {
        match serde_json::from_slice::<Word>(line) {
            Ok(started @ Word::Started(_)) if tree == Tree::Adopted => self.early = Some(started),
            Ok(word) => {
                self.has_ended |= matches!(word, Word::Ended(_) | Word::Failed(_));
                wire::say(told, &word);
            }
            // Nobody but ourselves writes there.
            Err(_) => {}
        }
    }
}

/// Takes note of everybody who has ended; how the one of this number did, where it is among them.
pub(crate) fn reaped(wanted: Pid) -> io::Result<Option<String>> {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == wanted => {
                return Ok(Some(ExitStatus::from_raw(status.as_raw()).to_string()));
            }
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}
