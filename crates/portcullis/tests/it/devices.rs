//! Network devices, real ones: routers that run FRRouting behind OpenSSH, in namespaces of this machine.

mod fakenos;
mod frr;
mod legacy;
mod logins;
mod storm;

use std::fs;

use serde_json::{Value, json};

use self::frr::Lab;
use crate::app::{App, until};

/// A server whose human and whose agent may do everything, up to its `devices`.
const EVERYTHING: &str = r#"data_dir: .
principals: { local: { kind: human, owner: operations, roles: [all] }, agent: { kind: agent, owner: operations, roles: [all] } }
roles: { all: { allow: ["*", "group:admin"] } }
bootstrap: { keys: [{ label: agent, principal: agent, show: key, rate_per_minute: 10000 }] }
"#;

/// A server that knows the routers of a lab, and more of them that are wrong in some way.
fn configured(lab: &Lab) -> String {
    let [one, two, vty, tcli, bird] = [1, 2, 9, 8, 7].map(|number| lab.port(number));
    format!(
        r#"
data_dir: .
principals:
  local: {{ kind: human, owner: operations, roles: [operator, admin] }}
  agent: {{ kind: agent, owner: operations, roles: [operator] }}
  site: {{ kind: agent, owner: operations, roles: [of_site] }}
roles:
  operator: {{ allow: ["*"] }}
  admin: {{ allow: ["group:admin"] }}
  of_site:
    allow:
      - tools: [run_show_commands, list_devices]
      - {{ tools: [query_device], when: 'device.labels.site == "fra"' }}
bootstrap:
  keys: [{{ label: agent, principal: agent, show: key, rate_per_minute: 100000 }}, {{ label: site, principal: site, show: viewer_key }}]
devices:
  login_timeout_ms: 5000
  commands: {{ allow: ["terminal paginate"] }}
  logins:
    right: {{ user: pclab, password: {{ file: "{dir}/password" }} }}
    key: {{ user: pclab, keys: ["{dir}/userkey"] }}
    wrong: {{ user: pclab, password: {{ file: "{dir}/hostkey.pub" }} }}
    vty: {{ user: nobody, password: {{ file: "{dir}/vty-password" }}, enable: {{ file: "{dir}/vty-enable" }} }}
    vty-wrong: {{ user: nobody, password: {{ file: "{dir}/vty-enable" }} }}
  groups:
    lab: {{ platform: frr, login: right }}
  inventory:
    r1: {{ host: 127.0.0.1, port: {one}, groups: [lab], labels: {{ site: fra }} }}
    r2: {{ host: 127.0.0.1, port: {two}, groups: [lab], labels: {{ site: muc }} }}
    keyed: {{ host: localhost, port: {one}, groups: [lab], login: key }}
    behind: {{ host: 127.0.0.1, port: {two}, platform: frr, login: right, via: [r1] }}
    refused-1: {{ host: 127.0.0.1, port: {one}, platform: frr, login: wrong }}
    refused-2: {{ host: 127.0.0.1, port: {two}, platform: frr, login: wrong }}
    vty: {{ host: 127.0.0.1, port: {vty}, platform: frr, login: vty, transport: telnet }}
    tcli: {{ host: 127.0.0.1, port: {tcli}, platform: frr_tcli, login: vty, transport: telnet }}
    bird: {{ host: 127.0.0.1, port: {bird}, platform: bird, login: right }}
    vty-wrong: {{ host: 127.0.0.1, port: {vty}, platform: frr, login: vty-wrong, transport: telnet }}
    nobody: {{ host: 127.0.0.1, port: 9, platform: frr, login: right }}
"#,
        dir = lab.dir().display(),
    )
}

fn ask(app: &App, device: &str, commands: &[&str]) -> Value {
    app.done("query_device", &json!({ "device_ip": device, "commands": commands }))
}

