use std::{error::Error, time::Duration};

use serde_json::{Value, value::RawValue};

/// The kinds of fault: what the machine at the other end goes by. [`Code::row`] has the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// The request itself cannot be read.
    Malformed,
    /// The request is larger than we take.
    TooLarge,
    /// No credentials, or ones that stand for nobody.
    Unauthenticated,
    /// Good credentials that were switched off.
    Disabled,
    /// Visible, but not with these arguments or for this target.
    Denied,
    /// It is not there, or this caller may not see that it is.
    NotFound,
    /// The method does not fit the door.
    MethodNotAllowed,
    /// The arguments do not fit the schema.
    BadArguments,
    /// The tool asks its caller, and this one cannot be asked.
    CannotAsk,
    /// It clashes with what is there: a used idempotency key, a change in another state.
    Conflict,
    /// The target is no longer as it was when the change was planned.
    Drifted,
    /// Too many calls in the window.
    RateLimited,
    /// Too many calls at once, or we are shutting down.
    Busy,
    /// The source is known to be down; it was not asked.
    Unavailable,
    /// The source failed or answered nonsense.
    Upstream,
    /// It took longer than it may, and had no effect.
    TimedOut,
    /// It took longer than it may, and nobody knows whether it had its effect.
    OutcomeUnknown,
    /// The caller went away or asked us to stop.
    Cancelled,
    /// Ours to mend.
    Internal,
}

/// Who can mend a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The caller, by asking otherwise.
    Caller,
    /// The source behind the tool. Breakers count these.
    Source,
    /// We.
    Us,
}

/// The seeds' one-word status of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Ask otherwise.
    Invalid,
    /// You may not.
    Denied,
    /// It is not there.
    NotFound,
    /// Ask again later.
    Retry,
    /// It clashes.
    Conflict,
    /// It may or may not have happened: look before you ask again.
    Unknown,
    /// You asked us to stop.
    Cancelled,
    /// Ours to mend.
    Error,
}

/// One row of the fault table.
#[derive(Clone, Copy, Debug)]
pub struct FaultRow {
    /// The kind.
    pub code: Code,
    /// Its name in answers: stable, for programs.
    pub name: &'static str,
    /// The HTTP status on REST.
    pub http: u16,
    /// The seeds' word.
    pub status: Status,
    /// Who can mend it.
    pub blame: Blame,
    /// What it means and what to do, for the documentation.
    pub about: &'static str,
}

/// Every kind of fault, once. `docs/faults.md` is made from it.
const ROWS: &[FaultRow] = &[
    row(
        Code::Malformed,
        "malformed",
        400,
        Status::Invalid,
        Blame::Caller,
        "the request is not one JSON object as the door expects it; the sentence says where it breaks",
    ),
    row(
        Code::TooLarge,
        "too_large",
        413,
        Status::Invalid,
        Blame::Caller,
        "the body is larger than `server.body_bytes_max`; send less",
    ),
    row(
        Code::Unauthenticated,
        "unauthenticated",
        401,
        Status::Denied,
        Blame::Caller,
        "send `Authorization: Bearer <key>` with a key that exists, is not revoked and has not expired",
    ),
    row(
        Code::Disabled,
        "disabled",
        403,
        Status::Denied,
        Blame::Caller,
        "the key is good but switched off; ask an operator",
    ),
    row(
        Code::Denied,
        "denied",
        403,
        Status::Denied,
        Blame::Caller,
        "a rule forbids this call with these arguments; ask for the right or change the arguments",
    ),
    row(
        Code::NotFound,
        "not_found",
        404,
        Status::NotFound,
        Blame::Caller,
        "there is nothing of that name for you; list what there is",
    ),
    row(
        Code::MethodNotAllowed,
        "method_not_allowed",
        405,
        Status::Invalid,
        Blame::Caller,
        "the door takes another method; `Allow` names it",
    ),
    row(
        Code::BadArguments,
        "bad_arguments",
        400,
        Status::Invalid,
        Blame::Caller,
        "`pointer` names the argument and the sentence what was expected",
    ),
    row(
        Code::CannotAsk,
        "cannot_ask",
        409,
        Status::Conflict,
        Blame::Caller,
        "the tool asks its caller while it runs; call it over MCP from a client that declares what the sentence names",
    ),
    row(
        Code::Conflict,
        "conflict",
        409,
        Status::Conflict,
        Blame::Caller,
        "it clashes with what is there; the sentence says with what",
    ),
    row(
        Code::Drifted,
        "drifted",
        409,
        Status::Conflict,
        Blame::Caller,
        "the target changed after the plan was made; plan again",
    ),
    row(Code::RateLimited, "rate_limited", 429, Status::Retry, Blame::Caller, "wait `retry_after_seconds`"),
    row(
        Code::Busy,
        "busy",
        503,
        Status::Retry,
        Blame::Us,
        "too much is going on at once, or the server is stopping; wait `retry_after_seconds`",
    ),
    row(
        Code::Unavailable,
        "unavailable",
        503,
        Status::Retry,
        Blame::Source,
        "what the tool talks to is down and was not asked; wait `retry_after_seconds`",
    ),
    row(
        Code::Upstream,
        "upstream",
        502,
        Status::Retry,
        Blame::Source,
        "what the tool talks to failed or answered nonsense",
    ),
    row(
        Code::TimedOut,
        "timed_out",
        504,
        Status::Retry,
        Blame::Source,
        "the call took too long and was stopped; it changed nothing",
    ),
    row(
        Code::OutcomeUnknown,
        "outcome_unknown",
        504,
        Status::Unknown,
        Blame::Source,
        "the change took too long and may or may not have happened; look before you ask again",
    ),
    row(
        Code::Cancelled,
        "cancelled",
        499,
        Status::Cancelled,
        Blame::Caller,
        "the caller went away or asked to stop",
    ),
    row(
        Code::Internal,
        "internal",
        500,
        Status::Error,
        Blame::Us,
        "something broke on our side; report the `request_id`",
    ),
];

