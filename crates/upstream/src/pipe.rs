//! A connection that carries one message a line, in both directions: the pipes of a program, or a socket.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::{Bytes, BytesMut};
use child::Held;
use mcp::lines::{Line, Reader};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    sync::mpsc,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    error::UpstreamError,
    hub::Hub,
    jsonl::{Jsonl, Outgoing},
    table::{self, Answer, Came, Lost},
};

/// How many messages wait to be written.
const WRITES_MAX: usize = 64;
/// How much is read at once, in bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// What is spoken over it.
#[derive(Clone, Debug)]
pub(crate) enum Tongue {
    /// The Model Context Protocol.
    Mcp,
    /// The lines of the older tool servers, translated.
    Jsonl(Arc<Jsonl>),
}

/// A connection that is open.
pub(crate) struct Pipe {
    writes: Mutex<Option<mpsc::Sender<Vec<u8>>>>,
    closing: CancellationToken,
    tongue: Tongue,
    line_bytes_max: usize,
    hub: Arc<Hub>,
    /// What keeps the program in, where there is one at the other end.
    held: Option<Held>,
}

impl Pipe {
    /// Speaks over two streams. What comes goes to the hub, which closes when the input ends.
    pub(crate) fn open(
        (input, output): (impl AsyncRead + Send + Unpin + 'static, impl AsyncWrite + Send + Unpin + 'static),
        (tongue, line_bytes_max): (Tongue, usize),
        hub: &Arc<Hub>,
        tasks: &TaskTracker,
        held: Option<Held>,
    ) -> Arc<Self> {
        let (sender, writes) = mpsc::channel(WRITES_MAX);
        let pipe = Arc::new(Self {
            writes: Mutex::new(Some(sender)),
            closing: CancellationToken::new(),
            tongue: tongue.clone(),
            line_bytes_max,
            hub: Arc::clone(hub),
            held,
        });
        tasks.spawn(write(output, writes, tongue));
        tasks.spawn(read(input, line_bytes_max, Arc::clone(hub), Arc::downgrade(&pipe)));
        pipe
    }

    /// What keeps the program in, where there is one.
    pub(crate) fn held(&self) -> Option<&Held> {
        self.held.as_ref()
    }

    /// Asked to close.
    pub(crate) fn closing(&self) -> &CancellationToken {
        &self.closing
    }

    /// Sends a message; waits while as many wait as may.
    pub(crate) async fn send(&self, message: &[u8]) -> Result<(), UpstreamError> {
        let Some(line) = self.line(message) else { return Ok(()) };
        let sender = self.sender().ok_or(UpstreamError::Broken(None))?;
        sender.send(line).await.map_err(|_| UpstreamError::Broken(None))
    }

    /// Sends a message where that can be done at once.
    pub(crate) fn try_send(&self, message: &[u8]) {
        let Some(line) = self.line(message) else { return };
        if let Some(sender) = self.sender() {
            // Whoever does not read learns nothing.
            let _ = sender.try_send(line);
        }
    }

    /// Closes what it writes to; the other end may end then.
    pub(crate) fn close(&self) {
        self.writes.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.closing.cancel();
    }

    fn sender(&self) -> Option<mpsc::Sender<Vec<u8>>> {
        self.writes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What goes out for a message; nothing where the other end knows no such message.
    fn line(&self, message: &[u8]) -> Option<Vec<u8>> {
        match &self.tongue {
            Tongue::Mcp => {
                let mut line = Vec::new();
                mcp::lines::write(&mut line, message);
                Some(line)
            }
            Tongue::Jsonl(jsonl) => match jsonl.outgoing(message) {
                Outgoing::Line(line) => Some(line),
                Outgoing::Answer(answer) => {
                    if let Ok(came) = Came::read(&answer, None) {
                        self.hub.take(came);
                    }
                    None
                }
                Outgoing::Nothing => None,
            },
        }
    }

    fn take(&self, line: Line) {
        let name = self.hub.name();
        let text = match line {
            Line::Text(text) => text,
            Line::TooLong(start) => {
                tracing::warn!(
                    server = name,
                    "a tool server sent a line that is too long; it is passed over"
                );
                return self.lose(&start, Lost::TooLarge(self.line_bytes_max));
            }
        };
        let message = match &self.tongue {
            Tongue::Mcp => Some(text.clone()),
            Tongue::Jsonl(jsonl) => jsonl.incoming(&text).map(Bytes::from),
        };
        let read = message.as_deref().ok_or_else(|| "it answers nothing".to_owned());
        match read.and_then(|message| Came::read(message, None)) {
            Ok(came) => {
                if let Some(answer) = self.hub.take(came) {
                    self.try_send(&answer);
                }
            }
            Err(why) => {
                tracing::debug!(server = name, why, "a line is no message and is passed over");
                self.lose(&text, Lost::Unreadable(why));
            }
        }
    }

    /// A line cannot be taken: whoever waits for it learns that now.
    fn lose(&self, line: &[u8], lost: Lost) {
        if matches!(self.tongue, Tongue::Mcp)
            && let Some(id) = table::answers(line)
        {
            self.hub.take(Came::Answer(id, Answer::Lost(lost)));
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.close();
    }
}

async fn write(mut output: impl AsyncWrite + Unpin, mut writes: mpsc::Receiver<Vec<u8>>, tongue: Tongue) {
    while let Some(mut line) = writes.recv().await {
        if let Tongue::Jsonl(jsonl) = &tongue {
            jsonl.stamp(&mut line);
        }
        let written = async {
            output.write_all(&line).await?;
            output.flush().await
        };
        if let Err(error) = written.await {
            // Its end is noticed where its output ends.
            tracing::debug!(%error, "a tool server does not read any more");
            return;
        }
    }
    // Where it cannot even be said that no more will come, nobody is there to hear it.
    let _ = output.shutdown().await;
}

async fn read(mut input: impl AsyncRead + Unpin, line_bytes_max: usize, hub: Arc<Hub>, pipe: Weak<Pipe>) {
    let mut reader = Reader::new(line_bytes_max);
    let mut piece = BytesMut::new();
    loop {
        piece.reserve(PIECE_BYTES);
        match input.read_buf(&mut piece).await {
            Ok(0) | Err(_) => break,
            Ok(_) => reader.feed(piece.split().freeze()),
        }
        while let Some(line) = reader.pop() {
            if let Some(pipe) = pipe.upgrade() {
                pipe.take(line);
            }
        }
    }
    if pipe.upgrade().is_some_and(|pipe| !pipe.closing.is_cancelled()) {
        hub.leaves();
    }
    hub.close("it closed its output");
}
