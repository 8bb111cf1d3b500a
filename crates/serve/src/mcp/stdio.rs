//! The protocol over standard input and output: one client, one line a message, both eras.
//!
//! Nothing but messages goes to the output. Who asks is found out once, before the first line is read.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use ::mcp::{Era, Id, Message, Object, Request as Asked, Version, WireError, lines, meta};
use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    sync::{Notify, mpsc},
};
use tool::{Face, Fault, Secret, Stop};

use super::{
    Mcp, Who,
    job::Job,
    legacy::{self, Carried, Sink},
    listen::{Listening, told},
    modern::{self, Step, Thread},
    sessions::{Session, Sessions},
    shape::{Failed, notification, response},
};
use crate::{headers::Ids, road::Credentials};

/// How many messages may wait for a slow client before calls wait too.
const MESSAGES_MAX: usize = 256;

/// How much is read at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// How long calls may go on after the input has ended.
const LAST_ANSWERS: std::time::Duration = std::time::Duration::from_secs(5);

/// The protocol server on one pair of pipes.
pub struct Stdio {
    mcp: Arc<Mcp>,
    who: Who,
    line_bytes_max: usize,
    out: mpsc::Sender<Vec<u8>>,
    messages: mpsc::Receiver<Vec<u8>>,
}

/// What the requests of one client share.
#[derive(Clone)]
struct Client {
    mcp: Arc<Mcp>,
    who: Who,
    /// What is under way, whatever its era.
    wire: Arc<Session>,
    /// Since `initialize`.
    session: Arc<Mutex<Option<Arc<Session>>>>,
    out: mpsc::Sender<Vec<u8>>,
}

impl Stdio {
    /// A server for whoever holds this key, of all that there is or of a toolset.
    ///
    /// Fault: `Unauthenticated` or `Disabled`, as at every door; `NotFound` for a toolset that is not there.
    pub(crate) async fn open(
        mcp: Arc<Mcp>,
        line_bytes_max: usize,
        key: Secret,
        toolset: Option<&str>,
    ) -> Result<Self, Fault> {
        let ids = Ids::fresh();
        let (caller, credentials) = mcp.identify(Credentials::bearer(key), toolset, &ids).await?;
        let who = Who { caller, credentials, face: Face::Stdio, ids, idempotency_key: None };
        let (out, messages) = mpsc::channel(MESSAGES_MAX);
        Ok(Self { mcp, who, line_bytes_max, out, messages })
    }

    /// Serves until the input ends or `stop` is asked. Calls that run are then stopped, those that change something
    /// within the gate's own grace.
    ///
    /// Error: where input or output breaks.
    pub async fn run(
        self,
        input: impl AsyncRead + Unpin,
        output: impl AsyncWrite + Unpin,
        stop: Stop,
    ) -> io::Result<()> {
        let Self { mcp, who, line_bytes_max, out, messages } = self;
        mcp.set_stop(stop.clone());
        let wire = Sessions::alone(
            &who.caller.principal,
            Version::LATEST_LEGACY,
            &Object::default(),
            mcp.clock.now(),
        );
        let client = Client { mcp: Arc::clone(&mcp), who, wire, session: Arc::default(), out };
        let reading = async {
            let read = client.read(input, line_bytes_max, &stop).await;
            // A client that closes its end still reads the answers to what it asked.
            mcp.tracker.close();
            tokio::select! {
                _ = tokio::time::timeout(LAST_ANSWERS, mcp.tracker.wait()) => {}
                () = stop.asked() => {}
            }
            client.leave();
            drop(client);
            mcp.close(std::time::Duration::from_secs(5)).await;
            read
        };
        let (read, written) = tokio::join!(reading, write(messages, output));
        read.and(written)
    }
}

/// Writes messages, one a line.
async fn write(mut messages: mpsc::Receiver<Vec<u8>>, mut output: impl AsyncWrite + Unpin) -> io::Result<()> {
    while let Some(message) = messages.recv().await {
        let mut text = Vec::with_capacity(message.len() + 1);
        lines::write(&mut text, &message);
        while let Ok(message) = messages.try_recv() {
            lines::write(&mut text, &message);
        }
        output.write_all(&text).await?;
        output.flush().await?;
    }
    Ok(())
}

impl Client {
    async fn read(
        &self,
        mut input: impl AsyncRead + Unpin,
        line_bytes_max: usize,
        stop: &Stop,
    ) -> io::Result<()> {
        let mut reader = lines::Reader::new(line_bytes_max);
        let mut notices = self.mcp.road.notices();
        let mut buffer = BytesMut::with_capacity(CHUNK_BYTES);
        loop {
            let read = tokio::select! {
                read = input.read_buf(&mut buffer) => read?,
                Ok(notice) = notices.recv() => {
                    self.tell(&notice).await;
                    continue;
                }
                () = stop.asked() => return Ok(()),
            };
            if read == 0 {
                return Ok(());
            }
            reader.feed(buffer.split().freeze());
            while let Some(line) = reader.pop() {
                match line {
                    lines::Line::Text(line) => self.take(line).await,
                    lines::Line::TooLong(_) => {
                        let text = format!("a message is longer than {line_bytes_max} bytes");
                        self.refuse(None, &WireError::invalid_request(text)).await;
                    }
                }
            }
            buffer.reserve(CHUNK_BYTES);
        }
    }

