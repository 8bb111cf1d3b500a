//! From pipes to the socket of the server that runs: what `portcullis stdio` does where there is one.
//!
//! Each message is a request of its own to `/mcp`, and whatever comes back for it goes out line by line. A session of
//! an older client is kept for it, and ended with it.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use mcp::{Id, Message, Object, WireError, headers as fields, lines, sse};
use tokio::{
    fs::File,
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    sync::mpsc,
    task::JoinSet,
};
use tool::Secret;

use crate::cli::{Exit, Failure};

/// The longest message in either direction, in bytes.
const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How many messages may wait for a slow client.
const MESSAGES_MAX: usize = 256;

/// Passes messages on until the input ends.
pub(crate) async fn run(socket: &Path, key: &Secret, toolset: Option<&str>) -> Result<(), Failure> {
    let broke =
        |error: io::Error| Failure::new(Exit::Failed, format!("standard input or output broke: {error}"));
    let (out, messages) = mpsc::channel(MESSAGES_MAX);
    let mut authorization = HeaderValue::from_str(&format!("Bearer {}", key.expose()))
        .map_err(|_| Failure::new(Exit::Usage, "the key holds characters that no key has"))?;
    authorization.set_sensitive(true);
    let path = toolset.map_or_else(|| "/mcp".to_owned(), |name| format!("/mcp/toolsets/{name}"));
    let uri = path.parse().map_err(|_| Failure::new(Exit::Usage, format!("{path:?} is no path")))?;
    let bridge = Bridge(Arc::new(Inner {
        socket: socket.to_owned(),
        uri,
        authorization,
        session: Mutex::default(),
        out,
    }));
    let (input, output) = (input().map_err(broke)?, output().map_err(broke)?);
    let reading = async {
        let read = bridge.read(input).await;
        bridge.end_session().await;
        drop(bridge);
        read
    };
    let (read, written) = tokio::join!(reading, write(messages, output));
    read.and(written).map_err(broke)
}

/// Standard input, read without blocking the runtime.
pub(crate) fn input() -> io::Result<File> {
    file(io::stdin().as_fd())
}

/// Standard output, written without blocking the runtime.
pub(crate) fn output() -> io::Result<File> {
    file(io::stdout().as_fd())
}

fn file(fd: BorrowedFd<'_>) -> io::Result<File> {
    Ok(File::from_std(std::fs::File::from(fd.try_clone_to_owned()?)))
}

async fn write(mut messages: mpsc::Receiver<Vec<u8>>, mut output: File) -> io::Result<()> {
    while let Some(message) = messages.recv().await {
        let mut text = Vec::with_capacity(message.len() + 1);
        lines::write(&mut text, &message);
        output.write_all(&text).await?;
        output.flush().await?;
    }
    Ok(())
}

/// One client's way to the server.
#[derive(Clone)]
struct Bridge(Arc<Inner>);

struct Inner {
    socket: PathBuf,
    /// Of the endpoint.
    uri: Uri,
    authorization: HeaderValue,
    /// The id of the session, and its revision, once there is one.
    session: Mutex<Option<Session>>,
    out: mpsc::Sender<Vec<u8>>,
}

#[derive(Clone)]
struct Session {
    id: HeaderValue,
    version: HeaderValue,
}

