//! What callers are told when an API says no, or nothing.

use std::time::Duration;

use http::{HeaderMap, header};
use serde_json::Value;
use tool::{Code, Fault, Secret, Timestamp};

use super::config::{ErrorConfig, ErrorOn, ErrorWord};
use crate::{error::WebError, text};

/// The most of a refusal's body that is read, in bytes.
pub(crate) const REFUSAL_BYTES_MAX: usize = 8 * 1024;
/// The most of it that a caller sees, in characters.
const EXCERPT_CHARS_MAX: usize = 200;
/// The longest wait that an API may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// How a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// With this status.
    Status(u16),
    /// It took too long.
    Timeout,
    /// No connection came up.
    Connect,
}

/// An API's refusal: its status, when to come back, and what it says, cleaned.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) excerpt: Option<String>,
}

/// The fault of a refusal.
pub(crate) fn refused(api: &str, rules: &[ErrorConfig], refusal: Refusal) -> Fault {
    let Refusal { status, retry_after, excerpt } = refusal;
    let (code, sentence) = usual(api, status);
    let mut fault = match declared(rules, Event::Status(status)) {
        Some(rule) => Fault::new(rule.code.map_or(code, ErrorWord::code), &rule.error),
        None => match &excerpt {
            Some(excerpt) => Fault::new(code, format!("{sentence}: {excerpt:?}")),
            None => Fault::new(code, sentence),
        },
    };
    fault.retry_after = retry_after.filter(|_| fault.is_transient());
    fault.with_log(format!(
        "{api} answered {status}: {}",
        excerpt.as_deref().unwrap_or("nothing that is shown")
    ))
}

/// The fault of a request that came to no answer, or to none that can be used. A change that may have arrived
/// ends as `OutcomeUnknown`, whatever a rule says: it is not for a sentence to decide what happened.
pub(crate) fn failed(api: &str, rules: &[ErrorConfig], has_effect: bool, error: WebError) -> Fault {
    let event = match &error {
        WebError::Timeout { .. } => Some(Event::Timeout),
        WebError::NoHost { .. } | WebError::Connect { .. } => Some(Event::Connect),
        _ => None,
    };
    let no_effect = !error.may_have_arrived();
    let unknown = has_effect && error.may_have_arrived() && !matches!(error, WebError::Cancelled);
    let rule = event.and_then(|event| declared(rules, event));
    let sentence = rule.map(|rule| rule.error.clone());
    let word = rule.and_then(|rule| rule.code);
    let code = match (unknown, word) {
        (true, _) => Code::OutcomeUnknown,
        // Both may pass by themselves, and say so; a timeout stays one.
        (false, None | Some(ErrorWord::Retry)) => error.code(),
        (false, Some(word)) => word.code(),
    };
    // The caller knows the API by its name; where it is, is for the log.
    let (error, host) = error.named(api);
    let mut sentence = sentence.unwrap_or_else(|| error.to_string());
    if unknown {
        sentence.push_str("; it is not known whether the request took effect, look before you ask again");
    }
    let mut fault = Fault::from(error);
    (fault.code, fault.text, fault.no_effect) = (code, sentence, no_effect);
    let log = fault.log.take().map_or(host.clone(), |log| format!("{host}: {log}"));
    fault.with_log(log)
}

/// `Retry-After`, as seconds or as a date (RFC 9110, 10.2.3); at most an hour.
pub(crate) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = chrono::DateTime::parse_from_rfc2822(text).ok()?;
            Timestamp::from_unix_ms(date.timestamp_millis()).since(now)
        }
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

/// What a refusal says, for people: the message of a JSON error or a line of plain text, short, in one line, and
/// without our own secrets. Pages of HTML say nothing.
pub(crate) fn excerpt(body: &[u8], content_type: &str, secrets: &[Secret]) -> Option<String> {
    let essence = text::essence(content_type);
    let said = if essence == "application/json" || essence.ends_with("+json") {
        message(&serde_json::from_slice(body).ok()?)?
    } else if essence == "text/plain" {
        text::decode(body, content_type)
    } else {
        return None;
    };
    let mut said = said;
    for secret in secrets {
        if !secret.expose().is_empty() {
            said = said.replace(secret.expose(), "[redacted]");
        }
    }
    let line = tool::in_one_line(&said);
    let short: String = line.chars().take(EXCERPT_CHARS_MAX).collect();
    (!short.is_empty()).then_some(short)
}

fn message(body: &Value) -> Option<String> {
    let places = ["/error/message", "/error", "/message", "/detail", "/error_description", "/title"];
    places.iter().find_map(|place| body.pointer(place)?.as_str().map(str::to_owned))
}

fn declared(rules: &[ErrorConfig], event: Event) -> Option<&ErrorConfig> {
    rules.iter().find(|rule| match (&rule.status, event) {
        (ErrorOn::Status(wanted), Event::Status(status)) => *wanted == status,
        (ErrorOn::Word(word), Event::Status(status)) => match word.as_str() {
            "4xx" => (400..500).contains(&status),
            "5xx" => (500..600).contains(&status),
            _ => false,
        },
        (ErrorOn::Word(word), Event::Timeout) => word == "timeout",
        (ErrorOn::Word(word), Event::Connect) => word == "connect",
        (ErrorOn::Status(_), Event::Timeout | Event::Connect) => false,
    })
}

/// What a status means where nobody declared it. What the caller can mend is the caller's: it neither counts
/// against the API nor is it tried again.
fn usual(api: &str, status: u16) -> (Code, String) {
    match status {
        404 | 410 => (Code::NotFound, format!("{api} has nothing there ({status})")),
        400 | 405 | 406 | 411 | 413..=417 | 422 | 428 | 431 => {
            (Code::BadArguments, format!("{api} did not take the request ({status})"))
        }
        403 | 451 => (Code::Denied, format!("{api} does not allow it ({status})")),
        409 | 412 | 423 => {
            (Code::Conflict, format!("{api} says that it clashes with what is there ({status})"))
        }
        401 | 407 => {
            (Code::Upstream, format!("{api} did not take our credentials ({status}); tell an operator"))
        }
        408 | 425 | 429 => (Code::Upstream, format!("{api} wants to be asked later ({status})")),
        300..400 => (Code::Upstream, format!("{api} redirected elsewhere ({status}), which is not followed")),
        _ => (Code::Upstream, format!("{api} failed ({status})")),
    }
}

impl ErrorWord {
    fn code(self) -> Code {
        match self {
            Self::NotFound => Code::NotFound,
            Self::Invalid => Code::BadArguments,
            Self::Denied => Code::Denied,
            Self::Conflict => Code::Conflict,
            Self::Retry => Code::Upstream,
        }
    }
}
