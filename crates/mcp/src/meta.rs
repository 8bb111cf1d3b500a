//! What a request says about itself: the `_meta` of its params.
//!
//! Source: basic, "`_meta`".

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::{Capabilities, Era, Id, Object, Version, WireError};

/// Where everything below stands in the params, and in results and notifications.
pub const META: &str = "_meta";
/// The revision of this request.
pub const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// What the client calls itself.
pub const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
/// What the client can do for this request.
pub const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// From which level on this request wants to hear log lines.
pub const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
/// What the server calls itself, in results.
pub const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
/// The `subscriptions/listen` that a message belongs to.
pub const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";
/// What progress of this request is known by.
pub const PROGRESS_TOKEN: &str = "progressToken";
/// The W3C trace that this request is part of.
pub const TRACEPARENT: &str = "traceparent";
/// What vendors add to the trace.
pub const TRACESTATE: &str = "tracestate";
/// What travels with the trace.
pub const BAGGAGE: &str = "baggage";

/// How long a trace field may be, in bytes; a longer one is left out. 8,192 is what W3C Baggage asks for.
const TRACE_BYTES_MAX: usize = 8_192;

/// In which era a request is to be read: modern where it brings a version in its `_meta`; legacy where it is
/// `initialize`; else as the `MCP-Protocol-Version` header says, and legacy where that says nothing modern.
///
/// Source: basic/versioning, "Backward Compatibility with Initialization-Based Versions". That a modern
/// `initialize` is a method nobody has falls out of the order.
#[must_use]
pub fn era(header: Option<&str>, method: &str, params: &Object<'_>) -> Era {
    let said = header.and_then(Version::parse).map_or(Era::Legacy, Version::era);
    // Then `_meta` has nothing to add.
    if said == Era::Modern && method != "initialize" {
        return said;
    }
    let meta = params.object(META).ok().flatten();
    if meta.is_some_and(|meta| meta.get(PROTOCOL_VERSION).is_some()) {
        return Era::Modern;
    }
    if method == "initialize" { Era::Legacy } else { said }
}

/// What a request of either era may say about itself.
#[derive(Clone, Debug, Default)]
pub struct Meta<'a> {
    /// What its progress is known by, where it wants to hear of it.
    pub progress_token: Option<Id>,
    /// The trace it is part of, as it came.
    pub trace: Trace<'a>,
    /// All of `_meta`.
    pub object: Object<'a>,
}

/// The context of a trace as it came: its form is not checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace<'a> {
    /// W3C `traceparent`.
    pub parent: Option<Cow<'a, str>>,
    /// W3C `tracestate`.
    pub state: Option<Cow<'a, str>>,
    /// W3C Baggage.
    pub baggage: Option<Cow<'a, str>>,
}

/// What a modern request says about itself.
#[derive(Clone, Debug)]
pub struct ModernMeta<'a> {
    /// The revision, as it came: [`ModernMeta::version`] says whether we speak it.
    pub asked: Cow<'a, str>,
    /// What the client can do for this request, and for no other.
    pub capabilities: Capabilities,
    /// What the client calls itself: an object, unverified, for logs alone.
    pub client: Option<&'a RawValue>,
    /// From which level on it wants to hear log lines; none where it says nothing.
    pub log_level: Option<Level>,
    /// What either era has.
    pub meta: Meta<'a>,
}

impl<'a> Meta<'a> {
    /// Reads the `_meta` of params, of either era.
    ///
    /// Error: invalid params, where it is no object, or its progress token neither a string nor an integer.
    pub fn read(params: &Object<'a>) -> Result<Self, WireError> {
        let Some(object) = params.object(META)? else { return Ok(Self::default()) };
        let token = object.get(PROGRESS_TOKEN).map(Id::parse).transpose();
        let progress_token =
            token.map_err(|error| WireError::invalid_params(format!("{PROGRESS_TOKEN:?} {error}")))?;
        let field = |name| object.text(name).ok().flatten().filter(|text| text.len() <= TRACE_BYTES_MAX);
        let trace = Trace { parent: field(TRACEPARENT), state: field(TRACESTATE), baggage: field(BAGGAGE) };
        Ok(Self { progress_token, trace, object })
    }
}

