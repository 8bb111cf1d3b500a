use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;
use serde_json::{Value, value::RawValue};
use tool::{Code, Fault, Line, LogLevel, Progress, Question, cannot_ask};

/// The line of a caller that answers as a script says, and remembers what it heard.
#[derive(Debug, Default)]
pub struct Scripted {
    /// What it declares: `elicitation`, `sampling`, `roots`.
    declares: Vec<String>,
    takes_tasks: bool,
    /// Answers by the key of their question.
    answers: HashMap<String, Value>,
    heard: Mutex<String>,
}

impl Scripted {
    /// A caller that listens, and can answer nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// It can also be asked these: `elicitation`, `sampling`, `roots`.
    #[must_use]
    pub fn declaring(mut self, capabilities: &[&str]) -> Self {
        self.declares.extend(capabilities.iter().map(|&name| name.to_owned()));
        self
    }

    /// It answers the question of this key with this result.
    #[must_use]
    pub fn answering(mut self, key: &str, result: Value) -> Self {
        self.answers.insert(key.to_owned(), result);
        self
    }

    /// It takes tasks.
    #[must_use]
    pub fn taking_tasks(mut self) -> Self {
        self.takes_tasks = true;
        self
    }

    /// What it heard, a line for each thing.
    #[must_use]
    pub fn heard(&self) -> String {
        self.lock().clone()
    }

    fn hear(&self, what: &str) {
        let mut heard = self.lock();
        heard.push_str(what);
        heard.push('\n');
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, String> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer to a question.
    ///
    /// Fault: `CannotAsk` where it does not declare that it can be asked; `Cancelled` where the script has no answer.
    fn answer(&self, question: &Question) -> Result<Box<RawValue>, Fault> {
        self.can_ask(question)?;
        let answer = self.answers.get(&*question.key);
        answer.map(tool::json::raw).ok_or_else(|| {
            Fault::new(Code::Cancelled, format!("nobody answered the question {:?}", question.key))
        })
    }
}

#[async_trait]
impl Line for Scripted {
    fn progress(&self, Progress { done, total, message }: Progress) {
        let total = total.map(|total| format!(" of {total}")).unwrap_or_default();
        let message = message.map(|message| format!(": {message}")).unwrap_or_default();
        self.hear(&format!("progress {done}{total}{message}"));
    }

    fn log(&self, level: LogLevel, data: Value) {
        self.hear(&format!("log {level:?} {data}"));
    }

    fn can_ask(&self, question: &Question) -> Result<(), Fault> {
        let needed = question.method().split('/').next().unwrap_or_default();
        let can = self.declares.iter().any(|declared| declared == needed);
        if can { Ok(()) } else { Err(cannot_ask(question)) }
    }

    async fn ask(&self, questions: Vec<Question>) -> Result<Vec<Box<RawValue>>, Fault> {
        let shown = questions.iter().map(|q| format!("{} {} {}", q.key, q.method(), q.params()));
        self.hear(&format!("asks {}", shown.collect::<Vec<_>>().join("\n and ")));
        questions.iter().map(|question| self.answer(question)).collect()
    }

    fn takes_tasks(&self) -> bool {
        self.takes_tasks
    }

    fn detach(&self) {
        self.hear("detaches");
    }

    fn cut(&self) {
        self.hear("cuts");
    }
}
