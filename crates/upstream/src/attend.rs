//! Listening to a server while it is connected: what it says when nobody asked.
//!
//! In the newer era a request of its own stays open for that (basic/patterns/subscriptions). In the older one a
//! session has a stream (2025-11-25 basic/transports), and resources are subscribed to one by one.

use std::{collections::HashSet, sync::Arc, time::Duration};

use mcp::sse::EventId;
use serde_json::{Map, Value, json};
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};

use crate::{
    error::UpstreamError,
    http::{Events, Http},
    peer::{Peer, Wire},
    request::{Params, Request},
    table::{Answer, Came},
    upstream::Upstream,
};

/// The first wait before a stream that ended is opened again; doubled each time.
const WAIT: Duration = Duration::from_millis(500);
/// The longest such wait.
const WAIT_MAX: Duration = Duration::from_secs(60);

impl Upstream {
    /// Listens until the connection is over.
    ///
    /// `ready` is told once the stream that a call may need beside its own is open, or cannot be.
    pub(crate) async fn attend(self: Arc<Self>, peer: Arc<Peer>, ready: oneshot::Sender<()>) {
        let listening = async {
            match (&peer.line.wire, peer.is_modern()) {
                (_, true) => {
                    drop(ready);
                    self.listen(&peer).await;
                }
                (Wire::Http(http), false) => {
                    tokio::join!(self.follow(&peer, http, ready), self.watch(&peer));
                }
                (Wire::Pipe(_), false) => {
                    drop(ready);
                    self.watch(&peer).await;
                }
            }
        };
        tokio::select! {
            () = peer.hub.gone().cancelled() => {}
            () = listening => {}
        }
    }

    /// The URIs that are watched.
    fn watched(&self) -> Vec<Arc<str>> {
        let catalogue = self.catalogue();
        let uris = catalogue.resources.iter().map(|resource| Arc::clone(&resource.uri));
        uris.take(self.settings.watched_max).collect()
    }

    /// Keeps a `subscriptions/listen` open, about the resources that there are.
    async fn listen(&self, peer: &Peer) {
        let mut wait = WAIT;
        loop {
            let Some(request) = listening(peer, &self.watched()) else {
                self.relisted.notified().await;
                continue;
            };
            let ended = tokio::select! {
                () = self.relisted.notified() => continue,
                ended = hear(peer, &request) => ended,
            };
            match ended {
                Ok(()) => wait = WAIT,
                Err(UpstreamError::Answered(error)) => {
                    let error = error.get().chars().take(200).collect::<String>();
                    return tracing::debug!(
                        server = self.name(),
                        error,
                        "a tool server does not let us listen"
                    );
                }
                Err(error) => {
                    tracing::debug!(server = self.name(), %error, "a tool server is not heard any more");
                }
            }
            sleep(wait).await;
            wait = (wait * 2).min(WAIT_MAX);
        }
    }

    /// Subscribes to the resources that there are, and to those that come.
    async fn watch(&self, peer: &Peer) {
        if !peer.offers.watching {
            return;
        }
        let mut watched = HashSet::new();
        loop {
            for uri in self.watched() {
                if watched.len() < self.settings.watched_max && watched.insert(Arc::clone(&uri)) {
                    let request =
                        Request::ours("resources/subscribe", Params::default().with_text("uri", &uri));
                    let silence = self.settings.times.silence;
                    if let Ok(Err(error)) = timeout(silence, peer.result(&request)).await {
                        tracing::debug!(server = self.name(), %error, "a resource cannot be watched");
                    }
                }
            }
            self.relisted.notified().await;
        }
    }

    /// Follows the stream of a session.
    async fn follow(&self, peer: &Peer, http: &Arc<Http>, ready: oneshot::Sender<()>) {
        let (mut wait, mut after, mut ready) = (WAIT, None::<EventId>, Some(ready));
        loop {
            let opened = http.stream(after.as_ref(), &peer.line.agreed).await;
            // Nobody may be waiting for it.
            let _ = ready.take().map(|ready| ready.send(()));
            match opened {
                Ok(mut events) => {
                    take_all(peer, &mut events).await;
                    after = events.last_id().cloned().or(after);
                    wait = events.retry.unwrap_or(WAIT);
                }
                Err(UpstreamError::SessionGone) => return peer.hub.close("its session is gone"),
                // A server need not have one.
                Err(UpstreamError::Status { status: 400..=499, .. }) => return,
                Err(error) => {
                    tracing::debug!(server = self.name(), %error, "the stream of a session cannot be opened");
                    wait = (wait * 2).min(WAIT_MAX);
                }
            }
            sleep(wait).await;
        }
    }
}

/// The request to be told of changes; none where the server tells of nothing.
fn listening(peer: &Peer, uris: &[Arc<str>]) -> Option<Request> {
    let offers = &peer.offers;
    let mut wanted = Map::new();
    for (name, is_told) in [
        ("toolsListChanged", offers.tools_change),
        ("promptsListChanged", offers.prompts_change),
        ("resourcesListChanged", offers.resources_change),
    ] {
        if is_told {
            wanted.insert(name.to_owned(), Value::Bool(true));
        }
    }
    if offers.watching && !uris.is_empty() {
        wanted.insert("resourceSubscriptions".to_owned(), json!(uris));
    }
    if wanted.is_empty() {
        return None;
    }
    let params = Params::default().with("notifications", tool::json::raw(&Value::Object(wanted)));
    Some(Request::ours("subscriptions/listen", params))
}

/// Hears what is said until the server ends it.
async fn hear(peer: &Peer, request: &Request) -> Result<(), UpstreamError> {
    let mut exchange = peer.start(request).await?;
    loop {
        match exchange.next(&peer.hub).await? {
            Came::Note(note) => peer.hub.news.heard(&note),
            Came::Answer(_, Answer::Result(_)) => return Ok(()),
            Came::Answer(_, Answer::Error(error)) => return Err(UpstreamError::Answered(error)),
            Came::Answer(_, Answer::Lost(lost)) => return Err(lost.into()),
            Came::Asked(_) | Came::LetGo => {}
        }
    }
}

async fn take_all(peer: &Peer, events: &mut Events) {
    loop {
        match events.next().await {
            Ok(Some(data)) => match Came::read(&data, None) {
                Ok(came) => answer(peer, came).await,
                Err(why) => tracing::debug!(server = peer.hub.name(), why, "an event is no message"),
            },
            Ok(None) => return,
            Err(error) => {
                return tracing::debug!(server = peer.hub.name(), %error, "the stream of a session broke off");
            }
        }
    }
}

async fn answer(peer: &Peer, came: Came) {
    if let Some(message) = peer.hub.take(came)
        && let Err(error) = peer.line.answer(message).await
    {
        tracing::debug!(server = peer.hub.name(), %error, "a question of a tool server cannot be answered");
    }
}
