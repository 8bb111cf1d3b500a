//! How a request to a server can fail, and what its caller is told.

use std::{error::Error, net::IpAddr, time::Duration};

use mcp::code;
use serde_json::{json, value::RawValue};
use tool::{Code, Fault, Secret};

/// The most of a server's own words that a caller sees, in characters.
const EXCERPT_CHARS_MAX: usize = 200;

/// What is shorter is no secret, but a word that stands anywhere.
const SECRET_BYTES_MIN: usize = 8;

type Cause = Box<dyn Error + Send + Sync>;

/// Why a request came to no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamError {
    /// The program does not start.
    #[error("cannot be started: {0}")]
    Start(String),
    /// The name has no address.
    #[error("cannot be found")]
    NoHost(#[source] Cause),
    /// The name leads to our own network.
    #[error(
        "is or leads to {what} and is not reached from here; an operator can allow the host and port in `{setting}`"
    )]
    OwnNetwork {
        /// What the address is.
        what: &'static str,
        /// The address.
        address: IpAddr,
        /// Where it can be allowed.
        setting: String,
    },
    /// No connection comes up.
    #[error("cannot be connected to")]
    Connect(#[source] Cause),
    /// It was down a moment ago, and was not asked.
    #[error("is down: {why}; it is tried again in {} s", .wait.as_secs_f64().ceil())]
    Down {
        /// Why.
        why: String,
        /// When to come back.
        wait: Duration,
    },
    /// It kept ending, and is left alone.
    #[error("ended {ends} times and is left alone until `portcullis upstream restart`; the last time: {why}")]
    Quarantined {
        /// Why it ended the last time.
        why: String,
        /// How often it did.
        ends: u32,
    },
    /// It ended, or broke off, before it had answered.
    #[error("broke off before it had answered")]
    Broken(#[source] Option<Cause>),
    /// It knows nothing of our session any more.
    #[error("has forgotten the session")]
    SessionGone,
    /// It did not answer in time.
    #[error("did not answer in time")]
    Timeout,
    /// A person has to log in to it first.
    #[error("wants a login; an operator does that with `portcullis upstream login {0}`")]
    LoginWanted(String),
    /// No token for it could be had, or none that it takes.
    #[error("cannot be logged in to: {0}")]
    Authorization(String),
    /// It answered with a status of HTTP and nothing that the protocol knows.
    #[error("answered with the status {status}")]
    Status {
        /// The status.
        status: u16,
        /// When to come back.
        retry_after: Option<Duration>,
    },
    /// It answered with more than is taken.
    #[error("answered with more than {0} bytes")]
    TooLarge(usize),
    /// It answered with something that the protocol does not know.
    #[error("does not speak the protocol as it should: {0}")]
    Protocol(String),
    /// It ended the work without a result.
    #[error("cancelled the work by itself")]
    Withdrew,
    /// It answered with an error of the protocol.
    #[error("answered with an error")]
    Answered(Box<RawValue>),
    /// As many requests are under way as may be.
    #[error("has as many requests under way as may be; ask again in a moment")]
    Busy,
    /// What we would send does not fit the protocol.
    #[error("cannot be asked this: {0}")]
    Unsendable(String),
    /// The caller went away or asked to stop.
    #[error("was not waited for: the caller went away or asked to stop")]
    Cancelled,
    /// The caller was asked, and did not answer.
    #[error("asked its caller in vain")]
    Asking(Box<Fault>),
}

impl UpstreamError {
    /// Something that the protocol does not know.
    pub(crate) fn protocol(text: impl Into<String>) -> Self {
        Self::Protocol(text.into())
    }

    /// The `status_code` of `api_errors_total`, where the server is to be counted.
    pub(crate) fn metric(&self) -> Option<String> {
        let word = match self {
            Self::Status { status, .. } => return Some(status.to_string()),
            Self::Timeout => "timeout",
            Self::NoHost(_) => "dns",
            Self::Start(_) | Self::Connect(_) | Self::Down { .. } | Self::Quarantined { .. } => "connect",
            Self::Broken(_) | Self::SessionGone => "broken",
            Self::LoginWanted(_) | Self::Authorization(_) => "auth",
            Self::TooLarge(_) | Self::Protocol(_) => "protocol",
            Self::Answered(_) | Self::Withdrew => "error",
            Self::OwnNetwork { .. }
            | Self::Busy
            | Self::Unsendable(_)
            | Self::Cancelled
            | Self::Asking(_) => return None,
        };
        Some(word.to_owned())
    }

    /// The `error.type` of the OpenTelemetry conventions.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Start(_)
            | Self::NoHost(_)
            | Self::Connect(_)
            | Self::Down { .. }
            | Self::Quarantined { .. } => "connect",
            Self::OwnNetwork { .. } => "refused",
            Self::Broken(_) | Self::SessionGone => "broken",
            Self::Timeout => "timeout",
            Self::LoginWanted(_) | Self::Authorization(_) => "auth",
            Self::Status { .. } => "status",
            Self::TooLarge(_) | Self::Protocol(_) | Self::Unsendable(_) => "protocol",
            Self::Answered(_) | Self::Withdrew => "error",
            Self::Busy => "busy",
            Self::Cancelled => "cancelled",
            Self::Asking(_) => "asking",
        }
    }

    /// True where the request may have reached the server without that its end is known.
    fn may_have_arrived(&self) -> bool {
        match self {
            Self::Broken(_) | Self::Timeout | Self::TooLarge(_) | Self::Protocol(_) | Self::Withdrew => true,
            Self::Status { status, .. } => *status >= 500 && *status != 503,
            _ => false,
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::OwnNetwork { .. } => Code::Denied,
            Self::Down { .. }
            | Self::Quarantined { .. }
            | Self::LoginWanted(_)
            | Self::Status { status: 429 | 503, .. } => Code::Unavailable,
            Self::Timeout => Code::TimedOut,
            Self::Busy => Code::Busy,
            Self::Unsendable(_) => Code::BadArguments,
            Self::Cancelled => Code::Cancelled,
            _ => Code::Upstream,
        }
    }

    /// The same without our secrets, which an error of the server might repeat.
    pub(crate) fn without(self, secrets: &[Secret]) -> Self {
        let Self::Answered(raw) = self else { return self };
        let parts = secrets.iter().flat_map(|secret| secret.expose().split_whitespace());
        let told: Vec<&str> =
            parts.filter(|part| part.len() >= SECRET_BYTES_MIN && raw.get().contains(*part)).collect();
        if told.is_empty() {
            return Self::Answered(raw);
        }
        let text = told.iter().fold(raw.get().to_owned(), |text, secret| text.replace(secret, "[redacted]"));
        // Taking out a part of a text leaves it one; anything else is not shown.
        RawValue::from_string(text)
            .map_or_else(|_| Self::protocol("its error shows a secret"), Self::Answered)
    }

    /// What the caller of a tool is told. A change that may have arrived ends as `OutcomeUnknown`.
    pub(crate) fn into_fault(self, server: &str, has_effect: bool) -> Fault {
        let unknown = has_effect && self.may_have_arrived();
        let code = if unknown { Code::OutcomeUnknown } else { self.code() };
        let mut text = format!("the tool server {server:?} {self}");
        if unknown {
            text.push_str("; it is not known whether the call took effect, look before you ask again");
        }
        let mut fault = Fault::new(code, text);
        match self {
            Self::Asking(fault) => return *fault,
            Self::Answered(error) => return answered(server, error),
            Self::Status { retry_after, .. } => fault.retry_after = retry_after,
            Self::Down { wait, .. } => fault.retry_after = Some(wait),
            Self::Busy => fault.retry_after = Some(Duration::from_secs(1)),
            Self::OwnNetwork { address, .. } => fault.log = Some(format!("the address is {address}").into()),
            Self::NoHost(cause) | Self::Connect(cause) | Self::Broken(Some(cause)) => {
                fault.source = Some(cause);
            }
            _ => {}
        }
        fault
    }
}

