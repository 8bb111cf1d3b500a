//! Tasks: calls that outlive the request that began them (SEP-2663).
//!
//! A task is written down before its id is told. While its work goes on in this process it is held here, with what it
//! asks; once it has ended, the store has what came of it. It belongs to a principal, whatever connection asks.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ::mcp::{TASKS, WireError, seal::nonce, to_vec};
use serde_json::{Value, json, value::RawValue};
use state::{StateError, Swap, TaskRecord, TaskStatus};
use tokio::sync::{Notify, broadcast};
use tool::{Code, Fault, Kind};

use super::{
    Mcp, Who,
    job::{Event, Job},
    line::{Answers, CallLine, Said},
    shape::{Ended, Failed, Mould},
};
use crate::road::Request;

/// How often a client should look, in milliseconds.
const POLL_MS: u64 = 500;

/// How long it is waited between two looks at a change that waits for approval.
const APPROVAL_LOOK: Duration = Duration::from_millis(500);

/// How many statuses a listener may fall behind.
const NEWS_MAX: usize = 64;

/// The tasks.
pub(crate) struct Tasks {
    store: Arc<dyn state::Tasks>,
    per_principal_max: u64,
    live: Mutex<HashMap<String, Arc<Live>>>,
    news: broadcast::Sender<News>,
}

/// A task has moved.
#[derive(Clone)]
pub(crate) struct News {
    pub(crate) principal: Arc<str>,
    pub(crate) task: Arc<str>,
    /// The params of `notifications/tasks`.
    pub(crate) shown: Arc<Value>,
}

/// A task whose work goes on in this process.
struct Live {
    /// What the store has of it.
    record: tokio::sync::Mutex<TaskRecord>,
    /// What it asks at this moment, as `inputRequests`.
    asks: Mutex<Value>,
    /// Answers that came and are not handed in yet.
    answers: Mutex<Answers>,
    moved: Notify,
    is_cancelled: std::sync::atomic::AtomicBool,
}

impl Tasks {
    pub(crate) fn new(store: Arc<dyn state::Tasks>, per_principal_max: u64) -> Self {
        let news = broadcast::channel(NEWS_MAX).0;
        Self { store, per_principal_max, live: Mutex::default(), news }
    }

    /// What moves from now on.
    pub(crate) fn news(&self) -> broadcast::Receiver<News> {
        self.news.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Live>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, id: &str) -> Option<Arc<Live>> {
        self.lock().get(id).cloned()
    }

    /// Ends the tasks whose process died: nobody works on them any more.
    pub(crate) async fn recover(&self, now: tool::Timestamp) -> Result<(), StateError> {
        for mut task in self.store.unfinished().await? {
            if self.find(&task.id).is_some() {
                continue;
            }
            let text = "the server was restarted while this went on; look what it did before you ask again";
            task.status = TaskStatus::Failed;
            task.message = Some(text.to_owned());
            task.error = Some(json!({ "code": ::mcp::code::INTERNAL_ERROR, "message": text }).to_string());
            task.updated_at = now;
            self.store.swap(&task).await?;
        }
        self.store.prune(now).await?;
        Ok(())
    }
}

impl Mcp {
    /// Makes a task of a call, and lets it go on. Returns the result that tells of it.
    pub(crate) async fn make_task(
        self: &Arc<Self>,
        who: &Who,
        tool: &str,
        job: Job,
        mould: Mould,
    ) -> Result<Box<RawValue>, WireError> {
        let principal = &who.caller.principal;
        if self.tasks.store.count(principal).await.map_err(lost)? >= self.tasks.per_principal_max {
            let text = format!(
                "{} tasks are kept for you already; old ones go by themselves",
                self.tasks.per_principal_max
            );
            return Err(WireError::internal(text));
        }
        let now = self.clock.now();
        let record = TaskRecord {
            id: nonce().map_err(|e| WireError::internal(e.to_string()))?,
            principal: principal.to_string(),
            tool: tool.to_owned(),
            status: TaskStatus::Working,
            message: None,
            created_at: now,
            updated_at: now,
            expires_at: Some(now.after(Duration::from_secs(self.config.task_seconds))),
            poll_ms: Some(POLL_MS),
            result: None,
            error: None,
            change: None,
            version: 0,
        };
        self.tasks.store.insert(&record).await.map_err(lost)?;
        let shown = mould.result(&created(&record), None);
        let live = Arc::new(Live {
            record: tokio::sync::Mutex::new(record.clone()),
            asks: Mutex::new(json!({})),
            answers: Mutex::default(),
            moved: Notify::new(),
            is_cancelled: false.into(),
        });
        self.tasks.lock().insert(record.id.clone(), Arc::clone(&live));
        let this = Arc::clone(self);
        self.tracker.spawn(async move { this.work_on(&record.id, &live, job).await });
        Ok(shown)
    }

