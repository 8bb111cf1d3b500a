//! The doors of network devices: each stands for one tool, in the shape that older clients know.

use serde_json::{Map, Value, json, value::RawValue};
use tool::{CarriedLogin, Code, Fault, Secret, json::raw};

use crate::{call::decode, doors::CallDoor, envelope, road::LimitState};

/// What a door of devices asks for: the tool, and its arguments.
pub(crate) fn wish(
    door: CallDoor,
    segment: &str,
    body: &[u8],
) -> Result<(&'static str, Box<RawValue>, Vec<CarriedLogin>), Fault> {
    if door == CallDoor::ExecuteCommands {
        let (arguments, logins) = many(body)?;
        return Ok(("run_show_commands", raw(&arguments), logins));
    }
    let (tool, arguments) = match door {
        CallDoor::DeviceStatus => {
            let host = decode(segment).ok_or_else(|| Fault::not_found("Device not found: (no name)"))?;
            ("device_reachability", raw(&json!({ "device_ip": host })))
        }
        CallDoor::SecureDevice => {
            let ip = decode(segment).ok_or_else(|| Fault::not_found("Device not found: (no name)"))?;
            ("device_reachability", raw(&json!({ "device_ip": ip })))
        }
        CallDoor::SecureExecute => ("query_device", raw(&one(body)?)),
        CallDoor::DeviceQuery => ("query_device", envelope::arguments(body)?),
        _ => ("list_devices", envelope::arguments(b"")?),
    };
    Ok((tool, arguments, Vec::new()))
}

/// `{command, device_ip}` as the tool takes it.
fn one(body: &[u8]) -> Result<Value, Fault> {
    let sent = envelope::arguments(body)?;
    let mut sent: Map<String, Value> = serde_json::from_str(sent.get()).map_err(Fault::internal)?;
    match sent.remove("command") {
        Some(Value::String(command)) => sent.insert("commands".to_owned(), json!([command])),
        _ => return Err(Fault::bad_argument("/command", "name the command, as text")),
    };
    Ok(Value::Object(sent))
}

/// `{devices: [{host, device_type, username, password, secret}, or a name], commands, enable_mode}` as the tool takes it,
/// and the logins that it carries. `enable_mode` is what the platform needs anyway.
fn many(body: &[u8]) -> Result<(Value, Vec<CarriedLogin>), Fault> {
    let sent = envelope::arguments(body)?;
    let mut sent: Map<String, Value> = serde_json::from_str(sent.get()).map_err(Fault::internal)?;
    let devices = match sent.remove("devices") {
        Some(Value::Array(devices)) if !devices.is_empty() => devices,
        _ => return Err(Fault::bad_argument("/devices", "name at least one device")),
    };
    sent.remove("enable_mode");
    let (mut names, mut asked, mut logins) = (Vec::new(), Vec::new(), Vec::new());
    for (index, device) in devices.into_iter().enumerate() {
        match device {
            Value::String(name) => names.push(name),
            Value::Object(members) => match login(index, &members)? {
                None => names.push(host(index, &members)?),
                Some(login) => {
                    let mut one = json!({ "host": login.host, "user": login.user });
                    match members.get("device_type") {
                        None | Some(Value::Null) => {}
                        Some(platform @ Value::String(_)) => one["device_type"] = platform.clone(),
                        Some(_) => {
                            let at = format!("/devices/{index}/device_type");
                            return Err(Fault::bad_argument(at, "it must be a text"));
                        }
                    }
                    if asked
                        .iter()
                        .any(|other: &Value| other["host"] == one["host"] && other["user"] == one["user"])
                    {
                        let text = "this host is there with this user already";
                        return Err(Fault::bad_argument(format!("/devices/{index}"), text));
                    }
                    asked.push(one);
                    logins.push(login);
                }
            },
            _ => {
                let text = "a device is a name, or an object with `host`";
                return Err(Fault::bad_argument(format!("/devices/{index}"), text));
            }
        }
    }
    if !names.is_empty() || asked.is_empty() {
        sent.insert("devices".to_owned(), json!(names));
    }
    if !asked.is_empty() {
        sent.insert("logins".to_owned(), json!(asked));
    }
    Ok((Value::Object(sent), logins))
}

/// The host of a device, with its port where that is told apart.
fn host(index: usize, members: &Map<String, Value>) -> Result<String, Fault> {
    let wrong = |member: &str, text: &str| Fault::bad_argument(format!("/devices/{index}/{member}"), text);
    let Some(host) = members.get("host").and_then(Value::as_str) else {
        return Err(wrong("host", "name the host of the device"));
    };
    match members.get("port") {
        None | Some(Value::Null) => Ok(host.to_owned()),
        Some(port) => {
            let port = port.as_u64().filter(|port| (1..=65_535).contains(port));
            let port = port.ok_or_else(|| wrong("port", "it must be a number from 1 to 65535"))?;
            Ok(if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") })
        }
    }
}

/// The login of a device that brings one.
fn login(index: usize, members: &Map<String, Value>) -> Result<Option<CarriedLogin>, Fault> {
    let text = |member: &str| match members.get(member) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Fault::bad_argument(format!("/devices/{index}/{member}"), "it must be a text")),
    };
    let (user, password, enable) = (text("username")?, text("password")?, text("secret")?);
    if user.is_none() && password.is_none() && enable.is_none() {
        return Ok(None);
    }
    let wanting = |member: &str| {
        let what =
            format!("a login needs `{member}` too; leave all of it out to log in as the inventory says");
        Fault::bad_argument(format!("/devices/{index}/{member}"), what)
    };
    Ok(Some(CarriedLogin {
        host: host(index, members)?,
        user: user.ok_or_else(|| wanting("username"))?,
        password: Some(Secret::new(password.ok_or_else(|| wanting("password"))?)),
        enable: enable.map(Secret::new),
    }))
}

