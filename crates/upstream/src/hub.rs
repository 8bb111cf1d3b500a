//! Where everything that comes from one connection meets: those who wait, and what is nobody's.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use mcp::{Id, WireError};
use serde_json::value::RawValue;
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    news::News,
    table::{Asked, Came, Table},
};

/// The middle of one connection. A new connection has a new one.
pub(crate) struct Hub {
    name: Arc<str>,
    pub(crate) table: Arc<Table>,
    pub(crate) news: Arc<News>,
    gone: CancellationToken,
    /// How a program ended that was not asked to.
    end: OnceLock<String>,
    /// True once the other end closed the connection before we did.
    has_left: AtomicBool,
    /// True once that was counted.
    is_counted: AtomicBool,
    /// The program has ended, and nothing is left of it.
    ended: CancellationToken,
    began: Instant,
    /// How many messages came.
    heard: AtomicU64,
    doubted: Notify,
}

impl Hub {
    /// The hub of a connection to the server of this name, for up to so many requests.
    pub(crate) fn new(name: &Arc<str>, requests_max: usize, news: &Arc<News>) -> Arc<Self> {
        Arc::new(Self {
            name: Arc::clone(name),
            table: Arc::new(Table::new(requests_max)),
            news: Arc::clone(news),
            gone: CancellationToken::new(),
            end: OnceLock::new(),
            has_left: AtomicBool::new(false),
            is_counted: AtomicBool::new(false),
            ended: CancellationToken::new(),
            began: Instant::now(),
            heard: AtomicU64::new(0),
            doubted: Notify::new(),
        })
    }

    /// The server's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Takes what came on a stream that all requests share. Returns what is to be answered at once.
    pub(crate) fn take(&self, came: Came) -> Option<Vec<u8>> {
        self.heard.fetch_add(1, Ordering::Relaxed);
        match self.table.hand_on(came)? {
            Came::Note(note) => {
                self.news.heard(&note);
                None
            }
            Came::Asked(asked) => Some(at_once(&asked)),
            Came::Answer(..) | Came::LetGo => None,
        }
    }

    /// The connection is over: nobody is answered any more.
    pub(crate) fn close(&self, why: &str) {
        if !self.gone.is_cancelled() {
            tracing::debug!(server = self.name(), why, "the connection to a tool server is over");
        }
        self.gone.cancel();
        self.table.drain();
    }

    /// The other end closed the connection before we did.
    pub(crate) fn leaves(&self) {
        self.has_left.store(true, Ordering::Release);
    }

    /// Whether it did.
    pub(crate) fn has_left(&self) -> bool {
        self.has_left.load(Ordering::Acquire)
    }

    /// The program ended by itself, and how.
    pub(crate) fn ends_with(&self, how: &str) {
        // It ends once.
        let _ = self.end.set(how.to_owned());
    }

    /// How the program ended, where it did by itself.
    pub(crate) fn end(&self) -> Option<&str> {
        self.end.get().map(String::as_str)
    }

    /// The same and how long it ran, for whoever counts it first.
    pub(crate) fn take_end(&self) -> Option<(String, Duration)> {
        let how = self.end()?;
        let is_first = !self.is_counted.swap(true, Ordering::AcqRel);
        is_first.then(|| (how.to_owned(), self.began.elapsed()))
    }

    /// Ends when the program has ended and nothing is left of it.
    pub(crate) fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    /// How many messages came so far.
    pub(crate) fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    /// Told when it was too late with an answer, so that nobody knows whether it is still there.
    pub(crate) fn doubted(&self) -> &Notify {
        &self.doubted
    }

    /// Ends when the connection is over.
    pub(crate) fn gone(&self) -> &CancellationToken {
        &self.gone
    }
}

/// The answer to a question that no caller of ours gets to see: a sign of life, or no.
pub(crate) fn at_once(asked: &Asked) -> Vec<u8> {
    match asked.method.as_str() {
        "ping" => result(&asked.id, tool::json::empty_object()),
        "elicitation/create" | "sampling/createMessage" | "roots/list" => {
            let text = "no call is under way that this could belong to, or several are: ask while one is, \
                        or let it have a stream of its own";
            error(&asked.id, &WireError::invalid_request(text))
        }
        method => error(&asked.id, &WireError::method_not_found(method)),
    }
}

/// The message of an answer.
pub(crate) fn result(id: &Id, result: &RawValue) -> Vec<u8> {
    let mut out = Vec::new();
    mcp::write_result(&mut out, id, &result);
    out
}

/// The message of an answer that is an error.
pub(crate) fn error(id: &Id, error: &dyn mcp::Splice) -> Vec<u8> {
    let mut out = Vec::new();
    mcp::write_error(&mut out, Some(id), error);
    out
}
