//! The gate: the one road that every call takes.
//!
//! `identify -> find -> allow -> admit -> validate -> authorize -> recall -> run -> bound -> record`
//!
//! A face hands in a [`Request`] and gets an [`Answer`]. Nothing else in the house can run a provider: a permit is
//! made with the seal that only the gate holds.

mod bound;
mod breaker;
mod calls;
mod condition;
mod config;
mod hygiene;
mod identify;
mod keyring;
mod limits;
mod metrics;
mod patience;
mod policy;
mod recall;
mod record;
mod road;
mod run;
mod signed;
mod snapshot;
mod toolset;
mod validate;
mod window;

use std::{
    collections::BTreeSet,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use audit::{Audit, Durability};
use change::Desk;
use futures_util::{FutureExt as _, future::BoxFuture};
use serde_json::{Map, Value, json};
use state::{Artefacts, Cache, Ledger, Usage as _};
use tokio::sync::broadcast;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tool::{
    Call, Caller, Clock, Fault, GateSeal, Line, Notice, Probe, Prompt, Rate, Reply, RequestId, Resource,
    StopSource, Tool, Tracer,
};

pub use config::{
    BreakerConfig, Config, LimitsConfig, OutputConfig, PrincipalConfig, RoleConfig, RuleConfig, RuleParts,
    TierConfig, ToolConfig, ToolsetConfig, WebhookConfig,
};
pub use identify::{Credentials, KeyHash, LOCAL_PRINCIPAL};
pub use keyring::KeyRing;
pub use limits::LimitState;
pub use metrics::{Metrics, Stats, SystemSample};
pub use signed::{Signed, Signer};
pub use snapshot::{Catalogue, Snapshot};

use road::Journey;

/// How long one provider may take to say how it is.
const PROBE_TIME_MAX: Duration = Duration::from_secs(5);

/// How many notices a listener may fall behind.
const NOTICES_MAX: usize = 256;

/// How many refused logins are recorded one by one in a minute; the rest is summed up.
const REFUSALS_PER_MINUTE: u32 = 60;

/// What a face hands in.
pub struct Request {
    /// What the caller shows of itself.
    pub credentials: Credentials,
    /// What is asked for.
    pub call: Call,
    /// The line back to the caller while the call runs.
    pub line: Arc<dyn Line>,
}

/// What a face gets back.
#[derive(Debug)]
pub struct Answer {
    /// The id of the call.
    pub request_id: RequestId,
    /// Who called, where somebody was identified.
    pub caller: Option<Arc<Caller>>,
    /// The tool, where this caller may see it.
    pub tool: Option<Arc<Tool>>,
    /// What came of it.
    pub result: Result<Reply, Fault>,
    /// How the limit that matters most stands, where the call was counted.
    pub limit: Option<LimitState>,
    /// Whether the answer was given before.
    pub cache: CacheUse,
    /// How long it took.
    pub elapsed: Duration,
}

/// Something that is left alone for a while because it kept failing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenBreaker {
    /// A source, or a target of one: `sql:shop`, `http:api.example.com`.
    pub name: Arc<str>,
    /// True for a source of the catalogue; false for one of many targets, such as a host of the web.
    pub is_source: bool,
}

/// What the answer cache had to do with an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheUse {
    /// Nothing: this tool's answers are not kept.
    #[default]
    None,
    /// The answer was fetched, and kept.
    Miss,
    /// The answer was there.
    Hit,
}

/// What the gate is made of. The binary brings it together.
pub struct Parts {
    /// The right to make callers and permits.
    pub seal: Seal,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// The keys.
    pub ring: Arc<KeyRing>,
    /// Turns a presented secret into the hash it is stored by.
    pub key_hash: KeyHash,
    /// Answers kept for a while.
    pub cache: Arc<dyn Cache>,
    /// Which idempotency keys were used.
    pub ledger: Arc<dyn Ledger>,
    /// Results kept behind handles.
    pub artefacts: Arc<dyn Artefacts>,
    /// Where changes wait.
    pub desk: Arc<Desk>,
    /// The audit log.
    pub audit: Audit,
    /// What is counted and measured.
    pub metrics: Arc<Metrics>,
    /// Follows calls across systems.
    pub tracer: Arc<dyn Tracer>,
}