    /// Cancels all that is under way.
    fn leave(&self) {
        self.wire.stop_all();
        if let Some(session) = self.session() {
            session.stop_all();
        }
    }

    fn session(&self) -> Option<Arc<Session>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells a client of the older era what changed; newer ones listen for it.
    async fn tell(&self, notice: &tool::Notice) {
        if let Some(session) = self.session()
            && let Some((method, params)) = told(notice, true, true, true, |uri| session.watches(uri))
        {
            self.send(notification(method, &params)).await;
        }
    }

    async fn send(&self, message: Vec<u8>) {
        // A client that has gone needs nothing.
        let _ = self.out.send(message).await;
    }

    async fn refuse(&self, id: Option<&Id>, error: &WireError) {
        let mut out = Vec::new();
        ::mcp::write_error(&mut out, id, error);
        self.send(out).await;
    }

    /// Takes one message. Answers and cancellations are heard at once; requests go on by themselves.
    async fn take(&self, line: Bytes) {
        match Message::parse(&line) {
            Err(unreadable) => self.refuse(unreadable.id.as_ref(), &unreadable.error).await,
            Ok(Message::Request(asked)) => {
                if asked.method == "initialize"
                    && meta::era(None, &asked.method, &asked.params) == Era::Legacy
                {
                    return self.initialize(&asked).await;
                }
                let (client, line) = (self.clone(), line.clone());
                self.mcp.tracker.spawn(async move {
                    if let Ok(Message::Request(asked)) = Message::parse(&line) {
                        client.request(&asked).await;
                    }
                });
            }
            Ok(message) => {
                legacy::hear(&self.wire, &message);
                if let Some(session) = self.session() {
                    legacy::hear(&session, &message);
                }
            }
        }
    }

    async fn initialize(&self, asked: &Asked<'_>) {
        let version = match asked.params.needed_text("protocolVersion") {
            Ok(wanted) => Version::negotiate(&wanted),
            Err(error) => return self.refuse(Some(&asked.id), &error).await,
        };
        let session =
            Sessions::alone(&self.who.caller.principal, version, &asked.params, self.mcp.clock.now());
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = Some(session);
        self.send(response(&asked.id, &Ok(self.mcp.initialized(&self.who, version)))).await;
    }

    async fn request(&self, asked: &Asked<'_>) {
        let who = Who { ids: Ids::fresh(), ..self.who.clone() };
        if meta::era(None, &asked.method, &asked.params) == Era::Modern {
            return self.modern(&who, asked).await;
        }
        let Some(session) = self.session() else {
            let text = "begin with initialize, or say the protocol version in _meta";
            return self.refuse(Some(&asked.id), &WireError::invalid_request(text)).await;
        };
        match legacy::take(&self.mcp, &who, &session, asked) {
            Err(error) => self.refuse(Some(&asked.id), &error).await,
            Ok(legacy::Turn::Now(result)) => self.send(response(&asked.id, &Ok(result))).await,
            Ok(legacy::Turn::Call(job)) => match session.open(&asked.id) {
                Err(error) => self.refuse(Some(&asked.id), &error).await,
                Ok((stream, cancelled)) => {
                    // Nothing is kept to be taken up again here.
                    session.drop_stream(&stream);
                    let carried = Carried { mcp: Arc::clone(&self.mcp), session, id: asked.id.clone() };
                    carried.carry(*job, cancelled, Sink::Writer(self.out.clone())).await;
                }
            },
        }
    }

    async fn modern(&self, who: &Who, asked: &Asked<'_>) {
        match modern::take(&self.mcp, who, None, asked).await {
            Err(error) => self.refuse(Some(&asked.id), &error).await,
            Ok(modern::Turn::Now(result)) => self.send(response(&asked.id, &Ok(result))).await,
            Ok(turn) => match self.wire.open(&asked.id) {
                Err(error) => self.refuse(Some(&asked.id), &error).await,
                Ok((stream, cancelled)) => {
                    self.wire.drop_stream(&stream);
                    match turn {
                        modern::Turn::Call(call) => self.carry(call.0, call.1, &cancelled).await,
                        modern::Turn::Listen(listening) => self.listen(*listening, &cancelled).await,
                        modern::Turn::Now(_) => {}
                    }
                    self.wire.close(&asked.id);
                }
            },
        }
    }

    async fn carry(&self, mut job: Job, thread: Thread, cancelled: &Notify) {
        let last = loop {
            let event = tokio::select! {
                event = job.next() => event,
                () = cancelled.notified() => return,
            };
            match thread.step(&mut job, event) {
                Step::Nothing => {}
                Step::Say(message) => self.send(message).await,
                Step::Ask => break thread.ask(job).map_err(Failed::Wire),
                Step::Detach => break thread.detach(job).await.map_err(Failed::Wire),
                Step::End(ended) => break ended.result,
            }
        };
        self.send(response(&thread.id, &last)).await;
    }

    async fn listen(&self, mut listening: Listening, cancelled: &Notify) {
        let stop = self.mcp.stop();
        let mut next = listening.acknowledged();
        loop {
            self.send(next).await;
            next = tokio::select! {
                message = listening.next() => message,
                () = cancelled.notified() => break,
                () = stop.asked() => break,
            };
        }
        self.send(listening.end(&self.mcp)).await;
    }
}
