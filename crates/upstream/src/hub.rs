//! Where everything that comes from one connection meets: those who wait, and what is nobody's.

use std::sync::Arc;

use mcp::{Id, WireError};
use serde_json::value::RawValue;
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
}

impl Hub {
    /// The hub of a connection to the server of this name, for up to so many requests.
    pub(crate) fn new(name: &Arc<str>, requests_max: usize, news: &Arc<News>) -> Arc<Self> {
        Arc::new(Self {
            name: Arc::clone(name),
            table: Arc::new(Table::new(requests_max)),
            news: Arc::clone(news),
            gone: CancellationToken::new(),
        })
    }

    /// The server's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Takes what came on a stream that all requests share. Returns what is to be answered at once.
    pub(crate) fn take(&self, came: Came) -> Option<Vec<u8>> {
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
