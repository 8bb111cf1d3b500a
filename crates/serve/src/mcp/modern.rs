//! `2026-07-28` over HTTP: every request speaks for itself, and its answer is one message or a stream that ends with
//! it. A client that closes the stream cancels the request.

use std::sync::Arc;

use ::mcp::{
    Era, Id, Object, Request as Asked, WireError, headers as fields,
    meta::ModernMeta,
    methods,
    seal::{Purpose, nonce, request_digest},
};
use bytes::Bytes;
use http::{HeaderMap, Response};
use serde_json::{Value, json, value::RawValue};
use tokio::{sync::mpsc, time::Instant};

use super::{
    Mcp, Who,
    http::{KEEP_ALIVE, alive, event, message_of, stream_of},
    job::{Event, Job, input_responses},
    line::{Ears, Said, takes_tasks},
    listen::Listening,
    methods::{Handled, Round},
    shape::{Ended, Failed, Mould, notification, response},
    tasks::check_takes_tasks,
};
use crate::{body::Body, headers::write_limit};

/// What a request that asks and is asked again has in common over its rounds.
pub(crate) struct Thread {
    pub(crate) mcp: Arc<Mcp>,
    pub(crate) who: Who,
    pub(crate) mould: Mould,
    pub(crate) id: Id,
    pub(crate) method: String,
    /// The params of the request. Only a call that asks needs their digest, so it is not made for every one.
    pub(crate) params: Box<RawValue>,
    /// The tool or prompt or resource, for the list of tasks.
    pub(crate) subject: String,
}

/// What a modern request comes to.
pub(crate) enum Turn {
    /// This result, now.
    Now(Box<RawValue>),
    /// A call.
    Call(Box<(Job, Thread)>),
    /// A stream of what changes.
    Listen(Box<Listening>),
}

/// Answers a request. Its headers are held against its body where they are to be `checked`.
pub(crate) async fn request(
    mcp: &Arc<Mcp>,
    who: &Who,
    headers: &HeaderMap,
    checked: bool,
    asked: &Asked<'_>,
) -> Response<Body> {
    let accepts = fields::Accepts::of(headers);
    let turn = match take(mcp, who, checked.then_some(headers), asked).await {
        Ok(turn) => turn,
        Err(error) => return failed(&asked.id, &error),
    };
    match turn {
        Turn::Now(result) => message_of(response(&asked.id, &Ok(result)), 200),
        Turn::Listen(listening) => {
            if !accepts.events {
                let error = WireError::invalid_request("Accept must list text/event-stream to listen")
                    .with_status(406);
                return failed(&asked.id, &error);
            }
            let mcp = Arc::clone(mcp);
            stream_of(Body::stream(|sender| stream_changes(mcp, *listening, sender)))
        }
        Turn::Call(call) => answer_call(call.0, call.1, accepts.events).await,
    }
}

fn failed(id: &Id, error: &WireError) -> Response<Body> {
    let mut out = Vec::new();
    ::mcp::write_error(&mut out, Some(id), error);
    message_of(out, error.http(Era::Modern))
}

/// Reads a request, checks it in the order that the specification wants, and begins what it asks for. `headers` are
/// checked where there are any.
pub(crate) async fn take(
    mcp: &Arc<Mcp>,
    who: &Who,
    headers: Option<&HeaderMap>,
    asked: &Asked<'_>,
) -> Result<Turn, WireError> {
    let meta = ModernMeta::read(&asked.params)?;
    if let Some(headers) = headers {
        fields::check(headers, &meta.asked, asked)?;
    }
    let version = meta.version()?;
    let method = &*asked.method;
    if !methods::find(method)
        .is_some_and(|method| method.is_in(Era::Modern) && method.from != methods::From::Server)
    {
        return Err(WireError::method_not_found(method));
    }
    let takes_tasks = takes_tasks(&meta.capabilities);
    match method {
        "server/discover" => return Ok(Turn::Now(mcp.discover(who))),
        "subscriptions/listen" => {
            return mcp.listen(who, &asked.id, &asked.params, takes_tasks).map(Box::new).map(Turn::Listen);
        }
        "tasks/get" | "tasks/update" | "tasks/cancel" => {
            check_takes_tasks(takes_tasks)?;
            return task(mcp, who, method, &asked.params).await.map(Turn::Now);
        }
        "tools/call" => {
            if let Some(headers) = headers {
                mcp.check_mirrors(who, headers, &asked.params)?;
            }
        }
        _ => {}
    }
    let ears = Ears {
        capabilities: Arc::new(meta.capabilities.clone()),
        token: meta.meta.progress_token.clone(),
        level: meta.log_level,
        tasks: takes_tasks && method == "tools/call",
    };
    let thread = Thread {
        mcp: Arc::clone(mcp),
        who: who.clone(),
        mould: mcp.mould(version),
        id: asked.id.clone(),
        method: method.to_owned(),
        params: asked.params.raw().to_owned(),
        subject: subject(&asked.params),
    };
    if methods::find(method).is_some_and(|method| method.may_ask)
        && let Some(state) = asked.params.text("requestState")?
    {
        return resume(thread, &state, ears, &asked.params).map(|call| Turn::Call(Box::new(call)));
    }
    let label = meta.client.and_then(client_name);
    let round = Round { version, ears, given: input_responses(&asked.params), trace: meta.meta.trace, label };
    Ok(match mcp.handle(who, asked, round)? {
        Handled::Now(result) => Turn::Now(result),
        Handled::Call(job) => Turn::Call(Box::new((*job, thread))),
    })
}

