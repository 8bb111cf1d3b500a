//! The face that agents use: the Model Context Protocol in both eras, over HTTP and over standard input and output.
//!
//! A request is read (`::mcp`), turned into a call (`methods.rs`), and its call is a [`job::Job`]: work that says
//! things and asks things while it runs. How that reaches the client is the transport's: `modern.rs` and `legacy.rs`
//! over HTTP, `stdio.rs`. Who may do what is the gate's, as for every face.

mod http;
mod job;
mod legacy;
mod line;
mod listen;
mod lists;
mod methods;
mod modern;
mod parked;
mod sessions;
mod shape;
mod stdio;
mod streams;
mod tasks;

use std::{
    num::NonZeroUsize,
    sync::{Arc, OnceLock},
    time::Duration,
};

use ::mcp::{Version, seal::Seals};
use serde_json::{json, value::RawValue};
use tokio_util::task::TaskTracker;
use tool::{Caller, Clock, Fault, Stop};

use crate::{
    config::McpConfig,
    headers::Ids,
    road::{Credentials, Road},
};

pub use stdio::Stdio;

pub(crate) use http::answer;

use parked::Parked;
use sessions::Sessions;
use shape::Mould;
use tasks::Tasks;

/// The protocol server: what all connections share.
pub(crate) struct Mcp {
    pub(crate) road: Arc<dyn Road>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) config: McpConfig,
    /// Seals cursors and the state of requests that ask.
    pub(crate) seals: Seals,
    /// What we call ourselves, as JSON.
    pub(crate) server: Arc<RawValue>,
    pub(crate) instructions: Option<String>,
    pub(crate) sessions: Sessions,
    pub(crate) parked: Parked,
    pub(crate) tasks: Tasks,
    /// Work that goes on without a connection. A drain waits for it.
    pub(crate) tracker: TaskTracker,
    stop: OnceLock<Stop>,
}

/// What the protocol server remembers beyond this process.
#[derive(Clone)]
pub struct McpState {
    /// Sessions of older clients.
    pub sessions: Arc<dyn state::Sessions>,
    /// Tasks.
    pub tasks: Arc<dyn state::Tasks>,
}

/// Who asks, and by which door.
#[derive(Clone)]
pub(crate) struct Who {
    pub(crate) caller: Arc<Caller>,
    pub(crate) credentials: Credentials,
    pub(crate) face: tool::Face,
    pub(crate) ids: Ids,
    pub(crate) idempotency_key: Option<Arc<str>>,
}

impl Mcp {
    /// A server with nothing under way.
    ///
    /// Error: where the system has no random numbers.
    pub(crate) fn new(
        road: Arc<dyn Road>,
        clock: Arc<dyn Clock>,
        name: &str,
        version: &str,
        config: McpConfig,
        state: McpState,
    ) -> Result<Arc<Self>, getrandom::Error> {
        let server = json!({ "name": name, "version": version });
        Ok(Arc::new(Self {
            road,
            clock,
            seals: Seals::of_this_process()?,
            server: tool::json::raw(&server).into(),
            instructions: config.instructions.clone(),
            sessions: Sessions::new(state.sessions, config.sessions_max, config.sessions_per_principal_max),
            parked: Parked::new(config.waiting_max),
            tasks: Tasks::new(state.tasks, config.tasks_per_principal_max),
            tracker: TaskTracker::new(),
            stop: OnceLock::new(),
            config,
        }))
    }

    /// Finds out who comes with these credentials, and for which toolset.
    ///
    /// Fault: they stand for nobody; or, for somebody, there is no such toolset.
    pub(crate) async fn identify(
        &self,
        credentials: Credentials,
        toolset: Option<&str>,
        ids: &Ids,
    ) -> Result<(Arc<Caller>, Credentials), Fault> {
        let Some(name) = toolset else {
            return Ok((self.road.identify(&credentials, ids).await?, credentials));
        };
        let credentials = credentials.within(name);
        let caller = self.road.identify(&credentials, ids).await?;
        if self.road.toolset(name).is_none() {
            let shown: String = name.chars().take(80).collect();
            return Err(Fault::not_found(format!("there is no toolset {shown:?}")));
        }
        Ok((caller, credentials))
    }

    /// What a client of this caller is told that this server is for.
    pub(crate) fn instructions(&self, caller: &Caller) -> Option<String> {
        let of_toolset = caller.toolset.as_deref().and_then(|name| self.road.toolset(name).flatten());
        of_toolset.or_else(|| self.instructions.clone())
    }

    /// The wish to stop, from when the server runs.
    pub(crate) fn set_stop(&self, stop: Stop) {
        // Set once, by the one run that a server has.
        let _ = self.stop.set(stop);
    }

    /// The wish to stop.
    pub(crate) fn stop(&self) -> Stop {
        self.stop.get().cloned().unwrap_or_else(Stop::never)
    }

    /// How answers to a revision are shaped.
    pub(crate) fn mould(&self, version: Version) -> Mould {
        Mould { version, server: Arc::clone(&self.server) }
    }

    /// How many items a page of a list has.
    pub(crate) fn page_size(&self) -> NonZeroUsize {
        NonZeroUsize::new(self.config.page_size).unwrap_or(NonZeroUsize::MIN)
    }

    /// How long somebody may take to answer a question.
    pub(crate) fn answer_time(&self) -> Duration {
        Duration::from_secs(self.config.answer_seconds)
    }

    /// Stops what goes on without a connection, and waits a moment for it to be written down.
    pub(crate) async fn close(&self, grace: Duration) {
        self.parked.clear();
        self.tracker.close();
        if tokio::time::timeout(grace, self.tracker.wait()).await.is_err() {
            tracing::warn!(tasks = self.tracker.len(), "protocol work was still going on after the grace");
        }
    }
}

/// How often it is written down when sessions were used.
const TEND_EVERY: Duration = Duration::from_secs(30);

/// Looks after sessions and tasks until the server stops.
pub(crate) async fn tend(mcp: Arc<Mcp>, stop: Stop) {
    if let Err(error) = mcp.tasks.recover(mcp.clock.now()).await {
        tracing::error!(error = %error, "tasks of an earlier process cannot be ended");
    }
    loop {
        let is_over = tokio::select! {
            () = tokio::time::sleep(TEND_EVERY) => false,
            () = stop.asked() => true,
        };
        let idle = Duration::from_secs(mcp.config.session_idle_seconds);
        if let Err(error) = mcp.sessions.tend(mcp.clock.now(), idle).await {
            tracing::warn!(error = %error, "it cannot be written down when sessions were used");
        }
        if is_over {
            return;
        }
    }
}

/// The revisions that are spoken, newest first.
pub(crate) fn versions() -> [&'static str; 4] {
    Version::ALL.map(Version::as_str)
}
