//! Calls made by calls: the same caller, the same road.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use serde_json::Value;
use tool::{
    Blame, Call, Caller, Calls, Code, Deaf, Face, Fault, Identity, Kind, Outcome, Reply, Stop, StopSource,
    json::raw,
};

use crate::{Answer, Gate, Leash, condition::Scene, road::Journey, run::Granted};

/// How deep calls may call calls.
const DEPTH_MAX: u8 = 8;

/// The handle that running work makes further calls with.
pub(crate) struct GateCalls {
    gate: Weak<Gate>,
    caller: Arc<Caller>,
    parent: Arc<Call>,
    depth: u8,
    /// The door that the whole piece of work came in by.
    door: Face,
    /// Asked when the parent is asked to stop: then what it called is, too.
    stop: Stop,
    let_down: AtomicBool,
}

impl GateCalls {
    pub(crate) fn new(gate: &Arc<Gate>, granted: &Granted, stop: Stop) -> Self {
        Self {
            door: granted.door,
            stop,
            let_down: AtomicBool::new(false),
            gate: Arc::downgrade(gate),
            caller: without_toolset(gate, &granted.caller),
            parent: Arc::clone(&granted.call),
            depth: granted.depth + 1,
        }
    }

    /// True once a source of another call failed: the parent's own source did not.
    pub(crate) fn was_let_down(&self) -> bool {
        self.let_down.load(Ordering::Relaxed)
    }

    async fn make(&self, kind: Kind) -> Result<Outcome, Fault> {
        let made = self.walk(kind).await;
        if made.as_ref().is_err_and(|fault| fault.blame() == Blame::Source) {
            self.let_down.store(true, Ordering::Relaxed);
        }
        made
    }

    async fn walk(&self, kind: Kind) -> Result<Outcome, Fault> {
        if self.depth > DEPTH_MAX {
            let text = format!("calls may call calls {DEPTH_MAX} deep, and this one would be deeper");
            return Err(Fault::new(Code::Conflict, text));
        }
        let gate = self.gate.upgrade().ok_or_else(|| Fault::new(Code::Busy, "the server is stopping"))?;
        let mut call = Call::new(kind, Face::Inside, gate.new_request_id());
        call.correlation_id = self.parent.correlation_id.clone();
        call.traceparent.clone_from(&self.parent.traceparent);
        call.label.clone_from(&self.parent.label);
        call.logins.clone_from(&self.parent.logins);
        match self.accompany(&gate, call).await?.result? {
            Reply::Done(outcome) => Ok(outcome),
            Reply::NeedsInput(question) => Err(tool::cannot_ask(&question)),
            Reply::Task(id) => Ok(Outcome::new(serde_json::json!({ "task": id }))),
        }
    }

    /// Lets a call walk in a task of its own, so that it ends and is written down even where its parent is
    /// aborted, and asks it to stop when its parent is asked or gone.
    async fn accompany(&self, gate: &Arc<Gate>, call: Call) -> Result<Answer, Fault> {
        let (source, gone) = StopSource::new();
        let leash = Leash(source);
        let journey = Journey::inside(Arc::clone(gate), call, Arc::new(Deaf), gone, self.depth, self.door);
        let caller = Arc::clone(&self.caller);
        let walk = gate.tasks.spawn(async move { journey.go_as(caller).await });
        tokio::pin!(walk);
        let answer = tokio::select! {
            answer = &mut walk => answer,
            () = self.stop.asked() => {
                leash.0.ask();
                walk.await
            }
        };
        answer.map_err(Fault::internal)
    }
}

/// A toolset is what is shown to its caller; what a tool needs for its work need not be in it.
fn without_toolset(gate: &Gate, caller: &Arc<Caller>) -> Arc<Caller> {
    match caller.toolset {
        None => Arc::clone(caller),
        Some(_) => {
            let identity = Identity { toolset: None, ..Identity::clone(caller) };
            Arc::new(Caller::vouch(&gate.seal, identity))
        }
    }
}

#[async_trait]
impl Calls for GateCalls {
    async fn call(&self, tool: &str, arguments: Value) -> Result<Outcome, Fault> {
        self.make(Kind::tool(tool, raw(&arguments))).await
    }

    async fn apply(&self, change: &str) -> Result<Outcome, Fault> {
        self.make(Kind::Apply { change: change.into() }).await
    }

    fn may_reach(&self, tool: &str, target: &str) -> Option<bool> {
        let gate = self.gate.upgrade()?;
        let snapshot = gate.snapshot();
        let entry = snapshot.entry(&Kind::tool(tool, raw(&Value::Null)), None)?;
        let nothing = Value::Null;
        let scene = Scene::new(&self.caller, &entry.tool, &nothing, target, self.door, gate.clock.now());
        let seen = snapshot.may_see(&self.caller, &entry.tool);
        seen.then(|| snapshot.policy.may_reach(&scene.known_by(&*entry.provider)))
    }
}
