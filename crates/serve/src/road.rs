//! What the doors need of the gate. The doors speak to a `dyn Road`, so that they can be tested without keys, stores
//! and audit; the one real road is the gate's.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::sync::broadcast;
use tool::{Caller, Fault, Notice, Probe, Prompt, Rate, Resource, Tool};

use crate::headers::Ids;

pub(crate) use gate::{
    Answer, CacheUse, Credentials, LimitState, OpenBreaker, Request, Signed, Stats, SystemSample,
};

/// The gate, as the doors see it.
#[async_trait]
pub(crate) trait Road: Send + Sync {
    /// Takes one call down the road. Dropping the future means that the client left.
    async fn call(&self, request: Request) -> Answer;
    /// Says who comes with these credentials.
    async fn identify(&self, credentials: &Credentials, ids: &Ids) -> Result<Arc<Caller>, Fault>;
    /// How often this caller has called today and in this month, as it is known at this moment.
    async fn usage(&self, caller: &Caller) -> Result<(u64, u64), Fault>;
    /// How often this caller may call.
    fn rate(&self, caller: &Caller) -> Rate;
    /// The tools this caller may see, sorted by name.
    fn visible(&self, caller: &Caller) -> Arc<[Arc<Tool>]>;
    /// What clients are told of a toolset, where they are told anything; `None` where there is none of this name.
    fn toolset(&self, name: &str) -> Option<Option<String>>;
    /// The prompts this caller may see, sorted by name.
    fn prompts(&self, caller: &Caller) -> Vec<Arc<Prompt>>;
    /// The resources this caller may see, sorted by URI.
    fn resources(&self, caller: &Caller) -> Vec<Arc<Resource>>;
    /// The templates of resources this caller may see, sorted by URI.
    fn templates(&self, caller: &Caller) -> Vec<Arc<Resource>>;
    /// Whether this caller may be told of changes to a resource.
    fn may_watch(&self, caller: &Caller, uri: &str) -> bool;
    /// What changes in what there is, from now on.
    fn notices(&self) -> broadcast::Receiver<Notice>;
    /// Where a change that this caller asked for stands: `pending`, `approved`, ..
    async fn change_state(&self, caller: &Caller, change: &str) -> Result<&'static str, Fault>;
    /// How many sources the catalogue draws on.
    fn sources(&self) -> usize;
    /// The probes of the sources, as they were last asked in the background.
    fn health(&self) -> Arc<Vec<Probe>>;
    /// What is left alone at this moment because it kept failing.
    fn open_breakers(&self) -> Vec<OpenBreaker>;
    /// True while the audit log cannot be written, so that every call is refused.
    fn is_audit_broken(&self) -> bool;
    /// Hits and misses of the cache of answers.
    fn cache_counts(&self) -> (u64, u64);
    /// What `/stats` shows.
    fn stats(&self) -> Stats;
    /// True once the gate admits no more calls.
    fn is_draining(&self) -> bool;
    /// Admits no more calls and waits for those that run; how many were left over.
    async fn drain(&self, grace: Duration) -> usize;
    /// Counts one request that was answered.
    fn http_request(&self, endpoint: &'static str, status: u16, took: Duration);
    /// Counts a connection in.
    fn connection_opened(&self);
    /// Counts a connection out.
    fn connection_closed(&self);
    /// Takes a measurement of machine and process.
    fn set_system(&self, sample: SystemSample);
    /// All metrics as OpenMetrics text.
    fn metrics(&self) -> String;
}

/// The gate itself.
pub(crate) struct Through(pub(crate) Arc<gate::Gate>);

#[async_trait]
impl Road for Through {
    async fn call(&self, request: Request) -> Answer {
        self.0.call(request).await
    }

    async fn identify(&self, credentials: &Credentials, ids: &Ids) -> Result<Arc<Caller>, Fault> {
        self.0.identify(credentials, &ids.request, &ids.correlation).await
    }

    async fn usage(&self, caller: &Caller) -> Result<(u64, u64), Fault> {
        self.0.usage(caller).await
    }

    fn rate(&self, caller: &Caller) -> Rate {
        self.0.rate(caller)
    }

    fn visible(&self, caller: &Caller) -> Arc<[Arc<Tool>]> {
        self.0.visible(caller)
    }

    fn toolset(&self, name: &str) -> Option<Option<String>> {
        self.0.toolset(name)
    }

    fn prompts(&self, caller: &Caller) -> Vec<Arc<Prompt>> {
        self.0.visible_prompts(caller)
    }

    fn resources(&self, caller: &Caller) -> Vec<Arc<Resource>> {
        self.0.visible_resources(caller)
    }

    fn templates(&self, caller: &Caller) -> Vec<Arc<Resource>> {
        self.0.visible_templates(caller)
    }

    fn may_watch(&self, caller: &Caller, uri: &str) -> bool {
        self.0.may_watch(caller, uri)
    }

    fn notices(&self) -> broadcast::Receiver<Notice> {
        self.0.notices()
    }

    async fn change_state(&self, caller: &Caller, change: &str) -> Result<&'static str, Fault> {
        self.0.change_state(caller, change).await
    }

    fn sources(&self) -> usize {
        let snapshot = self.0.snapshot();
        snapshot.catalogue.tools().iter().map(|tool| &tool.source).collect::<BTreeSet<_>>().len()
    }

    fn health(&self) -> Arc<Vec<Probe>> {
        self.0.health()
    }

    fn open_breakers(&self) -> Vec<OpenBreaker> {
        self.0.open_breakers()
    }

    fn is_audit_broken(&self) -> bool {
        self.0.is_audit_broken()
    }

    fn cache_counts(&self) -> (u64, u64) {
        self.0.cache_counts()
    }

    fn stats(&self) -> Stats {
        self.0.stats()
    }

    fn is_draining(&self) -> bool {
        self.0.is_draining()
    }

    async fn drain(&self, grace: Duration) -> usize {
        self.0.drain(grace).await
    }

    fn http_request(&self, endpoint: &'static str, status: u16, took: Duration) {
        self.0.metrics().http_request(endpoint, status, took);
    }

    fn connection_opened(&self) {
        self.0.metrics().connection_opened();
    }

    fn connection_closed(&self) {
        self.0.metrics().connection_closed();
    }

    fn set_system(&self, sample: SystemSample) {
        self.0.metrics().set_system(sample);
    }

    fn metrics(&self) -> String {
        self.0.encoded_metrics()
    }
}
