//! Programs that are started here and that nobody trusts: each is started by a keeper, a process of its own that holds
//! it together and ends all of it, and is confined as its rules say.
//!
//! The keeper is this binary again ([`main`]), told by a socket what to start and given the program's pipes over it. The
//! socket is also what the program's life hangs on: it closes with us, however we end, and the keeper then kills the
//! program and everything that came of it. Where this kernel has them, the program lives in a process namespace of its
//! own, which ends as a whole; else the keeper adopts what its parents leave behind, and hunts it down.
//!
//! Sources: pid_namespaces(7), user_namespaces(7), prctl(2) `PR_SET_CHILD_SUBREAPER`, landlock(7), seccomp(2).

mod calls;
mod inside;
mod keeper;
mod limits;
mod namespaces;
mod order;
mod paths;
mod shim;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod tree;
mod wire;

use std::{
    ffi::OsString,
    io::Write as _,
    os::{fd::AsFd as _, unix::net::UnixStream},
    process::ExitCode,
};

use order::Stage;
use rustix::fs::FileType;

pub use order::{Held, Level, Limits, Network, Rules, Tree, User};
pub use shim::{Launch, Running, Shim, StartError, Streams};

/// The word that makes this binary a keeper, where it stands first on the command line.
pub const COMMAND: &str = "__child";

/// True where this process was started as a keeper: its standard input is the socket that it is told by.
#[must_use]
pub fn is_told() -> bool {
    rustix::fs::fstat(std::io::stdin().as_fd())
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Socket)
}

/// What a keeper does, and what starts the program beneath it. Must be called before there is any other thread: no
/// namespace can be entered by a process that has several.
///
/// `arguments` are those of this process, without its name: what leads here, and will again.
pub fn main(arguments: &[OsString]) -> ExitCode {
    let received = std::io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from).and_then(|socket| {
        let received = wire::receive(&socket)?;
        Ok((socket, received))
    });
    match received {
        Ok((socket, (order, streams))) => match order.stage {
            Stage::Keeper => keeper::keep(&socket, order, streams, arguments),
            Stage::Inside(place) => inside::run(socket, place, &order, streams),
        },
        Err(error) => {
            // Somebody typed it, or what started it is gone: there is nobody else to tell.
            let _ = writeln!(std::io::stderr(), "{COMMAND} is for portcullis itself: {error}");
            ExitCode::from(2)
        }
    }
}
