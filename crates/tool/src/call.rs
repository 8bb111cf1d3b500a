use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::Secret;

/// The id of one call, given by the client (`X-Request-ID`) or made at the door. Printable ASCII, 1 to 128
/// characters, so that it can go into headers, logs and audit as it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// Takes an id that came from outside; `None` where it is empty, too long or not printable ASCII without
    /// spaces.
    #[must_use]
    pub fn from_outside(text: &str) -> Option<Self> {
        let fits = (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        fits.then(|| Self(text.into()))
    }

    /// Wraps an id that we made.
    #[must_use]
    pub fn ours(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The door a call came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Face {
    /// A REST door.
    Rest,
    /// MCP over HTTP.
    Mcp,
    /// MCP over standard input and output.
    Stdio,
    /// The command line, in process or over the local socket.
    Cli,
    /// A signed message from another system.
    Webhook,
    /// A call made by another call, or by the house itself: a timer, a collector.
    Inside,
}

impl Face {
    /// The name in audit and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rest => "rest",
            Self::Mcp => "mcp",
            Self::Stdio => "stdio",
            Self::Cli => "cli",
            Self::Webhook => "webhook",
            Self::Inside => "inside",
        }
    }
}

/// What is asked for.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Run a tool.
    Tool {
        /// The name as sent: the tool's own, or one of its aliases.
        name: Arc<str>,
        /// The arguments as sent: one JSON object.
        arguments: Box<RawValue>,
    },
    /// Run a planned change that was approved. `change` names the approval; tool and arguments come from it.
    Apply {
        /// The id of the change.
        change: Arc<str>,
    },
    /// Read a resource.
    ReadResource {
        /// Its URI.
        uri: Arc<str>,
    },
    /// Fill in a prompt.
    GetPrompt {
        /// The prompt's name.
        name: Arc<str>,
        /// Its arguments as sent: one JSON object.
        arguments: Box<RawValue>,
    },
    /// Complete an argument of a prompt or of a resource template.
    Complete {
        /// What the argument belongs to.
        of: Completing,
        /// The request as sent: `ref`, `argument` and perhaps `context`.
        arguments: Box<RawValue>,
    },
}

/// What an argument that is to be completed belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Completing {
    /// The prompt of this name.
    Prompt(Arc<str>),
    /// The resource template of this URI.
    Template(Arc<str>),
}

impl Completing {
    /// The name or URI.
    #[must_use]
    pub fn subject(&self) -> &str {
        match self {
            Self::Prompt(name) | Self::Template(name) => name,
        }
    }
}

impl Kind {
    /// A call of a tool.
    #[must_use]
    pub fn tool(name: &str, arguments: Box<RawValue>) -> Self {
        Self::Tool { name: name.into(), arguments }
    }

    /// The name of what is asked for, as sent.
    #[must_use]
    pub fn subject(&self) -> &str {
        match self {
            Self::Tool { name, .. } | Self::GetPrompt { name, .. } => name,
            Self::Apply { change } => change,
            Self::ReadResource { uri } => uri,
            Self::Complete { of, .. } => of.subject(),
        }
    }

    /// What a schema of arguments is held against: the arguments as sent, or for a resource its URI as one.
    #[must_use]
    pub fn sent(&self) -> Cow<'_, RawValue> {
        match self {
            Self::ReadResource { uri } => Cow::Owned(crate::json::raw(&serde_json::json!({ "uri": uri }))),
            _ => Cow::Borrowed(self.arguments()),
        }
    }

    /// The method of the Model Context Protocol that asks for it, for metrics and traces.
    #[must_use]
    pub fn method(&self) -> &'static str {
        match self {
            Self::Tool { .. } | Self::Apply { .. } => "tools/call",
            Self::ReadResource { .. } => "resources/read",
            Self::GetPrompt { .. } => "prompts/get",
            Self::Complete { .. } => "completion/complete",
        }
    }

    /// The arguments as sent; `{}` for a kind that has none.
    #[must_use]
    pub fn arguments(&self) -> &RawValue {
        match self {
            Self::Tool { arguments, .. }
            | Self::GetPrompt { arguments, .. }
            | Self::Complete { arguments, .. } => arguments,
            Self::Apply { .. } | Self::ReadResource { .. } => crate::json::empty_object(),
        }
    }
}

/// One call: what is asked for, and what identifies it on its way.
#[derive(Clone, Debug)]
pub struct Call {
    /// What is asked for.
    pub kind: Kind,
    /// The door it came in by.
    pub face: Face,
    /// This call's id.
    pub request_id: RequestId,
    /// The id of the whole piece of work this call belongs to; the request id where nobody named one.
    pub correlation_id: RequestId,
    /// The W3C `traceparent` it came with, as sent and well-formed.
    pub traceparent: Option<Arc<str>>,
    /// What the client calls itself. A label for logs and audit, never an identity.
    pub label: Option<Arc<str>>,
    /// The client's idempotency key: the same key with the same arguments has one effect.
    pub idempotency_key: Option<Arc<str>>,
    /// The longest the client wants to wait; the tool's own limit still holds.
    pub time_max: Option<Duration>,
    /// The tiers that the door it came in by is for; everybody's where it names none.
    pub tiers: Option<Arc<[String]>>,
    /// Logins that came with it, for it alone. They are no arguments: nothing writes them down, and calls that this one
    /// makes have them too.
    pub logins: Option<Arc<[CarriedLogin]>>,
}

/// A login that came with a call.
#[derive(Clone, Debug)]
pub struct CarriedLogin {
    /// Where it is for, as the caller named it.
    pub host: String,
    /// The name of the user.
    pub user: String,
    /// The password.
    pub password: Option<Secret>,
    /// The secret for a privileged mode.
    pub enable: Option<Secret>,
}

impl Call {
    /// A call with nothing but what it must have.
    #[must_use]
    pub fn new(kind: Kind, face: Face, request_id: RequestId) -> Self {
        Self {
            kind,
            face,
            correlation_id: request_id.clone(),
            request_id,
            traceparent: None,
            label: None,
            idempotency_key: None,
            time_max: None,
            tiers: None,
            logins: None,
        }
    }
}