/// What the client calls itself, for the log.
pub(crate) fn client_name(client: &RawValue) -> Option<Arc<str>> {
    let client = Object::read(client).ok()?;
    let name = client.text("name").ok()??;
    Some(name.chars().take(200).collect::<String>().into())
}

fn subject(params: &Object<'_>) -> String {
    let named = ["name", "uri"].iter().find_map(|name| params.text(name).ok().flatten());
    named.map(|name| name.chars().take(128).collect()).unwrap_or_default()
}

/// Takes a call up again where it asked.
fn resume(thread: Thread, state: &str, ears: Ears, params: &Object<'_>) -> Result<(Job, Thread), WireError> {
    let (mcp, principal) = (&thread.mcp, &thread.who.caller.principal);
    let opened = mcp.seals.open(
        Purpose::RequestState,
        &[principal.as_bytes(), &thread.digest()],
        mcp.clock.now(),
        state,
    );
    let opened = opened.map_err(|error| error.on_wire("requestState"))?;
    let mut job = mcp.parked.take(opened["call"].as_str().unwrap_or_default(), principal)?;
    job.line.listen(ears);
    job.answer(&input_responses(params));
    Ok((job, thread))
}

async fn task(
    mcp: &Arc<Mcp>,
    who: &Who,
    method: &str,
    params: &Object<'_>,
) -> Result<Box<RawValue>, WireError> {
    let id = params.needed_text("taskId")?;
    let shown = match method {
        "tasks/get" => mcp.task(who, &id).await?,
        "tasks/update" => {
            mcp.update_task(who, &id, input_responses(params)).await?;
            json!({})
        }
        _ => {
            mcp.cancel_task(who, &id).await?;
            json!({})
        }
    };
    Ok(mcp.mould(::mcp::Version::LATEST).result(&shown, None))
}

/// Waits for what a call comes to: one message where it comes to its end in silence, a stream where it speaks.
async fn answer_call(mut job: Job, thread: Thread, takes_events: bool) -> Response<Body> {
    let mut silence = Instant::now() + KEEP_ALIVE;
    loop {
        let event = tokio::select! {
            biased;
            event = job.next() => event,
            () = tokio::time::sleep_until(silence) => {
                if takes_events {
                    return stream_of(Body::stream(|sender| stream_call(job, thread, Some(alive()), sender)));
                }
                silence = Instant::now() + KEEP_ALIVE;
                continue;
            }
        };
        match thread.step(&mut job, event) {
            Step::Say(message) if takes_events => {
                let first = crate::mcp::http::event(&message);
                return stream_of(Body::stream(|sender| stream_call(job, thread, Some(first), sender)));
            }
            Step::Say(_) | Step::Nothing => {}
            Step::Ask => {
                let result = thread.ask(job).map_err(Failed::Wire);
                return whole(&thread, &Ended { result, limit: None });
            }
            Step::Detach => {
                let result = thread.detach(job).await.map_err(Failed::Wire);
                return whole(&thread, &Ended { result, limit: None });
            }
            Step::End(ended) => return whole(&thread, &ended),
        }
    }
}

fn whole(thread: &Thread, ended: &Ended) -> Response<Body> {
    let status = ended.result.as_ref().map_or_else(|error| error.http(Era::Modern), |_| 200);
    let mut answer = message_of(response(&thread.id, &ended.result), status);
    if let Some(state) = &ended.limit {
        write_limit(answer.headers_mut(), state, thread.mcp.clock.now());
    }
    answer
}

/// Streams what a call says, and last what it came to.
async fn stream_call(mut job: Job, thread: Thread, first: Option<Bytes>, sender: mpsc::Sender<Bytes>) {
    if let Some(first) = first
        && sender.send(first).await.is_err()
    {
        return;
    }
    let last = loop {
        let event = tokio::select! {
            event = job.next() => event,
            () = tokio::time::sleep(KEEP_ALIVE) => {
                if sender.send(alive()).await.is_err() {
                    return;
                }
                continue;
            }
        };
        match thread.step(&mut job, event) {
            Step::Nothing => {}
            Step::Say(message) => {
                if sender.send(crate::mcp::http::event(&message)).await.is_err() {
                    return;
                }
            }
            Step::Ask => break thread.ask(job).map_err(Failed::Wire),
            Step::Detach => break thread.detach(job).await.map_err(Failed::Wire),
            Step::End(ended) => break ended.result,
        }
    };
    // Whoever has gone does not need it.
    let _ = sender.send(event(&response(&thread.id, &last))).await;
}

