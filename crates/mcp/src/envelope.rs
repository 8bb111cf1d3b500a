use std::{borrow::Cow, fmt};

use serde::{
    Deserializer as _,
    de::{MapAccess, Visitor},
};
use serde_json::{error::Category, value::RawValue};

use tool::json::{self, Member};

use crate::{
    Id, IdError, Object, WireError, code,
    fault::echo,
    id::{Text, text},
    splice::Splice,
};

/// The longest method name that is taken, in bytes.
pub const METHOD_BYTES_MAX: usize = 128;

/// How many members an envelope may have beside its own: each new one is compared with all of them.
const OTHERS_MAX: usize = 16;

/// One JSON-RPC message, borrowed from the bytes it came in.
///
/// Source: 2026-07-28 basic, "Messages"; JSON-RPC 2.0.
#[derive(Clone, Debug)]
pub enum Message<'a> {
    /// Wants an answer.
    Request(Request<'a>),
    /// Wants none.
    Notification(Notification<'a>),
    /// An answer.
    Response(Response<'a>),
    /// An answer that is an error.
    Failure(Failure<'a>),
}

/// A request.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// What its answer is known by.
    pub id: Id,
    /// The method.
    pub method: Cow<'a, str>,
    /// The params, checked throughout; without members where they were left out.
    pub params: Object<'a>,
}

/// A notification.
#[derive(Clone, Debug)]
pub struct Notification<'a> {
    /// The method.
    pub method: Cow<'a, str>,
    /// The params, checked throughout; without members where they were left out.
    pub params: Object<'a>,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Response<'a> {
    /// The request it answers.
    pub id: Id,
    /// A JSON object. What is inside is not checked: it is passed on as it came, or read by who asked for it.
    pub result: &'a RawValue,
}

/// An answer that is an error.
#[derive(Clone, Debug)]
pub struct Failure<'a> {
    /// The request it answers, where the peer could tell.
    pub id: Option<Id>,
    /// A JSON object. What is inside is not checked; [`Failure::read`] reads it.
    pub error: &'a RawValue,
}

/// What a [`Failure`] says.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerError<'a> {
    /// The code. One that no `i64` holds is read as an internal error.
    pub code: i64,
    /// What is wrong, in the peer's words: not to be trusted.
    pub message: Cow<'a, str>,
    /// The JSON text of `data`.
    pub data: Option<&'a str>,
}

/// Bytes that are no message as we take it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{error}")]
pub struct Unreadable {
    /// The id of the message, where it could be read all the same: the answer carries it.
    pub id: Option<Id>,
    /// What is wrong.
    pub error: WireError,
}

impl<'a> Message<'a> {
    /// Reads one message. The bytes are gone over once; only where something is wrong with them a second time, to say
    /// what it is.
    ///
    /// Taken beyond the letter: `"params": null` counts as left out, and unknown members beside ours are ignored.
    ///
    /// Errors, with -32700: no UTF-8, no JSON. With -32600: several messages in an array, a `jsonrpc` other than
    /// `"2.0"`, ids that are neither strings nor integers or are too long, params that are no object, a name twice
    /// in the envelope or anywhere in the params, params nested deeper than [`tool::json::DEPTH_MAX`] levels, half
    /// a surrogate pair, and members that do not go together.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Unreadable> {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            nobody(WireError::parse(format!("not UTF-8 at byte {}", error.valid_up_to())))
        })?;
        let parts = match Parts::taken(text) {
            Some(parts) => parts,
            None => Parts::read(text).map_err(nobody)?,
        };
        let id = parts.id.map(|raw| Id::parse(raw.get()));
        let readable = id.clone().and_then(Result::ok).filter(|_| parts.twice.as_deref() != Some("id"));
        parts.message(id).map_err(|error| Unreadable { id: readable, error })
    }
}

