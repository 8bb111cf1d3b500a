//! One call: what a caller asked for, sent under the server's names, and everything that passes between the two until
//! it ends.

use std::{collections::HashMap, pin::pin, sync::Arc, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use mcp::{
    Edit, Id, Object, WireError, code,
    result::{Kind as ResultKind, RESULT_TYPE},
};
use serde_json::{Value, json, value::RawValue};
use tokio::{
    sync::SemaphorePermit,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use tool::{
    Body, Code, Completing, Fault, Kind, LogLevel, McpOperation, Outcome, Permit, Question, Secret, Talk,
};

use crate::{
    budget::Budget,
    config::Protocol,
    error::{UpstreamError, excerpt},
    hub,
    news::Changes,
    peer::Peer,
    request::{About, Params, Request, capabilities},
    suspicion::Suspicion,
    table::{Answer, Asked, Came, Note, Progressed},
    upstream::Upstream,
};

/// How long a server has to take the answer to a question of its own.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
/// How many questions one round of a call may have, or may be open at once.
const QUESTIONS_MAX: usize = 32;

impl Upstream {
    /// Makes a call for its caller.
    pub(crate) async fn call(self: &Arc<Self>, permit: &Permit, talk: &Talk) -> Result<Outcome, Fault> {
        let request = self.request(permit, talk)?;
        let began = Instant::now();
        let times = self.settings.times;
        let mut conversation = Conversation {
            upstream: self,
            talk,
            budget: Budget::new(times.silence, times.call, began),
            questions: 0,
            transport: "",
        };
        let result = conversation.hold(&request).await;
        let result = match self.settings.manner.protocol {
            Protocol::Jsonl => of_jsonl(result, &self.settings.secrets),
            _ => result,
        };
        let tool = if request.method == "tools/call" { permit.tool().name.as_str() } else { "" };
        let operation = McpOperation {
            method: request.method,
            tool,
            error_type: match &result {
                Ok(outcome) if outcome.failed => "tool_error",
                Ok(_) => "",
                Err(error) => error.kind(),
            },
            transport: conversation.transport,
        };
        self.meter.mcp_client(&operation, began.elapsed());
        let result = result.map(|outcome| self.looked_at(outcome));
        result.map_err(|error| {
            if let Some(status) = error.metric() {
                self.meter.api_error(self.source(), &status);
            }
            let error = error.without(&self.secrets());
            error.into_fault(self.name(), permit.tool().has_effect())
        })
    }

    /// Calls a tool by its name there, to try it.
    pub(crate) async fn try_tool(
        self: &Arc<Self>,
        tool: &str,
        arguments: &Value,
        talk: &Talk,
    ) -> Result<Outcome, UpstreamError> {
        let arguments = Arc::<RawValue>::from(tool::json::raw(arguments));
        let params = Params::default().with_text("name", tool).with("arguments", Arc::clone(&arguments));
        let mirrors = self.catalogue().mirrors(tool).cloned().unwrap_or_default();
        let about = About {
            capabilities: capabilities(talk),
            traceparent: None,
            log_level: Some(self.settings.manner.log_level),
            talks: true,
        };
        let request = Request {
            name: Some(tool.into()),
            mirrored: Some((mirrors, arguments)),
            about,
            ..Request::ours("tools/call", params)
        };
        let times = self.settings.times;
        let mut conversation = Conversation {
            upstream: self,
            talk,
            budget: Budget::new(times.silence, times.call, Instant::now()),
            questions: 0,
            transport: "",
        };
        let result = conversation.hold(&request).await;
        match self.settings.manner.protocol {
            Protocol::Jsonl => of_jsonl(result, &self.settings.secrets),
            _ => result,
        }
    }

    /// Says of a result what in it is meant for a model: to whoever gets it, and to the record.
    fn looked_at(&self, mut outcome: Outcome) -> Outcome {
        if let Body::Raw(raw) = &outcome.body
            && self.settings.scan_results
        {
            let suspicion = Suspicion::of_result(raw);
            if !suspicion.is_none() {
                suspicion.words().iter().for_each(|kind| self.meter.suspicious(self.name(), kind));
                outcome.notes.insert("suspicious".to_owned(), json!(suspicion.words()));
            }
        }
        outcome
    }

    /// What the server is asked. Arguments and URIs go out as they came; names are the server's own.
    fn request(&self, permit: &Permit, talk: &Talk) -> Result<Request, Fault> {
        let call = permit.call();
        let origin = permit.tool().origin.clone();
        let named =
            || origin.clone().ok_or_else(|| Fault::internal(format!("{} has no origin", permit.tool().name)));
        let arguments = || Arc::<RawValue>::from(permit.arguments_as_sent().to_owned());
        let mut request = match &call.kind {
            Kind::Tool { .. } => {
                let (name, arguments) = (named()?, arguments());
                let params =
                    Params::default().with_text("name", &name).with("arguments", Arc::clone(&arguments));
                let catalogue = self.catalogue();
                // It may be held back since a moment, and the gate not have heard of it.
                if catalogue.held.iter().any(|held| *held.offered.tool == *name) {
                    let text = format!(
                        "{} is held back: its server describes it otherwise by now",
                        permit.tool().name
                    );
                    return Err(Fault::new(Code::Unavailable, text));
                }
                let mirrors = catalogue.mirrors(&name).cloned().unwrap_or_default();
                Request {
                    name: Some(name),
                    mirrored: Some((mirrors, arguments)),
                    ..Request::ours("tools/call", params)
                }
            }
            Kind::GetPrompt { .. } => {
                let name = named()?;
                let params = Params::default().with_text("name", &name).with("arguments", arguments());
                Request { name: Some(name), ..Request::ours("prompts/get", params) }
            }
            Kind::ReadResource { uri } => {
                let params = Params::default().with_text("uri", uri);
                Request { name: Some(Arc::clone(uri)), ..Request::ours("resources/read", params) }
            }
            Kind::Complete { of, .. } => {
                let name = match of {
                    Completing::Prompt(_) => Some(named()?),
                    Completing::Template(_) => None,
                };
                Request::ours("completion/complete", completing(permit.arguments_as_sent(), name.as_deref())?)
            }
            Kind::Apply { .. } => return Err(Fault::internal("a change reached a tool server")),
        };
        request.about = About {
            capabilities: capabilities(talk),
            traceparent: call.traceparent.clone(),
            log_level: Some(self.settings.manner.log_level),
            talks: true,
        };
        Ok(request)
    }
}

/// What a server that speaks lines came to: its result is a value of its own, and its errors are those of its tools.
fn of_jsonl(result: Result<Outcome, UpstreamError>, secrets: &[Secret]) -> Result<Outcome, UpstreamError> {
    match result.map_err(|error| error.without(secrets)) {
        Ok(outcome) => {
            let Body::Raw(raw) = &outcome.body else { return Ok(outcome) };
            let result = Object::read(raw).ok().and_then(|result| Some(result.raw_of("result")?.to_owned()));
            let result = result.ok_or_else(|| UpstreamError::protocol("its reply has no result"))?;
            Ok(Outcome::raw(result.into()))
        }
        Err(UpstreamError::Answered(error)) => {
            let failure = mcp::Failure { id: None, error: &error };
            let said = failure.read().map(|read| read.message.into_owned()).unwrap_or_default();
            let shown = json!({ "content": [{ "type": "text", "text": said }], "isError": true });
            Ok(Outcome { failed: true, ..Outcome::content(tool::json::raw(&shown).into()) })
        }
        Err(error) => Err(error),
    }
}

/// A result as it came.
fn outcome(raw: Box<RawValue>) -> Outcome {
    let failed = Object::read(&raw).is_ok_and(|result| has_failed(&result));
    Outcome { failed, ..Outcome::content(raw.into()) }
}

/// A result has failed where it says so; of prompts and resources none does.
fn has_failed(result: &Object<'_>) -> bool {
    result.get("isError") == Some("true")
}

/// The params of a completion, with the prompt under its name there.
fn completing(sent: &RawValue, prompt: Option<&str>) -> Result<Params, Fault> {
    let malformed = |e: &dyn std::fmt::Display| Fault::new(Code::Malformed, e.to_string());
    let sent = Object::read(sent).map_err(|e| malformed(&e))?;
    let mut params = Params::default();
    for name in ["ref", "argument", "context"] {
        let Some(raw) = sent.raw_of(name) else { continue };
        params = match (name, prompt) {
            ("ref", Some(prompt)) => {
                let reference = Object::read(raw).map_err(|e| malformed(&e))?;
                params.with(name, Edit::of(&reference).set("name", &prompt).to_raw())
            }
            _ => params.with(name, raw.to_owned()),
        };
    }
    Ok(params)
}

/// One call, between its caller and the server.
pub(crate) struct Conversation<'a> {
    pub(crate) upstream: &'a Arc<Upstream>,
    pub(crate) talk: &'a Talk,
    pub(crate) budget: Budget,
    /// How many questions were asked.
    questions: usize,
    transport: &'static str,
}

impl<'a> Conversation<'a> {
    /// Asks, and asks again with what the caller answered, until there is a result.
    async fn hold(&mut self, request: &Request) -> Result<Outcome, UpstreamError> {
        let mut next = None;
        for _ in 0..=self.upstream.settings.rounds_max {
            let (peer, raw) = self.ask(next.as_ref().unwrap_or(request)).await?;
            if !peer.is_modern() {
                return Ok(outcome(raw));
            }
            let result = Object::read(&raw).map_err(|e| UpstreamError::protocol(e.to_string()))?;
            match mcp::result::kind(&result) {
                ResultKind::Complete => {
                    let failed = has_failed(&result);
                    return Ok(Outcome { failed, ..Outcome::content(raw.into()) });
                }
                ResultKind::InputRequired => {
                    next = Some(Box::pin(self.next_round(request, &result)).await?);
                }
                ResultKind::Task if request.method == "tools/call" && self.talk.takes_tasks() => {
                    return Box::pin(self.follow_task(request, &result)).await.map(outcome);
                }
                _ => {
                    let kind = excerpt(result.get(RESULT_TYPE).unwrap_or_default());
                    return Err(UpstreamError::protocol(format!(
                        "a result of the kind {kind} was not asked for"
                    )));
                }
            }
        }
        let most = self.upstream.settings.rounds_max;
        Err(UpstreamError::protocol(format!("it asked its caller more than {most} times in one call")))
    }

    /// A turn to call the server.
    async fn turn(&self) -> Result<SemaphorePermit<'a>, UpstreamError> {
        let upstream = self.upstream;
        if let Ok(turn) = upstream.turns.try_acquire() {
            return Ok(turn);
        }
        tokio::select! {
            biased;
            () = self.talk.stop().asked() => Err(UpstreamError::Cancelled),
            // The semaphore is never closed.
            turn = upstream.turns.acquire() => turn.map_err(|_| UpstreamError::Busy),
            () = self.budget.is_up() => Err(UpstreamError::Busy),
        }
    }

    /// Sends one request and waits for its result. Where the server has forgotten the session, or its headers have
    /// changed, neither of which did anything, it is sent once more.
    pub(crate) async fn ask(
        &mut self,
        request: &Request,
    ) -> Result<(Arc<Peer>, Box<RawValue>), UpstreamError> {
        let mut renewed: Option<Request> = None;
        let mut is_second = false;
        loop {
            let request = renewed.as_ref().unwrap_or(request);
            let _turn = self.turn().await?;
            let peer = self.until_told(self.upstream.peer()).await?;
            self.transport = peer.transport();
            self.budget.heard(Instant::now());
            let error = match self.exchange(&peer, request).await {
                Ok(raw) => return Ok((peer, raw)),
                Err(error) => error,
            };
            match &error {
                UpstreamError::SessionGone if !is_second => peer.hub.close("its session is gone"),
                UpstreamError::Answered(raw) if !is_second && is_mismatch(raw) && peer.is_modern() => {
                    // Boxed like all that is rare and large: a call is copied as often as it is handed on.
                    let relisting = Box::pin(self.upstream.relist(Changes::TOOLS, &peer));
                    self.until_told(relisting.map(Ok)).await?;
                    let name = request.name.as_deref().unwrap_or_default();
                    let mirrors = self.upstream.catalogue().mirrors(name).cloned();
                    let arguments = request.mirrored.as_ref().map(|(_, arguments)| Arc::clone(arguments));
                    let mirrored = mirrors.zip(arguments);
                    renewed = Some(Request { mirrored, ..request.clone() });
                }
                // What was agreed on seems to hold no more.
                UpstreamError::Status { status: 400 | 404..=406, .. } => {
                    self.upstream.forget(&peer, "it answered with a status that it should not");
                    return Err(error);
                }
                _ => return Err(error),
            }
            is_second = true;
        }
    }

    /// One request and all that passes until its answer.
    async fn exchange(&mut self, peer: &Peer, request: &Request) -> Result<Box<RawValue>, UpstreamError> {
        let mut exchange = self.until_told(peer.start(request)).await?;
        let mut asking = FuturesUnordered::<BoxFuture<'_, Id>>::new();
        let mut withdrawn = HashMap::<Id, CancellationToken>::new();
        loop {
            let came = tokio::select! {
                biased;
                () = self.talk.stop().asked() => return Err(UpstreamError::Cancelled),
                came = exchange.next(&peer.hub) => came?,
                Some(id) = asking.next(), if !asking.is_empty() => {
                    withdrawn.remove(&id);
                    if asking.is_empty() {
                        self.budget.goes_on(Instant::now());
                    }
                    continue;
                }
                () = self.budget.is_up() => {
                    peer.hub.doubted().notify_one();
                    return Err(UpstreamError::Timeout);
                }
            };
            match came {
                Came::Answer(_, Answer::Result(result)) => return Ok(result),
                Came::Answer(_, Answer::Error(error)) => return Err(UpstreamError::Answered(error)),
                Came::Answer(_, Answer::Lost(lost)) => return Err(lost.into()),
                Came::Note(note) if note.method == "notifications/cancelled" => {
                    let id = Object::read(&note.params)
                        .ok()
                        .and_then(|params| Id::parse(params.get("requestId")?).ok());
                    id.and_then(|id| withdrawn.remove(&id)).inspect(CancellationToken::cancel);
                }
                Came::Note(note) => self.hear(peer, &note),
                // What the server spares itself, its caller's connection, is spared here too.
                Came::LetGo => self.talk.cut(),
                // The newer era has no such requests, and no way to answer one.
                Came::Asked(_) if peer.is_modern() => {}
                // Whoever asks so much is not even told that it is too much.
                Came::Asked(_) if asking.len() >= 2 * QUESTIONS_MAX => {}
                Came::Asked(asked) => {
                    let (id, token) = (asked.id.clone(), CancellationToken::new());
                    let is_open = asking.len() < QUESTIONS_MAX;
                    if asking.is_empty() {
                        self.budget.waits(Instant::now());
                    }
                    self.questions += 1;
                    let key = format!("question-{}", self.questions);
                    asking.push(answering(self.talk, peer, asked, key, is_open, token.clone()).boxed());
                    withdrawn.insert(id, token);
                }
            }
        }
    }

    /// Passes on what the server says on the way.
    fn hear(&mut self, peer: &Peer, note: &Note) {
        match note.method.as_str() {
            "notifications/progress" => {
                if let Some(progress) = Progressed::read(&note.params) {
                    self.budget.heard(Instant::now());
                    self.talk.progress(progress.done, progress.total, progress.message);
                }
            }
            "notifications/message" => {
                if let Some((level, data)) = log_line(&note.params) {
                    self.talk.log(level, data);
                }
            }
            _ => peer.hub.news.heard(note),
        }
    }

    /// The same request with what the caller answered and what the server gave it to carry
    /// (basic/patterns/mrtr, "Client Requirements").
    async fn next_round(&mut self, request: &Request, result: &Object<'_>) -> Result<Request, UpstreamError> {
        let (asked, state) = (result.raw_of("inputRequests"), result.raw_of("requestState"));
        if asked.is_none() && state.is_none() {
            return Err(UpstreamError::protocol("it wants input and says neither what nor why"));
        }
        let mut round = request.clone();
        if let Some(asked) = asked {
            let questions = questions(asked, |_| true)?;
            let responses = self.inquire(&questions).await?;
            round.params = round.params.with("inputResponses", responses);
        }
        if let Some(state) = state {
            round.params = round.params.with("requestState", state.to_owned());
        }
        Ok(round)
    }

    /// Asks the caller all of this at once. The answers, by their keys, as the protocol has them.
    pub(crate) async fn inquire(&mut self, questions: &[Question]) -> Result<Box<RawValue>, UpstreamError> {
        self.budget.waits(Instant::now());
        let asked = tokio::select! {
            biased;
            () = self.talk.stop().asked() => Err(UpstreamError::Cancelled),
            asked = self.talk.ask(questions.to_vec()) => asked.map_err(|fault| UpstreamError::Asking(Box::new(fault))),
        };
        self.budget.goes_on(Instant::now());
        let answers = asked?;
        if answers.len() != questions.len() {
            let fault = Fault::internal("the line gave another number of answers than there were questions");
            return Err(UpstreamError::Asking(Box::new(fault)));
        }
        let empty = Object::default();
        let keyed = questions.iter().zip(&answers);
        let responses =
            keyed.fold(Edit::of(&empty), |edit, (question, answer)| edit.set(&question.key, answer));
        Ok(responses.to_raw())
    }

    /// Waits for something of the server's, until the caller asks to stop or the time is up.
    pub(crate) async fn until_told<T>(
        &self,
        work: impl Future<Output = Result<T, UpstreamError>>,
    ) -> Result<T, UpstreamError> {
        if self.talk.stop().is_asked() {
            return Err(UpstreamError::Cancelled);
        }
        let mut work = pin!(work);
        // Mostly there is nothing to wait for, and so no need for a timer and a listener.
        if let Some(done) = work.as_mut().now_or_never() {
            return done;
        }
        tokio::select! {
            biased;
            () = self.talk.stop().asked() => Err(UpstreamError::Cancelled),
            done = work => done,
            () = self.budget.is_up() => Err(UpstreamError::Timeout),
        }
    }
}

