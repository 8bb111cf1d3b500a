//! A server on the network: every message is a POST of its own, answered with JSON or with a stream of events.
//!
//! Source: 2026-07-28 basic/transports/streamable-http; 2025-11-25 basic/transports, "Streamable HTTP", for what the
//! older protocol adds: sessions, a stream of the session, streams that are taken up again.

use std::{net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_util::client::legacy::connect::HttpInfo;
use mcp::{
    Id, Version,
    headers::{self, Content},
    sse::{EventId, Item, Reader},
};
use tokio::time::{Instant, timeout_at};
use url::{Position, Url};

use crate::{
    error::UpstreamError,
    guard::{self, Client, Guard},
    lanes::{Answer, Lanes},
    oauth::{Challenge, OAuth},
    request::Request,
    table::{Came, Progressed, Table, Ticket},
};

/// The most that is read of an answer that only says no, in bytes.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;
/// How often one answer is taken up again after its stream ended early.
const RESUMES_MAX: u32 = 16;
/// How long to wait before that, where the server does not say.
const RESUME_WAIT: Duration = Duration::from_millis(500);
/// The longest it may say.
const RESUME_WAIT_MAX: Duration = Duration::from_secs(30);
/// The longest wait that a server that says no may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);
/// How long an answer is held back where its server says things on the stream of the session while it works: what it
/// said last may come after the answer, which has another connection.
const LAST_WORDS: Duration = Duration::from_millis(50);

/// How often one request is sent again with another token.
const CHALLENGES_MAX: usize = 4;

/// What we call ourselves.
const AGENT: HeaderValue = HeaderValue::from_static(concat!("portcullis/", env!("CARGO_PKG_VERSION")));

/// A place on the network.
#[derive(Debug)]
pub(crate) struct Http {
    uri: Uri,
    url: Url,
    /// Where tokens come from, where it wants any.
    pub(crate) oauth: Option<Arc<OAuth>>,
    /// The address, where the URL has one in the place of a name: nobody looks it up, so it is checked with each request.
    literal: Option<IpAddr>,
    guard: Arc<Guard>,
    way: Way,
    /// What goes out with every request: the operator's headers, our name, and what we take.
    headers: HeaderMap,
    bytes_max: usize,
}

/// How requests reach it.
#[derive(Debug)]
enum Way {
    /// Without TLS nothing but HTTP/1.1 is spoken: over connections that calls drive themselves.
    Plain(Arc<Lanes>),
    /// With TLS the server chooses the version, and HTTP/2 carries many calls over one connection.
    Secure(Box<Client>),
}

type Response = http::Response<Answer>;

/// About as many headers as a request has beside the operator's; reserved at once.
const HEADERS: usize = 8;

/// What was agreed on with the server; nothing yet where it is asked for the first time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Agreed {
    pub(crate) version: Option<Version>,
    /// The session, as only the older protocol has it.
    pub(crate) session: Option<HeaderValue>,
}

impl Agreed {
    fn is_modern(&self) -> bool {
        self.version.is_some_and(Version::is_modern)
    }
}

impl Http {
    /// A place, behind its guard.
    ///
    /// Error: a sentence that says why there is no client to it.
    pub(crate) fn new(
        url: &Url,
        guard: Arc<Guard>,
        mut headers: HeaderMap,
        (connect_timeout, idle_max, bytes_max): (Duration, usize, usize),
        tls: Option<rustls::ClientConfig>,
        oauth: Option<Arc<OAuth>>,
    ) -> Result<Self, String> {
        let wrong = |e: &dyn std::fmt::Display| format!("{url}: {e}");
        let mut uri: Uri = url.as_str().parse().map_err(|e| wrong(&e))?;
        let connector = guard::connector(&guard, connect_timeout, tls).map_err(|e| e.to_string())?;
        headers.entry(header::USER_AGENT).or_insert(AGENT);
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        let way = if url.scheme() == "https" {
            Way::Secure(Box::new(guard::client(connector, idle_max)))
        } else {
            // Without a port that is the scheme's own (RFC 9110, 7.2).
            let host = &url[Position::BeforeHost..Position::AfterPort];
            headers.insert(header::HOST, HeaderValue::from_str(host).map_err(|e| wrong(&e))?);
            let lanes = Lanes::new(connector, uri.clone(), idle_max);
            // The target of a request is what comes after the authority (RFC 9112, 3.2.1).
            uri =
                uri.path_and_query().map_or("/", |target| target.as_str()).parse().map_err(|e| wrong(&e))?;
            Way::Plain(lanes)
        };
        Ok(Self {
            uri,
            url: url.clone(),
            oauth,
            literal: place::literal(url),
            guard,
            way,
            headers,
            bytes_max,
        })
    }