/// The fault of an error that the server answered with, which MCP faces pass on as it is.
pub(crate) fn answered(server: &str, error: Box<RawValue>) -> Fault {
    let failure = mcp::Failure { id: None, error: &error };
    let (code, said, needs) = match failure.read() {
        Ok(read) => (code_of(read.code), excerpt(&read.message), needs(&read)),
        Err(_) => (Code::Upstream, String::new(), None),
    };
    let text = match said.as_str() {
        "" => format!("the tool server {server:?} answered with an error"),
        said => format!("the tool server {server:?} answered with an error: {said:?}"),
    };
    let mut fault = Fault::new(code, text);
    if let Some(needs) = needs {
        fault = fault.with_details(json!({ "requiredCapabilities": needs }));
    }
    fault.as_sent = Some(error);
    fault
}

/// What a code of JSON-RPC says, as far as it says who can mend it: what is not known to be the caller's is the
/// server's.
fn code_of(code: i64) -> Code {
    /// A form at a URL has to be filled in first (`2025-11-25` only).
    const URL_ELICITATION_REQUIRED: i64 = -32042;
    match code {
        code::INVALID_PARAMS => Code::BadArguments,
        code::RESOURCE_NOT_FOUND | code::METHOD_NOT_FOUND => Code::NotFound,
        code::MISSING_CAPABILITY | URL_ELICITATION_REQUIRED => Code::CannotAsk,
        _ => Code::Upstream,
    }
}

fn needs(error: &mcp::PeerError<'_>) -> Option<serde_json::Value> {
    let data = error.data.filter(|_| error.code == code::MISSING_CAPABILITY)?;
    tool::json::parse(data.as_bytes()).ok()?.get("requiredCapabilities").cloned()
}

