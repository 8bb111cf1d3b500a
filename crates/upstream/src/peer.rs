//! One connection to a server, in whichever era and over whichever transport: requests go out, and what comes for
//! them comes back.

use std::{sync::Arc, time::Duration};

use mcp::{Id, Object, Version};
use serde_json::{json, value::RawValue};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::{
    error::UpstreamError,
    http::{Agreed, Http, HttpExchange},
    hub::{self, Hub},
    pipe::Pipe,
    request::Request,
    table::{Answer, Came, Ticket},
};

/// How long a server has to take that a request is cancelled.
const CANCEL_TIME_MAX: Duration = Duration::from_secs(2);

/// A connection on which both sides agree how they speak.
pub(crate) struct Peer {
    pub(crate) hub: Arc<Hub>,
    pub(crate) offers: Offers,
    pub(crate) version: Version,
    pub(crate) line: Line,
}

/// A connection, agreed on or not.
#[derive(Clone)]
pub(crate) struct Line {
    pub(crate) wire: Wire,
    pub(crate) agreed: Agreed,
    /// For what is sent when nobody waits any more.
    pub(crate) tasks: TaskTracker,
}

/// What carries the messages.
#[derive(Clone)]
pub(crate) enum Wire {
    Http(Arc<Http>),
    Pipe(Arc<Pipe>),
}

/// What a server says it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Offers {
    pub(crate) tools: bool,
    pub(crate) tools_change: bool,
    pub(crate) prompts: bool,
    pub(crate) prompts_change: bool,
    pub(crate) resources: bool,
    pub(crate) resources_change: bool,
    /// It tells when the content of a resource changes.
    pub(crate) watching: bool,
    pub(crate) logging: bool,
}

impl Offers {
    /// Reads the capabilities of a server, leniently: what is not an object is not there.
    pub(crate) fn read(capabilities: Option<Object<'_>>) -> Self {
        let of = |name: &str| capabilities.as_ref().and_then(|all| all.object(name).ok().flatten());
        let is = |part: &Option<Object<'_>>, name: &str| part.as_ref().is_some_and(|part| part.is_on(name));
        let (tools, prompts, resources) = (of("tools"), of("prompts"), of("resources"));
        Self {
            tools: tools.is_some(),
            tools_change: is(&tools, "listChanged"),
            prompts: prompts.is_some(),
            prompts_change: is(&prompts, "listChanged"),
            resources: resources.is_some(),
            resources_change: is(&resources, "listChanged"),
            watching: is(&resources, "subscribe"),
            logging: of("logging").is_some(),
        }
    }
}

impl Peer {
    /// True where every request speaks for itself.
    pub(crate) fn is_modern(&self) -> bool {
        self.version.is_modern()
    }

    /// How the server is reached, for metrics.
    pub(crate) fn transport(&self) -> &'static str {
        match self.line.wire {
            Wire::Http(_) => "tcp",
            Wire::Pipe(_) => "pipe",
        }
    }

    /// What keeps the program in, where it is one.
    pub(crate) fn held(&self) -> Option<&child::Held> {
        match &self.line.wire {
            Wire::Http(_) => None,
            Wire::Pipe(pipe) => pipe.held(),
        }
    }

    /// Begins a request.
    pub(crate) async fn start(&self, request: &Request) -> Result<Exchange, UpstreamError> {
        self.line.start(request, &self.hub).await
    }

    /// Sends a request and waits for its result. What is said on the way is news.
    pub(crate) async fn result(&self, request: &Request) -> Result<Box<RawValue>, UpstreamError> {
        let mut exchange = self.start(request).await?;
        exchange.result(&self.hub).await
    }

    /// Closes the connection.
    pub(crate) async fn close(&self) {
        match &self.line.wire {
            Wire::Pipe(pipe) => pipe.close(),
            Wire::Http(http) => {
                if self.line.agreed.session.is_some()
                    && let Err(error) = http.delete(&self.line.agreed).await
                {
                    tracing::debug!(server = self.hub.name(), %error, "a session cannot be ended");
                }
                self.hub.close("it was closed");
            }
        }
    }
}

