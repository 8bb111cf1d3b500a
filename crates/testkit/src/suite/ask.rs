//! Questions to the caller, and how answers are read.

use std::sync::Arc;

use serde_json::{Value, json, value::RawValue};
use tool::{Answered, Code, Fault, Question, Talk};

/// A form of one field that must be filled in.
pub(super) fn form(key: &str, text: &str, field: &str, kind: &str) -> Question {
    Question::form(key, text, schema(field, kind))
}

/// A question for the caller's model.
pub(super) fn sample(key: &str, prompt: &str, tokens_max: u32) -> Question {
    let params = json!({
        "messages": [{ "role": "user", "content": { "type": "text", "text": prompt } }],
        "maxTokens": tokens_max,
    });
    Question::request(key, "sampling/createMessage", params_of(&params))
}

/// A question for the caller's roots.
pub(super) fn roots(key: &str) -> Question {
    Question::request(key, "roots/list", params_of(&json!({})))
}

/// Asks a person for one field; nothing where the person did not fill it in.
///
/// Fault: as [`Talk::ask_form`].
pub(super) async fn fill(
    talk: &Talk,
    key: &str,
    text: &str,
    field: &str,
    kind: &str,
) -> Result<Option<Value>, Fault> {
    match talk.ask_form(key, text, schema(field, kind)).await? {
        Answered::Accept(content) => Ok(content.get(field).filter(|value| !value.is_null()).cloned()),
        Answered::Decline | Answered::Cancel => Ok(None),
    }
}

/// Asks one thing.
///
/// Fault: as [`Talk::ask`].
pub(super) async fn one(talk: &Talk, question: Question) -> Result<Value, Fault> {
    let answers = all(talk, vec![question]).await?;
    Ok(answers.into_iter().next().unwrap_or_default())
}

/// Asks several things at once.
///
/// Fault: as [`Talk::ask`]; `Upstream` where an answer is no JSON.
pub(super) async fn all(talk: &Talk, questions: Vec<Question>) -> Result<Vec<Value>, Fault> {
    let answers = talk.ask(questions).await?;
    answers.iter().map(|answer| read(answer)).collect()
}

/// A value as it is read aloud: a text without its quotes.
pub(super) fn aloud(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn read(answer: &RawValue) -> Result<Value, Fault> {
    serde_json::from_str(answer.get())
        .map_err(|e| Fault::new(Code::Upstream, "the caller answered what cannot be read").because(e))
}

fn schema(field: &str, kind: &str) -> Value {
    json!({ "type": "object", "properties": { field: { "type": kind } }, "required": [field] })
}

fn params_of(params: &Value) -> Arc<RawValue> {
    tool::json::raw(params).into()
}
