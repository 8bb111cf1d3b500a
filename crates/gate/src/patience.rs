//! Time that a call spends waiting for its own caller: it does not count against the call.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use serde_json::{Value, value::RawValue};
use tokio::{sync::Notify, time::Instant};
use tool::{Fault, Line, LogLevel, Progress, Question};

/// How long a call has waited for its caller, and whether it does now.
#[derive(Default)]
pub(crate) struct Patience {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// Questions that are open.
    open: usize,
    /// Since when there are any.
    since: Option<Instant>,
    /// How long there were any before.
    waited: Duration,
}

impl Patience {
    /// Ends once the deadline, moved by the time that was waited for the caller, has passed.
    pub(crate) async fn time_is_up(&self, deadline: Instant) {
        loop {
            let changed = self.changed.notified();
            match self.due(deadline) {
                None => changed.await,
                Some(due) => {
                    tokio::time::sleep_until(due).await;
                    if self.due(deadline).is_some_and(|due| due <= Instant::now()) {
                        return;
                    }
                }
            }
        }
    }

    /// When the time is up; `None` while the caller is waited for.
    pub(crate) fn due(&self, deadline: Instant) -> Option<Instant> {
        self.lock().due(deadline)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(self: &Arc<Self>) -> Waiting {
        self.lock().begin(Instant::now());
        Waiting(Arc::clone(self))
    }
}

impl State {
    fn due(&self, deadline: Instant) -> Option<Instant> {
        self.since.is_none().then(|| deadline + self.waited)
    }

    fn begin(&mut self, now: Instant) {
        self.open += 1;
        self.since.get_or_insert(now);
    }

    fn end(&mut self, now: Instant) {
        self.open -= 1;
        if self.open == 0
            && let Some(since) = self.since.take()
        {
            self.waited += now - since;
        }
    }
}

/// A question that is open; closed when dropped.
struct Waiting(Arc<Patience>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.lock().end(Instant::now());
        self.0.changed.notify_waiters();
    }
}

/// The line of a caller, on which the time of its answers is taken.
pub(crate) struct Patient {
    pub(crate) line: Arc<dyn Line>,
    pub(crate) patience: Arc<Patience>,
}

#[async_trait]
impl Line for Patient {
    fn progress(&self, progress: Progress) {
        self.line.progress(progress);
    }

    fn log(&self, level: LogLevel, data: Value) {
        self.line.log(level, data);
    }

    fn can_ask(&self, question: &Question) -> Result<(), Fault> {
        self.line.can_ask(question)
    }

    fn could_ask(&self, question: &Question) -> bool {
        self.line.could_ask(question)
    }

    async fn ask(&self, questions: Vec<Question>) -> Result<Vec<Box<RawValue>>, Fault> {
        let _waiting = self.patience.begin();
        self.line.ask(questions).await
    }

    fn takes_tasks(&self) -> bool {
        self.line.takes_tasks()
    }

    fn detach(&self) {
        self.line.detach();
    }

    fn cut(&self) {
        self.line.cut();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_for_the_caller_takes_no_time_from_the_call() {
        let (start, mut state) = (Instant::now(), State::default());
        let at = |seconds| start + Duration::from_secs(seconds);
        state.begin(at(4));
        state.begin(at(5));
        state.end(at(64));
        assert_eq!(state.due(at(10)), None, "one question is still open");
        state.end(at(104));
        assert_eq!(state.due(at(10)), Some(at(110)));
        state.begin(at(105));
        state.end(at(106));
        assert_eq!(state.due(at(10)), Some(at(111)));
    }

    #[tokio::test]
    async fn a_deadline_that_passed_while_the_caller_was_asked_counts_once_it_answered() {
        let patience = Arc::new(Patience::default());
        let waiting = patience.begin();
        let mut is_up = std::pin::pin!(patience.time_is_up(Instant::now()));
        assert!(futures_util::poll!(is_up.as_mut()).is_pending());
        drop(waiting);
        is_up.await;
    }
}
