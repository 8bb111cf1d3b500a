//! What is done at intervals while the house is open.

use std::{future::Future, sync::Arc, time::Duration};

use gate::Gate;
use state::{Sessions, StateError, Tasks};
use tokio::{task::JoinSet, time::MissedTickBehavior};
use tool::{Clock, Stop, StopSource};

use super::Core;

/// How often usage counts are written down.
const USAGE_INTERVAL: Duration = Duration::from_secs(1);

/// How long an MCP session may lie unused before it is forgotten; its client then begins a new one.
const SESSION_UNUSED_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

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
        let remembered = Remembered::of(core);
        tasks.spawn(every(prune, stop, move || remembered.clone().prune()));
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

/// What MCP callers left here.
#[derive(Clone)]
struct Remembered {
    tasks: Arc<dyn Tasks>,
    sessions: Arc<dyn Sessions>,
    clock: Arc<dyn Clock>,
}

impl Remembered {
    fn of(core: &Core) -> Self {
        Self { tasks: core.mcp_tasks(), sessions: core.mcp_sessions(), clock: core.clock() }
    }

    /// Forgets tasks that have expired, and sessions that nobody uses any more.
    async fn prune(self) {
        let now = self.clock.now();
        say("tasks", self.tasks.prune(now).await);
        say("sessions", self.sessions.prune(now.before(SESSION_UNUSED_MAX)).await);
    }
}

fn say(what: &str, pruned: Result<u64, StateError>) {
    match pruned {
        Ok(0) => {}
        Ok(forgotten) => tracing::debug!(forgotten, "old {what} were forgotten"),
        Err(error) => tracing::warn!(error = %error, "old {what} cannot be pruned"),
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