    /// Sends a request.
    ///
    /// Error: arguments that its headers cannot repeat.
    pub(crate) fn start(
        self: &Arc<Self>,
        request: &Request,
        ticket: Ticket,
        agreed: &Agreed,
    ) -> Result<HttpExchange, UpstreamError> {
        let mut sent = self.common(agreed);
        let modern = agreed.version.filter(|version| version.is_modern());
        if modern.is_some() {
            sent.insert(headers::METHOD, HeaderValue::from_static(request.method));
            if let Some(name) = &request.name {
                sent.insert(headers::NAME, headers::encode(name));
            }
            if let Some((mirrors, arguments)) = &request.mirrored {
                let written = mirrors.write(&mut sent, Some(arguments));
                written.map_err(|e| UpstreamError::Unsendable(e.message))?;
            }
        }
        let body = request.write(&ticket.id, modern);
        let opening = Box::pin(Arc::clone(self).open(Method::POST, sent, body, agreed.clone()));
        Ok(HttpExchange {
            http: Arc::clone(self),
            agreed: agreed.clone(),
            ticket,
            session: None,
            stream: Stream::Opening(opening),
            resumes_left: RESUMES_MAX,
            speaks_aside: false,
            held: None,
        })
    }

    /// Sends a message that wants no answer.
    pub(crate) async fn post(&self, body: Vec<u8>, agreed: &Agreed) -> Result<(), UpstreamError> {
        let response = self.send(Method::POST, self.common(agreed), body).await?;
        let status = response.status();
        if status.is_success() { Ok(()) } else { Err(refused(&response, agreed)) }
    }

    /// Opens the stream of a session, from an event on.
    pub(crate) async fn stream(
        &self,
        after: Option<&EventId>,
        agreed: &Agreed,
    ) -> Result<Events, UpstreamError> {
        let response = self.send(Method::GET, self.getting(after, agreed), Vec::new()).await?;
        if response.status().is_success() && headers::content(response.headers()) == Content::Events {
            return Ok(Events::new(response, self.bytes_max));
        }
        Err(refused(&response, agreed))
    }

    /// Ends a session. A server may refuse that.
    pub(crate) async fn delete(&self, agreed: &Agreed) -> Result<(), UpstreamError> {
        self.send(Method::DELETE, self.common(agreed), Vec::new()).await.map(drop)
    }

    fn common(&self, agreed: &Agreed) -> HeaderMap {
        let mut sent = self.headers.clone();
        sent.reserve(HEADERS);
        if let Some(version) = agreed.version {
            sent.insert(headers::PROTOCOL_VERSION, HeaderValue::from_static(version.as_str()));
        }
        if let Some(session) = &agreed.session {
            sent.insert(headers::SESSION_ID, session.clone());
        }
        sent
    }

    fn getting(&self, after: Option<&EventId>, agreed: &Agreed) -> HeaderMap {
        let mut sent = self.common(agreed);
        sent.insert(header::ACCEPT, HeaderValue::from_static("text/event-stream"));
        if let Some(id) = after.and_then(|id| HeaderValue::from_str(id.as_str()).ok()) {
            sent.insert(headers::LAST_EVENT_ID, id);
        }
        sent
    }

    async fn send(&self, method: Method, sent: HeaderMap, body: Vec<u8>) -> Result<Response, UpstreamError> {
        let body = Bytes::from(body);
        match &self.oauth {
            None => self.send_once(method, sent, body).await,
            Some(oauth) => Box::pin(self.send_with_token(oauth, method, sent, body)).await,
        }
    }

    /// Sends, and again with another token where the server wants one: it has done nothing until then.
    async fn send_with_token(
        &self,
        oauth: &OAuth,
        method: Method,
        sent: HeaderMap,
        body: Bytes,
    ) -> Result<Response, UpstreamError> {
        for _ in 0..CHALLENGES_MAX {
            let used = oauth.authorization().await;
            let mut sent = sent.clone();
            if let Some(value) = &used {
                sent.insert(header::AUTHORIZATION, value.clone());
            }
            let response = self.send_once(method.clone(), sent, body.clone()).await?;
            match Challenge::read(response.status(), response.headers(), &self.url) {
                Some(challenge) => oauth.challenged(used.as_ref(), &challenge).await?,
                None => {
                    oauth.proved();
                    return Ok(response);
                }
            }
        }
        Err(UpstreamError::Authorization("it refuses every token that it is given".to_owned()))
    }

