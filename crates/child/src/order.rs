//! What a keeper is told, and what it says.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What is to be started, and how.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Order {
    pub(crate) stage: Stage,
    /// The program and its arguments.
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    pub(crate) folder: PathBuf,
    /// All of its environment.
    pub(crate) env: Vec<(String, String)>,
    pub(crate) rules: Rules,
    /// Its own folder for what is temporary, where it has one.
    pub(crate) temporary: Option<PathBuf>,
    /// What holds already.
    pub(crate) held: Held,
}

/// Which of the two processes is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) enum Stage {
    /// The one that stays outside.
    Keeper,
    /// The one beneath it.
    Inside(Place),
}

/// What the process beneath the keeper is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) enum Place {
    /// The first of a process namespace: it starts the program and reaps what that leaves behind.
    Init,
    /// It becomes the program.
    Program,
}

/// What a program may do.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Rules {
    /// How much is kept from it.
    pub level: Level,
    /// True where it is not started unless all of that can be kept from it.
    pub required: bool,
    /// Files and folders that it may read and run, beside what every program needs. For [`Level::Strict`].
    pub read: Vec<PathBuf>,
    /// Files and folders that it may change as well. For [`Level::Strict`].
    pub write: Vec<PathBuf>,
    /// Whom it may talk to. For [`Level::Strict`].
    pub network: Network,
    /// Whom it runs as, where that is somebody else than we are.
    pub user: Option<User>,
    /// What it may use up. For [`Level::Strict`].
    pub limits: Limits,
}

impl Rules {
    /// What every program is kept from that says nothing else.
    #[must_use]
    pub fn standard() -> Self {
        Self {
            level: Level::Standard,
            required: false,
            read: Vec::new(),
            write: Vec::new(),
            network: Network::Open,
            user: None,
            limits: Limits::default(),
        }
    }
}

/// How much is kept from a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Nothing, and it has no namespace either. It still ends as a whole.
    Off,
    /// Whatever no tool server needs: new privileges, looking into other processes, signals to them, the kernel's own
    /// affairs. Files and network are its user's.
    Standard,
    /// Files, network and everything else but what its rules name.
    Strict,
}

/// Whom a program may talk to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// Anybody.
    Open,
    /// Anybody at these TCP ports, and whoever answers for names: the kernel goes by port alone.
    Ports(Vec<u16>),
    /// Nobody: it has neither a network nor sockets.
    Closed,
}

/// A user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct User {
    /// The user's number.
    pub uid: u32,
    /// The number of its group.
    pub gid: u32,
}

impl User {
    /// Whom we run as.
    #[must_use]
    pub fn ours() -> Self {
        Self { uid: rustix::process::getuid().as_raw(), gid: rustix::process::getgid().as_raw() }
    }

    /// The user of this name, in this machine's list of users.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let user = nix::unistd::User::from_name(name).ok()??;
        Some(Self { uid: user.uid.as_raw(), gid: user.gid.as_raw() })
    }

    /// The user of this number, with its own group where the machine knows it.
    #[must_use]
    pub fn numbered(uid: u32) -> Self {
        let known = nix::unistd::User::from_uid(uid.into()).ok().flatten();
        Self { uid, gid: known.map_or(uid, |user| user.gid.as_raw()) }
    }
}

/// What a program may use up, per process but for the processes themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Limits {
    /// Memory that it can write to, in bytes.
    pub memory_bytes_max: Option<u64>,
    /// The largest file it may write, in bytes.
    pub file_bytes_max: Option<u64>,
    /// Open files.
    pub files_max: Option<u64>,
    /// Processes and threads of its user, where that is not ours. Without a user of its own it is not held to it: the
    /// kernel would count what that user does elsewhere.
    pub processes_max: Option<u64>,
}

/// What holds for a program that was started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Held {
    /// What keeps it together.
    pub tree: Tree,
    /// True where it has a network of its own, without anybody in it.
    pub own_network: bool,
    /// True where it sees no process but its own.
    pub own_processes: bool,
    /// How far landlock holds it: `full`, `partial`, or `none`.
    pub landlock: String,
    /// True where system calls are filtered.
    pub seccomp: bool,
    /// The user it runs as, where that is another than ours.
    pub uid: Option<u32>,
}

/// What keeps a program and all that comes of it together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tree {
    /// A process namespace: it ends at once, and nothing leaves it.
    Namespace,
    /// The keeper adopts what its parents leave behind.
    #[default]
    Adopted,
}

/// What a keeper says.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Word {
    /// The program runs.
    Started(Held),
    /// It does not, and why.
    Failed(String),
    /// It ended like this, and nothing is left of it.
    Ended(String),
}

/// Asks the program to end, as one byte on the socket.
pub(crate) const TERMINATE: u8 = b't';