const fn row(
    code: Code,
    name: &'static str,
    http: u16,
    status: Status,
    blame: Blame,
    about: &'static str,
) -> FaultRow {
    FaultRow { code, name, http, status, blame, about }
}

impl Code {
    /// The whole table, in its order.
    #[must_use]
    pub fn table() -> &'static [FaultRow] {
        ROWS
    }

    /// This kind's row.
    #[must_use]
    pub fn row(self) -> &'static FaultRow {
        &ROWS[self as usize]
    }
}

impl Status {
    /// The word in answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Denied => "denied",
            Self::NotFound => "not_found",
            Self::Retry => "retry",
            Self::Conflict => "conflict",
            Self::Unknown => "unknown",
            Self::Cancelled => "cancelled",
            Self::Error => "error",
        }
    }
}

/// Why nothing came back: a code for the machine, a sentence for the caller, a source for the log.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct Fault {
    /// What kind of fault.
    pub code: Code,
    /// What went wrong and what to do about it, for the caller. A lowercase sentence without a full stop, and
    /// never a secret, a stack or a path of ours.
    pub text: String,
    /// The RFC 6901 pointer to the argument that is wrong; `""` is the whole.
    pub pointer: Option<String>,
    /// When to come back, where waiting helps.
    pub retry_after: Option<Duration>,
    /// Members that this kind of answer adds, such as `limit` and `reset_at`.
    pub details: Option<Box<Value>>,
    /// What the log should know beside the source.
    pub log: Option<Box<str>>,
    /// The seeds' word where it is not the code's own, as a declared error mapping may say.
    pub status: Option<Box<str>>,
    /// The error as the protocol of its source had it, which MCP faces pass on as it is.
    pub as_sent: Option<Box<RawValue>>,
    /// True where it is certain that nothing was done, whatever the code: it was never sent.
    pub no_effect: bool,
    /// The cause, for the log alone.
    #[source]
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

impl Fault {
    /// A fault with nothing more to say than its sentence.
    #[must_use]
    pub fn new(code: Code, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
            pointer: None,
            retry_after: None,
            details: None,
            log: None,
            status: None,
            as_sent: None,
            no_effect: false,
            source: None,
        }
    }

    /// One argument is wrong: where, and what was expected.
    #[must_use]
    pub fn bad_argument(pointer: impl Into<String>, text: impl Into<String>) -> Self {
        let mut fault = Self::new(Code::BadArguments, text);
        fault.pointer = Some(pointer.into());
        fault
    }

    /// There is nothing of that name for this caller.
    #[must_use]
    pub fn not_found(text: impl Into<String>) -> Self {
        Self::new(Code::NotFound, text)
    }

    /// Ours to mend, not the caller's; the sentence gives nothing away.
    #[must_use]
    pub fn internal(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let mut fault =
            Self::new(Code::Internal, "something broke on our side; the log has it under this request id");
        fault.source = Some(error.into());
        fault
    }

    /// Adds when to come back.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Adds the cause, for the log.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds what the log should know.
    #[must_use]
    pub fn with_log(mut self, text: impl Into<String>) -> Self {
        self.log = Some(text.into().into());
        self
    }

    /// Adds members to the answer.
    #[must_use]
    pub fn with_details(mut self, details: Value) -> Self {
        self.details = Some(Box::new(details));
        self
    }

    /// Who can mend it.
    #[must_use]
    pub fn blame(&self) -> Blame {
        self.code.row().blame
    }

    /// The seeds' word.
    #[must_use]
    pub fn status(&self) -> &str {
        self.status.as_deref().unwrap_or_else(|| self.code.row().status.as_str())
    }

    /// True where the same attempt may succeed a moment later. Whether it may be *made* is the tool's to say.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self.code, Code::Upstream | Code::TimedOut | Code::Unavailable | Code::Busy)
    }

    /// The whole chain of causes, for the log; `None` where there is nothing to say beside the sentence.
    #[must_use]
    pub fn cause(&self) -> Option<String> {
        Some(self.chain()).filter(|text| !text.is_empty())
    }

    /// The whole chain of causes; empty where there is none.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.log.as_deref().unwrap_or_default().to_owned();
        let mut next: Option<&(dyn Error + 'static)> = Error::source(self);
        while let Some(error) = next {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&error.to_string());
            next = error.source();
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_without_a_cause_has_nothing_for_the_log() {
        let bare = || Fault::new(Code::Busy, "busy");
        assert_eq!(bare().cause(), None);
        assert_eq!(bare().with_log("").cause(), None);
        assert_eq!(bare().with_log("why").because("deeper").cause().as_deref(), Some("why: deeper"));
    }

    #[test]
    fn the_table_is_in_the_order_of_the_codes_and_its_names_are_unique() {
        let mut names = std::collections::BTreeSet::new();
        for (i, row) in ROWS.iter().enumerate() {
            assert_eq!(row.code as usize, i, "{}", row.name);
            assert!(names.insert(row.name), "{} twice", row.name);
            assert!((400..600).contains(&row.http));
        }
        assert_eq!(ROWS.len(), Code::Internal as usize + 1);
    }
}
