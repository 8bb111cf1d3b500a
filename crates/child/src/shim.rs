//! Our side of a keeper.

use std::{
    ffi::OsString,
    io,
    os::{fd::OwnedFd, unix::net::UnixStream as StdStream},
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use rustix::pipe::{PipeFlags, pipe_with};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    net::{
        UnixStream,
        unix::{
            OwnedReadHalf, OwnedWriteHalf,
            pipe::{Receiver, Sender},
        },
    },
    process::{Child, Command},
    time::timeout,
};

use crate::{
    order::{Held, Order, Rules, Stage, TERMINATE, Word},
    wire::{self, Pipes},
};

/// How long a keeper may take to be gone once it was let go; then it is killed, which only a keeper that is stuck needs.
const LET_GO: Duration = Duration::from_secs(10);

/// What starts keepers: the command line of this binary that leads to [`crate::main`].
#[derive(Clone, Debug)]
pub struct Shim(Vec<OsString>);

/// A program that is to be started.
#[derive(Debug)]
pub struct Launch {
    /// The program: a path, or a name that is looked for in the `PATH` of `env`.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// The folder it starts in.
    pub folder: PathBuf,
    /// All of its environment.
    pub env: Vec<(String, String)>,
    /// What it may do.
    pub rules: Rules,
}

/// A program is not started, and why.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The keeper cannot be started or talked to.
    #[error("its keeper: {0}")]
    Keeper(#[from] io::Error),
    /// The program does not start, or may not without what its rules require.
    #[error("{0}")]
    Program(String),
}

/// Our ends of the pipes of a program.
#[derive(Debug)]
pub struct Streams {
    /// Its standard input.
    pub stdin: Sender,
    /// Its standard output.
    pub stdout: Receiver,
    /// Its standard error.
    pub stderr: Receiver,
}

/// A program that runs. Dropping it ends it, with all that came of it.
#[derive(Debug)]
pub struct Running {
    keeper: Child,
    asks: OwnedWriteHalf,
    words: Lines<BufReader<OwnedReadHalf>>,
    held: Held,
}

impl Shim {
    /// Keepers are started with this command line.
    #[must_use]
    pub fn new(command: Vec<OsString>) -> Self {
        Self(command)
    }

    /// Starts a program, and waits until it runs.
    ///
    /// Error: it does not, and why, in words for whoever configured it. Nothing is left of it then.
    pub async fn start(&self, launch: Launch) -> Result<(Running, Streams), StartError> {
        let (ours, theirs) = StdStream::pair()?;
        let (stdin, stdout, stderr) = (pipe()?, pipe()?, pipe()?);
        let streams = Streams {
            stdin: Sender::from_owned_fd(stdin.1)?,
            stdout: Receiver::from_owned_fd(stdout.0)?,
            stderr: Receiver::from_owned_fd(stderr.0)?,
        };
        let pipes = Pipes { stdin: stdin.0, stdout: stdout.1, stderr: stderr.1 };
        wire::send_pipes(&ours, &pipes)?;
        drop(pipes);
        let order = wire::packed(&Order {
            stage: Stage::Keeper,
            program: launch.program,
            arguments: launch.arguments,
            folder: launch.folder,
            env: launch.env,
            rules: launch.rules,
            temporary: None,
            held: Held::default(),
        })?;
        let keeper = self.keeper(theirs)?;
        ours.set_nonblocking(true)?;
        let (words, mut asks) = UnixStream::from_std(ours)?.into_split();
        asks.write_all(&order).await?;
        let mut running =
            Running { keeper, asks, words: BufReader::new(words).lines(), held: Held::default() };
        match running.word().await {
            Some(Word::Started(held)) => running.held = held,
            Some(Word::Failed(why) | Word::Ended(why)) => return Err(StartError::Program(why)),
            None => return Err(StartError::Keeper(io::ErrorKind::UnexpectedEof.into())),
        }
        Ok((running, streams))
    }

    fn keeper(&self, socket: StdStream) -> io::Result<Child> {
        let (program, arguments) = self.0.split_first().ok_or(io::ErrorKind::NotFound)?;
        let mut command = Command::new(program);
        // Our environment is nobody's but ours; what is typed at our terminal is not meant for it either.
        command.args(arguments).env_clear().process_group(0);
        command.stdin(OwnedFd::from(socket)).stdout(Stdio::null()).spawn()
    }
}

/// A pipe that no program inherits by accident: its ends to read and to write.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(pipe_with(PipeFlags::CLOEXEC)?)
}

impl Running {
    /// What keeps it in.
    #[must_use]
    pub fn held(&self) -> &Held {
        &self.held
    }

    /// Asks the program, and those of its group, to end.
    pub async fn terminate(&mut self) {
        // Where nobody reads that any more it has ended.
        let _ = self.asks.write_all(&[TERMINATE]).await;
    }

    /// Waits for its end, and says how it ended. May be dropped and called again.
    pub async fn ended(&mut self) -> String {
        loop {
            match self.word().await {
                Some(Word::Ended(how) | Word::Failed(how)) => return how,
                Some(Word::Started(_)) => {}
                None => return "its keeper ended".to_owned(),
            }
        }
    }

    /// Kills what is left of it, and waits until nothing is.
    pub async fn kill(self) {
        let Self { mut keeper, asks, words, .. } = self;
        drop((asks, words));
        if timeout(LET_GO, keeper.wait()).await.is_err() {
            let _ = keeper.kill().await;
        }
    }

    async fn word(&mut self) -> Option<Word> {
        while let Ok(Some(line)) = self.words.next_line().await {
            if let Ok(word) = serde_json::from_str(&line) {
                return Some(word);
            }
        }
        None
    }
}
