//! Alerts that others send.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tool::Timestamp;

/// What `device_alert` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AlertArguments {
    /// The alert, as its sender has it. `device`, `hostname`, `host` or `instance`, or one of them among its `labels`,
    /// says which device it is about.
    pub(crate) alert: Map<String, Value>,
}

/// What `device_alert` answers.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct AlertResult {
    /// `received`.
    pub(crate) status: String,
    /// The device of the inventory that it is about; null where it names none that is known.
    pub(crate) device: Option<Arc<str>>,
    /// When.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub(crate) received_at: Timestamp,
}

/// What `list_alerts` takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AlertsArguments {
    /// Only alerts about this device: its name in the inventory, its host or its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", length(min = 1, max = 255))]
    pub(crate) device_ip: Option<String>,
    /// Only alerts that came at this time or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub(crate) since: Option<Timestamp>,
    /// The most alerts of the answer, the newest first.
    #[serde(default = "fifty")]
    #[schemars(range(min = 1, max = 1000))]
    pub(crate) limit: usize,
}

fn fifty() -> usize {
    50
}

/// An alert that was received. Its text is its sender's, and nobody here vouches for it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct KeptAlert {
    /// When.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub(crate) received_at: Timestamp,
    /// The principal that sent it.
    pub(crate) sender: Arc<str>,
    /// The device of the inventory that it is about; null where it names none that is known.
    pub(crate) device: Option<Arc<str>>,
    /// The alert.
    pub(crate) alert: Value,
}

/// What `list_alerts` answers.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct AlertsResult {
    /// The alerts, the newest first.
    pub(crate) alerts: Vec<KeptAlert>,
    /// How many there are in all that fit.
    pub(crate) total: usize,
}
