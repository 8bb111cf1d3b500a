//! Devices from where they are kept already, all the way: imported, asked what they are, asked for something.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::app::{App, PROGRAM, Said, free_port, until};

const TABLE: &str = "Name;IP Address;Username;Password;Site\ncore-1;127.0.77.2;lab;hidden;fra\ncore-2;127.0.77.3;lab;;muc\nedge-9;127.0.77.4;lab;;muc\n";

fn value(said: &Said) -> Value {
    serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"))
}

#[test]
fn devices_are_imported_found_out_and_asked() {
    let app = App::start();
    let (table, file) = (app.data().join("sites.csv"), app.data().join("inventory.yaml"));
    fs::write(&table, TABLE).unwrap();
    let config = || fs::read_to_string(app.data().join("portcullis.yaml")).unwrap();
    let import = |more: &[&str]| {
        app.cli(&[&["inventory", "import", table.to_str().unwrap(), "--group", "lab"], more].concat())
    };
    let before = config();
    let shown = import(&[]);
    assert_eq!(shown.code, 0, "{shown:?}");
    assert!(
        shown.out.contains(
            "+ core-1  host: 127.0.77.2  platform: autodetect  login: lab  labels: site=fra  groups: lab"
        ),
        "{shown:?}"
    );
    assert!(shown.err.contains("3 new") && shown.err.contains("nothing is written"), "{shown:?}");
    assert!(!format!("{shown:?}").contains("hidden"), "{shown:?}");
    assert!(!file.exists() && config() == before, "nothing is written without --write");

    let written = import(&["--write", "--json"]);
    assert_eq!((written.code, &value(&written)["written"]), (0, &json!(true)), "{written:?}");
    assert!(config().contains("devices:\n  inventory_files: [\"inventory.yaml\"]\n"), "{}", config());
    // The server takes it up by itself, and is asked for it by the command line.
    until("the devices are there", || {
        value(&app.cli(&["devices", "list", "--platform", "autodetect", "--json"])).as_array().unwrap().len()
            == 3
    });
    let refused = app.call("query_device", &json!({ "device_ip": "core-1", "commands": ["show version"] }));
    assert!(
        refused.status == 403 && refused.line().contains("portcullis devices detect"),
        "{}",
        refused.line()
    );

    let found = app.cli(&["devices", "detect", "--platform", "autodetect", "--write", "--json"]);
    let platforms: Vec<(Value, Value)> = value(&found)
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["device"].clone(), one["platform"].clone()))
        .collect();
    let wanted = [("core-1", "arista_eos"), ("core-2", "juniper_junos"), ("edge-9", "huawei")];
    assert_eq!(platforms, wanted.map(|(device, platform)| (json!(device), json!(platform))), "{found:?}");
    until("the platforms are there", || {
        value(&app.cli(&["devices", "list", "--platform", "arista_eos", "--json"])).as_array().unwrap().len()
            == 2
    });
    let version = app.done("query_device", &json!({ "device_ip": "core-1", "commands": ["show version"] }));
    assert!(version["results"][0]["output"].as_str().unwrap().starts_with("Arista"), "{version}");
    // What was found out is not forgotten by the next import, and a device that is gone from the source goes when asked.
    fs::write(&table, TABLE.replace("edge-9;127.0.77.4;lab;;muc\n", "").replace("fra", "ber")).unwrap();
    let again = import(&["--prune", "--json"]);
    let changes = value(&again)["difference"]["devices"].clone();
    assert_eq!(
        changes,
        json!({
            "core-1": { "change": "changed", "members": { "labels": { "from": { "site": "fra" }, "to": { "site": "ber" } } } },
            "edge-9": { "change": "removed" },
        })
    );
}

#[test]
fn what_would_not_be_good_is_not_written() {
    let app = App::start();
    let config = app.data().join("ssh_config");
    fs::write(&config, "Host b1\n  HostName 192.0.2.7\n  User nobody\nHost *\n  Port 2022\n").unwrap();
    let import =
        |more: &[&str]| app.cli(&[&["inventory", "import", config.to_str().unwrap()], more].concat());
    let said = import(&["--platform", "linux", "--write"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("no login in `devices.logins` has the user \"nobody\""), "{said:?}");
    assert!(said.err.contains("it has no login, and none of its groups has one"), "{said:?}");
    assert!(said.err.contains("nothing is written"), "{said:?}");
    assert!(!app.data().join("inventory.yaml").exists());
    assert_eq!(import(&["--platform", "linux", "--login", "lab", "--write"]).code, 0);
    let text = fs::read_to_string(app.data().join("inventory.yaml")).unwrap();
    assert!(
        text.contains(r#""b1": {"host":"192.0.2.7","port":2022,"platform":"linux","login":"lab"}"#),
        "{text}"
    );
    let unheard = import(&["--platform", "unheard"]);
    assert!(unheard.code == 2 && unheard.err.contains("portcullis devices platforms"), "{unheard:?}");
    let missing = app.cli(&["inventory", "import", "none.csv"]);
    assert!(missing.code == 1 && missing.err.contains("none.csv cannot be read"), "{missing:?}");
}

/// Emulated devices by themselves, with an inventory that a server takes up.
#[test]
fn a_lab_is_started_and_asked() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let port = free_port().to_string();
    let mut lab = Command::new(PROGRAM)
        .args([
            "lab",
            "--json",
            "--count",
            "2",
            "--vendor",
            "juniper_junos",
            "--listen",
            "127.0.78.1",
            "--port",
            &port,
        ])
        .args(["--inventory", &at("lab.yaml"), "--known-hosts", &at("known"), "--host-key", &at("key")])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(lab.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let said: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&said["user"], said["devices"].as_array().unwrap().len()), (&json!("lab"), 2), "{said}");
    assert_eq!(said["devices"][1]["host"], "127.0.78.2");
    let app = App::with(|quickstart| {
        let known =
            format!("known_hosts: {}\n  inventory_files: [{}]\n  logins:", at("known"), at("lab.yaml"));
        let text = quickstart.replace("known_hosts: known_hosts\n  logins:", &known);
        // The names of the sample network are those of this one, and the configuration's own count.
        (1..=4).fold(text, |text, n| text.replace(&format!("    lab-r{n}: {{"), &format!("    own-r{n}: {{")))
    });
    let version =
        app.done("query_device", &json!({ "device_ip": "127.0.78.1", "commands": ["show version"] }));
    assert!(version["results"][0]["output"].as_str().unwrap().contains("Junos"), "{version}");
    let pid = rustix::process::Pid::from_child(&lab);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert!(lab.wait().unwrap().success());

    let wrong = app.cli(&["lab", "--fault", "9=hangs"]);
    assert!(wrong.code == 2 && wrong.err.contains("there is no such device"), "{wrong:?}");
    let wrong = app.cli(&["lab", "--listen", "192.0.2.1"]);
    assert!(wrong.code == 2 && wrong.err.contains("is not a loopback address"), "{wrong:?}");
}
