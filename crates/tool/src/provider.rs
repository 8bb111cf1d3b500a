use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use serde::Serialize;
use serde_json::Value;

use crate::{Code, Fault, Outcome, Permit, Plan, Prompt, Reply, Resource, Standing, Talk, Tool, ToolName};

/// A room of the house: it offers tools and runs them. It knows neither the gate nor the faces, and can do
/// nothing without a [`Permit`].
#[async_trait]
pub trait Provider: Send + Sync {
    /// Its name, as in the configuration: `sql`, `files`.
    fn name(&self) -> &str;

    /// The tools it offers now. The catalogue takes them when it is built: at the start, after a reload, and after
    /// the room has said that a list of its has changed ([`Parts::notify`](crate::Parts::notify)).
    fn tools(&self) -> Arc<[Arc<Tool>]>;

    /// Whether a tool of this name may come to be offered though it is not now, as where its server is down: rules
    /// may name it then. Pure.
    fn may_offer(&self, _name: &str) -> bool {
        false
    }

    /// The prompts it offers now.
    fn prompts(&self) -> Arc<[Arc<Prompt>]> {
        Arc::from([])
    }

    /// The resources it offers by name now. There may be more that it reads.
    fn resources(&self) -> Arc<[Arc<Resource>]> {
        Arc::from([])
    }

    /// The templates of resources it offers now.
    fn templates(&self) -> Arc<[Arc<Resource>]> {
        Arc::from([])
    }

    /// The tool that stands for the resource with this URI, or for the template that is this text, where it is this
    /// provider's. Pure.
    fn reads(&self, _uri: &str) -> Option<ToolName> {
        None
    }

    /// Brings validated arguments into the one form that policy, cache, ledger and audit go by, and names what
    /// the call touches, such as `files:notes/todo.txt` or `http:api.example.com`. Pure: it looks at nothing but
    /// the arguments. Roles allow and deny by the name it gives.
    ///
    /// Fault: `BadArguments` or `Denied` where no normal form exists, such as a path with `..`.
    fn target(&self, tool: &Tool, _arguments: &mut Value) -> Result<String, Fault> {
        Ok(tool.source.to_string())
    }

    /// What is known of a target that it named, for conditions of rules: the name they find it by, and a value. Pure.
    fn attributes(&self, _target: &str) -> Option<(&'static str, Value)> {
        None
    }

    /// Does the work. Dropping the future aborts it: what was begun must stop or clean up by itself.
    async fn run(&self, permit: Permit, talk: Talk) -> Result<Reply, Fault>;

    /// Says what the call would change, and changes nothing. For tools that need approval.
    async fn plan(&self, permit: Permit, _talk: Talk) -> Result<Plan, Fault> {
        Err(cannot("plan", &permit))
    }

    /// Carries out a plan that was approved.
    ///
    /// Fault: `Drifted` where the target is no longer as the plan found it; then nothing was changed.
    async fn apply(&self, permit: Permit, _plan: Plan, _talk: Talk) -> Result<Reply, Fault> {
        Err(cannot("apply", &permit))
    }

    /// Looks how the target of a plan stands: after a crash, and as the check after a change.
    async fn look(&self, plan: &Plan) -> Result<Standing, Fault> {
        Err(Fault::new(Code::Internal, format!("nobody can look at {:?}", plan.target)))
    }

    /// How its sources are: asked in the background, never by a health door itself.
    async fn probe(&self) -> Vec<Probe> {
        Vec::new()
    }

    /// Lets go of what it holds: connections, children. Called once, after the last call has ended.
    async fn close(&self) {}
}

fn cannot(what: &str, permit: &Permit) -> Fault {
    Fault::new(Code::Internal, format!("{} cannot {what}", permit.tool().name))
}

/// How one source is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Probe {
    /// The source, such as `sql:shop`.
    pub source: Arc<str>,
    /// What kind it is, for the health door: `database`, `external_api`, `files`.
    pub kind: &'static str,
    /// How it is.
    pub state: ProbeState,
    /// How long the probe took.
    pub latency: Duration,
    /// More for `/health/detailed`: connections, limits, the error.
    pub details: serde_json::Map<String, Value>,
}

/// How a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeState {
    /// It answers.
    Healthy,
    /// It answers, but not as it should.
    Degraded,
    /// It does not answer.
    Unhealthy,
}

/// Calls made by a call: same caller, same rights, same road, one correlation id.
#[async_trait]
pub trait Calls: Send + Sync {
    /// Calls a tool by name. Depth is bounded (8), so that no tool can call itself for ever.
    async fn call(&self, tool: &str, arguments: Value) -> Result<Outcome, Fault>;

    /// Applies an approved change.
    async fn apply(&self, change: &str) -> Result<Outcome, Fault>;

    /// Whether a call of this tool may touch this target, whatever else its arguments say; `None` where this caller does
    /// not see the tool at all. For lists: what a caller may not reach does not exist for it.
    fn may_reach(&self, tool: &str, target: &str) -> Option<bool>;
}