/// The gate's seal: minted by the binary, or lent by a test process to its several gates.
pub enum Seal {
    /// The one of this process.
    Own(GateSeal),
    /// A test's.
    Lent(&'static GateSeal),
}

impl std::ops::Deref for Seal {
    type Target = GateSeal;

    fn deref(&self) -> &GateSeal {
        match self {
            Self::Own(seal) => seal,
            Self::Lent(seal) => seal,
        }
    }
}

/// The gate. Every face calls it, and nothing else runs a provider.
pub struct Gate {
    seal: Seal,
    clock: Arc<dyn Clock>,
    ring: Arc<KeyRing>,
    key_hash: KeyHash,
    cache: Arc<dyn Cache>,
    ledger: Arc<dyn Ledger>,
    artefacts: Arc<dyn Artefacts>,
    desk: Arc<Desk>,
    audit: Audit,
    metrics: Arc<Metrics>,
    tracer: Arc<dyn Tracer>,
    snapshot: ArcSwap<Snapshot>,
    notices: broadcast::Sender<Notice>,
    health: ArcSwap<Vec<Probe>>,
    limits: limits::Limits,
    breakers: breaker::Breakers,
    flights: recall::Flights,
    noise: Mutex<audit::Noise>,
    seen: signed::Seen,
    tasks: TaskTracker,
    draining: CancellationToken,
    closing: CancellationToken,
}

impl Gate {
    /// Puts the gate together, with the snapshot it begins with.
    #[must_use]
    pub fn new(parts: Parts, snapshot: Arc<Snapshot>) -> Arc<Self> {
        Arc::new(Self {
            seal: parts.seal,
            clock: parts.clock,
            ring: parts.ring,
            key_hash: parts.key_hash,
            cache: parts.cache,
            ledger: parts.ledger,
            artefacts: parts.artefacts,
            desk: parts.desk,
            audit: parts.audit,
            metrics: parts.metrics,
            tracer: parts.tracer,
            snapshot: ArcSwap::new(snapshot),
            notices: broadcast::channel(NOTICES_MAX).0,
            health: ArcSwap::default(),
            limits: limits::Limits::default(),
            breakers: breaker::Breakers::default(),
            flights: recall::Flights::default(),
            noise: Mutex::new(audit::Noise::new(REFUSALS_PER_MINUTE)),
            seen: signed::Seen::default(),
            tasks: TaskTracker::new(),
            draining: CancellationToken::new(),
            closing: CancellationToken::new(),
        })
    }

    /// Takes one call from the door to the provider and back.
    ///
    /// The walk is carried to its end, and written down, even where the face goes away or a provider panics.
    /// Dropping this future says that the client left: the rest of the walk becomes a task of its own, where what
    /// only reads is stopped and what changes something runs to its end.
    pub async fn call(self: &Arc<Self>, request: Request) -> Answer {
        let (source, gone) = StopSource::new();
        let journey = Journey::new(Arc::clone(self), request.call, request.line, gone);
        let (request_id, started) = (journey.call.request_id.clone(), journey.started);
        let (credentials, token) = (request.credentials, self.tasks.token());
        // Put together where it stays: each layer around it would be a copy of it.
        let walk = Box::pin(async move {
            let _token = token;
            AssertUnwindSafe(journey.go(&credentials)).catch_unwind().await
        });
        let carried = Carried { gate: Arc::clone(self), walk: Some(walk), _leash: Leash(source) };
        // Providers and the road have nets of their own; this is a fault in those.
        carried.await.unwrap_or_else(|_| {
            tracing::error!(request_id = request_id.as_str(), "the road broke");
            Answer {
                request_id,
                caller: None,
                tool: None,
                result: Err(Fault::internal("the road broke; the message is on standard error")),
                limit: None,
                cache: CacheUse::None,
                elapsed: started.elapsed(),
            }
        })
    }