/// What went wrong and what was behind it, each said once.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}

/// The beginning of a server's own words, in one line of visible characters.
pub(crate) fn excerpt(text: &str) -> String {
    let start: String = text.chars().take(4 * EXCERPT_CHARS_MAX).collect();
    tool::in_one_line(&start).chars().take(EXCERPT_CHARS_MAX).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn what_callers_are_told() {
        let errors = || {
            [
                UpstreamError::Start("no such file".to_owned()),
                UpstreamError::Down { why: "it ended".to_owned(), wait: Duration::from_millis(1_500) },
                UpstreamError::Quarantined { why: "signal: 9 (SIGKILL)".to_owned(), ends: 5 },
                UpstreamError::Broken(None),
                UpstreamError::Timeout,
                UpstreamError::Status { status: 503, retry_after: Some(Duration::from_secs(7)) },
                UpstreamError::Status { status: 401, retry_after: None },
                UpstreamError::protocol("no result"),
                UpstreamError::Withdrew,
                UpstreamError::Busy,
                UpstreamError::Cancelled,
                UpstreamError::Answered(raw(r#"{"code":-32602,"message":"no\u0000 \u202ename","x":1}"#)),
                UpstreamError::Answered(raw(r#"{"code":-32601,"message":"no tool"}"#)),
                UpstreamError::Answered(raw(r#"{"code":12345678901234567890123,"message":""}"#)),
                UpstreamError::Answered(raw(
                    r#"{"code":-32021,"message":"m","data":{"requiredCapabilities":{"roots":{}}}}"#,
                )),
                UpstreamError::Answered(raw("{}")),
            ]
        };
        let mut table = String::new();
        for (reads, changes) in errors().into_iter().zip(errors()) {
            let (metric, kind) = (reads.metric(), reads.kind());
            let (reads, changes) = (reads.into_fault("docs", false), changes.into_fault("docs", true));
            table += &format!(
                "{} {} {} {kind} | {}{}\n",
                reads.code.row().name,
                changes.code.row().name,
                metric.as_deref().unwrap_or("-"),
                reads.text,
                reads.details.map(|details| format!(" {details}")).unwrap_or_default(),
            );
        }
        expect![[r#"
            upstream upstream connect connect | the tool server "docs" cannot be started: no such file
            unavailable unavailable connect connect | the tool server "docs" is down: it ended; it is tried again in 2 s
            unavailable unavailable connect connect | the tool server "docs" ended 5 times and is left alone until `portcullis upstream restart`; the last time: signal: 9 (SIGKILL)
            upstream outcome_unknown broken broken | the tool server "docs" broke off before it had answered
            timed_out outcome_unknown timeout timeout | the tool server "docs" did not answer in time
            unavailable unavailable 503 status | the tool server "docs" answered with the status 503
            upstream upstream 401 status | the tool server "docs" answered with the status 401
            upstream outcome_unknown protocol protocol | the tool server "docs" does not speak the protocol as it should: no result
            upstream outcome_unknown error error | the tool server "docs" cancelled the work by itself
            busy busy - busy | the tool server "docs" has as many requests under way as may be; ask again in a moment
            cancelled cancelled - cancelled | the tool server "docs" was not waited for: the caller went away or asked to stop
            bad_arguments bad_arguments error error | the tool server "docs" answered with an error: "no name"
            not_found not_found error error | the tool server "docs" answered with an error: "no tool"
            upstream upstream error error | the tool server "docs" answered with an error
            cannot_ask cannot_ask error error | the tool server "docs" answered with an error: "m" {"requiredCapabilities":{"roots":{}}}
            upstream upstream error error | the tool server "docs" answered with an error
        "#]].assert_eq(&table);
        let fault = UpstreamError::Answered(raw(r#"{"code": -1,"message":"m","x":1}"#)).into_fault("a", true);
        assert_eq!(fault.as_sent.unwrap().get(), r#"{"code": -1,"message":"m","x":1}"#);
    }

    #[test]
    fn an_error_that_repeats_our_secrets_is_shown_without_them() {
        let secrets = ["Bearer s3cret-t0ken", "short"].map(|text| Secret::new(text.to_owned()));
        let error = raw(r#"{"code":1,"message":"short: no s3cret-t0ken","data":["Bearer s3cret-t0ken"]}"#);
        let UpstreamError::Answered(shown) = UpstreamError::Answered(error).without(&secrets) else {
            panic!()
        };
        assert_eq!(
            shown.get(),
            r#"{"code":1,"message":"short: no [redacted]","data":["Bearer [redacted]"]}"#
        );
    }

    #[test]
    fn an_excerpt_is_short() {
        assert_eq!(excerpt(&"é\n".repeat(10_000)).chars().count(), EXCERPT_CHARS_MAX);
        assert_eq!(excerpt(" a \u{1b}[1m b\r\n"), "a [1m b");
    }
}