#[test]
fn routers_are_asked_as_their_operators_ask_them() {
    let Some(lab) = Lab::start() else { return };
    let app = App::with(|_| configured(&lab));

    // Nothing is sent to a device whose key nobody has looked at.
    let refused = app.call("query_device", &json!({ "device_ip": "r1", "commands": ["show version"] }));
    assert_eq!(refused.status, 502, "{}", refused.line());
    assert!(refused.line().contains("is not known: ssh-ed25519 SHA256:"), "{}", refused.line());
    let wrong = app.cli(&["devices", "trust", "r1", "--fingerprint", &format!("SHA256:{}", "a".repeat(43))]);
    assert!(wrong.code == 1 && wrong.err.contains("not what was asked to be trusted"), "{wrong:?}");
    for device in ["r1", "r2", "bird"] {
        let said = app.cli(&["devices", "trust", device, "--yes"]);
        assert_eq!(said.code, 0, "{said:?}");
    }
    a_changed_key_is_refused(&app, &lab);

    routes_come_from_the_neighbour(&app);
    configurations_come_without_their_secrets(&app);
    a_pager_is_read_to_its_end(&app);
    sessions_are_kept(&app);
    other_ways_in(&app, &lab);
    telnet_has_its_logins_in_the_session(&app);
    platforms_are_found(&app);
    a_terminal_that_paints_its_line_anew(&app);
    transactions_are_shown(&app);
    sessions_are_written_down(&app);
    many_are_asked_at_once(&app);
    rules_go_by_the_device(&app);
    doors_of_older_clients(&app);
    a_wrong_password_is_tried_once(&app, &lab);
}

/// What the neighbour announces by BGP and by OSPF stands in the table.
fn routes_come_from_the_neighbour(app: &App) {
    let table = || app.done("analyze_routing_table", &json!({ "device_ip": "r1" }));
    let has = |table: &Value, network: &str, protocol: &str| {
        let routes = table["routes"].as_array().unwrap();
        let route = routes.iter().find(|route| route["network"] == network && route["protocol"] == protocol);
        route.is_some_and(|route| route["next_hop"] == "10.0.1.2" && route["interface"] == "r1-eth1")
    };
    until("r1 has the routes of r2", || {
        let table = table();
        has(&table, "198.51.100.2/32", "bgp") && has(&table, "10.255.0.2/32", "ospf")
    });
    let bgp = app.done("analyze_routing_table", &json!({ "device_ip": "r1", "protocol": "bgp" }));
    assert_eq!((&bgp["total_routes"], &bgp["protocol_filter"]), (&json!(1), &json!("bgp")));
    assert_eq!(bgp["analysis"]["discarded"], json!(["192.0.2.1/32"]));
    assert_eq!(bgp["analysis"]["missing_next_hops"], json!([]));
    let interface =
        app.done("check_interface_status", &json!({ "device_ip": "r1", "interface_name": "r1-eth1" }));
    assert_eq!(
        [&interface["status"], &interface["ip_address"], &interface["subnet_mask"]],
        ["up", "10.0.1.1", "255.255.255.252"]
    );
    let near = app.call("check_interface_status", &json!({ "device_ip": "r1", "interface_name": "r1-eth9" }));
    assert!(near.status == 400 && near.line().contains("has no interface"), "{}", near.line());
}

fn configurations_come_without_their_secrets(app: &App) {
    let config = app.done("get_device_config", &json!({ "device_ip": "r1" }));
    let text = config["config"].as_str().unwrap();
    assert!(text.contains("hostname r1") && text.contains("password [redacted]"), "{text}");
    assert!(!text.contains("zebra-1-vty") && !text.contains("enable-1-vty"), "{text}");
    assert_eq!(config["redactions"], 2);
    let first = app.done("backup_config", &json!({ "device_ip": "r1" }));
    let again = app.done("backup_config", &json!({ "device_ip": "r1" }));
    assert_eq!((&first["status"], &again["status"]), (&json!("backed_up"), &json!("unchanged")));
    let shown = app.call("backup_show", &json!({ "device_ip": "r1" }));
    assert!(shown.status == 200 && !shown.line().contains("zebra-1-vty"), "{}", shown.line());
    // The raw one is for who administers: an agent does not even see the tool.
    assert_eq!(app.call("backup_show_raw", &json!({ "device_ip": "r1" })).status, 404);
    let raw = app.cli(&["call", "backup_show_raw", "device_ip=r1", "--json"]);
    assert!(raw.code == 0 && raw.out.contains("zebra-1-vty"), "{raw:?}");
}