    /// Who these credentials stand for, for doors that only list. The ids are of the request that shows them.
    pub async fn identify(
        &self,
        credentials: &Credentials,
        request_id: &RequestId,
        correlation_id: &RequestId,
    ) -> Result<Arc<Caller>, Fault> {
        self.who(credentials, &self.snapshot(), request_id, correlation_id).await
    }

    /// The tools a caller sees, by name.
    #[must_use]
    pub fn visible(&self, caller: &Caller) -> Arc<[Arc<Tool>]> {
        self.snapshot().visible(caller)
    }

    /// What clients are told of a toolset, where they are told anything; `None` where there is none of this name.
    #[must_use]
    pub fn toolset(&self, name: &str) -> Option<Option<String>> {
        self.snapshot().toolset(name).map(|instructions| instructions.map(str::to_owned))
    }

    /// The prompts a caller sees, by name.
    #[must_use]
    pub fn visible_prompts(&self, caller: &Caller) -> Vec<Arc<Prompt>> {
        let snapshot = self.snapshot();
        let seen = |prompt: &&Arc<Prompt>| snapshot.may_see_of(caller, &prompt.tool);
        snapshot.catalogue.prompts().filter(seen).cloned().collect()
    }

    /// The resources a caller sees, by URI.
    #[must_use]
    pub fn visible_resources(&self, caller: &Caller) -> Vec<Arc<Resource>> {
        let snapshot = self.snapshot();
        let seen = |resource: &&Arc<Resource>| snapshot.may_see_of(caller, &resource.tool);
        snapshot.catalogue.resources().iter().filter(seen).cloned().collect()
    }

    /// The templates of resources a caller sees, by URI.
    #[must_use]
    pub fn visible_templates(&self, caller: &Caller) -> Vec<Arc<Resource>> {
        let snapshot = self.snapshot();
        let seen = |resource: &&Arc<Resource>| snapshot.may_see_of(caller, &resource.tool);
        snapshot.catalogue.templates().iter().filter(seen).cloned().collect()
    }

    /// Whether a caller may be told of changes to the resource with this URI: whether it sees what reads it.
    #[must_use]
    pub fn may_watch(&self, caller: &Caller, uri: &str) -> bool {
        let snapshot = self.snapshot();
        let reader = snapshot.catalogue.reader(uri);
        reader.is_some_and(|entry| snapshot.may_see(caller, &entry.tool))
    }

    /// Where a change that this caller asked for stands.
    ///
    /// Fault: `NotFound` where it is not this caller's.
    pub async fn change_state(&self, caller: &Caller, change: &str) -> Result<&'static str, Fault> {
        let record = self.desk.get(change).await?;
        let mine = record.filter(|record| record.requester == caller.principal.as_ref());
        let mine = mine.ok_or_else(|| Fault::not_found(format!("Change not found: {change}")))?;
        Ok(mine.state.as_str())
    }

    /// What changes in what there is, from now on. A listener that falls far behind misses some.
    #[must_use]
    pub fn notices(&self) -> broadcast::Receiver<Notice> {
        self.notices.subscribe()
    }

    /// Tells whoever listens that something changed.
    pub fn notify(&self, notice: Notice) {
        // Nobody may be listening.
        let _ = self.notices.send(notice);
    }

    /// What holds for calls that begin now.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Lets a new snapshot hold for calls that begin from now on, and tells whoever listens what may be listed
    /// otherwise now.
    pub fn swap(&self, snapshot: Arc<Snapshot>) {
        let old = self.snapshot.swap(Arc::clone(&snapshot));
        if old.hash != snapshot.hash {
            // Rules decide about all lists; they are part of the hash, as the lists are.
            for notice in [Notice::Tools, Notice::Prompts, Notice::Resources] {
                self.notify(notice);
            }
        }
    }

