use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use serde::de::DeserializeOwned;
use serde_json::{Value, value::RawValue};

use crate::{Call, Caller, Fault, Identity, Tool};

/// The right to make callers and permits. A process mints one, in its binary, and gives it to the gate.
#[derive(Debug)]
pub struct GateSeal(());

impl GateSeal {
    /// Mints the seal: `None` from the second time on, so no other code can make one for itself.
    #[must_use]
    pub fn mint() -> Option<Self> {
        static MINTED: AtomicBool = AtomicBool::new(false);
        (!MINTED.swap(true, Ordering::AcqRel)).then_some(Self(()))
    }
}

/// Proof that this caller may make this call with these arguments. It owns the arguments, cannot be copied, and
/// is consumed by the work. Only the gate grants one, and no provider runs without it.
#[derive(Debug)]
pub struct Permit {
    caller: Arc<Caller>,
    tool: Arc<Tool>,
    call: Arc<Call>,
    arguments: Arc<Value>,
    deadline: Instant,
}

impl Permit {
    /// Grants a permit for canonical `arguments`, good until `deadline`. Only the gate holds a seal.
    #[must_use]
    pub fn grant(
        _seal: &GateSeal,
        caller: Arc<Caller>,
        tool: Arc<Tool>,
        call: Arc<Call>,
        arguments: Arc<Value>,
        deadline: Instant,
    ) -> Self {
        Self { caller, tool, call, arguments, deadline }
    }

    /// Who asks.
    #[must_use]
    pub fn caller(&self) -> &Identity {
        &self.caller
    }

    /// For what.
    #[must_use]
    pub fn tool(&self) -> &Arc<Tool> {
        &self.tool
    }

    /// The call this permit is for: its ids, its face, its labels.
    #[must_use]
    pub fn call(&self) -> &Call {
        &self.call
    }

    /// The arguments, validated, with defaults filled in and in normal form.
    #[must_use]
    pub fn arguments(&self) -> &Value {
        &self.arguments
    }

    /// The arguments as they came, byte for byte, for sources that must get them unchanged.
    #[must_use]
    pub fn arguments_as_sent(&self) -> &RawValue {
        self.call.kind.arguments()
    }

    /// When the work must be done. A source that can take a time limit gets this one.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Takes the arguments as a type of the provider's own.
    ///
    /// Fault: `Internal` where the tool's schema let something through that its type does not take, which is the
    /// provider's mistake and not the caller's.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        T::deserialize(self.arguments.as_ref()).map_err(|e| {
            Fault::internal(e).with_log(format!("schema and argument type of {} disagree", self.tool.name))
        })
    }
}