    /// Carries a task to its end.
    async fn work_on(&self, id: &str, live: &Live, mut job: Job) {
        let stop = self.stop();
        loop {
            let event = tokio::select! {
                event = job.next() => event,
                () = live.moved.notified() => {
                    if live.is_cancelled.load(std::sync::atomic::Ordering::Acquire) {
                        break;
                    }
                    let answers = std::mem::take(&mut *lock(&live.answers));
                    job.answer(&answers);
                    self.tell_asks(live, job.input_requests()).await;
                    continue;
                }
                () = stop.asked() => {
                    let text = "the server is stopping, and this goes on no longer; look what it did before you ask again";
                    self.end(live, Err(Failed::Wire(WireError::internal(text)))).await;
                    break;
                }
            };
            match event {
                Event::Said(Said::Asks(asks)) => {
                    job.wait_for(asks);
                    self.tell_asks(live, job.input_requests()).await;
                }
                Event::Said(Said::Progress(progress)) => self.tell_progress(live, progress.message).await,
                Event::Said(_) => {}
                Event::Ended(Ended { result, .. }) => {
                    self.end(live, result).await;
                    break;
                }
            }
        }
        // Dropping the job stops what only looks; what changes something runs to its end, and the gate writes it down.
        drop(job);
        self.tasks.lock().remove(id);
    }

    /// Shows what a task asks now.
    async fn tell_asks(&self, live: &Live, asks: Value) {
        let is_asking = asks.as_object().is_some_and(|asks| !asks.is_empty());
        *lock(&live.asks) = asks;
        let status = if is_asking { TaskStatus::InputRequired } else { TaskStatus::Working };
        self.update(live, |record| record.status = status).await;
    }

    async fn tell_progress(&self, live: &Live, message: Option<String>) {
        if message.is_some() {
            self.update(live, |record| record.message = message).await;
        }
    }

    async fn end(&self, live: &Live, result: Result<Box<RawValue>, Failed>) {
        *lock(&live.asks) = json!({});
        self.update(live, |record| match result {
            Ok(result) => {
                record.status = TaskStatus::Completed;
                record.result = Some(result.get().to_owned());
            }
            Err(error) => {
                record.status = TaskStatus::Failed;
                record.error = String::from_utf8(to_vec(&error)).ok();
            }
        })
        .await;
    }

    /// Writes a move of a task down, and tells of it. A task that is final stays as it is.
    async fn update(&self, live: &Live, change: impl FnOnce(&mut TaskRecord)) {
        let mut record = live.record.lock().await;
        if record.status.is_final() {
            return;
        }
        change(&mut record);
        record.updated_at = self.clock.now();
        match self.tasks.store.swap(&record).await {
            Ok(Swap::Done) => record.version += 1,
            Ok(_) => tracing::warn!(task = record.id, "a task was moved by somebody else"),
            Err(error) => tracing::error!(task = record.id, error = %error, "a task cannot be written down"),
        }
        let shown = shown(&record, &lock(&live.asks));
        // Nobody may be listening.
        let _ = self.tasks.news.send(News {
            principal: record.principal.as_str().into(),
            task: record.id.as_str().into(),
            shown: Arc::new(shown),
        });
    }

    /// `tasks/get`.
    pub(crate) async fn task(&self, who: &Who, id: &str) -> Result<Value, WireError> {
        if let Some(live) = self.tasks.find(id) {
            let record = live.record.lock().await;
            if record.principal == who.caller.principal.as_ref() {
                return Ok(shown(&record, &lock(&live.asks)));
            }
            return Err(no_task(id));
        }
        let now = self.clock.now();
        let record = self.tasks.store.get(id).await.map_err(lost)?;
        let theirs = record.filter(|record| record.principal == who.caller.principal.as_ref());
        let fresh = theirs.filter(|record| record.expires_at.is_none_or(|end| end > now));
        fresh.map(|record| shown(&record, &json!({}))).ok_or_else(|| no_task(id))
    }

    /// `tasks/update`: answers to what a task asks. What it does not ask is let be.
    pub(crate) async fn update_task(&self, who: &Who, id: &str, answers: Answers) -> Result<(), WireError> {
        self.task(who, id).await?;
        if let Some(live) = self.tasks.find(id) {
            let asked = lock(&live.asks).as_object().map(|asks| asks.keys().cloned().collect::<Vec<_>>());
            let asked = asked.unwrap_or_default();
            let wanted: Answers = answers.into_iter().filter(|(key, _)| asked.contains(key)).collect();
            if wanted.is_empty() {
                return Ok(());
            }
            {
                let mut asks = lock(&live.asks);
                if let Some(asks) = asks.as_object_mut() {
                    asks.retain(|key, _| !wanted.contains_key(key));
                }
                lock(&live.answers).extend(wanted);
            }
            live.moved.notify_one();
        }
        Ok(())
    }