impl<'a> Failure<'a> {
    /// Reads the error.
    ///
    /// Error: invalid request, where there is no integer `code` or no string `message`.
    pub fn read(&self) -> Result<PeerError<'a>, WireError> {
        let wrong = |what: &str| WireError::invalid_request(format!("the error of an answer {what}"));
        let error = Object::read(self.error).map_err(|error| wrong(&format!("cannot be read: {error}")))?;
        let number = error.get("code").filter(|text| !text.starts_with('"') && Id::parse(text).is_ok());
        let number = number.ok_or_else(|| wrong("has no integer code"))?;
        let message = error.text("message").ok().flatten().ok_or_else(|| wrong("has no message"))?;
        let code = number.parse().unwrap_or(code::INTERNAL_ERROR);
        Ok(PeerError { code, message, data: error.get("data") })
    }
}

/// Appends a request. Params are left out where there are none.
pub fn write_request(out: &mut Vec<u8>, id: &Id, method: &str, params: Option<&dyn Splice>) {
    open(out, Some(id));
    write_call(out, method, params);
}

/// Appends a notification. Params are left out where there are none.
pub fn write_notification(out: &mut Vec<u8>, method: &str, params: Option<&dyn Splice>) {
    open(out, None);
    write_call(out, method, params);
}

/// Appends an answer. `result` is a JSON object.
pub fn write_result(out: &mut Vec<u8>, id: &Id, result: &dyn Splice) {
    open(out, Some(id));
    out.extend_from_slice(b",\"result\":");
    result.splice(out);
    out.push(b'}');
}

/// Appends an answer that is an error: a [`WireError`], or the raw error of another peer. The id is left out
/// where the request's could not be read.
pub fn write_error(out: &mut Vec<u8>, id: Option<&Id>, error: &dyn Splice) {
    open(out, id);
    out.extend_from_slice(b",\"error\":");
    error.splice(out);
    out.push(b'}');
}

fn open(out: &mut Vec<u8>, id: Option<&Id>) {
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\"");
    if let Some(id) = id {
        out.extend_from_slice(b",\"id\":");
        id.splice(out);
    }
}

fn write_call(out: &mut Vec<u8>, method: &str, params: Option<&dyn Splice>) {
    out.extend_from_slice(b",\"method\":");
    method.splice(out);
    if let Some(params) = params {
        out.extend_from_slice(b",\"params\":");
        params.splice(out);
    }
    out.push(b'}');
}

fn nobody(error: WireError) -> Unreadable {
    Unreadable { id: None, error }
}

fn invalid(message: impl Into<String>) -> WireError {
    WireError::invalid_request(message)
}

/// The members of an envelope, as they stand in the text.
#[derive(Default)]
struct Parts<'a> {
    jsonrpc: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
    method: Option<&'a RawValue>,
    params: Option<&'a RawValue>,
    /// The members of the params, checked, where they were read in passing.
    params_members: Option<Vec<Member<'a>>>,
    result: Option<&'a RawValue>,
    error: Option<&'a RawValue>,
    /// The names of the others, one more than may be at most.
    others: Vec<Cow<'a, str>>,
    /// A name that stands twice.
    twice: Option<Cow<'a, str>>,
}

impl<'a> Parts<'a> {
    /// The members of text with which nothing is wrong, in one pass.
    fn taken(text: &'a str) -> Option<Self> {
        let mut parts = Self::default();
        json::first_look(text, Some("params"), |name, value, members| {
            parts.put(name, value);
            parts.params_members = members.or_else(|| parts.params_members.take());
        })?;
        Some(parts)
    }

    fn read(text: &'a str) -> Result<Self, WireError> {
        match text.trim_ascii_start().as_bytes().first() {
            None => return Err(WireError::parse("there is nothing to read; send one JSON-RPC message")),
            Some(b'[') => {
                return Err(invalid("several messages in one array are not taken; send each by itself"));
            }
            Some(_) => {}
        }
        let mut reader = serde_json::Deserializer::from_str(text);
        let parts = reader.deserialize_map(Envelope);
        parts.and_then(|parts| reader.end().map(|()| parts)).map_err(|error| match error.classify() {
            Category::Data => invalid("a message is a JSON object"),
            _ => WireError::parse(format!("not valid JSON: {error}")),
        })
    }