    async fn send_once(
        &self,
        method: Method,
        mut sent: HeaderMap,
        body: Bytes,
    ) -> Result<Response, UpstreamError> {
        if let Some(address) = self.literal {
            self.guard.check(&[address])?;
        }
        if method == Method::POST {
            sent.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let mut request = http::Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = sent;
        let (response, address) = match &self.way {
            Way::Plain(lanes) => lanes.request(request).await?,
            Way::Secure(client) => {
                let response = Box::pin(client.request(request)).await.map_err(guard::failed)?;
                let info = response.extensions().get::<HttpInfo>();
                let address = info.map(|info| info.remote_addr().ip());
                (response.map(Answer::from), address)
            }
        };
        if let Some(address) = address {
            self.guard.check(&[address])?;
        }
        Ok(response)
    }

    /// Sends, and takes the answer in as far as it has to be waited for: all of one that is JSON.
    async fn open(
        self: Arc<Self>,
        method: Method,
        sent: HeaderMap,
        body: Vec<u8>,
        agreed: Agreed,
    ) -> Result<Opened, UpstreamError> {
        let response = self.send(method, sent, body).await?;
        let status = response.status();
        if status == StatusCode::NOT_FOUND && agreed.session.is_some() {
            return Err(UpstreamError::SessionGone);
        }
        let session = response.headers().get(headers::SESSION_ID).cloned();
        let content = headers::content(response.headers());
        if !status.is_success() {
            let refusal = refused(&response, &agreed);
            let may_say_why = status.is_client_error() && content == Content::Json;
            return match may_say_why {
                // An error of the protocol is an answer, whatever its status.
                true => match read(response, REFUSAL_BYTES_MAX).await {
                    Ok(body) if says_why(&body) => Ok(Opened::Whole(body, session)),
                    _ => Err(refusal),
                },
                false => Err(refusal),
            };
        }
        match content {
            Content::Json => Ok(Opened::Whole(read(response, self.bytes_max).await?, session)),
            Content::Events => Ok(Opened::Events(Box::new(Events::new(response, self.bytes_max)), session)),
            Content::Other => {
                Err(UpstreamError::protocol(format!("status {status} without JSON and without events")))
            }
        }
    }
}

fn says_why(body: &[u8]) -> bool {
    matches!(mcp::Message::parse(body), Ok(mcp::Message::Failure(_)))
}

fn refused(response: &Response, agreed: &Agreed) -> UpstreamError {
    let status = response.status();
    if status == StatusCode::NOT_FOUND && agreed.session.is_some() {
        return UpstreamError::SessionGone;
    }
    let seconds =
        response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let retry_after = seconds.map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAX));
    UpstreamError::Status { status: status.as_u16(), retry_after }
}

async fn read(response: Response, bytes_max: usize) -> Result<Bytes, UpstreamError> {
    match Limited::new(response.into_body(), bytes_max).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(UpstreamError::TooLarge(bytes_max)),
        Err(error) => Err(UpstreamError::Broken(Some(error))),
    }
}

/// An answer that has begun.
enum Opened {
    Whole(Bytes, Option<HeaderValue>),
    Events(Box<Events>, Option<HeaderValue>),
}

/// A stream of events.
#[derive(Debug)]
pub(crate) struct Events {
    body: Answer,
    reader: Reader,
    bytes_max: usize,
    /// How long to wait before the stream is taken up again.
    pub(crate) retry: Option<Duration>,
}

impl Events {
    fn new(response: Response, bytes_max: usize) -> Self {
        Self { body: response.into_body(), reader: Reader::new(bytes_max), bytes_max, retry: None }
    }

    /// The next message, as bytes; `None` at the end. Events without data, and of other types, are none.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, UpstreamError> {
        loop {
            match self.reader.pop() {
                Some(Item::Event(event)) if &*event.kind == "message" && !event.data.is_empty() => {
                    return Ok(Some(event.data));
                }
                Some(Item::Event(_)) => {}
                Some(Item::Retry(ms)) => self.retry = Some(Duration::from_millis(ms).min(RESUME_WAIT_MAX)),
                Some(Item::TooLarge) => return Err(UpstreamError::TooLarge(self.bytes_max)),
                None => match self.body.frame().await.transpose().map_err(guard::broken)? {
                    // What comes after a body is nothing to us.
                    Some(frame) => frame.data_ref().into_iter().for_each(|piece| self.reader.feed(piece)),
                    None => return Ok(None),
                },
            }
        }
    }

    /// Where the stream can be taken up again, where it can.
    pub(crate) fn last_id(&self) -> Option<&EventId> {
        self.reader.last_id()
    }
}

/// One request that is under way.
pub(crate) struct HttpExchange {
    http: Arc<Http>,
    agreed: Agreed,
    pub(crate) ticket: Ticket,
    /// The session that the answer named.
    pub(crate) session: Option<HeaderValue>,
    stream: Stream,
    resumes_left: u32,
    /// True once something came for it on the stream of the session.
    speaks_aside: bool,
    /// The answer, and until when it is held back.
    held: Option<(Came, Instant)>,
}

