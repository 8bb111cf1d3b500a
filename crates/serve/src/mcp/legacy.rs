//! `2025-11-25` and older over HTTP: sessions, and requests in both directions on the stream of the request that
//! caused them. A client that loses its connection has cancelled nothing.

use std::sync::{Arc, atomic::Ordering};

use ::mcp::{
    Era, Id, Message, Request as Asked, Version, WireError, headers as fields,
    meta::{Level, Meta},
};
use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::{json, value::RawValue};
use tokio::{
    sync::{Notify, broadcast::error::RecvError, mpsc},
    time::Instant,
};
use tool::{Code, Fault};

use super::{
    Mcp, Who,
    http::{KEEP_ALIVE, accepted, alive, event, message_of, stream_of},
    job::{Event, Job},
    line::{Answers, Asks, Ears, Said},
    listen::told,
    methods::{Handled, Round},
    modern::say,
    sessions::Session,
    shape::{Ended, notification, response},
    streams::{First, Stream, place},
};
use crate::body::Body;

/// A message of a client.
pub(crate) async fn post(
    mcp: &Arc<Mcp>,
    who: &Who,
    headers: &HeaderMap,
    message: &Message<'_>,
) -> Response<Body> {
    if let Message::Request(asked) = message
        && asked.method == "initialize"
    {
        return initialize(mcp, who, asked).await;
    }
    let session = match session(mcp, who, headers).await {
        Ok(session) => session,
        Err(error) => {
            let id = if let Message::Request(asked) = message { Some(&asked.id) } else { None };
            let mut out = Vec::new();
            ::mcp::write_error(&mut out, id, &error);
            return message_of(out, error.http(Era::Legacy));
        }
    };
    match message {
        Message::Request(asked) => request(mcp, who, &session, headers, asked).await,
        other => {
            hear(&session, other);
            accepted()
        }
    }
}

/// What a client tells: a cancellation, or an answer.
pub(crate) fn hear(session: &Session, message: &Message<'_>) {
    match message {
        Message::Notification(told) if told.method == "notifications/cancelled" => {
            if let Some(id) = told.params.get("requestId").and_then(|text| Id::parse(text).ok()) {
                session.cancel(&id);
            }
        }
        Message::Response(answer) => session.answered(&answer.id, Ok(answer.result.to_owned())),
        Message::Failure(failure) => {
            if let Some(id) = &failure.id {
                let text =
                    failure.read().map_or_else(|error| error.message, |error| error.message.into_owned());
                let text: String = text.chars().take(300).collect();
                session.answered(
                    id,
                    Err(Fault::new(Code::Upstream, format!("the caller could not answer: {text}"))),
                );
            }
        }
        _ => {}
    }
}

/// The session that a request names.
async fn session(mcp: &Mcp, who: &Who, headers: &HeaderMap) -> Result<Arc<Session>, WireError> {
    if let Some(version) = fields::only(headers, &fields::PROTOCOL_VERSION)?
        && Version::parse(version).is_none()
    {
        return Err(WireError::unsupported_version(version));
    }
    let id = fields::only(headers, &fields::SESSION_ID)?;
    let id = id.ok_or_else(|| {
        WireError::invalid_request(
            "the header Mcp-Session-Id is missing; begin with initialize, or use protocol 2026-07-28",
        )
        .with_status(400)
    })?;
    let found = mcp.sessions.find(id, &who.caller.principal, mcp.clock.now()).await;
    found.ok_or_else(|| {
        WireError::invalid_request("there is no such session; begin a new one with initialize")
            .with_status(404)
    })
}

async fn initialize(mcp: &Arc<Mcp>, who: &Who, asked: &Asked<'_>) -> Response<Body> {
    let version = match asked.params.needed_text("protocolVersion") {
        Ok(wanted) => Version::negotiate(&wanted),
        Err(error) => return answer(&asked.id, Err(error)),
    };
    let (principal, now) = (&who.caller.principal, mcp.clock.now());
    match mcp.sessions.begin(principal, &who.caller.credential, version, &asked.params, now).await {
        Err(error) => answer(&asked.id, Err(error)),
        Ok((id, _)) => {
            let mut response = answer(&asked.id, Ok(mcp.initialized(who, version)));
            if let Ok(id) = HeaderValue::from_str(&id) {
                response.headers_mut().insert(fields::SESSION_ID, id);
            }
            response
        }
    }
}

fn answer(id: &Id, result: Result<Box<RawValue>, WireError>) -> Response<Body> {
    let status = result.as_ref().map_or_else(|error| error.http(Era::Legacy), |_| 200);
    message_of(response(id, &result.map_err(Into::into)), status)
}