impl Line {
    /// Begins a request.
    pub(crate) async fn start(&self, request: &Request, hub: &Hub) -> Result<Exchange, UpstreamError> {
        let ticket = hub.table.open(request.about.talks)?;
        let way = match &self.wire {
            Wire::Http(http) => Way::Http(Box::new(http.start(request, ticket, &self.agreed)?)),
            Wire::Pipe(pipe) => {
                let modern = self.agreed.version.filter(|version| version.is_modern());
                pipe.send(&request.write(&ticket.id, modern)).await?;
                Way::Program(ticket)
            }
        };
        // These two open a connection; where they fail, all of it ends.
        let is_opening = matches!(request.method, "server/discover" | "initialize");
        Ok(Exchange { line: self.clone(), way, is_over: is_opening })
    }

    /// Answers a question of the server.
    pub(crate) async fn answer(&self, message: Vec<u8>) -> Result<(), UpstreamError> {
        match &self.wire {
            Wire::Http(http) => http.post(message, &self.agreed).await,
            Wire::Pipe(pipe) => pipe.send(&message).await,
        }
    }

    /// Sends a notification.
    pub(crate) async fn notify(&self, method: &str) -> Result<(), UpstreamError> {
        let mut message = Vec::new();
        mcp::write_notification(&mut message, method, None);
        self.answer(message).await
    }

    /// Says that nobody waits for a request any more. Over HTTP in the newer era, where its stream is closed, that
    /// says it already.
    fn cancel(&self, id: &Id) {
        let mut message = Vec::new();
        let params = json!({ "requestId": id.as_integer(), "reason": "nobody waits for it any more" });
        mcp::write_notification(&mut message, "notifications/cancelled", Some(&params));
        match &self.wire {
            Wire::Pipe(pipe) => pipe.try_send(&message),
            Wire::Http(_) if self.agreed.version.is_some_and(Version::is_modern) => {}
            Wire::Http(http) => {
                // Without a runtime the process is ending, and the session with it.
                let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
                let (http, agreed) = (Arc::clone(http), self.agreed.clone());
                let cancelling = async move {
                    match timeout(CANCEL_TIME_MAX, http.post(message, &agreed)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => tracing::debug!(%error, "a request cannot be cancelled"),
                        Err(_) => tracing::debug!("a request was not cancelled in time"),
                    }
                };
                self.tasks.spawn_on(cancelling, &runtime);
            }
        }
    }
}

/// One request that is under way. Where it is dropped before its end, the server is told that nobody waits.
pub(crate) struct Exchange {
    line: Line,
    way: Way,
    /// True where there is nothing to be told.
    is_over: bool,
}

enum Way {
    Http(Box<HttpExchange>),
    Program(Ticket),
}

impl Exchange {
    /// What comes next; an answer is the last. May be dropped and called again.
    pub(crate) async fn next(&mut self, hub: &Hub) -> Result<Came, UpstreamError> {
        let came = match &mut self.way {
            Way::Http(exchange) => exchange.next(&hub.table).await,
            Way::Program(ticket) => ticket.next().await,
        };
        self.is_over |= matches!(came, Ok(Came::Answer(..)) | Err(_));
        came
    }

    /// Waits for the result; what is said on the way is news, and what is asked is refused.
    pub(crate) async fn result(&mut self, hub: &Hub) -> Result<Box<RawValue>, UpstreamError> {
        loop {
            match self.next(hub).await? {
                Came::Answer(_, Answer::Result(result)) => return Ok(result),
                Came::Answer(_, Answer::Error(error)) => return Err(UpstreamError::Answered(error)),
                Came::Answer(_, Answer::Lost(lost)) => return Err(lost.into()),
                Came::Note(note) => hub.news.heard(&note),
                Came::Asked(asked) => self.line.answer(hub::at_once(&asked)).await?,
                Came::LetGo => {}
            }
        }
    }

    /// The session that the answer named.
    pub(crate) fn session(&self) -> Option<http::HeaderValue> {
        match &self.way {
            Way::Http(exchange) => exchange.session.clone(),
            Way::Program(_) => None,
        }
    }

    fn id(&self) -> &Id {
        match &self.way {
            Way::Http(exchange) => &exchange.ticket.id,
            Way::Program(ticket) => &ticket.id,
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.is_over {
            self.line.cancel(self.id());
        }
    }
}
