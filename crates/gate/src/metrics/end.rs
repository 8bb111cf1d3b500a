//! How calls end, and the words for it.

use tool::{Code, Fault};

use super::UNKNOWN_TOOL;

/// How a call ended, as it is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End<'a> {
    Success,
    /// With a result that says that the work failed.
    Failed,
    Fault(&'a Fault),
}

/// The seeds' word for how a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Success,
    Error,
    Denied,
    Limited,
    Timeout,
}

impl Status {
    /// How many there are.
    pub(super) const COUNT: usize = Self::Timeout as usize + 1;

    pub(super) fn of(end: End<'_>, tool: &str) -> Self {
        let End::Fault(fault) = end else {
            return if matches!(end, End::Success) { Self::Success } else { Self::Error };
        };
        match fault.code {
            // The tool was there: what it looked for was not.
            Code::NotFound if tool != UNKNOWN_TOOL => Self::Error,
            Code::Unauthenticated | Code::Disabled | Code::Denied | Code::NotFound => Self::Denied,
            Code::RateLimited | Code::Busy => Self::Limited,
            Code::TimedOut | Code::OutcomeUnknown => Self::Timeout,
            _ => Self::Error,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Error => "error",
            Self::Denied => "denied",
            Self::Limited => "limited",
            Self::Timeout => "timeout",
        }
    }
}