    fn message(self, id: Option<Result<Id, IdError>>) -> Result<Message<'a>, WireError> {
        if let Some(name) = &self.twice {
            return Err(invalid(format!("the name {:?} stands twice in one object", echo(name))));
        }
        if self.others.len() > OTHERS_MAX {
            return Err(invalid(format!("more than {OTHERS_MAX} members that no message has")));
        }
        if self.jsonrpc.is_none_or(|raw| raw.get() != "\"2.0\"") {
            return Err(invalid("\"jsonrpc\" must be \"2.0\""));
        }
        match (self.method, self.result, self.error) {
            (Some(method), None, None) => self.call(method, id),
            (None, Some(result), None) => Self::response(id, result),
            (None, None, Some(error)) => self.failure(id, error),
            (None, None, None) => Err(invalid("there is neither a method nor a result nor an error")),
            _ => Err(invalid("a message has one of method, result and error")),
        }
    }

    fn call(
        mut self,
        method: &'a RawValue,
        id: Option<Result<Id, IdError>>,
    ) -> Result<Message<'a>, WireError> {
        let id = id.transpose().map_err(wrong_id)?;
        let method = text(method.get()).ok_or_else(|| invalid("\"method\" must be a string"))?;
        if method.len() > METHOD_BYTES_MAX {
            return Err(invalid(format!("\"method\" is longer than {METHOD_BYTES_MAX} bytes")));
        }
        let params = match self.params.filter(|raw| raw.get() != "null") {
            None => Object::default(),
            Some(raw) if raw.get().starts_with('{') => match self.params_members.take() {
                Some(members) => Object::of_members(raw, members),
                None => Object::read_checked(raw).map_err(|error| invalid(format!("\"params\": {error}")))?,
            },
            Some(_) => return Err(invalid("\"params\" must be an object")),
        };
        Ok(match id {
            Some(id) => Message::Request(Request { id, method, params }),
            None => Message::Notification(Notification { method, params }),
        })
    }

    fn response(id: Option<Result<Id, IdError>>, result: &'a RawValue) -> Result<Message<'a>, WireError> {
        let id = id.transpose().map_err(wrong_id)?;
        let id = id.ok_or_else(|| invalid("an answer without \"id\" answers nothing"))?;
        if !result.get().starts_with('{') {
            return Err(invalid("\"result\" must be an object"));
        }
        Ok(Message::Response(Response { id, result }))
    }

    fn failure(
        &self,
        id: Option<Result<Id, IdError>>,
        error: &'a RawValue,
    ) -> Result<Message<'a>, WireError> {
        let is_null = self.id.is_some_and(|raw| raw.get() == "null");
        let id = if is_null { None } else { id.transpose().map_err(wrong_id)? };
        if !error.get().starts_with('{') {
            return Err(invalid("\"error\" must be an object"));
        }
        Ok(Message::Failure(Failure { id, error }))
    }

    fn place(&mut self, name: &str) -> Option<&mut Option<&'a RawValue>> {
        Some(match name {
            "jsonrpc" => &mut self.jsonrpc,
            "id" => &mut self.id,
            "method" => &mut self.method,
            "params" => &mut self.params,
            "result" => &mut self.result,
            "error" => &mut self.error,
            _ => return None,
        })
    }

    fn put(&mut self, name: Cow<'a, str>, value: &'a RawValue) {
        if let Some(place) = self.place(&name) {
            if place.replace(value).is_some() {
                self.twice = Some(name);
            }
        } else if self.others.contains(&name) {
            self.twice = Some(name);
        } else if self.others.len() <= OTHERS_MAX {
            self.others.push(name);
        }
    }
}

fn wrong_id(error: IdError) -> WireError {
    invalid(format!("\"id\" {error}"))
}

struct Envelope;

impl<'de> Visitor<'de> for Envelope {
    type Value = Parts<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut parts = Parts::default();
        while let Some((Text(name), value)) = access.next_entry::<Text<'de>, &'de RawValue>()? {
            parts.put(name, value);
        }
        Ok(parts)
    }
}

#[cfg(test)]
mod tests;
