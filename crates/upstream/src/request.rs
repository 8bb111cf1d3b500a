//! Requests as they go out: params spliced from what callers sent, and the `_meta` of the protocol.

use std::sync::{Arc, LazyLock};

use mcp::{
    Id, Splice, Version,
    meta::{
        CLIENT_CAPABILITIES, CLIENT_INFO, LOG_LEVEL, META, PROGRESS_TOKEN, PROTOCOL_VERSION, TRACEPARENT,
    },
    mirror::Mirrors,
};
use serde_json::{json, value::RawValue};
use tool::{LogLevel, Question, Talk};

/// What we call ourselves.
pub(crate) static CLIENT: LazyLock<String> =
    LazyLock::new(|| json!({ "name": "portcullis", "version": env!("CARGO_PKG_VERSION") }).to_string());

/// The params of a request but for `_meta`: names and JSON texts, each as it came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Params(Vec<(&'static str, Arc<RawValue>)>);

impl Params {
    /// Adds a member.
    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<Arc<RawValue>>) -> Self {
        self.0.push((name, value.into()));
        self
    }

    /// Adds a text.
    #[must_use]
    pub(crate) fn with_text(self, name: &'static str, text: &str) -> Self {
        self.with(name, tool::json::known_box(mcp::to_vec(&text)))
    }
}

/// A request, ready but for its id.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    /// What it is about, as `Mcp-Name` repeats it.
    pub(crate) name: Option<Arc<str>>,
    pub(crate) params: Params,
    /// The arguments of the tool, as `Mcp-Param-*` repeat them.
    pub(crate) mirrored: Option<(Arc<Mirrors>, Arc<RawValue>)>,
    pub(crate) about: About,
}

/// What a request says about itself.
#[derive(Clone, Debug)]
pub(crate) struct About {
    /// What its caller can be asked: a JSON object.
    pub(crate) capabilities: Arc<str>,
    /// The trace that it is part of.
    pub(crate) traceparent: Option<Arc<str>>,
    /// From which level on its log lines are wanted.
    pub(crate) log_level: Option<LogLevel>,
    /// True where there is a caller who can hear and be asked.
    pub(crate) talks: bool,
}

impl Default for About {
    /// A request of our own: nobody can be asked.
    fn default() -> Self {
        Self { capabilities: "{}".into(), traceparent: None, log_level: None, talks: false }
    }
}

impl Request {
    /// A request of our own.
    pub(crate) fn ours(method: &'static str, params: Params) -> Self {
        Self { method, name: None, params, mirrored: None, about: About::default() }
    }

    /// The whole message.
    pub(crate) fn write(&self, id: &Id, version: Option<Version>) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        mcp::write_request(&mut out, id, self.method, Some(&Dressed { request: self, id, version }));
        out
    }
}

/// The params of a request with `_meta`.
struct Dressed<'a> {
    request: &'a Request,
    id: &'a Id,
    /// The revision where it is modern: then it stands in every request.
    version: Option<Version>,
}

impl Splice for Dressed<'_> {
    fn splice(&self, out: &mut Vec<u8>) {
        let mut members = Members::open(out);
        for (name, value) in &self.request.params.0 {
            members.add(name, &&**value);
        }
        let about = &self.request.about;
        if self.version.is_some() || about.talks {
            members.add(META, &Meta { about, id: self.id, version: self.version });
        }
        members.close();
    }
}

struct Meta<'a> {
    about: &'a About,
    id: &'a Id,
    version: Option<Version>,
}

impl Splice for Meta<'_> {
    fn splice(&self, out: &mut Vec<u8>) {
        let about = self.about;
        let mut members = Members::open(out);
        if let Some(version) = self.version {
            members.add(PROTOCOL_VERSION, &version.as_str());
            members.add(CLIENT_INFO, &Json(&CLIENT));
            members.add(CLIENT_CAPABILITIES, &Json(&about.capabilities));
            if let Some(level) = about.log_level {
                members.add(LOG_LEVEL, &mcp::meta::Level::from(level).as_str());
            }
        }
        if about.talks {
            members.add(PROGRESS_TOKEN, self.id);
        }
        if let Some(traceparent) = &about.traceparent {
            members.add(TRACEPARENT, &&**traceparent);
        }
        members.close();
    }
}

/// Text that is JSON.
struct Json<'a>(&'a str);

impl Splice for Json<'_> {
    fn splice(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0.as_bytes());
    }
}