    /// What is counted and measured.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// How much was done.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.metrics.stats()
    }

    /// Hits and misses of the answer cache.
    #[must_use]
    pub fn cache_counts(&self) -> (u64, u64) {
        self.metrics.cache_counts()
    }

    /// How often this caller may call, where nobody else has used up what is shared.
    #[must_use]
    pub fn rate(&self, caller: &Caller) -> Rate {
        let snapshot = self.snapshot();
        limits::own_rate(caller, &snapshot.config.limits, snapshot.tier(&caller.tier))
    }

    /// The calls of this caller's key today and this month.
    pub async fn usage(&self, caller: &Caller) -> Result<(u64, u64), Fault> {
        Ok(self.ring.read(&caller.credential, self.clock.now()).await?)
    }

    /// How the sources were when they were last asked.
    #[must_use]
    pub fn health(&self) -> Arc<Vec<Probe>> {
        self.health.load_full()
    }

    /// What is left alone at this moment because it kept failing, by name.
    #[must_use]
    pub fn open_breakers(&self) -> Vec<OpenBreaker> {
        let snapshot = self.snapshot();
        let is_source = |name: &str| snapshot.catalogue.tools().iter().any(|tool| *tool.source == *name);
        let open = self.breakers.open(tokio::time::Instant::now()).into_iter();
        open.map(|name| OpenBreaker { is_source: is_source(&name), name }).collect()
    }

    /// All metrics as OpenMetrics text, as of now.
    #[must_use]
    pub fn encoded_metrics(&self) -> String {
        let snapshot = self.snapshot();
        let open = self.breakers.open(tokio::time::Instant::now());
        let sources: BTreeSet<&str> = snapshot.catalogue.tools().iter().map(|tool| &*tool.source).collect();
        self.metrics()
            .set_breakers(sources.iter().map(|name| (*name, open.iter().any(|one| **one == **name))));
        self.metrics().encode()
    }

    /// True while the audit log cannot be written: every call is refused, since nothing happens that is not
    /// recorded.
    #[must_use]
    pub fn is_audit_broken(&self) -> bool {
        self.audit.is_broken()
    }

    /// Asks every provider how its sources are, all at once and each for 5 s at most.
    pub async fn refresh_health(&self) {
        let snapshot = self.snapshot();
        let probing = snapshot.catalogue.providers().iter().map(|provider| async {
            let probing = AssertUnwindSafe(provider.probe()).catch_unwind();
            match tokio::time::timeout(PROBE_TIME_MAX, probing).await {
                Ok(Ok(probes)) => probes,
                Ok(Err(_)) => vec![failed_probe(provider.name(), "asking it how it is panicked")],
                Err(_) => vec![failed_probe(provider.name(), "it did not say how it is in time")],
            }
        });
        let probes = futures_util::future::join_all(probing).await;
        self.health.store(Arc::new(probes.into_iter().flatten().collect()));
    }

    /// True once the gate has begun to stop.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Stops: admits no more calls, waits for those that run, asks them to stop after `grace`, and gives up on
    /// the rest a moment later.
    ///
    /// Returns how many calls were left.
    pub async fn drain(&self, grace: Duration) -> usize {
        self.draining.cancel();
        self.tasks.close();
        let left = self.wait_for_calls(grace).await;
        let held = self.noise.lock().unwrap_or_else(PoisonError::into_inner).finish();
        self.write_summary(held).await;
        left
    }

    async fn wait_for_calls(&self, grace: Duration) -> usize {
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_ok() {
            return 0;
        }
        self.closing.cancel();
        let moment = Duration::from_millis(self.snapshot().config.limits.cancel_grace_ms) * 2;
        let _ = tokio::time::timeout(moment, self.tasks.wait()).await;
        self.tasks.len()
    }

    /// Finds out who is calling, and takes note of those who are nobody.
    pub(crate) async fn who(
        &self,
        credentials: &Credentials,
        snapshot: &Snapshot,
        request_id: &RequestId,
        correlation_id: &RequestId,
    ) -> Result<Arc<Caller>, Fault> {
        let now = self.clock.now();
        let known =
            identify::Known { ring: &self.ring, hash: &self.key_hash, seal: &self.seal, seen: &self.seen };
        let found = identify::identify(credentials, &known, snapshot, now).await;
        if let Err(fault) = &found
            && record::is_refused_login(fault)
        {
            self.note_refusal(credentials, fault, request_id, correlation_id).await;
        }
        found
    }

    /// Records a refused login; where there are too many of them, only their number, a minute later.
    async fn note_refusal(
        &self,
        credentials: &Credentials,
        fault: &Fault,
        request_id: &RequestId,
        correlation_id: &RequestId,
    ) {
        let seen = {
            let mut noise = self.noise.lock().unwrap_or_else(PoisonError::into_inner);
            noise.see(Instant::now(), fault.code.row().name)
        };
        self.write_summary(seen.summary).await;
        if !seen.record {
            return;
        }
        let (request_id, correlation_id) = (request_id.as_str(), correlation_id.as_str());
        // Whoever watches for failed logins looks for this word, whatever was wrong with them.
        let what = if fault.text.contains("Invalid") { "" } else { "Invalid login: " };
        let (shown, from) = credentials.shown();
        let address = from.map(|address| address.to_string());
        tracing::warn!(request_id, correlation_id, address, cause = fault.cause(), "{what}{fault}");
        let mut body = audit::Body::default();
        body.put("request_id", request_id);
        if correlation_id != request_id {
            body.put("correlation_id", correlation_id);
        }
        body.put("error", &fault.text);
        body.put_some("cause", fault.cause().as_ref());
        body.put("credentials", shown);
        body.put_some("address", address.as_ref());
        // Nothing was allowed, so nothing is withheld where this cannot be written; the log has it.
        let _ = self.write_audit("auth.refused", body, Durability::Written).await;
    }

    async fn write_summary(&self, summary: Option<audit::Summary>) {
        if let Some(summary) = summary {
            tracing::warn!(count = summary.count, "more Invalid logins than are recorded one by one");
            let _ = self.write_audit(audit::Summary::EVENT, summary.body(), Durability::Written).await;
        }
    }

    /// Writes down what piles up between calls: how much was used, and how many logins were refused. The binary
    /// calls it every second, and once more before it ends.
    pub async fn tick(&self) {
        if let Err(error) = self.ring.flush().await {
            tracing::error!(error = %error, "what was used cannot be written down");
        }
        let summary = self.noise.lock().unwrap_or_else(PoisonError::into_inner).tick(Instant::now());
        self.write_summary(summary).await;
    }

    /// Forgets kept results that are too old or too many. Returns how many went.
    pub async fn prune(&self) -> Result<u64, Fault> {
        let bytes_max = self.snapshot().config.output.artefacts_total_bytes_max;
        Ok(self.artefacts.prune(self.clock.now(), bytes_max).await?)
    }

    pub(crate) fn new_request_id(&self) -> RequestId {
        RequestId::ours(uuid::Uuid::now_v7().to_string())
    }

    pub(crate) fn redact(&self, arguments: &Value, snapshot: &Snapshot) -> Value {
        audit::redact(arguments, &snapshot.config.output.redact_names)
    }
}

