use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json, value::RawValue};

/// What a call came to, where it came to something.
#[derive(Clone, Debug)]
pub enum Reply {
    /// It is done.
    Done(Outcome),
    /// It waits for something only the caller can give.
    NeedsInput(Question),
    /// It goes on by itself; ask for it by this id.
    Task(TaskId),
}

impl Reply {
    /// Done, with this value.
    #[must_use]
    pub fn value(value: Value) -> Self {
        Self::Done(Outcome::new(value))
    }
}

/// The id of work that outlives its call.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct TaskId(pub Arc<str>);

/// What a running call wants to know from its caller, or have done there.
#[derive(Clone, Debug)]
pub struct Question {
    /// Its name among the questions of one call; the answer comes back under it.
    pub key: Arc<str>,
    /// What is asked.
    pub ask: Ask,
}

/// What a question asks for.
#[derive(Clone, Debug)]
pub enum Ask {
    /// A form for a person (MCP: elicitation in form mode).
    Form {
        /// The question.
        text: String,
        /// What the answer must look like: a flat JSON Schema object.
        schema: Value,
    },
    /// A request of the protocol as it is: `sampling/createMessage`, `roots/list`, or an elicitation that was made
    /// elsewhere.
    Request {
        /// The method.
        method: Arc<str>,
        /// Its parameters, a JSON object.
        params: Arc<RawValue>,
    },
}

impl Question {
    /// A form for a person.
    #[must_use]
    pub fn form(key: &str, text: impl Into<String>, schema: Value) -> Self {
        Self { key: key.into(), ask: Ask::Form { text: text.into(), schema } }
    }

    /// A request of the protocol.
    #[must_use]
    pub fn request(key: &str, method: &str, params: Arc<RawValue>) -> Self {
        Self { key: key.into(), ask: Ask::Request { method: method.into(), params } }
    }

    /// The protocol's method for it.
    #[must_use]
    pub fn method(&self) -> &str {
        match &self.ask {
            Ask::Form { .. } => "elicitation/create",
            Ask::Request { method, .. } => method,
        }
    }

    /// The parameters of that method, a JSON object.
    #[must_use]
    pub fn params(&self) -> Arc<RawValue> {
        match &self.ask {
            Ask::Form { text, schema } => {
                crate::json::raw(&json!({ "mode": "form", "message": text, "requestedSchema": schema }))
                    .into()
            }
            Ask::Request { params, .. } => Arc::clone(params),
        }
    }

    /// What is asked, in words, for a log or for somebody who cannot answer.
    #[must_use]
    pub fn text(&self) -> &str {
        match &self.ask {
            Ask::Form { text, .. } => text,
            Ask::Request { method, .. } => method,
        }
    }
}

/// The body of an outcome.
#[derive(Clone, Debug)]
pub enum Body {
    /// A value of ours.
    Value(Value),
    /// JSON of a source's own, passed on byte for byte: unknown members and big numbers survive.
    Raw(Arc<RawValue>),
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The result.
    pub body: Body,
    /// Set where there was more than the bounds let through.
    pub cut: Option<Cut>,
    /// Remarks for the envelope (`_meta`), such as how many characters were removed.
    pub notes: Map<String, Value>,
    /// How the body is to be read.
    pub shape: Shape,
    /// True where the work failed and the body says why, as `isError` of MCP has it. It is delivered as a result,
    /// counted and recorded as a failure, and not cached.
    pub failed: bool,
}

/// How the body of an outcome is to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// It is the result itself.
    #[default]
    Value,
    /// It is a result as MCP has it, content blocks and all (`CallToolResult`, `ReadResourceResult`,
    /// `GetPromptResult`, `CompleteResult`): MCP faces pass it on as it is.
    Content,
}

/// How a result was cut, and how to get the rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cut {
    /// The bound that was met: `bytes`, `rows` (rows, entries, files, matches) or `time`. Whoever cuts by it says in
    /// the result how to get the rest.
    pub bound: &'static str,
    /// The handle of the whole result, for `artefact_read`.
    pub artefact: Option<Arc<str>>,
}

impl Outcome {
    /// The note (`true`) of an outcome that holds a new secret.
    pub const SECRET_NOTE: &str = "secret";

    /// A whole result.
    #[must_use]
    pub fn new(value: Value) -> Self {
        Self { body: Body::Value(value), cut: None, notes: Map::new(), shape: Shape::Value, failed: false }
    }

    /// JSON of a source's own, passed on byte for byte.
    #[must_use]
    pub fn raw(raw: Arc<RawValue>) -> Self {
        Self { body: Body::Raw(raw), cut: None, notes: Map::new(), shape: Shape::Value, failed: false }
    }

    /// A result as MCP has it.
    #[must_use]
    pub fn content(raw: Arc<RawValue>) -> Self {
        Self { shape: Shape::Content, ..Self::raw(raw) }
    }

    /// A whole result that holds a new secret: it is to be delivered once, as it is, and neither cleaned, cached,
    /// remembered for an idempotency key nor written down.
    #[must_use]
    pub fn with_secret(value: Value) -> Self {
        let mut outcome = Self::new(value);
        outcome.notes.insert(Self::SECRET_NOTE.to_owned(), Value::Bool(true));
        outcome
    }

    /// True for a result that was made by [`Outcome::with_secret`].
    #[must_use]
    pub fn holds_secret(&self) -> bool {
        self.notes.get(Self::SECRET_NOTE) == Some(&Value::Bool(true))
    }

    /// The result as a value; raw JSON is parsed, and `null` where that fails.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match &self.body {
            Body::Value(value) => value.clone(),
            Body::Raw(raw) => serde_json::from_str(raw.get()).unwrap_or(Value::Null),
        }
    }

    /// The result as JSON text.
    #[must_use]
    pub fn to_json(&self) -> String {
        match &self.body {
            Body::Value(value) => value.to_string(),
            Body::Raw(raw) => raw.get().to_owned(),
        }
    }
}
