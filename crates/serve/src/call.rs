//! The doors that make calls: from a body to the gate and back.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, Response, StatusCode, header};
use serde_json::{Map, Value, json, value::RawValue};
use tool::{Body as ResultBody, Call, CarriedLogin, Code, Face, Fault, Kind, Outcome, Reply};

use crate::{
    conn::{Body, Peer},
    devices,
    doors::{CallDoor, Inside, Visit},
    envelope,
    headers::{self, idempotency_key, only, put},
    problem::{Refusal, seconds_up},
    road::{Answer, Credentials, Request},
    upload::Upload,
};

/// A body that is larger is read only after its sender was identified.
const STRANGER_BYTES_MAX: u64 = 64 * 1024;
/// The longest name of a tool that is taken from a path, before it is decoded.
const SEGMENT_BYTES_MAX: usize = 400;

/// Answers a call door. A request that cannot be read is refused as such only to those who may know that the door is
/// there: everybody else is told that they are nobody.
pub(crate) async fn answer(
    inside: &Inside,
    door: CallDoor,
    segment: &str,
    visit: &Visit,
    upload: Upload,
) -> Result<Response<Body>, Refusal> {
    let credentials = visit.credentials();
    if !upload.is_at_most(STRANGER_BYTES_MAX) {
        inside.road.identify(&credentials, &visit.ids).await?;
    }
    let asked = match read(visit, upload).await {
        Ok(body) => Asked::read(inside, door, segment, &body).map_err(Refusal::from),
        Err(refusal) => Err(refusal),
    };
    let key =
        idempotency_key(&visit.headers).map_err(|text| Refusal::from(Fault::new(Code::Malformed, text)));
    match asked.and_then(|asked| Ok((asked, key?))) {
        Ok((asked, key)) => {
            let answer = go(inside, visit, credentials, &asked, key).await;
            Ok(show(inside, visit, &asked, answer))
        }
        Err(refusal) => {
            inside.road.identify(&credentials, &visit.ids).await?;
            Err(refusal)
        }
    }
}

/// Reads a body, which must stand there as it is.
pub(crate) async fn read(visit: &Visit, upload: Upload) -> Result<Bytes, Refusal> {
    if let Some(encoding) = visit.headers.get(header::CONTENT_ENCODING)
        && encoding != "identity"
    {
        return Err(Fault::new(Code::Malformed, "the body is compressed; send it as it is").into());
    }
    upload.read().await
}

/// What was asked for, and what the answer must echo.
struct Asked {
    door: CallDoor,
    /// The tool or operation as named.
    name: String,
    tool: String,
    arguments: Box<RawValue>,
    label: Option<Arc<str>>,
    /// The operation's `device_ip` and `parameters`.
    echo: Option<(Option<Box<RawValue>>, Box<RawValue>)>,
    /// Logins that came with it.
    logins: Vec<CarriedLogin>,
}

impl Asked {
    fn read(inside: &Inside, door: CallDoor, segment: &str, body: &[u8]) -> Result<Self, Fault> {
        let mut logins = Vec::new();
        let wish = match door {
            CallDoor::Operation => return Self::operation(inside, body),
            CallDoor::CallTool => envelope::call_tool(body)?,
            CallDoor::Invoke => envelope::invoke(body)?,
            CallDoor::ByPath => {
                let tool =
                    decode(segment).ok_or_else(|| Fault::not_found("Tool not found: (no name of a tool)"))?;
                envelope::Wish { tool, arguments: envelope::arguments(body)?, label: None }
            }
            CallDoor::Devices
            | CallDoor::DeviceQuery
            | CallDoor::ExecuteCommands
            | CallDoor::DeviceStatus
            | CallDoor::SecureDevice
            | CallDoor::SecureExecute => {
                let (tool, arguments, carried) = devices::wish(door, segment, body)?;
                logins = carried;
                envelope::Wish { tool: tool.to_owned(), arguments, label: None }
            }
        };
        Ok(Self {
            door,
            name: wish.tool.clone(),
            tool: wish.tool,
            arguments: wish.arguments,
            label: wish.label,
            echo: None,
            logins,
        })
    }

