use std::sync::Arc;

use crate::{Call, Fault};

/// Follows calls across systems. The telemetry room exports what it sees; without one, [`Untraced`] passes the
/// caller's context on as it came.
pub trait Tracer: Send + Sync {
    /// A call begins, as a child of the `traceparent` it came with.
    fn begin(&self, call: &Call) -> Box<dyn TraceSpan>;
}

/// One call, as a tracer sees it.
pub trait TraceSpan: Send + Sync {
    /// The W3C `traceparent` that further calls are made with, so that they become children of this one.
    fn traceparent(&self) -> Option<Arc<str>>;

    /// False where what is told of the call goes nowhere, so that nobody needs to gather it.
    fn is_recording(&self) -> bool {
        true
    }

    /// The call has ended. `facts` are names and values by the OpenTelemetry conventions; no value is a secret or
    /// an argument.
    fn end(self: Box<Self>, facts: &[(&'static str, String)], fault: Option<&Fault>);
}

/// Traces nothing.
#[derive(Clone, Copy, Debug)]
pub struct Untraced;

struct Passing(Option<Arc<str>>);

impl Tracer for Untraced {
    fn begin(&self, call: &Call) -> Box<dyn TraceSpan> {
        Box::new(Passing(call.traceparent.clone()))
    }
}

impl TraceSpan for Passing {
    fn traceparent(&self) -> Option<Arc<str>> {
        self.0.clone()
    }

    fn is_recording(&self) -> bool {
        false
    }

    fn end(self: Box<Self>, _facts: &[(&'static str, String)], _fault: Option<&Fault>) {}
}
