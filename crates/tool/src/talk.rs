use std::{fmt, sync::Arc};

use async_trait::async_trait;
use serde::Serialize;
use serde_json::Value;

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

    /// Asks the caller and waits for the answer.
    ///
    /// Fault: `Conflict` where this caller cannot be asked; `Cancelled` where it went away.
    async fn ask(&self, question: Question) -> Result<Value, Fault>;
}

/// The line of a caller who does not listen while the call runs.
#[derive(Clone, Copy, Debug)]
pub struct Deaf;

#[async_trait]
impl Line for Deaf {
    fn progress(&self, _progress: Progress) {}

    fn log(&self, _level: LogLevel, _data: Value) {}

    async fn ask(&self, question: Question) -> Result<Value, Fault> {
        Err(Fault::new(
            Code::Conflict,
            format!("the tool asks {:?}, and this caller cannot be asked while a call runs", question.text),
        ))
    }
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

    /// Asks the caller; see [`Line::ask`].
    pub async fn ask(&self, question: Question) -> Result<Value, Fault> {
        self.line.ask(question).await
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
