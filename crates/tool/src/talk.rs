use std::{fmt, sync::Arc};

use async_trait::async_trait;
use serde::Serialize;
use serde_json::{Value, json, value::RawValue};

use crate::{Calls, Code, Fault, Question, Stop};

/// How far a call has come.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Progress {
    /// Done so far; only ever grows.
    pub done: f64,
    /// All there is, where that is known.
    pub total: Option<f64>,
    /// What is going on, for a person.
    pub message: Option<String>,
}

/// How loud a line of log is (RFC 5424, as MCP has it, less the four loudest).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// For whoever wrote the tool.
    Debug,
    /// For whoever calls it.
    Info,
    /// Something to look at.
    Warning,
    /// Something went wrong.
    Error,
}

/// The line back to a caller while its call runs. A face implements it; REST has nobody listening ([`Deaf`]).
#[async_trait]
pub trait Line: Send + Sync {
    /// Reports progress. Never waits: a line that is full drops the older report.
    fn progress(&self, progress: Progress);

    /// Sends a line of log. Never waits.
    fn log(&self, level: LogLevel, data: Value);

    /// Whether the caller can be asked this.
    ///
    /// Fault: `CannotAsk`, with what the caller would have to declare.
    fn can_ask(&self, question: &Question) -> Result<(), Fault> {
        Err(cannot_ask(question))
    }

    /// The same for whoever does not need to know why not.
    fn could_ask(&self, question: &Question) -> bool {
        self.can_ask(question).is_ok()
    }

    /// Asks the caller, all at once, and waits for all answers, which come in the order of the questions: the
    /// protocol's results as they were sent, looked at by nobody.
    ///
    /// Fault: `CannotAsk` where this caller cannot be asked; `Cancelled` where it went away; `TimedOut` where it did
    /// not answer in time; `Upstream` where it answered with an error.
    async fn ask(&self, questions: Vec<Question>) -> Result<Vec<Box<RawValue>>, Fault>;

    /// Whether the caller takes a task instead of an answer.
    fn takes_tasks(&self) -> bool {
        false
    }

    /// Says that the call will take long: a caller that takes tasks is answered with one now, and the call goes on.
    fn detach(&self) {}

    /// Lets go of the caller's connection, so that it comes back for the rest, and the call goes on. Nothing happens
    /// where the caller would not come back.
    fn cut(&self) {}
}

/// The fault of a question that nobody can answer.
#[must_use]
pub fn cannot_ask(question: &Question) -> Fault {
    let needed = question.method().split('/').next().unwrap_or_default();
    let text = format!(
        "the tool asks its caller ({}), and this one cannot be asked; call it from a client that declares {needed:?}",
        question.text()
    );
    Fault::new(Code::CannotAsk, text).with_details(json!({ "requiredCapabilities": { needed: {} } }))
}

/// The line of a caller who does not listen while the call runs.
#[derive(Clone, Copy, Debug)]
pub struct Deaf;

#[async_trait]
impl Line for Deaf {
    fn progress(&self, _progress: Progress) {}

    fn log(&self, _level: LogLevel, _data: Value) {}

    async fn ask(&self, questions: Vec<Question>) -> Result<Vec<Box<RawValue>>, Fault> {
        match questions.first() {
            Some(question) => Err(cannot_ask(question)),
            None => Ok(Vec::new()),
        }
    }
}

/// What a person answered to a form.
#[derive(Clone, Debug, PartialEq)]
pub enum Answered {
    /// The form was filled in; a JSON object.
    Accept(Value),
    /// The person said no.
    Decline,
    /// The person closed the form.
    Cancel,
}

/// What a running call can say and hear: progress, log and questions to its caller, the wish to stop, and
/// further calls in the caller's name.
#[derive(Clone)]
pub struct Talk {
    line: Arc<dyn Line>,
    stop: Stop,
    calls: Arc<dyn Calls>,
}

impl Talk {
    /// Made by the gate for each call.
    #[must_use]
    pub fn new(line: Arc<dyn Line>, stop: Stop, calls: Arc<dyn Calls>) -> Self {
        Self { line, stop, calls }
    }

    /// Reports progress.
    pub fn progress(&self, done: f64, total: Option<f64>, message: impl Into<Option<String>>) {
        self.line.progress(Progress { done, total, message: message.into() });
    }

    /// Sends a line of log to the caller.
    pub fn log(&self, level: LogLevel, data: Value) {
        self.line.log(level, data);
    }

    /// Whether the caller can be asked this; see [`Line::can_ask`].
    pub fn can_ask(&self, question: &Question) -> Result<(), Fault> {
        self.line.can_ask(question)
    }

    /// The same for whoever does not need to know why not; see [`Line::could_ask`].
    #[must_use]
    pub fn could_ask(&self, question: &Question) -> bool {
        self.line.could_ask(question)
    }

    /// Asks the caller; see [`Line::ask`].
    pub async fn ask(&self, questions: Vec<Question>) -> Result<Vec<Box<RawValue>>, Fault> {
        self.line.ask(questions).await
    }

    /// Asks a person to fill in a form.
    ///
    /// Fault: as [`Line::ask`]; `Upstream` too where what came back is no answer to a form.
    pub async fn ask_form(&self, key: &str, text: &str, schema: Value) -> Result<Answered, Fault> {
        let answers = self.line.ask(vec![Question::form(key, text, schema)]).await?;
        let answer = answers.first().and_then(|raw| crate::json::parse(raw.get().as_bytes()).ok());
        let answer = answer.unwrap_or_default();
        match answer.get("action").and_then(Value::as_str) {
            Some("accept") => {
                Ok(Answered::Accept(answer.get("content").cloned().unwrap_or_else(|| json!({}))))
            }
            Some("decline") => Ok(Answered::Decline),
            Some("cancel") => Ok(Answered::Cancel),
            _ => Err(Fault::new(Code::Upstream, "the caller's answer to the question is none")),
        }
    }

    /// Whether the caller takes a task instead of an answer.
    #[must_use]
    pub fn takes_tasks(&self) -> bool {
        self.line.takes_tasks()
    }

    /// Says that the call will take long; see [`Line::detach`].
    pub fn detach(&self) {
        self.line.detach();
    }

    /// Lets go of the caller's connection; see [`Line::cut`].
    pub fn cut(&self) {
        self.line.cut();
    }

    /// The wish to stop.
    #[must_use]
    pub fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Further calls, with the caller's own identity and rights, down the same road.
    #[must_use]
    pub fn calls(&self) -> &Arc<dyn Calls> {
        &self.calls
    }
}

impl fmt::Debug for Talk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Talk").field("stop", &self.stop).finish_non_exhaustive()
    }
}
