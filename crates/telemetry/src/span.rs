use std::{borrow::Cow, sync::Arc};

use opentelemetry::{
    Context, KeyValue,
    trace::{Span as _, SpanKind, Status, TraceContextExt as _, Tracer as _},
};
use opentelemetry_sdk::trace::{SdkTracer, Span};
use tool::{Call, Code, Face, Fault, TraceSpan, Tracer};

use crate::parent;

/// Bytes of an attribute's value, a name or a status text, at most; what is longer is cut.
const TEXT_BYTES_MAX: usize = 1_024;

/// Makes a span of every call.
pub(crate) struct Following {
    tracer: SdkTracer,
}

/// One call on its way. A span that is dropped unended belongs to a call that was aborted, and says so.
struct Followed {
    span: Span,
    method: &'static str,
    traceparent: Option<Arc<str>>,
}

impl Following {
    pub(crate) fn new(tracer: SdkTracer) -> Self {
        Self { tracer }
    }
}

impl Tracer for Following {
    fn begin(&self, call: &Call) -> Box<dyn TraceSpan> {
        let is_remote = call.face != Face::Inside;
        let kind = if is_remote { SpanKind::Server } else { SpanKind::Internal };
        let parent = call.traceparent.as_deref().and_then(|text| parent::read(text, is_remote));
        let context =
            parent.map_or_else(Context::new, |parent| Context::new().with_remote_span_context(parent));
        // The tool is named when it was found: what a caller sends may be anything.
        let method = call.kind.method();
        let builder = self.tracer.span_builder(method).with_kind(kind);
        let span = self.tracer.build_with_context(builder, &context);
        // After a close there are no spans any more, and the caller's context is passed on.
        let traceparent = parent::write(span.span_context()).or_else(|| call.traceparent.clone());
        Box::new(Followed { span, method, traceparent })
    }
}

impl TraceSpan for Followed {
    fn traceparent(&self) -> Option<Arc<str>> {
        self.traceparent.clone()
    }

    fn end(mut self: Box<Self>, facts: &[(&'static str, String)], fault: Option<&Fault>) {
        if !self.span.is_recording() {
            return;
        }
        self.span.update_name(name(self.method, facts));
        for (key, value) in facts {
            self.span.set_attribute(KeyValue::new(*key, cut(value).to_owned()));
        }
        if let Some(fault) = fault {
            self.fail(fault.code, &fault.text);
        }
        self.span.end();
    }
}

impl Followed {
    fn fail(&mut self, code: Code, text: &str) {
        self.span.set_attribute(KeyValue::new("error.type", code.row().name));
        self.span.set_status(Status::error(cut(text).to_owned()));
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        if self.span.is_recording() {
            self.fail(Code::Cancelled, "the call was aborted before it ended");
            self.span.end();
        }
    }
}

/// `tools/call get_customer`: the method and, where it was found, what was asked for. OpenTelemetry conventions
/// for MCP, "Span name".
fn name(method: &'static str, facts: &[(&'static str, String)]) -> Cow<'static, str> {
    let fact = |name| facts.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str());
    let method_told = fact("mcp.method.name");
    match fact("gen_ai.tool.name").or_else(|| fact("gen_ai.prompt.name")) {
        Some(subject) => format!("{} {}", method_told.unwrap_or(method), cut(subject)).into(),
        None => method_told.map_or(method.into(), |told| told.to_owned().into()),
    }
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        for (text, bytes) in [
            (String::new(), 0),
            ("a".repeat(1_024), 1_024),
            ("a".repeat(1_025), 1_024),
            (format!("{}ä", "a".repeat(1_023)), 1_023),
        ] {
            assert_eq!(cut(&text).len(), bytes);
        }
    }
}
