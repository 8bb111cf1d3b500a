use std::{fmt::Write as _, sync::Arc};

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// Reads a W3C `traceparent` (Trace Context, 3.2.2); `None` where it is not well-formed, so that a new trace
/// begins. Of the flags only `sampled` is taken. What a later version adds after the flags is left alone.
pub(crate) fn read(text: &str, is_remote: bool) -> Option<SpanContext> {
    let bytes = text.as_bytes();
    let ends = bytes.len() == 55 || (bytes.len() > 55 && bytes[55] == b'-' && &bytes[..2] != b"00");
    if !text.is_ascii() || !ends || [bytes[2], bytes[35], bytes[52]] != *b"---" {
        return None;
    }
    let hex = |part: &'static [usize; 2]| {
        let part = &text[part[0]..part[1]];
        part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')).then_some(part)
    };
    let version = hex(&[0, 2])?;
    let trace_id = TraceId::from_hex(hex(&[3, 35])?).ok()?;
    let span_id = SpanId::from_hex(hex(&[36, 52])?).ok()?;
    let flags = u8::from_str_radix(hex(&[53, 55])?, 16).ok()?;
    let flags = TraceFlags::NOT_SAMPLED.with_sampled(flags & 1 == 1);
    let context = SpanContext::new(trace_id, span_id, flags, is_remote, TraceState::NONE);
    (version != "ff" && context.is_valid()).then_some(context)
}

/// The `traceparent` that makes others children of this span, in version 00; `None` for a span that is none.
pub(crate) fn write(context: &SpanContext) -> Option<Arc<str>> {
    if !context.is_valid() {
        return None;
    }
    let mut text = String::with_capacity(55);
    let sampled = u8::from(context.is_sampled());
    write!(text, "00-{}-{}-{sampled:02x}", context.trace_id(), context.span_id()).ok()?;
    Some(text.into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    /// What is read is written again in version 00, with no flag but `sampled`.
    #[test]
    fn parents_are_taken_only_where_well_formed() {
        let unsampled = GOOD.replace("-01", "-00");
        for (text, read_as) in [
            (GOOD, Some(GOOD)),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", Some(unsampled.as_str())),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-fe", Some(unsampled.as_str())),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-ff", Some(GOOD)),
            ("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Some(GOOD)),
            ("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what", Some(GOOD)),
            ("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01what", None),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what", None),
            ("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", None),
            ("00-00000000000000000000000000000000-b7ad6b7169203331-01", None),
            ("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", None),
            ("00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", None),
            ("00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", None),
            ("00-0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331-01", None),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0g", None),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0", None),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 ", None),
            ("ä0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1", None),
            ("", None),
        ] {
            let context = read(text, true);
            assert!(context.as_ref().is_none_or(SpanContext::is_remote));
            assert_eq!(context.and_then(|context| write(&context)).as_deref(), read_as, "{text:?}");
        }
        assert_eq!(write(&SpanContext::empty_context()), None);
    }
}