/// What a door tells beside the result.
pub(crate) struct Around<'a> {
    pub(crate) arguments: &'a RawValue,
    pub(crate) tier: Option<&'a str>,
    pub(crate) limit: Option<&'a LimitState>,
}

impl Around<'_> {
    /// The device as the caller named it.
    fn device(&self) -> Value {
        let arguments: Value = serde_json::from_str(self.arguments.get()).unwrap_or_default();
        arguments["device_ip"].clone()
    }
}

/// A result in the shape of its door.
pub(crate) fn shown(door: CallDoor, mut result: Value, around: &Around<'_>) -> Value {
    match door {
        CallDoor::SecureDevice => {
            let state = |limit: &LimitState| json!({ "limit": limit.limit, "remaining": limit.remaining, "reset_at": limit.reset_at });
            result["device_ip"] = around.device();
            result["status"] = json!(if result["reachable"] == true { "reachable" } else { "unreachable" });
            result["user_tier"] = json!(around.tier);
            result["rate_limit"] = json!(around.limit.map(state));
            result
        }
        CallDoor::SecureExecute => {
            let done = result["results"][0].take();
            let said = if done["status"] == "error" { "error" } else { "executed" };
            json!({
                "status": said, "command": done["command"], "device": around.device(), "output": done["output"],
                "error": done["error"], "truncated": done["truncated"], "handle": done["handle"],
                "timestamp": result["timestamp"], "execution_time_ms": result["execution_time_ms"],
            })
        }
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
        let body = br#"{"devices": ["r1", {"host": "10.0.0.1", "device_type": "cisco_ios", "password": null}, {"host": "10.0.0.2", "port": 2222}], "commands": ["show version"], "enable_mode": true}"#;
        let (arguments, logins) = many(body).unwrap();
        assert_eq!(
            arguments,
            json!({ "commands": ["show version"], "devices": ["r1", "10.0.0.1", "10.0.0.2:2222"] })
        );
        assert!(logins.is_empty());
    }

    #[test]
    fn logins_are_carried_beside_the_arguments() {
        let body = br#"{"devices": [{"host": "10.0.0.1", "device_type": "arista_eos", "username": "u", "password": "p455", "secret": "s3cr"}], "commands": ["show version"]}"#;
        let (arguments, logins) = many(body).unwrap();
        let expected = json!({ "commands": ["show version"], "logins": [{ "host": "10.0.0.1", "user": "u", "device_type": "arista_eos" }] });
        assert_eq!(arguments, expected);
        assert_eq!(logins[0].password.as_ref().unwrap().expose(), "p455");
        assert!(
            !format!("{logins:?}").contains("p455") && !format!("{logins:?}").contains("s3cr"),
            "{logins:?}"
        );
        for (body, pointer) in [
            (r#"{"devices": [{"host": "h", "password": "p455"}]}"#, "/devices/0/username"),
            (r#"{"devices": [{"host": "h", "username": "u"}]}"#, "/devices/0/password"),
            (r#"{"devices": [{"host": "h", "username": "u", "password": 455}]}"#, "/devices/0/password"),
            (r#"{"devices": [{"username": "u", "password": "p455"}]}"#, "/devices/0/host"),
            (r#"{"devices": [{"host": "h", "port": "22"}]}"#, "/devices/0/port"),
            (
                r#"{"devices": [{"host": "h", "username": "u", "password": "p455", "device_type": 1}]}"#,
                "/devices/0/device_type",
            ),
            (
                r#"{"devices": [{"host": "h", "username": "u", "password": "p455"}, {"host": "h", "username": "u", "password": "q455"}]}"#,
                "/devices/1",
            ),
            (r#"{"devices": []}"#, "/devices"),
            (r#"{"devices": [1]}"#, "/devices/0"),
        ] {
            let fault = many(body.as_bytes()).unwrap_err();
            assert_eq!((fault.code, fault.pointer.as_deref()), (Code::BadArguments, Some(pointer)), "{body}");
            assert!(!fault.text.contains("455"), "{fault}");
        }
    }

    #[test]
    fn outputs_stand_in_blocks() {
        let result = json!({ "results": [
            { "host": "h", "results": [{ "command": "show a", "status": "success", "output": "one" }] },
            { "host": "i", "results": [], "error": "gone" },
        ] });
        let arguments = raw(&json!({}));
        let around = Around { arguments: &arguments, tier: None, limit: None };
        let shown = shown(CallDoor::ExecuteCommands, result, &around);
        assert_eq!(shown["results"][0]["output"], "Command: show a\none\n\n");
        assert_eq!(shown["results"][0]["error"], Value::Null);
        assert_eq!(
            (&shown["results"][1]["output"], &shown["results"][1]["error"]),
            (&Value::Null, &json!("gone"))
        );
    }
}
