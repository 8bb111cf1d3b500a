//! What a running call says to whoever asked for it, and asks it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use mcp::{Capabilities, Id, Need, Object, TASKS, meta::Level};
use serde_json::{Value, value::RawValue};
use tokio::sync::{mpsc, oneshot};
use tool::{Code, Fault, Line, LogLevel, Progress, Question, cannot_ask};

/// How much of what a call says may wait: progress and log beyond that is dropped.
const SAID_MAX: usize = 256;

/// What a call says.
pub(crate) enum Said {
    /// How far it is.
    Progress(Progress),
    /// A line of log, loud enough to be heard.
    Log(LogLevel, Value),
    /// It asks.
    Asks(Asks),
    /// It will take long: its caller is answered with a task.
    Detach,
    /// It lets go of its caller's connection.
    Cut,
}

/// Answers to questions, by key.
pub(crate) type Answers = HashMap<String, Box<RawValue>>;

/// Questions that wait for their answers.
pub(crate) struct Asks {
    pub(crate) questions: Vec<Question>,
    /// What was answered so far.
    answers: Answers,
    reply: oneshot::Sender<Result<Vec<Box<RawValue>>, Fault>>,
}

/// What the other end can do and wants to hear. It may be another at each round of a call.
#[derive(Clone, Default)]
pub(crate) struct Ears {
    pub(crate) capabilities: Arc<Capabilities>,
    /// What progress is known by, where it is wanted.
    pub(crate) token: Option<Id>,
    /// From which level on log is wanted; none where it is not.
    pub(crate) level: Option<Level>,
    /// Whether a task may be the answer.
    pub(crate) tasks: bool,
}

/// The line of one call.
pub(crate) struct CallLine {
    said: mpsc::Sender<Said>,
    ears: Mutex<Ears>,
    /// Answers that came before they were asked for.
    given: Mutex<Answers>,
}

impl CallLine {
    /// A line, and where what is said on it comes out.
    pub(crate) fn new(ears: Ears, given: Answers) -> (Arc<Self>, mpsc::Receiver<Said>) {
        let (said, heard) = mpsc::channel(SAID_MAX);
        (Arc::new(Self { said, ears: Mutex::new(ears), given: Mutex::new(given) }), heard)
    }

    /// Who listens from now on.
    pub(crate) fn listen(&self, ears: Ears) {
        *self.ears.lock().unwrap_or_else(PoisonError::into_inner) = ears;
    }

    pub(crate) fn ears(&self) -> MutexGuard<'_, Ears> {
        self.ears.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answers to these questions that came before they were asked.
    fn known(&self, questions: &[Question]) -> Answers {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let known = questions.iter().filter_map(|question| given.remove_entry(&*question.key));
        known.collect()
    }
}

impl Ears {
    /// The first capability that a question needs and the other end has not declared.
    fn lacks(&self, question: &Question) -> Option<Need<'static>> {
        let params = question.params();
        let object = Object::read(&params).unwrap_or_default();
        Need::of(question.method(), &object).filter(|need| !self.capabilities.meets(*need))
    }
}

#[async_trait]
impl Line for CallLine {
    fn progress(&self, progress: Progress) {
        // A task shows what is going on to whoever looks at it.
        let is_wanted = {
            let ears = self.ears();
            ears.token.is_some() || ears.tasks
        };
        if is_wanted {
            // A line that is full drops what is older news by the time it could be heard.
            let _ = self.said.try_send(Said::Progress(progress));
        }
    }

    fn log(&self, level: LogLevel, data: Value) {
        if self.ears().level.is_some_and(|wanted| wanted.admits(level)) {
            let _ = self.said.try_send(Said::Log(level, data));
        }
    }

    fn can_ask(&self, question: &Question) -> Result<(), Fault> {
        match self.ears().lacks(question) {
            None => Ok(()),
            Some(need) => Err(Fault {
                details: Some(Box::new(serde_json::json!({ "requiredCapabilities": need.to_json() }))),
                ..cannot_ask(question)
            }),
        }
    }

    fn could_ask(&self, question: &Question) -> bool {
        self.ears().lacks(question).is_none()
    }

    async fn ask(&self, questions: Vec<Question>) -> Result<Vec<Box<RawValue>>, Fault> {
        questions.iter().try_for_each(|question| self.can_ask(question))?;
        let known = self.known(&questions);
        let (reply, answers) = oneshot::channel();
        let mut asks = Asks { questions, answers: Answers::new(), reply };
        asks.take(known);
        let Some(asks) = asks.settle() else { return answers.await.map_err(|_| gone())? };
        self.said.send(Said::Asks(asks)).await.map_err(|_| gone())?;
        answers.await.map_err(|_| gone())?
    }

    fn takes_tasks(&self) -> bool {
        self.ears().tasks
    }

    fn detach(&self) {
        if self.takes_tasks() {
            let _ = self.said.try_send(Said::Detach);
        }
    }

    fn cut(&self) {
        let _ = self.said.try_send(Said::Cut);
    }
}

impl Asks {
    /// The questions that are still open.
    pub(crate) fn open(&self) -> impl Iterator<Item = &Question> {
        self.questions.iter().filter(|question| !self.answers.contains_key(&*question.key))
    }

    /// Takes the answers to its own questions that are answers at all; others are let be.
    pub(crate) fn take(&mut self, answers: Answers) {
        for (key, answer) in answers {
            let question = self.questions.iter().find(|question| *question.key == *key);
            if question.is_some_and(|question| is_answer(question, &answer)) {
                self.answers.insert(key, answer);
            }
        }
    }

    /// Replies where everything is answered; itself again where something is open.
    pub(crate) fn settle(mut self) -> Option<Self> {
        if self.open().next().is_some() {
            return Some(self);
        }
        let in_order = self.questions.iter().filter_map(|question| self.answers.remove(&*question.key));
        // Whoever asked may have been stopped meanwhile.
        let _ = self.reply.send(Ok(in_order.collect()));
        None
    }

    /// Replies that no answer comes.
    pub(crate) fn fail(self, fault: Fault) {
        let _ = self.reply.send(Err(fault));
    }
}

/// Whether this can be the answer to that: an object with the member that every such answer has.
fn is_answer(question: &Question, answer: &RawValue) -> bool {
    let Ok(answer) = Object::read(answer) else { return false };
    match question.method() {
        "elicitation/create" => answer.text("action").is_ok_and(|action| action.is_some()),
        "sampling/createMessage" => answer.get("content").is_some(),
        "roots/list" => answer.get("roots").is_some_and(|roots| roots.starts_with('[')),
        _ => true,
    }
}

fn gone() -> Fault {
    Fault::new(Code::Cancelled, "the caller was asked and did not answer")
}

/// Whether an extension for tasks is declared.
pub(crate) fn takes_tasks(capabilities: &Capabilities) -> bool {
    capabilities.extension(TASKS).is_some()
}
