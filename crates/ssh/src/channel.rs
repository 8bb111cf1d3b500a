//! What runs on a connection: a shell with a terminal, or one command.

use std::collections::VecDeque;

use bytes::Bytes;
use russh::{Channel, ChannelMsg, client::Msg};

use crate::{Algorithms, SshError, error};

/// The terminal that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terminal {
    /// Its kind, as in terminfo: `vt100`.
    pub kind: &'static str,
    /// Columns. Devices break lines and repaint commands that are longer.
    pub columns: u16,
    /// Rows. Some devices page by them.
    pub rows: u16,
}

impl Default for Terminal {
    /// Wide and high enough that a device has no reason to break or to page.
    fn default() -> Self {
        Self { kind: "vt100", columns: 511, rows: 1000 }
    }
}

/// A channel of a session, and whose it is.
struct Line {
    channel: Channel<Msg>,
    to: String,
    algorithms: Algorithms,
    /// What came before it was read.
    early: VecDeque<Bytes>,
}

impl Line {
    fn new(channel: Channel<Msg>, to: &str, algorithms: Algorithms) -> Self {
        Self { channel, to: to.to_owned(), algorithms, early: VecDeque::new() }
    }

    /// The next message; what came early first.
    async fn next(&mut self) -> Option<ChannelMsg> {
        match self.early.pop_front() {
            Some(data) => Some(ChannelMsg::Data { data }),
            None => self.channel.wait().await,
        }
    }

    fn error(&self, error: russh::Error) -> SshError {
        error::of(error, &self.to, self.algorithms)
    }

    /// Waits for the answer to a request. What comes before is kept.
    async fn granted(&mut self, what: &'static str) -> Result<(), SshError> {
        loop {
            match self.channel.wait().await {
                Some(ChannelMsg::Success) => return Ok(()),
                Some(ChannelMsg::Data { data } | ChannelMsg::ExtendedData { data, .. }) => {
                    self.early.push_back(data);
                }
                Some(ChannelMsg::Failure) => {
                    return Err(SshError::Refused { to: self.to.clone(), what, why: String::new() });
                }
                Some(ChannelMsg::Close) | None => return Err(SshError::Closed { to: self.to.clone() }),
                Some(_) => {}
            }
        }
    }
}

/// A shell behind a terminal: bytes in, bytes out. It ends when it is dropped.
pub struct Shell {
    line: Line,
}

impl Shell {
    pub(crate) async fn open(
        channel: Channel<Msg>,
        terminal: Terminal,
        to: &str,
        algorithms: Algorithms,
    ) -> Result<Self, SshError> {
        let mut line = Line::new(channel, to, algorithms);
        let (columns, rows) = (terminal.columns.into(), terminal.rows.into());
        // Both requests go out at once: one round trip, not two. A device that has no terminals is taken as it is.
        let pty = line.channel.request_pty(true, terminal.kind, columns, rows, 0, 0, &[]).await;
        pty.map_err(|error| line.error(error))?;
        line.channel.request_shell(true).await.map_err(|error| line.error(error))?;
        match line.granted("a terminal").await {
            Ok(()) | Err(SshError::Refused { .. }) => {}
            Err(error) => return Err(error),
        }
        line.granted("a shell").await?;
        Ok(Self { line })
    }

    /// The next bytes; `None` once the other side has closed. Dropping the future loses nothing.
    pub async fn read(&mut self) -> Option<Bytes> {
        loop {
            match self.line.next().await? {
                ChannelMsg::Data { data } | ChannelMsg::ExtendedData { data, .. } => return Some(data),
                ChannelMsg::Eof | ChannelMsg::Close => return None,
                _ => {}
            }
        }
    }

    /// Sends bytes.
    ///
    /// Error: `Closed`.
    pub async fn write(&self, bytes: impl Into<Bytes>) -> Result<(), SshError> {
        self.line.channel.data_bytes(bytes).await.map_err(|error| self.line.error(error))
    }
}

/// A command that runs. It ends when it is dropped.
pub struct Exec {
    line: Line,
    exit: Option<u32>,
}

impl Exec {
    pub(crate) async fn start(
        channel: Channel<Msg>,
        command: &str,
        to: &str,
        algorithms: Algorithms,
    ) -> Result<Self, SshError> {
        let mut line = Line::new(channel, to, algorithms);
        line.channel.exec(true, command).await.map_err(|error| line.error(error))?;
        line.granted("a command").await?;
        Ok(Self { line, exit: None })
    }

    /// The next bytes of what it prints, on either stream; `None` once it has ended.
    pub async fn read(&mut self) -> Option<Bytes> {
        loop {
            match self.line.next().await? {
                ChannelMsg::Data { data } | ChannelMsg::ExtendedData { data, .. } => return Some(data),
                ChannelMsg::ExitStatus { exit_status } => self.exit = Some(exit_status),
                ChannelMsg::Close => return None,
                _ => {}
            }
        }
    }

    /// What it ended with, once [`read`](Self::read) has come to `None`; `None` where a signal ended it, or where the
    /// other side does not say.
    #[must_use]
    pub fn exit_status(&self) -> Option<u32> {
        self.exit
    }
}
