//! A server that is a program of ours: one message a line on its standard input and output.
//!
//! A keeper holds it together with all that comes of it (`child`). Its environment is what it is given; what it says on
//! standard error is logged, and kept to be looked at.
//!
//! Source: basic/transports/stdio, "Shutdown" among it.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::BytesMut;
use child::{Rules, Running, Shim, Streams};
use mcp::lines::{Line, Reader};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    net::unix::pipe::Receiver,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tool::Secret;

use crate::{
    error::{UpstreamError, excerpt},
    hub::Hub,
    pipe::{Pipe, Tongue},
};

/// How long the output of a program that has ended is read.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// The longest line of standard error that is logged, in bytes.
const COMPLAINT_BYTES_MAX: usize = 4 * 1024;

/// How many of the lines of standard error are kept to be looked at.
const COMPLAINTS_MAX: usize = 200;

/// How a program is started.
#[derive(Debug)]
pub(crate) struct Launch {
    /// What starts its keeper.
    pub(crate) shim: Shim,
    /// The program and its arguments.
    pub(crate) command: Vec<String>,
    pub(crate) folder: PathBuf,
    /// All of its environment.
    pub(crate) env: Vec<(String, Secret)>,
    /// What it may do.
    pub(crate) rules: Rules,
    pub(crate) close_timeout: Duration,
    pub(crate) line_bytes_max: usize,
    /// What it said last on standard error, over all of its lives.
    pub(crate) complaints: Arc<Complaints>,
}

/// What a program said last on standard error.
#[derive(Debug, Default)]
pub(crate) struct Complaints(Mutex<VecDeque<String>>);

impl Complaints {
    /// The last of them that says something.
    fn last(&self) -> Option<String> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().rev().find(|line| !line.trim().is_empty()).cloned()
    }

    /// All of them, oldest first.
    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn push(&self, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == COMPLAINTS_MAX {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}

impl Launch {
    /// Starts the program. What comes from it goes to the hub, which closes when it has ended.
    pub(crate) async fn start(
        &self,
        tongue: Tongue,
        hub: &Arc<Hub>,
        tasks: &TaskTracker,
    ) -> Result<Arc<Pipe>, UpstreamError> {
        let started = self.shim.start(self.order()?).await;
        let (running, Streams { stdin, stdout, stderr }) =
            started.map_err(|e| UpstreamError::Start(e.to_string()))?;
        let held = Some(running.held().clone());
        let pipe = Pipe::open((stdout, stdin), (tongue, self.line_bytes_max), hub, tasks, held);
        tasks.spawn(complain(stderr, Arc::clone(hub), Arc::clone(&self.complaints)));
        let (closing, complaints) = (pipe.closing().clone(), Arc::clone(&self.complaints));
        tasks.spawn(mind(running, closing, self.close_timeout, Arc::clone(hub), complaints));
        Ok(pipe)
    }

    fn order(&self) -> Result<child::Launch, UpstreamError> {
        let (program, arguments) =
            self.command.split_first().ok_or_else(|| UpstreamError::Start("no program".to_owned()))?;
        // A path is one from the folder; a bare name is looked for.
        let program = if program.contains('/') { self.folder.join(program) } else { program.into() };
        Ok(child::Launch {
            program,
            arguments: arguments.to_vec(),
            folder: self.folder.clone(),
            env: self.env.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect(),
            rules: self.rules.clone(),
        })
    }
}

/// Keeps and logs what it says on standard error.
async fn complain(mut stderr: Receiver, hub: Arc<Hub>, complaints: Arc<Complaints>) {
    let mut reader = Reader::new(COMPLAINT_BYTES_MAX);
    while let Some(piece) = piece_of(&mut stderr).await {
        reader.feed(piece);
        while let Some(line) = reader.pop() {
            match line {
                Line::Text(text) => {
                    let text = tool::in_one_line(&String::from_utf8_lossy(&text));
                    tracing::debug!(server = hub.name(), stderr = text, "a tool server says something");
                    complaints.push(text);
                }
                Line::TooLong(_) => {
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

/// Waits for the end of a program, and sees to it where it is to end. Nothing that came of it is left then.
async fn mind(
    mut running: Running,
    closing: CancellationToken,
    close_timeout: Duration,
    hub: Arc<Hub>,
    complaints: Arc<Complaints>,
) {
    let (mut ended, is_first) = tokio::select! {
        biased;
        how = running.ended() => (Some(how), true),
        () = closing.cancelled() => (None, false),
        () = hub.gone().cancelled() => (None, false),
    };
    if ended.is_none() {
        // Its input is closed, or it closed its output: it may end by itself.
        ended = timeout(close_timeout, running.ended()).await.ok();
    }
    // Whoever was connected may have let go of what was over, which is no wish that it ends.
    if is_first || hub.has_left() {
        let mut how = ended.clone().unwrap_or_else(|| "it closed its output".to_owned());
        // Most programs say why they end; what they said is read in another task.
        tokio::task::yield_now().await;
        if let Some(said) = complaints.last() {
            how = format!("{how}; it said last: {}", excerpt(&said));
        }
        tracing::warn!(server = hub.name(), how, "a tool server ended by itself");
        hub.ends_with(&how);
    }
    if ended.is_none() {
        running.terminate().await;
        let _ = timeout(close_timeout, running.ended()).await;
    }
    running.kill().await;
    hub.ended().cancel();
    // What it said last is still read.
    let _ = timeout(LAST_WORDS, hub.gone().cancelled()).await;
    hub.close("it ended");
}