/// `less` pages what vtysh prints once it is told to.
fn a_pager_is_read_to_its_end(app: &App) {
    let paged = ask(app, "r1", &["terminal paginate", "show running-config", "show version"]);
    let text = paged["results"][1]["output"].as_str().unwrap();
    assert!(text.contains("hostname r1") && text.trim_end().ends_with("end"), "{text}");
    assert!(paged["results"][2]["output"].as_str().unwrap().starts_with("FRRouting"), "{paged}");
}

fn sessions_are_kept(app: &App) {
    assert_eq!(ask(app, "r1", &["show version"])["session_reused"], true);
    let failed = ask(app, "r1", &["show bogus", "show version"]);
    assert_eq!(
        (&failed["status"], &failed["results"][0]["error_class"]),
        (&json!("error"), &json!("syntax"))
    );
    assert_eq!(failed["results"][1]["status"], "success");
    for command in [
        "configure terminal",
        "conf t",
        "wr",
        "show version\nconf t",
        "show run | redirect x",
        "clear ip bgp *",
    ] {
        let refused = app.call("query_device", &json!({ "device_ip": "r1", "commands": [command] }));
        assert_eq!(refused.status, 403, "{command:?}: {}", refused.line());
    }
}

/// A key instead of a password, and a router that is reached through another.
fn other_ways_in(app: &App, lab: &Lab) {
    assert_eq!(ask(app, "keyed", &["show version"])["status"], "success");
    let before = lab.log(1).matches("Accepted password").count();
    let behind = ask(app, "behind", &["show version"]);
    assert!(behind["results"][0]["output"].as_str().unwrap().contains("(r2)"), "{behind}");
    assert_eq!(lab.log(1).matches("Accepted password").count(), before + 1, "it went through r1");
}

