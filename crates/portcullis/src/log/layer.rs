//! The `tracing` layer that turns events into lines.

use std::sync::Arc;

use tool::Clock;
use tracing::{Event, Subscriber, span};
use tracing_subscriber::{
    layer::{Context, Layer},
    registry::LookupSpan,
};

use super::{
    line::{self, Members},
    sink::Sink,
};

/// Writes each event as a line, with the members of the spans it is in.
pub(super) struct LogLayer {
    sink: Sink,
    clock: Arc<dyn Clock>,
    json: bool,
}

impl LogLayer {
    /// A layer that writes to `sink`, as JSON or for people.
    pub(super) fn new(sink: Sink, clock: Arc<dyn Clock>, json: bool) -> Self {
        Self { sink, clock, json }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for LogLayer {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut members = Members::default();
        attributes.record(&mut members);
        span.extensions_mut().insert(members);
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(members) = span.extensions_mut().get_mut::<Members>() {
            values.record(members);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut members = Members::default();
        event.record(&mut members);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(outer) = span.extensions().get::<Members>() {
                members.inherit(outer);
            }
        }
        let (at, about) = (self.clock.now(), event.metadata());
        let line = if self.json {
            line::json(at, about.level(), about.target(), &members)
        } else {
            line::text(at, about.level(), &members)
        };
        self.sink.write(line.as_bytes());
    }
}