/// Asks the caller and sends the answer; returns which question that was. Nothing is sent for one that is withdrawn.
async fn answering(
    talk: &Talk,
    peer: &Peer,
    asked: Asked,
    key: String,
    is_open: bool,
    withdrawn: CancellationToken,
) -> Id {
    let id = asked.id.clone();
    let message = tokio::select! {
        biased;
        () = withdrawn.cancelled() => return id,
        message = answer(talk, &asked, &key, is_open) => message,
    };
    match timeout(ANSWER_TIME_MAX, peer.line.answer(message)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::debug!(server = peer.hub.name(), %error, "a question of a tool server cannot be answered");
        }
        Err(_) => tracing::debug!(server = peer.hub.name(), "a tool server does not take an answer"),
    }
    id
}

/// The message that answers a question of the server.
async fn answer(talk: &Talk, asked: &Asked, key: &str, is_open: bool) -> Vec<u8> {
    if !is_caller_s(&asked.method) {
        return hub::at_once(asked);
    }
    if !is_open {
        let text = format!("more than {QUESTIONS_MAX} questions are open; wait for an answer");
        return hub::error(&asked.id, &WireError::invalid_request(text));
    }
    let question = Question::request(key, &asked.method, asked.params.clone().into());
    match talk.ask(vec![question]).await {
        Ok(answers) => match answers.first() {
            Some(answer) => hub::result(&asked.id, answer),
            None => hub::error(&asked.id, &WireError::internal("there was no answer")),
        },
        Err(fault) => match &fault.as_sent {
            Some(error) => hub::error(&asked.id, error),
            None if fault.code == Code::CannotAsk => {
                hub::error(&asked.id, &WireError::new(code::METHOD_NOT_FOUND, fault.text))
            }
            None => hub::error(&asked.id, &WireError::internal(fault.text)),
        },
    }
}