/// An object that is being written.
struct Members<'a> {
    out: &'a mut Vec<u8>,
    separator: u8,
}

impl<'a> Members<'a> {
    fn open(out: &'a mut Vec<u8>) -> Self {
        Self { out, separator: b'{' }
    }

    /// Adds a member. Our own names need no escapes.
    fn add(&mut self, name: &'static str, value: &dyn Splice) {
        mcp::push_plain(self.out, &mut self.separator, name, value);
    }

    fn close(self) {
        if self.separator == b'{' {
            self.out.push(b'{');
        }
        self.out.push(b'}');
    }
}

/// What the caller of this call can be asked, as capabilities of a client of ours.
pub(crate) fn capabilities(talk: &Talk) -> Arc<str> {
    let can = QUESTIONS.iter().map(|question| talk.could_ask(question)).chain([talk.takes_tasks()]);
    let which = can.enumerate().fold(0, |which, (i, can)| which | usize::from(can) << i);
    Arc::clone(&CAPABILITIES[which])
}

/// Where each of [`QUESTIONS`] stands among the capabilities of a client, and last the tasks.
const DECLARED: [&[&str]; 6] = [
    &["elicitation", "form"],
    &["elicitation", "url"],
    &["sampling"],
    &["sampling", "tools"],
    &["roots"],
    &["extensions", mcp::TASKS],
];

/// The capabilities for each set of those, by its bits.
static CAPABILITIES: LazyLock<[Arc<str>; 1 << DECLARED.len()]> = LazyLock::new(|| {
    std::array::from_fn(|which| {
        let mut declared = json!({});
        for (_, path) in DECLARED.iter().enumerate().filter(|(i, _)| which >> i & 1 == 1) {
            let mut at = &mut declared;
            for name in *path {
                if !at[name].is_object() {
                    at[name] = json!({});
                }
                at = &mut at[name];
            }
        }
        declared.to_string().into()
    })
});

/// One question of each kind, to find out whether it could be asked.
static QUESTIONS: LazyLock<[Question; 5]> = LazyLock::new(|| {
    let question = |method: &str, params: serde_json::Value| {
        Question::request("", method, tool::json::raw(&params).into())
    };
    [
        question("elicitation/create", json!({ "mode": "form" })),
        question("elicitation/create", json!({ "mode": "url" })),
        question("sampling/createMessage", json!({})),
        question("sampling/createMessage", json!({ "tools": [] })),
        question("roots/list", json!({})),
    ]
});

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    fn check(request: &Request, version: Option<Version>, expected: Expect) {
        expected.assert_eq(&String::from_utf8(request.write(&7.into(), version)).unwrap());
    }

    #[test]
    fn what_callers_sent_goes_out_byte_for_byte() {
        let params = Params::default()
            .with_text("name", "greet \"x\"")
            .with("arguments", raw(r#"{ "n" : 12345678901234567890123, "x":1.0 }"#));
        let mut request = Request::ours("tools/call", params);
        check(
            &request,
            None,
            expect![[
                r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"greet \"x\"","arguments":{ "n" : 12345678901234567890123, "x":1.0 }}}"#
            ]],
        );
        request.about = About {
            capabilities: r#"{"roots":{}}"#.into(),
            traceparent: Some("00-a-b-01".into()),
            log_level: Some(LogLevel::Warning),
            talks: true,
        };
        check(
            &request,
            None,
            expect![[
                r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"greet \"x\"","arguments":{ "n" : 12345678901234567890123, "x":1.0 },"_meta":{"progressToken":7,"traceparent":"00-a-b-01"}}}"#
            ]],
        );
        let shown = String::from_utf8(request.write(&7.into(), Some(Version::LATEST))).unwrap();
        let shown = shown.replace(env!("CARGO_PKG_VERSION"), "VERSION");
        expect![[r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"greet \"x\"","arguments":{ "n" : 12345678901234567890123, "x":1.0 },"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"portcullis","version":"VERSION"},"io.modelcontextprotocol/clientCapabilities":{"roots":{}},"io.modelcontextprotocol/logLevel":"warning","progressToken":7,"traceparent":"00-a-b-01"}}}"#]]
            .assert_eq(&shown);
        check(
            &Request::ours("ping", Params::default()),
            None,
            expect![[r#"{"jsonrpc":"2.0","id":7,"method":"ping","params":{}}"#]],
        );
    }
}