    fn operation(inside: &Inside, body: &[u8]) -> Result<Self, Fault> {
        let sent = envelope::operation(body)?;
        let operations = inside.operations.load();
        let shown: String = sent.operation.chars().take(80).collect();
        let config = operations
            .get(&sent.operation)
            .ok_or_else(|| Fault::not_found(format!("Operation not found: {shown}")))?;
        let arguments = envelope::operation_arguments(config, &sent)?;
        let (tool, echo) = (config.tool.clone(), Some((sent.device_ip, sent.parameters)));
        Ok(Self {
            door: CallDoor::Operation,
            name: sent.operation,
            tool,
            arguments,
            label: None,
            echo,
            logins: Vec::new(),
        })
    }
}

async fn go(
    inside: &Inside,
    visit: &Visit,
    credentials: Credentials,
    asked: &Asked,
    idempotency_key: Option<Arc<str>>,
) -> Answer {
    let face = match visit.peer {
        Peer::Network { .. } => Face::Rest,
        Peer::Local { .. } => Face::Cli,
    };
    let kind = Kind::tool(&asked.tool, asked.arguments.clone());
    let agent =
        || only(&visit.headers, &header::USER_AGENT).map(|agent| agent.chars().take(200).collect::<String>());
    let call = Call {
        correlation_id: visit.ids.correlation.clone(),
        traceparent: visit.ids.traceparent.clone(),
        label: asked.label.clone().or_else(|| agent().map(Arc::from)),
        idempotency_key,
        logins: (!asked.logins.is_empty()).then(|| asked.logins.as_slice().into()),
        tiers: (asked.door == CallDoor::SecureExecute).then(|| Arc::clone(&inside.secure_tiers)),
        ..Call::new(kind, face, visit.ids.request.clone())
    };
    inside.road.call(Request { credentials, call, line: Arc::clone(&inside.deaf) }).await
}

fn show(inside: &Inside, visit: &Visit, asked: &Asked, answer: Answer) -> Response<Body> {
    let around = devices::Around {
        arguments: &asked.arguments,
        tier: answer.caller.as_ref().map(|caller| &*caller.tier),
        limit: answer.limit.as_ref(),
    };
    let end = End { inside, visit, asked, elapsed: answer.elapsed, around };
    let mut response = match answer.result {
        Ok(reply) => end.granted(&reply),
        Err(fault) if !asked.door.is_bare() && is_execution(&fault, answer.tool.is_some()) => {
            headers::json(end.failed(&fault))
        }
        Err(fault) if asked.door.is_of_devices() => {
            visit.refuse(&devices::told(asked.door, fault, &asked.arguments).into())
        }
        Err(fault) => visit.refuse(&fault.into()),
    };
    let headers = response.headers_mut();
    if let Some(state) = &answer.limit {
        headers::write_limit(headers, state, inside.clock.now());
    }
    headers::write_cache(headers, answer.cache);
    if let Some(tool) = &answer.tool {
        headers::write_deprecation(headers, tool, inside.started);
    }
    response
}

/// True for what went wrong while the tool worked: the envelopes tell it in `error`, under status 200. What was
/// refused before (who, what, how often, how) keeps its HTTP status.
fn is_execution(fault: &Fault, has_tool: bool) -> bool {
    match fault.code {
        Code::Malformed
        | Code::TooLarge
        | Code::Unauthenticated
        | Code::Disabled
        | Code::Denied
        | Code::MethodNotAllowed
        | Code::BadArguments
        | Code::RateLimited
        | Code::Busy => false,
        // A tool that is not there, or what a tool did not find.
        Code::NotFound => has_tool,
        Code::CannotAsk
        | Code::Conflict
        | Code::Drifted
        | Code::Unavailable
        | Code::Upstream
        | Code::TimedOut
        | Code::OutcomeUnknown
        | Code::Cancelled
        | Code::Internal => true,
    }
}

/// A call that has ended, to be shown in its door's way.
struct End<'a> {
    inside: &'a Inside,
    visit: &'a Visit,
    asked: &'a Asked,
    elapsed: Duration,
    around: devices::Around<'a>,
}