impl Bridge {
    async fn read(&self, mut input: File) -> io::Result<()> {
        let mut reader = lines::Reader::new(MESSAGE_BYTES_MAX);
        let mut under_way = JoinSet::new();
        let mut buffer = BytesMut::with_capacity(64 * 1024);
        while input.read_buf(&mut buffer).await? > 0 {
            reader.feed(buffer.split().freeze());
            while let Some(line) = reader.pop() {
                match line {
                    lines::Line::Text(line) => self.take(line, &mut under_way).await,
                    lines::Line::TooLong(_) => self.refuse(None, "a message is longer than may be").await,
                }
            }
            while under_way.try_join_next().is_some() {}
            buffer.reserve(64 * 1024);
        }
        // A client that closes its end still reads the answers; a stream without end is not waited for.
        let last = async { while under_way.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(std::time::Duration::from_secs(5), last).await;
        Ok(())
    }

    /// Passes one message on. What opens a session, or tells of one, goes before what comes after it.
    async fn take(&self, line: Bytes, under_way: &mut JoinSet<()>) {
        let (method, id) = match Message::parse(&line) {
            Ok(Message::Request(asked)) => (asked.method.to_string(), Some(asked.id)),
            Ok(Message::Notification(told)) => (told.method.to_string(), None),
            Ok(_) => (String::new(), None),
            Err(unreadable) => return self.refuse(unreadable.id.as_ref(), &unreadable.error.message).await,
        };
        let bridge = self.clone();
        let begins_session = method == "initialize";
        let passing = async move {
            if let Err(error) = bridge.pass(line, &method).await {
                bridge.refuse(id.as_ref(), &format!("the server cannot be reached: {error:#}")).await;
            }
        };
        if begins_session {
            passing.await;
        } else {
            under_way.spawn(passing);
        }
    }

    async fn pass(&self, line: Bytes, method: &str) -> anyhow::Result<()> {
        let (answer, _connection) = self.send(Method::POST, line).await?;
        let opened = answer.headers().get(fields::SESSION_ID).cloned();
        self.hand_out(answer, opened.filter(|_| method == "initialize")).await?;
        if method == "notifications/initialized"
            && let Ok((notices, _connection)) = self.send(Method::GET, Bytes::new()).await
            && notices.status() == StatusCode::OK
        {
            self.hand_out(notices, None).await?;
        }
        Ok(())
    }

    /// Hands out what an answer holds: one message, or a stream of them.
    async fn hand_out(
        &self,
        answer: http::Response<Incoming>,
        opened: Option<HeaderValue>,
    ) -> anyhow::Result<()> {
        let kind = fields::content(answer.headers());
        let status = answer.status();
        let mut body = answer.into_body();
        match kind {
            fields::Content::Events => {
                let mut reader = sse::Reader::new(MESSAGE_BYTES_MAX);
                while let Some(frame) = body.frame().await {
                    let Ok(data) = frame?.into_data() else { continue };
                    reader.feed(&data);
                    while let Some(item) = reader.pop() {
                        if let sse::Item::Event(event) = item
                            && !event.data.is_empty()
                        {
                            self.say(event.data.to_vec()).await;
                        }
                    }
                }
            }
            fields::Content::Json => {
                let whole = body.collect().await?.to_bytes();
                if let Some(id) = opened {
                    self.open(id, &whole);
                }
                anyhow::ensure!(is_message(&whole), "it answered {status}: {}", excerpt(&whole));
                self.say(whole.to_vec()).await;
            }
            fields::Content::Other => {}
        }
        Ok(())
    }

    fn session(&self) -> Option<Session> {
        self.0.session.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn open(&self, id: HeaderValue, answer: &[u8]) {
        let Ok(Message::Response(answer)) = Message::parse(answer) else { return };
        let version = Object::read(answer.result).ok().and_then(|result| {
            let version = result.text("protocolVersion").ok()??;
            HeaderValue::from_str(&version).ok()
        });
        if let Some(version) = version {
            *self.0.session.lock().unwrap_or_else(PoisonError::into_inner) = Some(Session { id, version });
        }
    }

    async fn end_session(&self) {
        if self.session().is_some() {
            // A server that has gone has ended it.
            let _ = self.send(Method::DELETE, Bytes::new()).await;
        }
    }

    /// Sends one request. The connection lives as long as what drives it.
    async fn send(
        &self,
        method: Method,
        body: Bytes,
    ) -> anyhow::Result<(http::Response<Incoming>, JoinSet<()>)> {
        let stream = UnixStream::connect(&self.0.socket).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // What breaks it also breaks the request, which says so.
            let _ = connection.await;
        });
        let mut request = Request::new(Full::new(body));
        (*request.method_mut(), *request.uri_mut()) = (method, self.0.uri.clone());
        *request.headers_mut() = self.headers();
        Ok((sender.send_request(request).await?, driver))
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("localhost"));
        headers.insert(header::AUTHORIZATION, self.0.authorization.clone());
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        if let Some(session) = self.session() {
            headers.insert(fields::SESSION_ID, session.id);
            headers.insert(fields::PROTOCOL_VERSION, session.version);
        }
        headers
    }

    async fn say(&self, message: Vec<u8>) {
        // A client that has gone needs nothing.
        let _ = self.0.out.send(message).await;
    }

    async fn refuse(&self, id: Option<&Id>, text: &str) {
        let mut out = Vec::new();
        mcp::write_error(&mut out, id, &WireError::internal(text));
        self.say(out).await;
    }
}

/// Whether the server answered in the protocol, and not as a door that lets nobody in.
fn is_message(text: &[u8]) -> bool {
    matches!(Message::parse(text), Ok(Message::Response(_) | Message::Failure(_)))
}

fn excerpt(text: &[u8]) -> String {
    String::from_utf8_lossy(text).chars().take(300).collect()
}