/// BIRD's terminal edits its line, and paints it anew with every character.
fn a_terminal_that_paints_its_line_anew(app: &App) {
    let shown = ask(app, "bird", &["sh status", "show protocols", "show route 203.0.113.0/24", "show st"]);
    let text = |at: usize| shown["results"][at]["output"].as_str().unwrap();
    assert!(text(0).contains("Daemon is up and running") && text(1).contains("static1"), "{shown}");
    assert!(text(2).contains("203.0.113.0/24       blackhole"), "{shown}");
    assert_eq!(shown["results"][3]["error_class"], "ambiguous", "{shown}");
    let table = app.done("analyze_routing_table", &json!({ "device_ip": "bird" }));
    let routes = table["routes"].as_array().unwrap().iter();
    let routes: Vec<String> =
        routes.map(|route| format!("{} {}", route["network"], route["protocol"])).collect();
    assert_eq!(routes.len(), 3, "{table}");
    assert!(routes.contains(&r#""203.0.113.0/24" "static""#.to_owned()), "{table}");
    assert_eq!(
        (&table["analysis"]["discarded"], table["analysis"]["default_routes"].as_array().unwrap().len()),
        (&json!(["203.0.113.0/24"]), 1),
        "{table}"
    );
    let interfaces =
        app.done("check_interface_status", &json!({ "device_ip": "bird", "interface_name": "lo" }));
    assert_eq!(
        (&interfaces["status"], &interfaces["ip_address"]),
        (&json!("up"), &json!("127.0.0.1")),
        "{interfaces}"
    );
    let refused = app.call("query_device", &json!({ "device_ip": "bird", "commands": ["configure soft"] }));
    assert_eq!(refused.status, 403, "{}", refused.line());
}

/// A daemon with the transactional command line shows what it has, and its transactions.
fn transactions_are_shown(app: &App) {
    let shown = ask(app, "tcli", &["show version", "show configuration running"]);
    let text = |at: usize| shown["results"][at]["output"].as_str().unwrap();
    assert!(text(0).starts_with("FRRouting ") && text(1).contains("frr version"), "{shown}");
    let refused = app.call("query_device", &json!({ "device_ip": "tcli", "commands": ["commit"] }));
    assert_eq!(refused.status, 403, "{}", refused.line());
}

/// Routers say what they are, over SSH and over telnet; what the inventory says of them does not count.
fn platforms_are_found(app: &App) {
    for (device, platform, line) in
        [("r1", "frr", "FRRouting "), ("vty", "frr", "FRRouting "), ("bird", "bird", "BIRD ")]
    {
        let found = app.done("detect_platform", &json!({ "device_ip": device }));
        assert_eq!((&found["platform"], &found["also"]), (&json!(platform), &json!([])), "{found}");
        assert!(found["shown"]["line"].as_str().unwrap().starts_with(line), "{found}");
    }
}

/// A daemon's own terminal asks for a password, and for another one before it shows its configuration.
fn telnet_has_its_logins_in_the_session(app: &App) {
    let shown = ask(app, "vty", &["show running-config", "show version"]);
    let text = shown["results"][0]["output"].as_str().unwrap();
    assert!(text.contains("hostname vty") && text.contains("password [redacted]"), "{shown}");
    assert_eq!(app.get("/operations/status/vty", Some(&app.key)).json()["reachable"], true);
    let refused =
        app.call("query_device", &json!({ "device_ip": "vty-wrong", "commands": ["show version"] }));
    assert!(refused.line().contains("\"error_class\":\"login\""), "{}", refused.line());
}

/// What was typed and printed can be played again by the id that the audit record has; secrets are not in it.
fn sessions_are_written_down(app: &App) {
    // The session is there: what is written down is what this call does on it.
    ask(app, "vty", &["show version"]);
    let body = json!({ "device_ip": "vty", "commands": ["show running-config"] }).to_string();
    let headers = [("content-type", "application/json"), ("x-request-id", "ask-of-mine-1")];
    let answer = app.send("POST", "/v1/mcp/query_device", Some(&app.key), &headers, body.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.line());
    let replay = ["devices", "replay", "ask-of-mine-1", "--fast"];
    until("the transcript is written", || app.cli(&replay).code == 0);
    let played = app.cli(&replay);
    assert!(played.out.starts_with("show running-config\n"), "{played:?}");
    assert!(played.err.contains("vty at 2"), "{played:?}");
    let audit = app.cli(&["audit", "tail", "-n", "50", "--json"]);
    assert!(audit.out.contains("ask-of-mine-1"), "{audit:?}");
    for entry in fs::read_dir(app.data().join("transcripts")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        for secret in ["vty-password", "vty-enable", "zebra-1-vty", "pc-Lab-0123456789"] {
            assert!(!text.contains(secret), "{secret} is in {text}");
        }
    }
    assert_eq!(app.call("session_transcript", &json!({ "request_id": "ask-of-mine-1" })).status, 404);
    let none = app.cli(&["devices", "replay", "../../etc/passwd"]);
    assert!(none.code == 1 && none.err.contains("there is no transcript"), "{none:?}");
}

fn many_are_asked_at_once(app: &App) {
    let commands = json!(["show version"]);
    let answer = app.done("run_show_commands", &json!({ "devices": ["r?", "nobody"], "commands": commands }));
    assert_eq!(
        (&answer["total_devices"], &answer["successful"], &answer["failed"]),
        (&json!(3), &json!(2), &json!(1))
    );
    let nobody = &answer["results"][0];
    assert_eq!(
        (&nobody["device"], &nobody["error_class"]),
        (&json!("nobody"), &json!("unreachable")),
        "{answer}"
    );
    let said = app.cli(&["devices", "run", "r1", "r2", "-c", "show version", "--json"]);
    assert_eq!(said.code, 0, "{said:?}");
    let said: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(said["successful"], 2);
    let listed = app.done("list_devices", &json!({ "labels": { "site": "fra" } }));
    assert_eq!((&listed["total"], &listed["devices"][0]["id"]), (&json!(1), &json!("r1")));
}

/// A role that is bound to a site gets the devices of that site, in a batch too.
fn rules_go_by_the_device(app: &App) {
    let arguments = json!({ "devices": ["r1", "r2"], "commands": ["show version"] });
    let answer = app.post("/v1/mcp/run_show_commands", Some(&app.viewer), &arguments);
    assert_eq!(answer.status, 200, "{}", answer.line());
    let answer = answer.json();
    assert_eq!(
        (&answer["results"][0]["success"], &answer["results"][1]["success"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(answer["results"][1]["error_class"], "denied");
    // What it may not ask is not there, unless it is named.
    let listed = app.get("/devices", Some(&app.viewer)).json();
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["id"]), (1, &json!("r1")), "{listed}");
    let all = json!({ "devices": ["*"], "commands": ["show version"] });
    let answer = app.post("/v1/mcp/run_show_commands", Some(&app.viewer), &all).json();
    assert_eq!((&answer["total_devices"], &answer["successful"]), (&json!(1), &json!(1)), "{answer}");
}

fn doors_of_older_clients(app: &App) {
    let key = Some(app.key.as_str());
    let devices = app.get("/devices", key).json();
    assert!(devices.as_array().unwrap().iter().any(|device| device["hostname"] == "r1"), "{devices}");
    let status = app.get("/operations/status/r2", key).json();
    assert_eq!(status["reachable"], true);
    let body = json!({ "devices": [{ "host": "r1", "device_type": "cisco_ios" }], "commands": ["show version"], "enable_mode": false });
    let answer = app.post("/execute-commands", key, &body).json();
    assert!(
        answer["results"][0]["output"].as_str().unwrap().starts_with("Command: show version\nFRRouting"),
        "{answer}"
    );
    let invalid = app.post("/devices/query", key, &json!({ "device_ip": "x", "commands": ["show version"] }));
    assert_eq!((invalid.status, &invalid.json()["error"]), (400, &json!("Invalid IP address: x")));
}

/// Two devices with one wrong login are asked at once: one of them is told the password, once.
fn a_wrong_password_is_tried_once(app: &App, lab: &Lab) {
    let arguments = json!({ "devices": ["refused-*"], "commands": ["show version"] });
    for _ in 0..2 {
        let answer = app.done("run_show_commands", &arguments);
        assert_eq!(answer["failed"], 2, "{answer}");
        assert_eq!(
            [&answer["results"][0]["error_class"], &answer["results"][1]["error_class"]],
            ["login", "login"]
        );
    }
    let failed = |router| lab.log(router).matches("Failed password").count();
    assert_eq!(failed(1) + failed(2), 1, "{}\n{}", lab.log(1), lab.log(2));
}

/// A device shows another key than the one that is known: nothing is sent to it until someone trusts the new one.
fn a_changed_key_is_refused(app: &App, lab: &Lab) {
    let known = app.data().join("known_hosts");
    let other = fs::read_to_string(lab.dir().join("userkey.pub")).unwrap();
    let other: Vec<&str> = other.split(' ').take(2).collect();
    let before = fs::read_to_string(&known).unwrap();
    fs::write(&known, format!("{before}[localhost]:{} {}\n", lab.port(1), other.join(" "))).unwrap();
    let refused = app.call("query_device", &json!({ "device_ip": "keyed", "commands": ["show version"] }));
    assert!(refused.status == 502 && refused.line().contains("has changed"), "{}", refused.line());
    let trusted = app.cli(&["devices", "trust", "keyed", "--yes", "--json"]);
    assert_eq!(trusted.code, 0, "{trusted:?}");
    let trusted: Value = serde_json::from_str(&trusted.out).unwrap();
    assert_eq!(trusted["instead_of"].as_array().unwrap().len(), 1, "{trusted}");
    assert!(fs::read_to_string(&known).unwrap().starts_with(&before), "the others are still trusted");
}

/// Emulated routers, each wrong in a way of its own: every one is told apart in time, and the good one is not disturbed.
#[test]
fn bad_devices_are_told_apart_in_time() {
    let faults = ["silent", "closes", "floods", "hangs", "renames", "chatters"];
    let app = App::with(|quickstart| {
        let numbered = faults.iter().enumerate().map(|(at, fault)| format!("{}: {fault}", at + 1));
        let faults = format!(
            "count: 7, vendors: [cisco_ios], faults: {{ {} }}",
            numbered.collect::<Vec<_>>().join(", ")
        );
        let bounds = "login_timeout_ms: 2000\n  command_timeout_ms: 3000\n  silence_timeout_ms: 1000\n  output_bytes_max: 100000";
        let more: String =
            (5..=7).map(|n| format!("    lab-r{n}: {{ host: 127.0.77.{n}, groups: [lab] }}\n")).collect();
        let text =
            quickstart.replace("network: { port: 2322,", &format!("network: {{ port: 2322, {faults},"));
        let text = text.replace(
            "  known_hosts: known_hosts\n  logins:",
            &format!("  known_hosts: known_hosts\n  {bounds}\n  logins:"),
        );
        let text = text.replace(
            "lab: { port: 2322, login: lab }",
            "lab: { port: 2322, login: lab, platform: cisco_ios }",
        );
        let mut text = text.replace("  inventory:\n", &format!("  inventory:\n{more}"));
        for vendor in ["cisco_ios", "arista_eos", "juniper_junos", "huawei_vrp"] {
            text = text.replace(&format!("platform: {vendor}, groups"), "groups");
        }
        text
    });
    let began = std::time::Instant::now();
    let answer = app
        .done("run_show_commands", &json!({ "devices": ["*"], "commands": ["show ip route", "show clock"] }));
    assert!(began.elapsed() < std::time::Duration::from_secs(25), "{:?}", began.elapsed());
    let classes: Vec<String> = answer["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            format!("{} {}", one["device"].as_str().unwrap(), one["error_class"].as_str().unwrap_or("-"))
        })
        .collect();
    let wanted = [
        "lab-r1 no_prompt",
        "lab-r2 closed",
        "lab-r3 -",
        "lab-r4 timeout",
        "lab-r5 -",
        "lab-r6 -",
        "lab-r7 -",
    ];
    assert_eq!(classes, wanted, "{answer}");
    let flooded = &answer["results"][2]["results"];
    assert_eq!(flooded[0]["truncated"], true, "{flooded}");
    // A message in the middle of everything is no answer: each command has its own.
    let chattered = &answer["results"][5]["results"];
    let text = |at: usize| chattered[at]["output"].as_str().unwrap();
    assert!(text(0).contains("10.255.0.7/32") && text(1).contains("00:00:00.000 UTC"), "{chattered}");
    let good = app.done("query_device", &json!({ "device_ip": "lab-r7", "commands": ["show clock"] }));
    assert_eq!((&good["status"], &good["session_reused"]), (&json!("success"), &json!(true)));
}

/// Two hundred devices of one process, asked at once and again.
#[test]
fn two_hundred_devices_are_asked_at_once() {
    let app = App::with(|quickstart| {
        let more: String = (5..=200)
            .map(|n| format!("    lab-r{n}: {{ host: 127.0.77.{n}, platform: cisco_ios, groups: [lab] }}\n"))
            .collect();
        let text = quickstart
            .replace("network: { port: 2322,", "network: { port: 2322, count: 200, vendors: [cisco_ios],");
        let mut text = text.replace("  inventory:\n", &format!("  inventory:\n{more}"));
        for vendor in ["arista_eos", "juniper_junos", "huawei_vrp"] {
            text = text.replace(&format!("platform: {vendor}, groups"), "platform: cisco_ios, groups");
        }
        text
    });
    for reused in [false, true] {
        let answer = app.done(
            "run_show_commands",
            &json!({ "devices": ["*"], "commands": ["show version", "show ip route"] }),
        );
        assert_eq!(
            (&answer["successful"], &answer["total_devices"]),
            (&json!(200), &json!(200)),
            "{}",
            answer["results"][0]
        );
        let one = app.done("query_device", &json!({ "device_ip": "lab-r150", "commands": ["show version"] }));
        assert_eq!(one["session_reused"], true, "{reused}");
    }
}

/// Ten callers who ask a device the same thing at the same time do not make it work ten times.
#[test]
fn the_same_read_at_the_same_time_is_made_once() {
    let app = App::with(|quickstart| {
        quickstart.replace("network: { port: 2322,", "network: { port: 2322, latency_ms: 100,")
    });
    let ask = || app.done("query_device", &json!({ "device_ip": "lab-r1", "commands": ["show ip route"] }));
    let answers: Vec<Value> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..10).map(|_| scope.spawn(ask)).collect();
        asking.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    let shared = answers.iter().filter(|answer| answer["shared"] == true).count();
    // One reads, and those who come meanwhile share the next; a few may come late.
    assert!(shared >= 5, "{shared}");
    let outputs: Vec<&Value> = answers.iter().map(|answer| &answer["results"][0]["output"]).collect();
    assert!(outputs.iter().all(|output| *output == outputs[0] && output.as_str().unwrap().contains("10.")));
    assert_eq!(ask()["shared"], false, "what was read before is never given again");
}

/// A device that hangs keeps the only place of its site; other sites go on.
#[test]
fn a_site_has_so_many_places() {
    let app = App::with(|quickstart| {
        let text =
            quickstart.replace("network: { port: 2322,", "network: { port: 2322, faults: { 1: hangs },");
        text.replace(
            "  known_hosts: known_hosts\n  logins:",
            "  known_hosts: known_hosts\n  sessions_per_site_max: 1\n  silence_timeout_ms: 20000\n  logins:",
        )
    });
    let ask = |device: &str, command: &str, timeout: u64| {
        app.call("query_device", &json!({ "device_ip": device, "commands": [command], "timeout": timeout }))
    };
    // All of them one after the other, which only works where places are given back.
    let all = app
        .done("run_show_commands", &json!({ "devices": ["lab-r2", "lab-r3"], "commands": ["show version"] }));
    assert_eq!(all["successful"], 2, "{all}");
    std::thread::scope(|scope| {
        let hanging = scope.spawn(|| ask("lab-r1", "show ip route", 15));
        until("the place of the site is taken", || ask("lab-r2", "show version", 1).status == 504);
        assert_eq!(ask("lab-r3", "show version", 5).status, 200);
        // It ends by its own deadline, and says so.
        let hung = hanging.join().unwrap();
        assert!(hung.status == 504 || hung.line().contains("timeout"), "{}", hung.line());
    });
    assert_eq!(ask("lab-r2", "show version", 10).status, 200);
}

/// A device with one place, asked for several things at once by callers who share reads: nobody waits for another who waits
/// for them.
#[test]
fn one_place_and_shared_reads_come_to_an_end() {
    let app = App::with(|quickstart| {
        let text = quickstart.replace("network: { port: 2322,", "network: { port: 2322, latency_ms: 20,");
        let one = "  known_hosts: known_hosts\n  sessions_per_device_max: 1\n  logins:";
        text.replace("  known_hosts: known_hosts\n  logins:", one)
    });
    let asks = [
        ("backup_config", json!({ "device_ip": "lab-r1", "include_startup": true })),
        ("check_interface_status", json!({ "device_ip": "lab-r1", "interface_name": "GigabitEthernet0/0" })),
        ("query_device", json!({ "device_ip": "lab-r1", "commands": ["show startup-config"] })),
        ("query_device", json!({ "device_ip": "lab-r1", "commands": ["show running-config"] })),
    ];
    std::thread::scope(|scope| {
        for (tool, arguments) in asks.iter().cycle().take(16) {
            let app = &app;
            scope.spawn(move || {
                let answer = app.call(tool, arguments);
                assert_eq!(answer.status, 200, "{tool} {arguments}: {}", answer.line());
            });
        }
    });
}