    /// `tasks/cancel`. One that has ended stays as it is.
    pub(crate) async fn cancel_task(&self, who: &Who, id: &str) -> Result<(), WireError> {
        self.task(who, id).await?;
        if let Some(live) = self.tasks.find(id) {
            *lock(&live.asks) = json!({});
            self.update(&live, |record| record.status = TaskStatus::Cancelled).await;
            live.is_cancelled.store(true, std::sync::atomic::Ordering::Release);
            live.moved.notify_one();
        }
        Ok(())
    }

    /// Waits until somebody has decided on a change, and applies it where it was approved: what a client that takes
    /// tasks gets instead of the plan alone.
    pub(crate) async fn apply_when_approved(
        &self,
        who: &Who,
        change: &str,
        line: &Arc<CallLine>,
        kind: &Kind,
        mould: &Mould,
    ) -> Ended {
        use tool::Line as _;
        line.detach();
        line.progress(tool::Progress {
            done: 0.0,
            total: None,
            message: Some(format!("{change} waits for approval by a person who is not its requester")),
        });
        let refuse = |fault| {
            let result = mould.refused(kind, fault, false, who.ids.request.as_str());
            Ended { result, limit: None }
        };
        loop {
            match self.road.change_state(&who.caller, change).await {
                Ok("pending") => tokio::time::sleep(APPROVAL_LOOK).await,
                Ok("approved") => break,
                Ok(state) => {
                    let fault = Fault::new(Code::Denied, format!("{change} was not approved: it is {state}"));
                    return refuse(fault);
                }
                Err(fault) => return refuse(fault),
            }
        }
        let ids = crate::headers::Ids::inside(&who.ids);
        let kind = Kind::Apply { change: change.into() };
        let mut call = tool::Call::new(kind.clone(), who.face, ids.request);
        call.correlation_id = ids.correlation;
        let spoken: Arc<dyn tool::Line> = line.clone();
        let answer =
            self.road.call(Request { credentials: who.credentials.clone(), call, line: spoken }).await;
        mould.ended(&kind, answer)
    }
}

/// Checks that a client takes tasks: it must declare that with each request.
pub(crate) fn check_takes_tasks(takes: bool) -> Result<(), WireError> {
    if takes {
        return Ok(());
    }
    Err(WireError::missing_capability(json!({ "extensions": { TASKS: {} } })))
}

/// The result that tells of a new task.
fn created(record: &TaskRecord) -> Value {
    let mut shown = common(record);
    shown["resultType"] = json!("task");
    shown
}

/// A task as `tasks/get` and `notifications/tasks` have it.
fn shown(record: &TaskRecord, asks: &Value) -> Value {
    let mut shown = common(record);
    // Everything was answered, and the work has not moved on yet.
    let is_answered = asks.as_object().is_none_or(serde_json::Map::is_empty);
    if record.status == TaskStatus::InputRequired && is_answered {
        shown["status"] = json!(TaskStatus::Working.as_str());
        return shown;
    }
    let inline =
        |text: &Option<String>| text.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok());
    match record.status {
        TaskStatus::Completed => shown["result"] = inline(&record.result).unwrap_or_else(|| json!({})),
        TaskStatus::Failed => shown["error"] = inline(&record.error).unwrap_or_else(|| json!({})),
        TaskStatus::InputRequired => shown["inputRequests"] = asks.clone(),
        TaskStatus::Working | TaskStatus::Cancelled => {}
    }
    shown
}

fn common(record: &TaskRecord) -> Value {
    let ttl = record
        .expires_at
        .map(|end| u64::try_from(end.since(record.created_at).as_millis()).unwrap_or(u64::MAX));
    let mut shown = json!({
        "taskId": record.id,
        "status": record.status.as_str(),
        "createdAt": record.created_at,
        "lastUpdatedAt": record.updated_at,
        "ttlMs": ttl,
        "pollIntervalMs": record.poll_ms,
    });
    if let Some(message) = &record.message {
        shown["statusMessage"] = json!(message);
    }
    shown
}

fn no_task(id: &str) -> WireError {
    let shown: String = id.chars().take(80).collect();
    WireError::invalid_params(format!("there is no task {shown:?} of yours; it may have expired"))
}

fn lost(error: StateError) -> WireError {
    tracing::error!(error = %error, "tasks cannot be kept");
    WireError::internal("tasks cannot be kept at the moment; ask again later")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