impl End<'_> {
    fn granted(&self, reply: &Reply) -> Response<Body> {
        let is_bare = self.asked.door.is_bare();
        match reply {
            Reply::Done(outcome) => {
                let result = match self.asked.door.is_of_devices() {
                    true => devices::shown(self.asked.door, outcome.to_value(), &self.around).to_string(),
                    false => result_text(outcome),
                };
                let error = said_why(outcome);
                let text = match is_bare {
                    true => result,
                    false => self.envelope(Some(&result), error.as_deref(), about(outcome)),
                };
                let mut response = headers::json(text);
                write_cut(&mut response, outcome);
                write_removed(&mut response, outcome);
                response
            }
            Reply::NeedsInput(question) => {
                let question =
                    json!({ "key": question.key, "method": question.method(), "params": question.params() });
                self.accepted(json!({ "status": "input_required", "question": question }), is_bare)
            }
            Reply::Task(id) => self.accepted(json!({ "status": "working", "task_id": id }), is_bare),
        }
    }

    /// 202: not done, and why.
    fn accepted(&self, mut state: Value, is_bare: bool) -> Response<Body> {
        let text = if is_bare {
            state["request_id"] = self.visit.ids.request.as_str().into();
            state.to_string()
        } else {
            self.envelope(None, None, state.as_object().cloned().unwrap_or_default())
        };
        let mut response = headers::json(text);
        *response.status_mut() = StatusCode::ACCEPTED;
        response
    }

    fn failed(&self, fault: &Fault) -> String {
        let mut more = Map::new();
        more.insert("status".to_owned(), fault.status().into());
        more.insert("code".to_owned(), fault.code.row().name.into());
        if let Some(wait) = fault.retry_after {
            more.insert("retry_after_seconds".to_owned(), seconds_up(wait).into());
        }
        self.envelope(None, Some(&fault.text), more)
    }

    /// The envelope of the door. The result is spliced in as it is, so that what a source sent survives byte for
    /// byte.
    fn envelope(&self, result: Option<&str>, error: Option<&str>, more: Map<String, Value>) -> String {
        let (asked, elapsed_ms) = (self.asked, self.elapsed.as_secs_f64() * 1e3);
        let elapsed_ms = (elapsed_ms * 1e3).round() / 1e3;
        let request_id = Value::from(self.visit.ids.request.as_str()).to_string();
        let name = Value::from(asked.name.as_str()).to_string();
        let result = result.unwrap_or("null");
        let error_text = Value::from(error).to_string();
        let mut text = match asked.door {
            CallDoor::ByPath
            | CallDoor::CallTool
            | CallDoor::Devices
            | CallDoor::DeviceQuery
            | CallDoor::ExecuteCommands
            | CallDoor::DeviceStatus
            | CallDoor::SecureDevice
            | CallDoor::SecureExecute => format!(
                r#"{{"tool":{name},"result":{result},"error":{error_text},"execution_time_ms":{elapsed_ms},"request_id":{request_id}"#
            ),
            CallDoor::Invoke => format!(
                r#"{{"request_id":{request_id},"tool":{name},"duration_ms":{},"result":{result},"error":{error_text}"#,
                self.elapsed.as_millis()
            ),
            CallDoor::Operation => {
                let (device_ip, parameters) =
                    asked.echo.as_ref().map_or(("null", "{}"), |(device_ip, parameters)| {
                        (device_ip.as_ref().map_or("null", |raw| raw.get()), parameters.get())
                    });
                let success = error.is_none() && !more.contains_key("status");
                let timestamp = self.inside.clock.now();
                let result = match success {
                    true => format!(
                        r#"{{"status":"completed","output":{result},"parameters_used":{parameters}}}"#
                    ),
                    false => "null".to_owned(),
                };
                format!(
                    r#"{{"device_ip":{device_ip},"operation":{name},"success":{success},"result":{result},"error":{error_text},"execution_time_ms":{elapsed_ms},"timestamp":"{timestamp}","request_id":{request_id}"#
                )
            }
        };
        for (name, value) in more {
            text.push_str(&format!(",{}:{value}", Value::from(name)));
        }
        text.push('}');
        text
    }
}