/// What only a caller can answer.
fn is_caller_s(method: &str) -> bool {
    matches!(method, "elicitation/create" | "sampling/createMessage" | "roots/list")
}

/// The questions of an `input_required` result or of a task, under their keys, in their order.
///
/// Error: too many, or one that is none.
pub(crate) fn questions(
    asked: &RawValue,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<Vec<Question>, UpstreamError> {
    let wrong = |what: String| UpstreamError::protocol(format!("its inputRequests {what}"));
    let asked = Object::read(asked).map_err(|e| wrong(e.to_string()))?;
    if asked.members().len() > QUESTIONS_MAX {
        return Err(wrong(format!("are more than {QUESTIONS_MAX}")));
    }
    let mut questions = Vec::new();
    for member in asked.members().iter().filter(|member| is_wanted(&member.name)) {
        let request: &RawValue = serde_json::from_str(member.value).map_err(|e| wrong(e.to_string()))?;
        let request = Object::read(request).map_err(|e| wrong(e.to_string()))?;
        let method = request.needed_text("method").map_err(|e| wrong(e.message))?;
        if !is_caller_s(&method) {
            return Err(wrong(format!("ask for {:?}", excerpt(&method))));
        }
        let params = request.raw_of("params").unwrap_or_else(|| tool::json::empty_object());
        questions.push(Question::request(&member.name, &method, params.to_owned().into()));
    }
    Ok(questions)
}

/// The level and data of a log line; `None` where it is none.
fn log_line(params: &RawValue) -> Option<(LogLevel, Value)> {
    let params = Object::read(params).ok()?;
    let level = match params.text("level").ok().flatten()?.as_ref() {
        "debug" => LogLevel::Debug,
        "info" | "notice" => LogLevel::Info,
        "warning" => LogLevel::Warning,
        "error" | "critical" | "alert" | "emergency" => LogLevel::Error,
        _ => return None,
    };
    Some((level, serde_json::from_str(params.get("data")?).ok()?))
}

fn is_mismatch(error: &RawValue) -> bool {
    let failure = mcp::Failure { id: None, error };
    failure.read().is_ok_and(|read| read.code == code::HEADER_MISMATCH)
}
