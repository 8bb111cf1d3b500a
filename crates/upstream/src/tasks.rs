//! Work that a server goes on with by itself: it is looked at again and again, and asked questions are passed on.
//!
//! Source: the extension `io.modelcontextprotocol/tasks` (SEP-2663).

use std::{collections::HashSet, sync::Arc, time::Duration};

use mcp::Object;
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep_until, timeout};

use crate::{
    call::{Conversation, questions},
    error::UpstreamError,
    request::{About, Params, Request},
};

/// How long to wait before looking again, where the server does not say.
const POLL: Duration = Duration::from_secs(1);
/// The shortest wait that it may ask for.
const POLL_MIN: Duration = Duration::from_millis(50);
/// The longest.
const POLL_MAX: Duration = Duration::from_secs(60);
/// How often in a row looking may fail.
const FAILURES_MAX: u32 = 3;
/// How long a server has to take that a task is cancelled.
const CANCEL_TIME_MAX: Duration = Duration::from_secs(2);
/// How many questions one task may ask in all.
const QUESTIONS_MAX: usize = 256;

/// A task, as far as it is known.
struct Task<'a> {
    id: Arc<str>,
    /// What requests about it say of themselves.
    about: &'a About,
    poll: Duration,
    /// What it gave us to carry.
    state: Option<Box<RawValue>>,
    /// The questions that were answered, by their keys.
    answered: HashSet<String>,
}

/// How a task stands.
enum Standing {
    Working,
    /// It wants to know something.
    Asks(Box<RawValue>),
    Completed(Box<RawValue>),
    Failed(Box<RawValue>),
    Cancelled,
}

impl Task<'_> {
    /// A request about it.
    fn request(&self, method: &'static str, add: impl FnOnce(Params) -> Params) -> Request {
        let params = add(Params::default().with_text("taskId", &self.id));
        let params = match &self.state {
            Some(state) => params.with("requestState", state.clone()),
            None => params,
        };
        let about = About { talks: false, ..self.about.clone() };
        Request { name: Some(Arc::clone(&self.id)), about, ..Request::ours(method, params) }
    }

    /// Learns from an answer about it how often to look, and what to carry.
    fn learn(&mut self, answer: &Object<'_>) {
        let ms = answer.get("pollIntervalMs").and_then(|text| text.parse().ok());
        if let Some(ms) = ms {
            self.poll = Duration::from_millis(ms).clamp(POLL_MIN, POLL_MAX);
        }
        if let Some(state) = answer.raw_of("requestState") {
            self.state = Some(state.to_owned());
        }
    }

    /// How it stands by an answer to `tasks/get`.
    fn standing(answer: &Object<'_>) -> Result<Standing, UpstreamError> {
        let part = |name: &str| {
            let part = answer.raw_of(name).filter(|raw| raw.get().starts_with('{')).map(RawValue::to_owned);
            part.ok_or_else(|| UpstreamError::protocol(format!("a task has no {name:?}")))
        };
        let status = answer.text("status").ok().flatten().unwrap_or_default();
        match &*status {
            "working" => Ok(Standing::Working),
            "input_required" => Ok(Standing::Asks(part("inputRequests")?)),
            "completed" => Ok(Standing::Completed(part("result")?)),
            "failed" => Ok(Standing::Failed(part("error")?)),
            "cancelled" => Ok(Standing::Cancelled),
            other => {
                let other = crate::error::excerpt(other);
                Err(UpstreamError::protocol(format!("a task has the status {other:?}")))
            }
        }
    }
}

impl Conversation<'_> {
    /// Follows a task to its end. Where nobody waits for it any more, it is cancelled.
    pub(crate) async fn follow_task(
        &mut self,
        request: &Request,
        created: &Object<'_>,
    ) -> Result<Box<RawValue>, UpstreamError> {
        let id = created.needed_text("taskId").map_err(|e| UpstreamError::protocol(e.message))?;
        let mut task = Task {
            id: id.as_ref().into(),
            about: &request.about,
            poll: POLL,
            state: None,
            answered: HashSet::new(),
        };
        task.learn(created);
        self.talk.detach();
        let is_working = created.text("status").is_ok_and(|status| status.as_deref() == Some("working"));
        let followed = self.poll_task(&mut task, is_working).await;
        if matches!(
            &followed,
            Err(UpstreamError::Cancelled | UpstreamError::Asking(_) | UpstreamError::Timeout)
        ) {
            self.cancel_task(&task).await;
        }
        followed
    }

    async fn poll_task(
        &mut self,
        task: &mut Task<'_>,
        is_working: bool,
    ) -> Result<Box<RawValue>, UpstreamError> {
        if is_working {
            self.pause(task.poll).await?;
        }
        loop {
            match self.look(task).await? {
                Standing::Completed(result) => return Ok(result),
                Standing::Failed(error) => return Err(UpstreamError::Answered(error)),
                Standing::Cancelled => return Err(UpstreamError::Withdrew),
                Standing::Working => {}
                Standing::Asks(asked) => self.answer_task(task, &asked).await?,
            }
            self.pause(task.poll).await?;
        }
    }

    /// Looks how it stands. One look that fails is nothing; several in a row are.
    async fn look(&mut self, task: &mut Task<'_>) -> Result<Standing, UpstreamError> {
        let mut failures = 0;
        loop {
            match self.ask(&task.request("tasks/get", |params| params)).await {
                Ok((_, raw)) => {
                    let answer = Object::read(&raw).map_err(|e| UpstreamError::protocol(e.to_string()))?;
                    task.learn(&answer);
                    return Task::standing(&answer);
                }
                Err(
                    error @ (UpstreamError::Connect(_)
                    | UpstreamError::Broken(_)
                    | UpstreamError::Down { .. }
                    | UpstreamError::Status { status: 429 | 500..=599, .. }),
                ) if failures < FAILURES_MAX => {
                    failures += 1;
                    tracing::debug!(server = self.upstream.name(), %error, "a task cannot be looked at");
                    self.pause(task.poll.max(POLL)).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits before looking again. However long that is, the server is not silent: it is not asked.
    async fn pause(&mut self, wait: Duration) -> Result<(), UpstreamError> {
        let until = Instant::now() + wait;
        self.budget.heard(until);
        self.until_told(async {
            sleep_until(until).await;
            Ok(())
        })
        .await
    }

    /// Asks the caller what the task wants to know, and was not told before.
    async fn answer_task(&mut self, task: &mut Task<'_>, asked: &RawValue) -> Result<(), UpstreamError> {
        let questions = questions(asked, |key| !task.answered.contains(key))?;
        if questions.is_empty() {
            return Ok(());
        }
        if task.answered.len() + questions.len() > QUESTIONS_MAX {
            return Err(UpstreamError::protocol(format!("a task asked more than {QUESTIONS_MAX} questions")));
        }
        let responses = self.inquire(&questions).await?;
        self.ask(&task.request("tasks/update", |params| params.with("inputResponses", responses))).await?;
        task.answered.extend(questions.iter().map(|question| question.key.to_string()));
        Ok(())
    }

    /// Says that nobody waits for a task any more.
    async fn cancel_task(&self, task: &Task<'_>) {
        let request = task.request("tasks/cancel", |params| params);
        let cancelling = async {
            let peer = self.upstream.peer().await?;
            peer.result(&request).await
        };
        match timeout(CANCEL_TIME_MAX, cancelling).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::debug!(server = self.upstream.name(), %error, "a task cannot be cancelled");
            }
            Err(_) => tracing::debug!(server = self.upstream.name(), "a task was not cancelled in time"),
        }
    }
}
