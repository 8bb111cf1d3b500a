//! From what a call came to, to what the protocol says of it.

use std::{borrow::Cow, sync::Arc};

use gate::{Answer, LimitState};
use mcp::{
    Era, Feature, Object, Splice, Version, WireError,
    result::{CacheHint, Dress, Scope, for_legacy, for_modern},
    to_vec,
};
use serde_json::{Map, Value, json, value::RawValue};
use tool::{Body, Code, Fault, Kind, Outcome, Reply, Shape};

use crate::problem::seconds_up;

/// How long a list counts as fresh, in milliseconds: rights and catalogues change.
const LIST_TTL_MS: u64 = 5_000;

/// What a call came to: a result object, or an error object, as JSON text.
pub(crate) struct Ended {
    pub(crate) result: Result<Box<RawValue>, Failed>,
    /// How the limit that matters most stands.
    pub(crate) limit: Option<LimitState>,
}

/// An error, ours or of a source.
pub(crate) enum Failed {
    /// Ours.
    Wire(WireError),
    /// The error object of a source, as it came.
    Sent(Box<RawValue>),
    /// Nobody in particular called.
    Login(Box<Fault>),
}

impl From<WireError> for Failed {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

impl Failed {
    /// The status of an answer that holds it.
    pub(crate) fn http(&self, era: Era) -> u16 {
        match self {
            Self::Wire(error) => error.http(era),
            Self::Sent(raw) => {
                let code = Object::read(raw).ok().and_then(|error| error.get("code")?.parse().ok());
                code.map_or(200, |code| WireError::new(code, "").http(era))
            }
            Self::Login(fault) => fault.code.row().http,
        }
    }
}

impl Splice for Failed {
    fn splice(&self, out: &mut Vec<u8>) {
        match self {
            Self::Wire(error) => error.splice(out),
            Self::Sent(raw) => raw.splice(out),
            Self::Login(fault) => WireError::invalid_request(fault.text.clone()).splice(out),
        }
    }
}

/// What an answer is shaped by beside itself.
#[derive(Clone)]
pub(crate) struct Mould {
    pub(crate) version: Version,
    /// What we call ourselves.
    pub(crate) server: Arc<RawValue>,
}

impl Mould {
    pub(crate) fn era(&self) -> Era {
        self.version.era()
    }

    /// The answer to a call.
    pub(crate) fn ended(&self, kind: &Kind, answer: Answer) -> Ended {
        let result = match answer.result {
            Ok(reply) => Ok(self.granted(kind, reply)),
            Err(fault) => self.refused(kind, fault, answer.tool.is_some(), answer.request_id.as_str()),
        };
        Ended { result, limit: answer.limit }
    }

    /// A result of our own.
    pub(crate) fn result(&self, result: &Value, cache: Option<CacheHint>) -> Box<RawValue> {
        self.dress(&tool::json::raw(result), cache)
    }

    /// A result as it came, in the dress of the era.
    pub(crate) fn dress(&self, result: &RawValue, cache: Option<CacheHint>) -> Box<RawValue> {
        let object = Object::read(result).unwrap_or_default();
        match self.era() {
            Era::Modern => {
                for_modern(&object, Dress { server: Some(&self.server), cache, subscription: None }).to_raw()
            }
            Era::Legacy => for_legacy(&object).to_raw(),
        }
    }

    fn granted(&self, kind: &Kind, reply: Reply) -> Box<RawValue> {
        let cache = matches!(kind, Kind::ReadResource { .. })
            .then_some(CacheHint { ttl_ms: 0, scope: Scope::Private });
        match reply {
            Reply::Done(outcome) if outcome.shape == Shape::Content => match &outcome.body {
                Body::Raw(raw) => self.dress(&with_notes(raw, &outcome), cache),
                Body::Value(value) => self.dress(&with_notes(&tool::json::raw(value), &outcome), cache),
            },
            Reply::Done(outcome) => self.dress(&self.content_of(&outcome), cache),
            Reply::NeedsInput(question) => self.result(&error_result(question.text(), None), cache),
            Reply::Task(id) => self.result(&error_result(&format!("it goes on as {}", id.0), None), cache),
        }
    }