impl Mcp {
    /// The result of `initialize`.
    pub(crate) fn initialized(&self, who: &Who, version: Version) -> Box<RawValue> {
        let server: serde_json::Value = serde_json::from_str(self.server.get()).unwrap_or_default();
        let mut shown = json!({
            "protocolVersion": version.as_str(),
            "capabilities": self.capabilities(Era::Legacy),
            "serverInfo": server,
        });
        if let Some(text) = self.instructions(&who.caller) {
            shown["instructions"] = json!(text);
        }
        tool::json::raw(&shown)
    }
}

/// What a request of a session comes to.
pub(crate) enum Turn {
    Now(Box<RawValue>),
    Call(Box<Job>),
}

/// Reads a request, and begins what it asks for.
pub(crate) fn take(
    mcp: &Arc<Mcp>,
    who: &Who,
    session: &Session,
    asked: &Asked<'_>,
) -> Result<Turn, WireError> {
    let empty = || Ok(Turn::Now(tool::json::raw(&json!({}))));
    match &*asked.method {
        "ping" => empty(),
        "logging/setLevel" => {
            session.set_level(Level::parse(&asked.params.needed_text("level")?)?);
            empty()
        }
        "resources/subscribe" => {
            let uri = asked.params.needed_text("uri")?;
            if !mcp.road.may_watch(&who.caller, &uri) {
                return Err(WireError::resource_not_found(&uri, Era::Legacy));
            }
            session.watch(&uri, true)?;
            empty()
        }
        "resources/unsubscribe" => {
            session.watch(&asked.params.needed_text("uri")?, false)?;
            empty()
        }
        _ => {
            let meta = Meta::read(&asked.params)?;
            let ears = Ears {
                capabilities: Arc::clone(&session.capabilities),
                token: meta.progress_token,
                level: Some(session.level()),
                tasks: false,
            };
            let round = Round {
                version: session.version,
                ears,
                given: Answers::new(),
                trace: meta.trace,
                label: session.label.clone(),
            };
            mcp.handle(who, asked, round).map(|handled| match handled {
                Handled::Now(result) => Turn::Now(result),
                Handled::Call(job) => Turn::Call(job),
            })
        }
    }
}

async fn request(
    mcp: &Arc<Mcp>,
    who: &Who,
    session: &Arc<Session>,
    headers: &HeaderMap,
    asked: &Asked<'_>,
) -> Response<Body> {
    let job = match take(mcp, who, session, asked) {
        Ok(Turn::Call(job)) => *job,
        Ok(Turn::Now(result)) => return answer(&asked.id, Ok(result)),
        Err(error) => return answer(&asked.id, Err(error)),
    };
    let (stream, cancelled) = match session.open(&asked.id) {
        Ok(opened) => opened,
        Err(error) => return answer(&asked.id, Err(error)),
    };
    let carried = Carried { mcp: Arc::clone(mcp), session: Arc::clone(session), id: asked.id.clone() };
    mcp.tracker.spawn(carried.carry(job, cancelled, Sink::Stream(Arc::clone(&stream))));
    match stream.first().await {
        First::Nothing => accepted(),
        First::Answer(message) => {
            session.drop_stream(&stream);
            message_of(message, 200)
        }
        First::Stream if !fields::Accepts::of(headers).events => {
            let text = "this call speaks before it answers; Accept must list text/event-stream";
            session.cancel(&asked.id);
            answer(&asked.id, Err(WireError::invalid_request(text).with_status(406)))
        }
        First::Stream => {
            let primes = session.version >= Version::LATEST_LEGACY;
            stream_of(Body::stream(|sender| stream.pump(primes, sender)))
        }
    }
}

/// Where messages of a call go.
pub(crate) enum Sink {
    /// Its stream.
    Stream(Arc<Stream>),
    /// The one way back of a transport without streams.
    Writer(mpsc::Sender<Vec<u8>>),
}

impl Sink {
    async fn send(&self, message: Vec<u8>) {
        match self {
            Self::Stream(stream) => stream.send(message),
            // A reader that has gone needs nothing.
            Self::Writer(writer) => drop(writer.send(message).await),
        }
    }

    async fn finish(&self, message: Vec<u8>) {
        match self {
            Self::Stream(stream) => stream.finish(message),
            Self::Writer(_) => self.send(message).await,
        }
    }

    fn end(&self) {
        if let Self::Stream(stream) = self {
            stream.end();
        }
    }
}

/// A call of a session, carried to its end whether its client is connected or not.
pub(crate) struct Carried {
    pub(crate) mcp: Arc<Mcp>,
    pub(crate) session: Arc<Session>,
    pub(crate) id: Id,
}

/// An answer of the client to one of our questions, by the question's key.
type Answered = (String, Id, Result<Box<RawValue>, Fault>);