impl<'a> ModernMeta<'a> {
    /// Reads the `_meta` that every modern request brings.
    ///
    /// Error: invalid params, where version or capabilities are missing, or something is not of its type.
    pub fn read(params: &Object<'a>) -> Result<Self, WireError> {
        let meta = Meta::read(params)?;
        let missing = |name: &str| WireError::invalid_params(format!("{META} lacks {name:?}"));
        let asked = meta.object.text(PROTOCOL_VERSION)?.ok_or_else(|| missing(PROTOCOL_VERSION))?;
        let capabilities =
            meta.object.raw_of(CLIENT_CAPABILITIES).ok_or_else(|| missing(CLIENT_CAPABILITIES))?;
        let capabilities = Capabilities::read(capabilities)
            .ok_or_else(|| WireError::invalid_params(format!("{CLIENT_CAPABILITIES:?} must be an object")))?;
        let client = meta.object.object(CLIENT_INFO)?.map(|client| client.raw());
        let log_level = match meta.object.text(LOG_LEVEL)? {
            None => None,
            Some(word) => Some(Level::parse(&word)?),
        };
        Ok(Self { asked, capabilities, client, log_level, meta })
    }

    /// The revision. Asked for after the headers were compared: a mismatch goes first.
    ///
    /// Error: unsupported version, where we do not speak it or it opens with `initialize`.
    pub fn version(&self) -> Result<Version, WireError> {
        let version = Version::parse(&self.asked).filter(|version| version.is_modern());
        version.ok_or_else(|| WireError::unsupported_version(&self.asked))
    }
}

/// How loud a log line must be to be heard (server/utilities/logging; RFC 5424), quietest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// `debug`.
    Debug,
    /// `info`.
    Info,
    /// `notice`.
    Notice,
    /// `warning`.
    Warning,
    /// `error`.
    Error,
    /// `critical`.
    Critical,
    /// `alert`.
    Alert,
    /// `emergency`.
    Emergency,
}

const LEVELS: [(&str, Level); 8] = [
    ("debug", Level::Debug),
    ("info", Level::Info),
    ("notice", Level::Notice),
    ("warning", Level::Warning),
    ("error", Level::Error),
    ("critical", Level::Critical),
    ("alert", Level::Alert),
    ("emergency", Level::Emergency),
];

impl Level {
    /// Reads the word of a level.
    ///
    /// Error: invalid params.
    pub fn parse(word: &str) -> Result<Self, WireError> {
        let found = LEVELS.iter().find(|(name, _)| *name == word);
        found.map(|(_, level)| *level).ok_or_else(|| {
            let words: Vec<&str> = LEVELS.iter().map(|(name, _)| *name).collect();
            WireError::invalid_params(format!("a log level is one of {}", words.join(", ")))
        })
    }

    /// The level of a rank, as `level as u8` tells it: 0 is the quietest; what is beyond is the loudest.
    #[must_use]
    pub fn of_rank(rank: u8) -> Self {
        LEVELS[usize::from(rank).min(LEVELS.len() - 1)].1
    }

    /// The word of a level.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        LEVELS[self as usize].0
    }

    /// True where a line of a tool is loud enough.
    #[must_use]
    pub fn admits(self, line: tool::LogLevel) -> bool {
        Self::from(line) >= self
    }
}

