//! One call under way: its work, what it says, and what it asks.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::future::BoxFuture;
use serde_json::{Value, json, value::RawValue};
use tokio::sync::mpsc;
use tool::{Fault, Question};

use super::{
    line::{Answers, Asks, CallLine, Said},
    shape::Ended,
};

/// A call that was begun. It goes on while it is polled, and is stopped when it is dropped.
pub(crate) struct Job {
    work: Option<BoxFuture<'static, Ended>>,
    heard: mpsc::Receiver<Said>,
    /// What was heard while questions were looked for.
    early: VecDeque<Said>,
    ended: Option<Ended>,
    pub(crate) line: Arc<CallLine>,
    /// Questions that wait for answers.
    asks: Vec<Asks>,
}

/// What happens to a call.
pub(crate) enum Event {
    /// It says something.
    Said(Said),
    /// It has ended.
    Ended(Ended),
}

impl Job {
    pub(crate) fn new(
        work: BoxFuture<'static, Ended>,
        line: Arc<CallLine>,
        heard: mpsc::Receiver<Said>,
    ) -> Self {
        Self { work: Some(work), heard, early: VecDeque::new(), ended: None, line, asks: Vec::new() }
    }

    /// The next thing that happens. What was said before the end comes before it.
    pub(crate) async fn next(&mut self) -> Event {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if let Some(said) = self.early.pop_front() {
            return Poll::Ready(Event::Said(said));
        }
        if let Poll::Ready(Some(said)) = self.heard.poll_recv(cx) {
            return Poll::Ready(Event::Said(said));
        }
        if let Some(work) = &mut self.work
            && let Poll::Ready(ended) = work.as_mut().poll(cx)
        {
            self.work = None;
            self.ended = Some(ended);
        }
        // What it said while it was polled.
        if let Poll::Ready(Some(said)) = self.heard.poll_recv(cx) {
            return Poll::Ready(Event::Said(said));
        }
        match self.ended.take() {
            Some(ended) => Poll::Ready(Event::Ended(ended)),
            None => Poll::Pending,
        }
    }

    /// Takes questions that the work asks at this moment, beside those that were just heard.
    pub(crate) fn wait_for(&mut self, asks: Asks) {
        self.asks.push(asks);
        while let Ok(said) = self.heard.try_recv() {
            match said {
                Said::Asks(more) => self.asks.push(more),
                other => self.early.push_back(other),
            }
        }
    }

    /// Takes these questions, whose answers come one by one.
    pub(crate) fn hold(&mut self, asks: Asks) {
        self.asks.push(asks);
    }

    /// Tells whoever asked this that no answer comes.
    pub(crate) fn fail(&mut self, key: &str, fault: Fault) {
        let at = self.asks.iter().position(|asks| asks.open().any(|question| &*question.key == key));
        if let Some(at) = at {
            self.asks.swap_remove(at).fail(fault);
        }
    }

    /// Hands in answers; those that nobody asked for are let be.
    pub(crate) fn answer(&mut self, answers: &Answers) {
        let open = std::mem::take(&mut self.asks);
        self.asks = open
            .into_iter()
            .filter_map(|mut asks| {
                asks.take(answers.clone());
                asks.settle()
            })
            .collect();
    }

    /// The questions that wait, as `inputRequests`.
    pub(crate) fn input_requests(&self) -> Value {
        let open = self.asks.iter().flat_map(Asks::open);
        Value::Object(open.map(|question| (question.key.to_string(), input_request(question))).collect())
    }
}

/// A question as the protocol has it.
fn input_request(question: &Question) -> Value {
    let params: Value = serde_json::from_str(question.params().get()).unwrap_or_else(|_| json!({}));
    json!({ "method": question.method(), "params": params })
}

/// The `inputResponses` of a request, by key; nothing where there are none or they are none.
pub(crate) fn input_responses(params: &mcp::Object<'_>) -> Answers {
    let Ok(Some(responses)) = params.object("inputResponses") else { return Answers::new() };
    let members = responses.members().iter();
    members
        .filter_map(|member| {
            let raw: Box<RawValue> = serde_json::from_str(member.value).ok()?;
            Some((member.name.to_string(), raw))
        })
        .collect()
}
