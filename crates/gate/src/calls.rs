//! Calls made by calls: the same caller, the same road.

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use serde_json::Value;
use tool::{Call, Caller, Calls, Code, Deaf, Face, Fault, Kind, Outcome, Reply, json::raw};

use crate::{Gate, road::Journey, run::Granted};

/// How deep calls may call calls.
const DEPTH_MAX: u8 = 8;

/// The handle that running work makes further calls with.
pub(crate) struct GateCalls {
    gate: Weak<Gate>,
    caller: Arc<Caller>,
    parent: Arc<Call>,
    depth: u8,
}

impl GateCalls {
    pub(crate) fn new(gate: &Arc<Gate>, granted: &Granted) -> Self {
        Self {
            gate: Arc::downgrade(gate),
            caller: Arc::clone(&granted.caller),
            parent: Arc::clone(&granted.call),
            depth: granted.depth + 1,
        }
    }

    async fn make(&self, kind: Kind) -> Result<Outcome, Fault> {
        if self.depth > DEPTH_MAX {
            let text = format!("calls may call calls {DEPTH_MAX} deep, and this one would be deeper");
            return Err(Fault::new(Code::Conflict, text));
        }
        let gate = self.gate.upgrade().ok_or_else(|| Fault::new(Code::Busy, "the server is stopping"))?;
        let mut call = Call::new(kind, Face::Inside, gate.new_request_id());
        call.correlation_id = self.parent.correlation_id.clone();
        call.traceparent.clone_from(&self.parent.traceparent);
        call.label.clone_from(&self.parent.label);
        let journey = Journey::inside(gate, call, Arc::new(Deaf), self.depth);
        match journey.go_as(Arc::clone(&self.caller)).await.result? {
            Reply::Done(outcome) => Ok(outcome),
            Reply::NeedsInput(question) => Err(Fault::new(Code::Conflict, question.text)),
            Reply::Task(id) => Ok(Outcome::new(serde_json::json!({ "task": id }))),
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
}