impl Carried {
    pub(crate) async fn carry(self, mut job: Job, cancelled: Arc<Notify>, sink: Sink) {
        let mut asked = FuturesUnordered::new();
        let ended = loop {
            tokio::select! {
                event = job.next() => match event {
                    Event::Ended(ended) => break Some(ended),
                    Event::Said(Said::Asks(asks)) => {
                        for question in self.send_questions(&mut job, asks, &sink).await {
                            asked.push(question);
                        }
                    }
                    Event::Said(Said::Cut) => {
                        if let Sink::Stream(stream) = &sink {
                            stream.cut();
                        }
                    }
                    Event::Said(said) => {
                        if let Some(message) = say(&job, said) {
                            sink.send(message).await;
                        }
                    }
                },
                Some((key, id, reply)) = asked.next() => {
                    self.session.give_up(&id);
                    match reply {
                        Ok(answer) => {
                            job.answer(&Answers::from([(key.clone(), answer)]));
                            // Still open: what came was no answer to it.
                            job.fail(&key, Fault::new(Code::Upstream, "the caller's answer to the question is none"));
                        }
                        Err(fault) => job.fail(&key, fault),
                    }
                }
                () = cancelled.notified() => break None,
            }
        };
        // Dropping a cancelled job stops what only looks.
        drop(job);
        let is_wanted = self.session.close(&self.id);
        match ended.filter(|_| is_wanted) {
            Some(Ended { result, .. }) => sink.finish(response(&self.id, &result)).await,
            None => sink.end(),
        }
    }

    /// Sends the questions as requests on the stream of the call; the answers come from the futures.
    async fn send_questions(
        &self,
        job: &mut Job,
        asks: Asks,
        sink: &Sink,
    ) -> Vec<impl Future<Output = Answered> + use<>> {
        let questions: Vec<_> = asks.open().cloned().collect();
        job.hold(asks);
        let mut waiting = Vec::new();
        for question in questions {
            let key = question.key.to_string();
            let Ok((id, reply)) = self.session.ask() else {
                job.fail(&key, Fault::new(Code::Busy, "too many questions are open"));
                continue;
            };
            let mut out = Vec::new();
            let params = question.params();
            ::mcp::write_request(&mut out, &id, question.method(), Some(&&*params));
            sink.send(out).await;
            let due = Instant::now() + self.mcp.answer_time();
            waiting.push(async move {
                let late = || Fault::new(Code::TimedOut, "the caller did not answer the question in time");
                let reply = tokio::time::timeout_at(due, reply).await;
                let gone = || Fault::new(Code::Cancelled, "the caller went before it answered");
                (
                    key,
                    id,
                    reply
                        .map_err(|_| late())
                        .and_then(|reply| reply.map_err(|_| gone()))
                        .and_then(|reply| reply),
                )
            });
        }
        waiting
    }
}

/// The stream of a session that belongs to no request, or one that is taken up again.
pub(crate) async fn get(mcp: &Arc<Mcp>, who: &Who, headers: &HeaderMap) -> Result<Response<Body>, WireError> {
    fields::Accepts::of(headers).check_get()?;
    let session = session(mcp, who, headers).await?;
    if let Some(last) = fields::only(headers, &fields::LAST_EVENT_ID)? {
        let found = place(last).and_then(|(stream, seen)| Some((session.stream(stream)?, seen)));
        if let Some((stream, seen)) = found {
            return Ok(stream_of(Body::stream(|sender| stream.resume(seen, sender))));
        }
        // What it names is gone: it goes on with what comes.
    }
    let mcp = Arc::clone(mcp);
    Ok(stream_of(Body::stream(|sender| stream_notices(mcp, session, sender))))
}

/// Sends what changes, until the client goes, opens another such stream, or the server stops.
async fn stream_notices(mcp: Arc<Mcp>, session: Arc<Session>, sender: mpsc::Sender<Bytes>) {
    let mine = session.listening.fetch_add(1, Ordering::AcqRel) + 1;
    let (mut notices, stop) = (mcp.road.notices(), mcp.stop());
    let mut next = Some(alive());
    loop {
        if let Some(piece) = next
            && sender.send(piece).await.is_err()
        {
            return;
        }
        next = tokio::select! {
            notice = notices.recv() => match notice {
                Ok(notice) => told(&notice, true, true, true, |uri| session.watches(uri))
                    .map(|(method, params)| event(&notification(method, &params))),
                Err(RecvError::Lagged(_)) => None,
                Err(RecvError::Closed) => return,
            },
            () = tokio::time::sleep(KEEP_ALIVE) => Some(alive()),
            () = stop.asked() => return,
        };
        if session.listening.load(Ordering::Acquire) != mine {
            return;
        }
    }
}

/// Ends a session.
pub(crate) async fn delete(
    mcp: &Arc<Mcp>,
    who: &Who,
    headers: &HeaderMap,
) -> Result<Response<Body>, WireError> {
    let session = session(mcp, who, headers).await?;
    mcp.sessions.end(&session).await;
    let mut response = Response::new(Body::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}
