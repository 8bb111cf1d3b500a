//! FakeNOS: devices of 41 platforms that someone else made up, from the recorded outputs of ntc-templates.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use serde_json::{Map, Value, json};

use super::EVERYTHING;
use crate::{app::App, procs::Running};

const SCRIPT: &str = include_str!("fakenos.py");
const FIRST_PORT: u16 = 27_000;

/// What two of them cannot do: RouterOS refuses the options behind a user's name that real ones take, and the other
/// closes the connection at its first command (netmiko gets no further on either).
const CANNOT: [&str; 2] = ["mikrotik-routeros", "yamaha"];

fn start(python: &str) -> (Running, Map<String, Value>) {
    let port = FIRST_PORT + u16::try_from(std::process::id() % 20).unwrap() * 50;
    let mut command = Command::new(python);
    command.args(["-c", SCRIPT, &port.to_string()]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (Running(child), serde_json::from_str(&line).unwrap())
}

fn configured(devices: &Map<String, Value>) -> String {
    let mut text = format!(
        "{EVERYTHING}devices:\n  logins: {{ all: {{ user: user, password: \"${{NO_SUCH:-user}}\", enable: \"${{NO_SUCH:-user}}\" }} }}\n  inventory:\n"
    );
    for (name, device) in devices {
        let (port, platform) = (&device["port"], device["platform"].as_str().unwrap());
        text.push_str(&format!(
            "    {name}: {{ host: 127.0.0.1, port: {port}, platform: {platform}, login: all }}\n"
        ));
    }
    text
}

/// Lines without blanks at their ends, and without what nobody sees.
fn lines(text: &str) -> Vec<String> {
    let text = text.replace('\u{200b}', "");
    text.lines().map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()).collect()
}

#[test]
fn devices_of_many_platforms_print_what_they_should() {
    let Some(python) = crate::beds::place("python") else { return };
    let (_running, devices) = start(&python);
    let app = App::with(|_| configured(&devices));
    let known: String = devices.keys().fold(String::new(), |known, name| {
        let shown = app.done("device_reachability", &json!({ "device_ip": name }));
        assert_eq!(shown["reachable"], true, "{shown}");
        known + name + " "
    });
    let mut wrong = Vec::new();
    for (name, device) in &devices {
        let trusted = app.cli(&["devices", "trust", name, "--yes"]);
        assert_eq!(trusted.code, 0, "{trusted:?}");
        let answer = app.call("query_device", &json!({ "device_ip": name, "commands": [device["command"]] }));
        let printed = match answer.status {
            200 => answer.json()["results"][0]["output"].as_str().unwrap().to_owned(),
            _ => answer.line(),
        };
        if lines(&printed) != lines(device["output"].as_str().unwrap()) {
            wrong.push(format!("{name}: {} printed {printed}", device["command"]));
        }
    }
    assert!(devices.len() >= 41, "{known}");
    wrong.retain(|line| !CANNOT.iter().any(|name| line.starts_with(name)));
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), devices.len(), wrong.join("\n"));
    detected(&app, &devices);
}

/// FakeNOS has recorded what about half of them say of themselves: these are found out, and none is taken for another.
fn detected(app: &App, devices: &Map<String, Value>) {
    let found = app.cli(&["devices", "detect", "--all", "--json"]);
    let found: Vec<Value> =
        serde_json::from_str(&found.out).unwrap_or_else(|error| panic!("{error}: {found:?}"));
    let (mut right, mut wrong) = (Vec::new(), Vec::new());
    for one in &found {
        match (&one["platform"], &one["configured"]) {
            (Value::Null, _) => {}
            (platform, configured) if platform == configured => right.push(one["device"].as_str().unwrap()),
            _ => wrong.push(one.to_string()),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(right.len() >= 20, "{} of {}: {right:?}", right.len(), devices.len());
}
