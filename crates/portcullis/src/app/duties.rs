//! What is done beside the calls while the house is open, mostly at intervals.

use std::{future::Future, sync::Arc, time::Duration};

use gate::Gate;
use state::Tasks;
use tokio::{task::JoinSet, time::MissedTickBehavior};
use tool::{Clock, Stop, StopSource};

use super::Core;

/// How often usage counts are written down.
const USAGE_INTERVAL: Duration = Duration::from_secs(1);

/// The timers that run.
pub(super) struct Duties {
    source: StopSource,
    tasks: JoinSet<()>,
}

impl Duties {
    /// Starts them; the first look at every source is taken at once.
    pub(super) fn start(core: &Arc<Core>) -> Self {
        let (source, stop) = StopSource::new();
        let mut tasks = JoinSet::new();
        let upkeep = &core.loaded().config.upkeep;
        let (health, prune) = (upkeep.health_interval_ms, upkeep.prune_interval_ms);
        let gate = Arc::clone(&core.gate);
        tasks.spawn(every(Duration::from_millis(health), stop.clone(), move || {
            let gate = Arc::clone(&gate);
            async move { gate.refresh_health().await }
        }));
        let gate = Arc::clone(&core.gate);
        tasks.spawn(every(USAGE_INTERVAL, stop.clone(), move || {
            let gate = Arc::clone(&gate);
            async move { gate.tick().await }
        }));
        let gate = Arc::clone(&core.gate);
        let prune = Duration::from_millis(prune);
        tasks.spawn(every(prune, stop.clone(), move || prune_artefacts(Arc::clone(&gate))));
        tasks.spawn(Arc::clone(core).take_lists(stop.clone()));
        let (kept, clock) = (core.mcp_tasks(), core.clock());
        tasks.spawn(every(prune, stop, move || prune_tasks(Arc::clone(&kept), Arc::clone(&clock))));
        Self { source, tasks }
    }

    /// Stops them, and waits for what is going on to end.
    pub(super) async fn stop(mut self) {
        self.source.ask();
        while self.tasks.join_next().await.is_some() {}
    }
}

async fn prune_artefacts(gate: Arc<Gate>) {
    match gate.prune().await {
        Ok(0) => {}
        Ok(forgotten) => tracing::debug!(forgotten, "kept results were forgotten"),
        Err(fault) => tracing::warn!(error = %fault, cause = fault.cause(), "kept results cannot be pruned"),
    }
}

/// Forgets MCP tasks that have expired. Sessions are looked after where they are kept, by `server.mcp`.
async fn prune_tasks(tasks: Arc<dyn Tasks>, clock: Arc<dyn Clock>) {
    match tasks.prune(clock.now()).await {
        Ok(0) => {}
        Ok(forgotten) => tracing::debug!(forgotten, "old tasks were forgotten"),
        Err(error) => tracing::warn!(error = %error, "old tasks cannot be pruned"),
    }
}

/// Does something at once and then at intervals, one at a time, until asked to stop.
async fn every<F: Future<Output = ()>>(interval: Duration, stop: Stop, mut duty: impl FnMut() -> F) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.asked() => return,
            _ = ticks.tick() => duty().await,
        }
    }
}