/// What an event of a call means for its answer.
pub(crate) enum Step {
    /// Nothing.
    Nothing,
    /// This message goes out.
    Say(Vec<u8>),
    /// The answer is a question.
    Ask,
    /// The answer is a task.
    Detach,
    /// This is the answer.
    End(Ended),
}

impl Thread {
    /// What an event of a call means for its answer.
    pub(crate) fn step(&self, job: &mut Job, event: Event) -> Step {
        match event {
            Event::Ended(ended) => Step::End(ended),
            Event::Said(Said::Asks(asks)) => {
                job.wait_for(asks);
                Step::Ask
            }
            Event::Said(Said::Detach) => Step::Detach,
            Event::Said(Said::Cut) => Step::Nothing,
            Event::Said(said) => say(job, said).map_or(Step::Nothing, Step::Say),
        }
    }

    /// What is asked for, without what differs between rounds.
    fn digest(&self) -> [u8; 32] {
        // They were read before.
        request_digest(&self.method, &Object::read(&self.params).unwrap_or_default())
    }

    /// Lets the call wait for its caller's next request, and says what is asked.
    pub(crate) fn ask(&self, job: Job) -> Result<Box<RawValue>, WireError> {
        let (mcp, principal) = (&self.mcp, &self.who.caller.principal);
        let handle = nonce().map_err(|e| WireError::internal(e.to_string()))?;
        let requests = job.input_requests();
        let time = mcp.answer_time();
        let bound: [&[u8]; 2] = [principal.as_bytes(), &self.digest()];
        let state = json!({ "call": handle });
        let sealed = mcp.seals.seal(Purpose::RequestState, &bound, mcp.clock.now().after(time), &state);
        let sealed = sealed.map_err(|e| WireError::internal(e.to_string()))?;
        mcp.parked.leave(handle, job, Arc::clone(principal), Instant::now() + time)?;
        let result =
            json!({ "resultType": "input_required", "inputRequests": requests, "requestState": sealed });
        Ok(self.mould.result(&result, None))
    }

    /// Makes a task of the call.
    pub(crate) async fn detach(&self, job: Job) -> Result<Box<RawValue>, WireError> {
        // Whoever listens to a task does so elsewhere.
        let ears = Ears { token: Some(Id::integer(0)), level: None, ..job.line.ears().clone() };
        job.line.listen(ears);
        self.mcp.make_task(&self.who, &self.subject, job, self.mould.clone()).await
    }
}

/// Progress and log as messages; nothing for what is no message, or is not wanted.
pub(crate) fn say(job: &Job, said: Said) -> Option<Vec<u8>> {
    match said {
        Said::Progress(progress) => {
            let token = job.line.ears().token.clone()?;
            let mut params = json!({ "progress": number(progress.done) });
            if let Some(total) = progress.total {
                params["total"] = number(total);
            }
            if let Some(message) = progress.message {
                params["message"] = json!(message);
            }
            let params = tool::json::raw(&params);
            let object = Object::read(&params).ok()?;
            let mut out = Vec::new();
            let with_token = ::mcp::Edit::of(&object).set("progressToken", &token);
            ::mcp::write_notification(&mut out, "notifications/progress", Some(&with_token));
            Some(out)
        }
        Said::Log(level, data) => {
            let level = ::mcp::meta::Level::from(level).as_str();
            Some(notification(
                "notifications/message",
                &json!({ "level": level, "logger": "tool", "data": data }),
            ))
        }
        Said::Asks(_) | Said::Detach | Said::Cut => None,
    }
}

/// A number as a person would write it: `50`, not `50.0`.
fn number(value: f64) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
    if value.fract() == 0.0 && value.abs() < 9.0e15 { json!(value as i64) } else { json!(value) }
}

/// Streams what changes, until the client goes or the server stops.
async fn stream_changes(mcp: Arc<Mcp>, mut listening: Listening, sender: mpsc::Sender<Bytes>) {
    let stop = mcp.stop();
    let mut next = event(&listening.acknowledged());
    loop {
        if sender.send(next).await.is_err() {
            return;
        }
        next = tokio::select! {
            message = listening.next() => event(&message),
            () = tokio::time::sleep(KEEP_ALIVE) => alive(),
            () = stop.asked() => break,
        };
    }
    let _ = sender.send(event(&listening.end(&mcp))).await;
}
