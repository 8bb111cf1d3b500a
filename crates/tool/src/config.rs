use std::{ffi::OsString, fmt, path::PathBuf, sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{Clock, Notice, Secret};

/// What is wrong with a part of the configuration that its schema cannot say: a statement that does not parse,
/// a name that points nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFault {
    /// Where: an RFC 6901 pointer from the root of the file, such as `/sql/tools/get_orders/statement`.
    pub pointer: String,
    /// What is wrong and what was expected.
    pub text: String,
    /// What may have been meant, or what to do.
    pub hint: Option<String>,
}

impl ConfigFault {
    /// A fault at a place.
    #[must_use]
    pub fn new(pointer: impl Into<String>, text: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), text: text.into(), hint: None }
    }

    /// Adds what may have been meant.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.pointer, self.text)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

/// A secret in the configuration, by reference.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum SecretRef {
    /// The text itself, as it comes from `${VAR}`.
    Text(String),
    /// The content of a file, less the line end: `{ file: /run/secrets/token }`.
    File {
        /// Its path.
        file: String,
    },
    /// What a program prints, less the line end: `{ exec: [pass, show, token] }`.
    Exec {
        /// The program and its arguments. No shell.
        exec: Vec<String>,
    },
}

impl fmt::Debug for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("[redacted]"),
            Self::File { file } => write!(f, "file {file:?}"),
            Self::Exec { exec } => write!(f, "exec {:?}", exec.first()),
        }
    }
}

/// Follows references to secrets. The binary has the one implementation.
pub trait Secrets: Send + Sync {
    /// The secret itself.
    ///
    /// Error: a sentence that says what is missing, and never the secret.
    fn resolve(&self, reference: &SecretRef) -> Result<Secret, String>;
}

/// Takes what changed in what a room offers, and tells whoever listens.
pub type Notify = Arc<dyn Fn(Notice) + Send + Sync>;

/// What a room gets to open itself with, beside its own section of the configuration.
#[derive(Clone)]
pub struct Parts {
    /// Follows references to secrets.
    pub secrets: Arc<dyn Secrets>,
    /// Takes measurements of sources.
    pub meter: Arc<dyn Meter>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Relative paths in the configuration start here: the folder of the file.
    pub base_dir: PathBuf,
    /// Told when what the room offers has changed.
    pub notify: Notify,
    /// What programs that a room starts may know of our own environment: where programs are, the home folder, the
    /// language. Never a secret.
    pub child_env: Arc<[(String, String)]>,
    /// The command line that starts a keeper of a program: this binary, as a keeper.
    pub keeper: Arc<[OsString]>,
}

/// Takes the measurements that only a room can make. The gate's metrics implement it.
pub trait Meter: Send + Sync {
    /// A database query of this name took so long (`db_query_duration_seconds{query_name}`).
    fn db_query(&self, query_name: &str, took: Duration);

    /// A source answered with an error, `status_code` as text: an HTTP status, or `timeout`, `connect`
    /// (`api_errors_total{source,status_code}`).
    fn api_error(&self, source: &str, status_code: &str);

    /// A tool server behind us took so long with a request
    /// (`mcp_client_operation_duration_seconds`, by the OpenTelemetry conventions for MCP).
    fn mcp_client(&self, _operation: &McpOperation<'_>, _took: Duration) {}

    /// How a tool server behind us stands (`mcp_upstream_up{server}`, `mcp_upstream_quarantined{server}`,
    /// `mcp_upstream_tools{server,state}`).
    fn tool_server(&self, _server: &str, _stands: ToolServer) {}

    /// The program of a tool server was started again (`mcp_upstream_restarts{server}`).
    fn tool_server_restarted(&self, _server: &str) {}

    /// A tool server said something in a result that is meant for a model (`mcp_upstream_suspicious{server,kind}`).
    fn suspicious(&self, _server: &str, _kind: &'static str) {}
}

/// How a tool server stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ToolServer {
    /// It is connected.
    pub up: bool,
    /// It kept ending, and waits for an operator.
    pub quarantined: bool,
    /// Tools that are offered.
    pub offered: usize,
    /// Tools that are held back, since they are not what was taken.
    pub held: usize,
    /// Things that do not fit, and are left out.
    pub left_out: usize,
    /// Tools whose description says something that is meant for a model.
    pub suspicious: usize,
}

/// A request to a tool server, as it is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct McpOperation<'a> {
    /// The method, such as `tools/call`.
    pub method: &'static str,
    /// The tool as callers know it; empty for what is about none.
    pub tool: &'a str,
    /// What kind of error it ended with; empty for none.
    pub error_type: &'static str,
    /// How the server is reached: `tcp` or `pipe`.
    pub transport: &'static str,
}
