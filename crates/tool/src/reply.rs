use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value, value::RawValue};

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

/// What a running call wants to know from its caller.
#[derive(Clone, Debug)]
pub struct Question {
    /// The question, for a person.
    pub text: String,
    /// What the answer must look like: a flat JSON Schema object.
    pub schema: Value,
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
        Self { body: Body::Value(value), cut: None, notes: Map::new() }
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
