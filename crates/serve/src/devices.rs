//! The doors of network devices: each stands for one tool, in the shape that older clients know.

use serde_json::{Map, Value, json, value::RawValue};
use tool::{Code, Fault, json::raw};

use crate::{call::decode, doors::CallDoor, envelope};

/// What a door of devices asks for: the tool, and its arguments.
pub(crate) fn wish(
    door: CallDoor,
    segment: &str,
    body: &[u8],
) -> Result<(&'static str, Box<RawValue>), Fault> {
    match door {
        CallDoor::DeviceStatus => {
            let host = decode(segment).ok_or_else(|| Fault::not_found("Device not found: (no name)"))?;
            Ok(("device_reachability", raw(&json!({ "device_ip": host }))))
        }
        CallDoor::DeviceQuery => Ok(("query_device", envelope::arguments(body)?)),
        CallDoor::ExecuteCommands => Ok(("run_show_commands", raw(&many(body)?))),
        _ => Ok(("list_devices", envelope::arguments(b"")?)),
    }
}

/// `{devices: [{host, device_type}, or a name], commands, enable_mode}` as the tool takes it. Logins come from the
/// inventory: what is sent of them is refused, so that nobody believes it was used.
fn many(body: &[u8]) -> Result<Value, Fault> {
    let sent = envelope::arguments(body)?;
    let mut sent: Map<String, Value> = serde_json::from_str(sent.get()).map_err(Fault::internal)?;
    let devices = match sent.remove("devices") {
        Some(Value::Array(devices)) if !devices.is_empty() => devices,
        _ => return Err(Fault::bad_argument("/devices", "name at least one device")),
    };
    sent.remove("enable_mode");
    let name = |(index, device): (usize, &Value)| match device {
        Value::String(name) => Ok(name.clone()),
        Value::Object(members) => {
            let at = |member: &str| format!("/devices/{index}/{member}");
            let inline = ["username", "password", "secret"];
            if let Some(member) =
                inline.iter().find(|member| members.get(**member).is_some_and(|m| !m.is_null()))
            {
                let text =
                    "logins are not taken from a request; the inventory names who logs in (`devices.logins`)";
                return Err(Fault::bad_argument(at(member), text));
            }
            let host = members.get("host").and_then(Value::as_str);
            host.map(str::to_owned)
                .ok_or_else(|| Fault::bad_argument(at("host"), "name the host of the device"))
        }
        _ => Err(Fault::bad_argument(
            format!("/devices/{index}"),
            "a device is a name, or an object with `host`",
        )),
    };
    let names = devices.iter().enumerate().map(name).collect::<Result<Vec<_>, _>>()?;
    sent.insert("devices".to_owned(), json!(names));
    Ok(Value::Object(sent))
}

/// A result in the shape of its door.
pub(crate) fn shown(door: CallDoor, mut result: Value) -> Value {
    match door {
        CallDoor::Devices => result["devices"].take(),
        CallDoor::ExecuteCommands => {
            if let Some(results) = result["results"].as_array_mut() {
                for one in results {
                    let blocks =
                        one["results"].as_array().map(|all| all.iter().map(block).collect::<String>());
                    one["output"] = blocks.filter(|text| !text.is_empty()).map_or(Value::Null, Value::from);
                    if one.get("error").is_none() {
                        one["error"] = Value::Null;
                    }
                }
            }
            result
        }
        _ => result,
    }
}

/// One command and what it printed.
fn block(result: &Value) -> String {
    let text = |member: &str| result[member].as_str().unwrap_or_default();
    let said =
        if result["status"] == "error" && text("output").is_empty() { text("error") } else { text("output") };
    format!("Command: {}\n{said}\n\n", text("command"))
}

/// A fault in the words of its door: what is no address and no name here is an argument that is wrong.
pub(crate) fn told(door: CallDoor, fault: Fault, arguments: &RawValue) -> Fault {
    if fault.code == Code::NotFound && fault.text.starts_with("Tool not found: ") {
        return Fault::not_found("there are no devices here that these credentials may ask");
    }
    if door != CallDoor::DeviceQuery || fault.code != Code::NotFound {
        return fault;
    }
    let arguments: Value = serde_json::from_str(arguments.get()).unwrap_or_default();
    match arguments["device_ip"].as_str() {
        Some(asked) if asked.parse::<std::net::IpAddr>().is_err() => {
            let shown: String = asked.chars().take(80).collect();
            Fault::bad_argument("/device_ip", format!("Invalid IP address: {shown}"))
        }
        _ => fault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_devices_are_named_in_both_ways() {
        let body = br#"{"devices": ["r1", {"host": "10.0.0.1", "device_type": "cisco_ios"}], "commands": ["show version"], "enable_mode": true}"#;
        let arguments = many(body).unwrap();
        assert_eq!(arguments, json!({ "commands": ["show version"], "devices": ["r1", "10.0.0.1"] }));
    }

    #[test]
    fn logins_in_a_request_are_refused() {
        for body in
            [r#"{"devices": [{"host": "h", "password": "x"}]}"#, r#"{"devices": []}"#, r#"{"devices": [1]}"#]
        {
            let fault = many(body.as_bytes()).unwrap_err();
            assert_eq!(fault.code, Code::BadArguments);
            assert!(!fault.text.contains('x') || !fault.text.contains("\"x\""), "{fault}");
        }
    }

    #[test]
    fn outputs_stand_in_blocks() {
        let result = json!({ "results": [
            { "host": "h", "results": [{ "command": "show a", "status": "success", "output": "one" }] },
            { "host": "i", "results": [], "error": "gone" },
        ] });
        let shown = shown(CallDoor::ExecuteCommands, result);
        assert_eq!(shown["results"][0]["output"], "Command: show a\none\n\n");
        assert_eq!(shown["results"][0]["error"], Value::Null);
        assert_eq!(
            (&shown["results"][1]["output"], &shown["results"][1]["error"]),
            (&Value::Null, &json!("gone"))
        );
    }
}
