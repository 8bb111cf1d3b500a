//! The words everyone in the house shares: a tool, a call, a caller, a permit, a reply, a fault.
//!
//! Invariants: no IO and no runtime here, and no knowledge of any face, provider or store. A [`Caller`] and a
//! [`Permit`] are made only with the [`GateSeal`], which a process mints once; so whoever holds one has been
//! through the gate.

mod call;
mod caller;
mod catalogue;
mod config;
mod fault;
pub mod json;
mod look;
mod nearest;
mod ordered;
mod permit;
mod plan;
mod provider;
mod reply;
mod secret;
mod stop;
mod talk;
mod time;
mod trace;
mod visible;

pub use call::{Call, CarriedLogin, Completing, Face, Kind, RequestId};
pub use caller::{Caller, Identity, PrincipalKind};
pub use catalogue::{
    Approval, Audience, Breaks, Caching, Deprecation, Effect, Hygiene, NameError, Notice, Prompt,
    PromptArgument, Purpose, Rate, Repeats, Resource, Retry, Tool, ToolName,
};
pub use config::{ConfigFault, McpOperation, Meter, Notify, Parts, SecretRef, Secrets, ToolServer};
pub use fault::{Blame, Code, Fault, FaultRow, Status};
pub use look::look;
pub use nearest::nearest;
pub use ordered::Ordered;
pub use permit::{GateSeal, Permit};
pub use plan::{Plan, Risk, Standing};
pub use provider::{Calls, Probe, ProbeState, Provider};
pub use reply::{Ask, Body, Cut, Outcome, Question, Reply, Shape, TaskId};
pub use secret::Secret;
pub use stop::{Stop, StopSource};
pub use talk::{Answered, Deaf, Line, LogLevel, Progress, Talk, cannot_ask};
pub use time::{Clock, Timestamp};
pub use trace::{TraceSpan, Tracer, Untraced};
pub use visible::{in_one_line, is_deceptive, is_invisible, spelled_out};