fn result_text(outcome: &Outcome) -> String {
    match &outcome.body {
        ResultBody::Value(value) => value.to_string(),
        ResultBody::Raw(raw) => raw.get().to_owned(),
    }
}

/// What a result that says it failed says of it: its first text.
fn said_why(outcome: &Outcome) -> Option<String> {
    if !outcome.failed {
        return None;
    }
    let shown = outcome.to_value();
    let texts = shown["content"].as_array().into_iter().flatten().filter_map(|part| part["text"].as_str());
    let said = texts.map(str::trim).find(|text| !text.is_empty());
    Some(said.unwrap_or("the tool failed, and says why in its result").to_owned())
}

/// What an envelope tells beside the result: how it was cut, and remarks.
fn about(outcome: &Outcome) -> Map<String, Value> {
    let mut more = Map::new();
    if let Some(cut) = &outcome.cut {
        more.insert("cut".to_owned(), json!(cut));
    }
    if !outcome.notes.is_empty() {
        more.insert("notes".to_owned(), Value::Object(outcome.notes.clone()));
    }
    more
}

/// `X-Cut: rows` and `X-Artefact: <handle>`, for doors whose answer is the bare result.
fn write_cut(response: &mut Response<Body>, outcome: &Outcome) {
    let Some(cut) = &outcome.cut else { return };
    put(response.headers_mut(), HeaderName::from_static("x-cut"), cut.bound);
    if let Some(artefact) = &cut.artefact {
        put(response.headers_mut(), HeaderName::from_static("x-artefact"), artefact);
    }
}

/// Notes that a header tells as a number, for doors whose answer is the bare result.
const REMOVED: [(&str, HeaderName); 2] = [
    ("removed_characters", HeaderName::from_static("x-removed-characters")),
    ("masked_secrets", HeaderName::from_static("x-masked-secrets")),
];

/// `X-Removed-Characters: 2` and `X-Masked-Secrets: 1`: that the result is not quite what its source said.
fn write_removed(response: &mut Response<Body>, outcome: &Outcome) {
    for (note, header) in REMOVED {
        if let Some(count) = outcome.notes.get(note).and_then(Value::as_u64) {
            put(response.headers_mut(), header, &count.to_string());
        }
    }
}

/// Undoes percent-encoding (RFC 3986, 2.1). `None` where it is broken, not UTF-8, or too long.
pub(crate) fn decode(segment: &str) -> Option<String> {
    if segment.len() > SEGMENT_BYTES_MAX {
        return None;
    }
    let bytes = segment.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'%' {
            let digits = bytes.get(at + 1..at + 3).filter(|d| d.iter().all(u8::is_ascii_hexdigit))?;
            decoded.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            at += 3;
        } else {
            decoded.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_paths_are_decoded() {
        for (segment, name) in [
            ("get_customer", Some("get_customer")),
            ("fs%2eread_text", Some("fs.read_text")),
            ("%C3%A4", Some("\u{e4}")),
            ("a%2Fb", Some("a/b")),
            ("%", None),
            ("%4", None),
            ("%+1", None),
            ("%ff", None),
            (&"x".repeat(401), None),
        ] {
            assert_eq!(decode(segment).as_deref(), name, "{segment}");
        }
    }

    #[test]
    fn the_bare_result_tells_that_something_was_taken_out() {
        let mut outcome = Outcome::new(json!({ "text": "a" }));
        outcome.notes.insert("removed_characters".to_owned(), json!(2));
        outcome.notes.insert("masked_secrets".to_owned(), json!(1));
        let mut response = Response::new(Body::default());
        write_removed(&mut response, &outcome);
        assert_eq!(response.headers()["x-removed-characters"], "2");
        assert_eq!(response.headers()["x-masked-secrets"], "1");
        let mut response = Response::new(Body::default());
        write_removed(&mut response, &Outcome::new(json!({})));
        assert!(response.headers().is_empty());
    }
}
