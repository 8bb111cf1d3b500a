//! The doors of network devices.

use serde_json::{Value, json};

use super::{Shape, list, object, text, time};
use crate::doors::CallDoor;

/// The shape of one of them.
pub(super) fn of(door: CallDoor) -> Shape {
    let others = &[400, 403, 404, 408, 413, 429, 500, 502, 503, 504];
    let commands = || list(text("A command that shows something."));
    let number = || json!({ "type": "number" });
    let device = object(
        &["id", "hostname", "host", "port", "platform"],
        json!({
            "id": { "type": "string" }, "hostname": { "type": "string" }, "host": { "type": "string" },
            "port": { "type": "integer" }, "platform": { "type": "string" },
            "groups": list(json!({ "type": "string" })), "labels": { "type": "object" },
            "site": { "type": ["string", "null"] }, "criticality": { "type": ["string", "null"] },
        }),
    );
    let (request, answer) = match door {
        CallDoor::DeviceQuery => (
            Some((
                object(
                    &["device_ip", "commands"],
                    json!({
                        "device_ip": text("The device: its name in the inventory, its host or its address."),
                        "commands": commands(), "timeout": { "type": "integer", "minimum": 1, "maximum": 600 },
                        "parse": { "type": "boolean" },
                    }),
                ),
                json!({ "device_ip": "r1", "commands": ["show version"] }),
            )),
            object(
                &["device_ip", "status", "results", "timestamp", "execution_time_ms"],
                json!({
                    "device_ip": { "type": "string" }, "status": { "enum": ["success", "error"] },
                    "results": list(json!({ "type": "object" })), "timestamp": { "type": "string" },
                    "execution_time_ms": number(),
                }),
            ),
        ),
        CallDoor::ExecuteCommands => (
            Some((
                object(
                    &["devices", "commands"],
                    json!({
                        "devices": list(json!({ "type": ["string", "object"], "description": "A name, or an object with `host`." })),
                        "commands": commands(), "enable_mode": { "type": "boolean" },
                    }),
                ),
                json!({ "devices": ["r1", { "host": "192.0.2.1", "device_type": "cisco_ios" }], "commands": ["show version"] }),
            )),
            object(
                &["total_devices", "successful", "failed", "results", "total_execution_time_ms"],
                json!({
                    "total_devices": { "type": "integer" }, "successful": { "type": "integer" },
                    "failed": { "type": "integer" }, "results": list(json!({ "type": "object" })),
                    "total_execution_time_ms": number(),
                }),
            ),
        ),
        CallDoor::DeviceStatus => (
            None,
            object(
                &["host", "reachable", "last_check"],
                json!({
                    "host": { "type": "string" }, "reachable": { "type": "boolean" }, "last_check": { "type": "string" },
                    "latency_ms": { "type": ["number", "null"] }, "error": { "type": ["string", "null"] },
                }),
            ),
        ),
        CallDoor::SecureDevice | CallDoor::SecureExecute => secure(door),
        _ => (None, list(device)),
    };
    Shape { request, answer: ("application/json", answer), others }
}

/// Those that go by the caller's tier and limit.
fn secure(door: CallDoor) -> (Option<(Value, Value)>, Value) {
    match door {
        CallDoor::SecureDevice => (
            None,
            object(
                &["device_ip", "status", "user_tier", "rate_limit"],
                json!({
                    "device_ip": { "type": "string" }, "status": { "enum": ["reachable", "unreachable"] },
                    "user_tier": { "type": ["string", "null"] },
                    "rate_limit": object(&["limit", "remaining", "reset_at"], json!({
                        "limit": { "type": "integer" }, "remaining": { "type": "integer" }, "reset_at": time(),
                    })),
                }),
            ),
        ),
        _ => (
            Some((
                object(
                    &["device_ip", "command"],
                    json!({
                        "device_ip": text("The device: its name in the inventory, its host or its address."),
                        "command": text("A command that shows something."),
                    }),
                ),
                json!({ "device_ip": "r1", "command": "show version" }),
            )),
            object(
                &["status", "command", "device", "output"],
                json!({
                    "status": { "enum": ["executed", "error"] }, "command": { "type": "string" },
                    "device": { "type": "string" }, "output": { "type": "string" },
                    "error": { "type": ["string", "null"] },
                }),
            ),
        ),
    }
}

/// The door that takes alerts.
pub(super) fn of_alert() -> Shape {
    let alert = json!({ "type": "object", "description": "The alert, as its sender has it." });
    let example = json!({ "device": "r1", "severity": "critical", "message": "power supply 2 failed" });
    Shape {
        request: Some((alert, example)),
        answer: ("application/json", object(&["status"], json!({ "status": { "const": "received" } }))),
        others: &[400, 401, 403, 404, 408, 413, 429, 503],
    }
}