enum Stream {
    /// The answer has not begun; also while it is taken up again.
    Opening(BoxFuture<'static, Result<Opened, UpstreamError>>),
    Events(Box<Events>),
}

impl HttpExchange {
    /// What comes next. May be dropped and called again.
    pub(crate) async fn next(&mut self, table: &Table) -> Result<Came, UpstreamError> {
        if self.held.is_none() {
            match self.come(table).await? {
                answer @ Came::Answer(..) if self.speaks_aside => {
                    self.held = Some((answer, Instant::now() + LAST_WORDS));
                }
                came => return Ok(came),
            }
        }
        let until = self.held.as_ref().map_or_else(Instant::now, |(_, until)| *until);
        if let Ok(Some(came)) = timeout_at(until, self.ticket.aside()).await {
            return Ok(came);
        }
        self.held.take().map(|(answer, _)| answer).ok_or(UpstreamError::Broken(None))
    }

    /// What comes next, as soon as it comes.
    async fn come(&mut self, table: &Table) -> Result<Came, UpstreamError> {
        let Self { http, agreed, ticket, session, stream, resumes_left, speaks_aside, .. } = self;
        let id = ticket.id.clone();
        let own = async {
            loop {
                match step(stream, session, &id).await? {
                    Step::Came(came) => match belongs(came, &id, table) {
                        Some(came) => return Ok(came),
                        None => continue,
                    },
                    Step::Ended { after, retry } if *resumes_left > 0 && !agreed.is_modern() => {
                        *resumes_left -= 1;
                        *stream = Stream::Opening(resumed(http, agreed, after, retry));
                        return Ok(Came::LetGo);
                    }
                    Step::Ended { .. } => return Err(UpstreamError::Broken(None)),
                    Step::Over => return Err(UpstreamError::Broken(None)),
                }
            }
        };
        tokio::select! {
            biased;
            came = ticket.next() => {
                *speaks_aside |= matches!(came, Ok(Came::Note(_)));
                came
            }
            came = own => came,
        }
    }
}

/// What one step on a stream comes to.
enum Step {
    Came(Came),
    /// The stream ended, and can be taken up again after this event.
    Ended {
        after: EventId,
        retry: Duration,
    },
    /// The stream ended.
    Over,
}

async fn step(
    stream: &mut Stream,
    session: &mut Option<HeaderValue>,
    ours: &Id,
) -> Result<Step, UpstreamError> {
    loop {
        match stream {
            Stream::Opening(opening) => match opening.await? {
                Opened::Whole(body, named) => {
                    *session = named.or(session.take());
                    *stream = Stream::Opening(Box::pin(async { Err(UpstreamError::Broken(None)) }));
                    return Came::read(&body, Some(ours)).map(Step::Came).map_err(UpstreamError::Protocol);
                }
                Opened::Events(events, named) => {
                    *session = named.or(session.take());
                    *stream = Stream::Events(events);
                }
            },
            Stream::Events(events) => {
                let Some(data) = events.next().await? else {
                    let retry = events.retry.unwrap_or(RESUME_WAIT);
                    let after = events.last_id().cloned();
                    return Ok(after.map_or(Step::Over, |after| Step::Ended { after, retry }));
                };
                match Came::read(&data, Some(ours)) {
                    Ok(came) => return Ok(Step::Came(came)),
                    Err(why) => tracing::debug!(why, "an event is no message and is passed over"),
                }
            }
        }
    }
}

/// What came on the stream of a request, where it belongs to it: the answer to another request, and progress that is
/// no news, do not.
fn belongs(came: Came, ours: &Id, table: &Table) -> Option<Came> {
    match came {
        Came::Answer(id, answer) if id != *ours => {
            table.hand_on(Came::Answer(id, answer));
            None
        }
        Came::Note(note) if note.method == "notifications/progress" => {
            let progress = Progressed::read(&note.params)?;
            let is_news = progress.token == *ours && table.has_grown(ours, progress.done);
            is_news.then_some(Came::Note(note))
        }
        came => Some(came),
    }
}

/// Takes an answer up again (2025-11-25 basic/transports, "Resumability and Redelivery").
fn resumed(
    http: &Arc<Http>,
    agreed: &Agreed,
    after: EventId,
    retry: Duration,
) -> BoxFuture<'static, Result<Opened, UpstreamError>> {
    let (http, agreed) = (Arc::clone(http), agreed.clone());
    Box::pin(async move {
        tokio::time::sleep(retry).await;
        let sent = http.getting(Some(&after), &agreed);
        http.open(Method::GET, sent, Vec::new(), agreed).await
    })
}