/// A walk that its caller waits for. Dropped before its end, it goes on as a task of the gate, told that the client
/// left. Most walks end here, and never cost a task.
struct Carried {
    gate: Arc<Gate>,
    walk: Option<BoxFuture<'static, Walked>>,
    /// Dropped after the rest of the walk was handed on.
    _leash: Leash,
}

/// What came of a walk; an error where it panicked.
type Walked = Result<Answer, Box<dyn std::any::Any + Send>>;

impl Future for Carried {
    type Output = Walked;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Walked> {
        // Polled after its end, which nobody does, it stays silent rather than to break.
        let Some(walk) = self.walk.as_mut() else { return Poll::Pending };
        let walked = ready!(walk.as_mut().poll(cx));
        self.walk = None;
        Poll::Ready(walked)
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        // Without a runtime the process is ending, and nothing runs on.
        if let Some(walk) = self.walk.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            self.gate.tasks.spawn_on(walk, &runtime);
        }
    }
}

/// Says that the client left when the future of its call is dropped.
struct Leash(StopSource);

impl Drop for Leash {
    fn drop(&mut self) {
        self.0.ask();
    }
}

fn failed_probe(provider: &str, why: &str) -> Probe {
    let mut details = Map::new();
    details.insert("error".to_owned(), json!(why));
    Probe {
        source: provider.into(),
        kind: "provider",
        state: tool::ProbeState::Unhealthy,
        latency: PROBE_TIME_MAX,
        details,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