    /// A plain result as content: as text, and as it is where the revision has that.
    fn content_of(&self, outcome: &Outcome) -> Box<RawValue> {
        let text = outcome.to_json();
        let mut out = Vec::with_capacity(text.len() * 2 + 96);
        out.extend_from_slice(br#"{"content":[{"type":"text","text":"#);
        text.as_str().splice(&mut out);
        out.extend_from_slice(b"}]");
        let is_structured = self.version.has(Feature::StructuredContent)
            && (text.starts_with('{') || self.version.has(Feature::AnyStructuredContent));
        if is_structured {
            out.extend_from_slice(br#","structuredContent":"#);
            out.extend_from_slice(text.as_bytes());
        }
        out.extend_from_slice(br#","isError":false"#);
        if let Some(meta) = notes(outcome) {
            out.extend_from_slice(br#","_meta":"#);
            meta.splice(&mut out);
        }
        out.push(b'}');
        tool::json::known_box(out)
    }

    /// A refusal: of a tool a result that says so, of everything else an error.
    pub(crate) fn refused(
        &self,
        kind: &Kind,
        fault: Fault,
        has_tool: bool,
        request_id: &str,
    ) -> Result<Box<RawValue>, Failed> {
        if let Some(sent) = fault.as_sent {
            return Err(Failed::Sent(sent));
        }
        if matches!(fault.code, Code::Unauthenticated | Code::Disabled) {
            return Err(Failed::Login(Box::new(fault)));
        }
        if fault.code == Code::CannotAsk && self.era() == Era::Modern {
            let needed = fault.details.as_ref().and_then(|details| details.get("requiredCapabilities"));
            return Err(WireError::missing_capability(needed.cloned().unwrap_or_else(|| json!({}))).into());
        }
        match kind {
            Kind::Tool { .. } | Kind::Apply { .. } if fault.code == Code::NotFound && !has_tool => {
                Err(WireError::invalid_params(fault.text).into())
            }
            Kind::Tool { .. } | Kind::Apply { .. } => {
                let about = about(&fault, request_id);
                Ok(self.result(&error_result(&sentence(&fault), Some(about)), None))
            }
            Kind::ReadResource { uri } if fault.code == Code::NotFound => {
                Err(WireError::resource_not_found(uri, self.era()).into())
            }
            _ => {
                let text = sentence(&fault);
                let error = match fault.code {
                    Code::Malformed | Code::TooLarge | Code::NotFound | Code::BadArguments => {
                        WireError::invalid_params(text)
                    }
                    _ => WireError::internal(text),
                };
                Err(error.with_data(about(&fault, request_id)).into())
            }
        }
    }
}

/// How long lists hold, and that they depend on rights.
pub(crate) const LISTED: CacheHint = CacheHint { ttl_ms: LIST_TTL_MS, scope: Scope::Private };

/// A failure of a tool, as a result.
fn error_result(text: &str, about: Option<Value>) -> Value {
    let mut result = json!({ "content": [{ "type": "text", "text": text }], "isError": true });
    if let Some(about) = about {
        result["_meta"] = json!({ "portcullis/error": about });
    }
    result
}

/// What a program can go by.
fn about(fault: &Fault, request_id: &str) -> Value {
    let mut about =
        json!({ "code": fault.code.row().name, "status": fault.status(), "request_id": request_id });
    if let Some(pointer) = &fault.pointer {
        about["pointer"] = json!(pointer);
    }
    if let Some(wait) = fault.retry_after {
        about["retry_after_seconds"] = json!(seconds_up(wait));
    }
    about
}

/// The sentence, and when to come back where that is the point.
fn sentence(fault: &Fault) -> String {
    match fault.retry_after {
        Some(wait) => format!("{}; come back in {} s", fault.text, seconds_up(wait)),
        None => fault.text.clone(),
    }
}

/// How a result was cut, and remarks on it.
fn notes(outcome: &Outcome) -> Option<Value> {
    let mut meta = Map::new();
    if let Some(cut) = &outcome.cut {
        meta.insert("portcullis/cut".to_owned(), json!(cut));
    }
    if !outcome.notes.is_empty() && !outcome.holds_secret() {
        meta.insert("portcullis/notes".to_owned(), Value::Object(outcome.notes.clone()));
    }
    (!meta.is_empty()).then_some(Value::Object(meta))
}

/// The same with remarks, where there are any.
fn with_notes<'a>(raw: &'a RawValue, outcome: &Outcome) -> Cow<'a, RawValue> {
    let Some(Value::Object(notes)) = notes(outcome) else { return Cow::Borrowed(raw) };
    let Ok(object) = Object::read(raw) else { return Cow::Borrowed(raw) };
    let own = object.raw_of("_meta");
    let own = own.and_then(|meta| Object::read(meta).ok()).unwrap_or_default();
    let meta = notes.iter().fold(mcp::Edit::of(&own), |meta, (name, note)| meta.set(name, note)).to_raw();
    Cow::Owned(mcp::Edit::of(&object).set("_meta", &meta).to_raw())
}

/// One message as bytes.
pub(crate) fn response(id: &mcp::Id, result: &Result<Box<RawValue>, Failed>) -> Vec<u8> {
    let mut out = Vec::new();
    match result {
        Ok(result) => mcp::write_result(&mut out, id, result),
        Err(error) => mcp::write_error(&mut out, Some(id), error),
    }
    out
}

/// A notification as bytes.
pub(crate) fn notification(method: &str, params: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    mcp::write_notification(&mut out, method, Some(params));
    out
}

/// The text of a value that can be spliced.
pub(crate) fn text_of(value: &dyn Splice) -> Box<RawValue> {
    tool::json::known_box(to_vec(value))
}
