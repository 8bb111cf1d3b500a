//! A server that is a program of ours: one message a line on its standard input and output.
//!
//! It leads a process group of its own, so that what it starts ends with it. Its environment is what it is given;
//! what it says on standard error is logged.
//!
//! Source: basic/transports/stdio, "Shutdown" among it.

use std::{
    path::PathBuf,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use bytes::BytesMut;
use mcp::lines::{Line, Reader};
use rustix::process::{Pid, Signal};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    sync::mpsc,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tool::Secret;

use crate::{error::UpstreamError, hub::Hub, table::Came};

/// How many messages wait to be written.
const WRITES_MAX: usize = 64;
/// How much is read at once, in bytes.
const PIECE_BYTES: usize = 64 * 1024;
/// How long the output of a program that has ended is read.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// The longest line of standard error that is logged, in bytes.
const COMPLAINT_BYTES_MAX: usize = 4 * 1024;

/// How a program is started.
#[derive(Debug)]
pub(crate) struct Launch {
    /// The program and its arguments.
    pub(crate) command: Vec<String>,
    pub(crate) folder: PathBuf,
    /// All of its environment.
    pub(crate) env: Vec<(String, Secret)>,
    pub(crate) close_timeout: Duration,
    pub(crate) line_bytes_max: usize,
}

/// A program that runs.
#[derive(Debug)]
pub(crate) struct Program {
    writes: Mutex<Option<mpsc::Sender<Vec<u8>>>>,
    closing: CancellationToken,
}

impl Program {
    /// Starts a program. What comes from it goes to the hub, which closes when it has ended.
    pub(crate) fn start(
        launch: &Launch,
        hub: &Arc<Hub>,
        tasks: &TaskTracker,
    ) -> Result<Arc<Self>, UpstreamError> {
        let mut child = command(launch)?.spawn().map_err(|e| UpstreamError::Start(e.into()))?;
        let group = Group::of(&child);
        let lost = || UpstreamError::Start("a pipe is missing".into());
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (stdin, stdout) = (stdin.ok_or_else(lost)?, stdout.ok_or_else(lost)?);
        let (sender, writes) = mpsc::channel(WRITES_MAX);
        let closing = CancellationToken::new();
        let running = Arc::new(Self { writes: Mutex::new(Some(sender)), closing: closing.clone() });
        tasks.spawn(write(stdin, writes));
        tasks.spawn(read(stdout, launch.line_bytes_max, Arc::clone(hub), Arc::downgrade(&running)));
        if let Some(stderr) = stderr {
            tasks.spawn(complain(stderr, Arc::clone(hub)));
        }
        tasks.spawn(mind(child, group, closing, launch.close_timeout, Arc::clone(hub)));
        Ok(running)
    }

    /// Sends a message; waits while as many wait as may.
    pub(crate) async fn send(&self, message: &[u8]) -> Result<(), UpstreamError> {
        let sender = self.sender().ok_or(UpstreamError::Broken(None))?;
        sender.send(line(message)).await.map_err(|_| UpstreamError::Broken(None))
    }

    /// Sends a message where that can be done at once.
    pub(crate) fn try_send(&self, message: &[u8]) {
        if let Some(sender) = self.sender() {
            // A program that does not read learns nothing.
            let _ = sender.try_send(line(message));
        }
    }

    /// Closes its input and lets it end; it is made to where it does not.
    pub(crate) fn close(&self) {
        self.writes.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.closing.cancel();
    }

    fn sender(&self) -> Option<mpsc::Sender<Vec<u8>>> {
        self.writes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.close();
    }
}

fn line(message: &[u8]) -> Vec<u8> {
    let mut line = Vec::new();
    mcp::lines::write(&mut line, message);
    line
}

fn command(launch: &Launch) -> Result<Command, UpstreamError> {
    let (program, arguments) =
        launch.command.split_first().ok_or_else(|| UpstreamError::Start("no program".into()))?;
    // A path is one from the folder; a bare name is looked for.
    let program = if program.contains('/') { launch.folder.join(program) } else { program.into() };
    let mut command = Command::new(program);
    command.args(arguments).current_dir(&launch.folder).env_clear();
    command.envs(launch.env.iter().map(|(name, value)| (name, value.expose())));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(0).kill_on_drop(true);
    Ok(command)
}

async fn write(mut stdin: ChildStdin, mut writes: mpsc::Receiver<Vec<u8>>) {
    while let Some(line) = writes.recv().await {
        if let Err(error) = stdin.write_all(&line).await {
            // Its end is noticed where its output ends.
            tracing::debug!(%error, "a tool server does not read any more");
            return;
        }
    }
}

async fn read(mut stdout: ChildStdout, line_bytes_max: usize, hub: Arc<Hub>, running: Weak<Program>) {
    let mut reader = Reader::new(line_bytes_max);
    let mut piece = BytesMut::new();
    loop {
        piece.reserve(PIECE_BYTES);
        match stdout.read_buf(&mut piece).await {
            Ok(0) | Err(_) => break,
            Ok(_) => reader.feed(piece.split().freeze()),
        }
        while let Some(line) = reader.pop() {
            take(line, &hub, &running);
        }
    }
    hub.close("it closed its output");
}

fn take(line: Line, hub: &Hub, running: &Weak<Program>) {
    let Line::Text(text) = line else {
        return tracing::warn!(
            server = hub.name(),
            "a tool server sent a line that is too long; it is passed over"
        );
    };
    let answer = match Came::read(&text, None) {
        Ok(came) => hub.take(came),
        Err(why) => {
            return tracing::debug!(server = hub.name(), why, "a line is no message and is passed over");
        }
    };
    if let (Some(answer), Some(running)) = (answer, running.upgrade()) {
        running.try_send(&answer);
    }
}

/// Logs what it says on standard error.
async fn complain(mut stderr: ChildStderr, hub: Arc<Hub>) {
    let mut reader = Reader::new(COMPLAINT_BYTES_MAX);
    while let Some(piece) = piece_of(&mut stderr).await {
        reader.feed(piece);
        while let Some(line) = reader.pop() {
            match line {
                Line::Text(text) => {
                    let text = String::from_utf8_lossy(&text);
                    tracing::debug!(server = hub.name(), stderr = &*text, "a tool server says something");
                }
                Line::TooLong => {
                    tracing::debug!(server = hub.name(), "a tool server says too much in one line");
                }
            }
        }
    }
}

async fn piece_of(stream: &mut (impl AsyncRead + Unpin)) -> Option<bytes::Bytes> {
    let mut piece = BytesMut::with_capacity(COMPLAINT_BYTES_MAX);
    match stream.read_buf(&mut piece).await {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(piece.freeze()),
    }
}

/// Waits for the end of a program, and sees to it where it is to end.
async fn mind(
    mut child: Child,
    group: Group,
    closing: CancellationToken,
    close_timeout: Duration,
    hub: Arc<Hub>,
) {
    let ended = tokio::select! {
        biased;
        ended = child.wait() => Some(ended),
        () = closing.cancelled() => None,
        // Where it closed its output it is most likely about to end.
        () = hub.gone().cancelled() => timeout(close_timeout, child.wait()).await.ok(),
    };
    if let Some(ended) = ended {
        let how = ended.map_or_else(|e| e.to_string(), |status| status.to_string());
        if !closing.is_cancelled() {
            tracing::warn!(server = hub.name(), how, "a tool server ended by itself");
        }
    } else {
        end(&mut child, &group, close_timeout).await;
    }
    group.signal(Signal::KILL);
    // What it said last is still read; a program that left its group may hold the pipe open for ever.
    let _ = timeout(LAST_WORDS, hub.gone().cancelled()).await;
    hub.close("it ended");
}

/// Its input is closed: it may end by itself, then it is asked to, then it is killed.
async fn end(child: &mut Child, group: &Group, close_timeout: Duration) {
    if timeout(close_timeout, child.wait()).await.is_ok() {
        return;
    }
    group.signal(Signal::TERM);
    if timeout(close_timeout, child.wait()).await.is_ok() {
        return;
    }
    group.signal(Signal::KILL);
    // The kernel ends what is killed; only a broken disk holds it up.
    let _ = timeout(close_timeout, child.wait()).await;
}

/// The process group of a program; killed when dropped, so that nothing outlives us.
#[derive(Debug)]
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        let pid = child.id().and_then(|id| i32::try_from(id).ok());
        Self(pid.and_then(Pid::from_raw))
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // There may be nobody left.
            let _ = rustix::process::kill_process_group(group, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}