impl From<tool::LogLevel> for Level {
    fn from(level: tool::LogLevel) -> Self {
        match level {
            tool::LogLevel::Debug => Self::Debug,
            tool::LogLevel::Info => Self::Info,
            tool::LogLevel::Warning => Self::Warning,
            tool::LogLevel::Error => Self::Error,
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn params(text: &str) -> Object<'_> {
        Object::read(serde_json::from_str(text).unwrap()).unwrap()
    }

    #[test]
    fn modern_requests() {
        let check = |meta: &str, expected: Expect| {
            let text = format!(r#"{{"name":"x","_meta":{meta}}}"#);
            let shown = match ModernMeta::read(&params(&text)) {
                Ok(read) => format!(
                    "{} client {:?} level {:?} token {:?} trace {:?} capabilities {} -> {}",
                    read.asked,
                    read.client.map(RawValue::get),
                    read.log_level,
                    read.meta.progress_token,
                    read.meta.trace.parent,
                    read.capabilities.raw().get(),
                    read.version().map_or_else(|error| error.code.to_string(), |version| version.to_string()),
                ),
                Err(error) => error.to_string(),
            };
            expected.assert_eq(&shown);
        };
        check(
            r#"{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#,
            expect!["2026-07-28 client None level None token None trace None capabilities {} -> 2026-07-28"],
        );
        check(
            r#"{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"x":1},
               "io.modelcontextprotocol/clientInfo":{"name":"c"},"io.modelcontextprotocol/logLevel":"notice","progressToken":7,
               "traceparent":"00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"}"#,
            expect![[
                r#"2026-07-28 client Some("{\"name\":\"c\"}") level Some(Notice) token Some(7) trace Some("00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01") capabilities {"x":1} -> 2026-07-28"#
            ]],
        );
        check(
            r#"{"io.modelcontextprotocol/protocolVersion":"1900-01-01","io.modelcontextprotocol/clientCapabilities":{}}"#,
            expect!["1900-01-01 client None level None token None trace None capabilities {} -> -32022"],
        );
        check(
            r#"{"io.modelcontextprotocol/protocolVersion":"2025-11-25","io.modelcontextprotocol/clientCapabilities":{}}"#,
            expect!["2025-11-25 client None level None token None trace None capabilities {} -> -32022"],
        );
        check("{}", expect![[r#"_meta lacks "io.modelcontextprotocol/protocolVersion" (-32602)"#]]);
        check("7", expect![[r#""_meta" must be an object (-32602)"#]]);
        check(
            r#"{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}"#,
            expect![[r#"_meta lacks "io.modelcontextprotocol/clientCapabilities" (-32602)"#]],
        );
        check(
            r#"{"io.modelcontextprotocol/protocolVersion":7,"io.modelcontextprotocol/clientCapabilities":{}}"#,
            expect![[r#""io.modelcontextprotocol/protocolVersion" must be a string (-32602)"#]],
        );
        let with = |rest: &str| {
            format!(
                r#"{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{rest}}}"#
            )
        };
        check(
            &with("[]"),
            expect![[r#""io.modelcontextprotocol/clientCapabilities" must be an object (-32602)"#]],
        );
        check(
            &with(r#"{},"io.modelcontextprotocol/logLevel":"loud""#),
            expect![
                "a log level is one of debug, info, notice, warning, error, critical, alert, emergency (-32602)"
            ],
        );
        check(
            &with(r#"{},"io.modelcontextprotocol/clientInfo":"me""#),
            expect![[r#""io.modelcontextprotocol/clientInfo" must be an object (-32602)"#]],
        );
        check(
            &with(r#"{},"progressToken":1.5"#),
            expect![[r#""progressToken" must be a string or an integer (-32602)"#]],
        );
        assert!(ModernMeta::read(&Object::default()).is_err());
    }

    #[test]
    fn trace_fields_of_no_form_are_left_out() {
        let long = "x".repeat(TRACE_BYTES_MAX + 1);
        let text = format!(r#"{{"_meta":{{"traceparent":7,"tracestate":"{long}","baggage":"a=b"}}}}"#);
        let params = params(&text);
        let trace = Meta::read(&params).unwrap().trace;
        assert_eq!(trace, Trace { baggage: Some("a=b".into()), ..Trace::default() });
    }

    #[test]
    fn eras() {
        let modern = r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"2099-01-01"}}"#;
        for (header, method, text, expected) in [
            (None, "tools/list", "{}", Era::Legacy),
            (Some("2025-06-18"), "tools/list", "{}", Era::Legacy),
            (Some("1900-01-01"), "tools/list", "{}", Era::Legacy),
            (Some("2026-07-28"), "tools/list", "{}", Era::Modern),
            (Some("2026-07-28"), "tools/list", r#"{"_meta":7}"#, Era::Modern),
            (None, "tools/list", modern, Era::Modern),
            (Some("2025-11-25"), "tools/list", modern, Era::Modern),
            (Some("2026-07-28"), "initialize", "{}", Era::Legacy),
            (None, "initialize", modern, Era::Modern),
            (None, "tools/list", r#"{"_meta":{"progressToken":1}}"#, Era::Legacy),
        ] {
            assert_eq!(era(header, method, &params(text)), expected, "{header:?} {method} {text}");
        }
    }

    #[test]
    fn levels() {
        for (i, (word, level)) in LEVELS.into_iter().enumerate() {
            assert_eq!((level as usize, level.as_str()), (i, word));
            assert_eq!(Level::of_rank(level as u8), level);
        }
        assert!(Level::Notice.admits(tool::LogLevel::Warning) && !Level::Notice.admits(tool::LogLevel::Info));
        assert!(!Level::Critical.admits(tool::LogLevel::Error));
    }
}
