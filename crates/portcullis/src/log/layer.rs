//! The `tracing` layer that turns events into lines.

use std::{cell::Cell, sync::Arc};

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

/// Room that grew beyond this is not kept for the next event, in bytes.
const KEPT_BYTES_MAX: usize = 16 * 1024;

/// What an event needs until it is a line.
#[derive(Default)]
struct Room {
    members: Members,
    line: Vec<u8>,
}

thread_local! {
    /// Room of the event before. An event inside an event, as from a `Debug` that logs, finds it taken and makes
    /// its own.
    static ROOM: Cell<Option<Box<Room>>> = const { Cell::new(None) };
}

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
        let mut room = ROOM.try_with(Cell::take).ok().flatten().unwrap_or_default();
        let Room { members, line } = &mut *room;
        event.record(members);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(outer) = span.extensions().get::<Members>() {
                members.inherit(outer);
            }
        }
        let (at, about) = (self.clock.now(), event.metadata());
        if self.json {
            line::json(at, about.level(), about.target(), members, line);
        } else {
            line::text(at, about.level(), members, line);
        }
        self.sink.write(line);
        if line.capacity() <= KEPT_BYTES_MAX && members.capacity() <= KEPT_BYTES_MAX {
            members.clear();
            line.clear();
            // At the end of its thread there is no next event.
            let _ = ROOM.try_with(|kept| kept.set(Some(room)));
        }
    }
}
