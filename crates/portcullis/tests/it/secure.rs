//! The doors of older clients that go by tier and limit, and the one that takes signed alerts.

use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};

use crate::{app::App, http::Answer};

const SECRET: &str = "a secret that only two know";

fn app() -> App {
    App::with(|quickstart| {
        let text = quickstart.replace(
            "  # Whoever sits at this machine",
            &format!("  monitoring: {{ kind: machine, owner: you, roles: [alerts], webhook: {{ secret: \"${{NO_SUCH:-{SECRET}}}\" }} }}\n  older: {{ kind: machine, owner: you, roles: [alerts], webhook: {{ secret: \"${{NO_SUCH:-another secret of another}}\", bare: true }} }}\n  stranger: {{ kind: machine, owner: you, webhook: {{ secret: \"${{NO_SUCH:-what a stranger signs with}}\" }} }}\n  # Whoever sits at this machine"),
        );
        text.replace("roles:\n  viewer:", "roles:\n  alerts: { allow: [device_alert] }\n  viewer:")
    })
}

#[expect(clippy::disallowed_methods, reason = "a signature holds the time of whoever makes it")]
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn hex(secret: &str, signed: &str) -> String {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(signed.as_bytes());
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sign(secret: &str, at: u64, body: &str) -> String {
    format!("t={at},v1={}", hex(secret, &format!("{at}.{body}")))
}

fn send(app: &App, signature: Option<&str>, body: &str) -> Answer {
    let signature = signature.map(|signature| ("x-signature", signature));
    let headers: Vec<(&str, &str)> =
        signature.into_iter().chain([("content-type", "application/json")]).collect();
    app.send("POST", "/webhook/device-alert", None, &headers, body.as_bytes())
}

#[test]
fn doors_go_by_tier_and_limit() {
    let app = app();
    let (premium, basic) = (Some(app.key.as_str()), Some(app.viewer.as_str()));

    let device = app.get("/secure/device/127.0.77.1", basic);
    assert_eq!(device.status, 200, "{}", device.line());
    let device = device.json();
    assert_eq!(
        (&device["device_ip"], &device["status"], &device["user_tier"]),
        (&json!("127.0.77.1"), &json!("reachable"), &json!("basic"))
    );
    assert_eq!(
        (&device["rate_limit"]["limit"], &device["rate_limit"]["remaining"]),
        (&json!(100), &json!(99))
    );
    assert!(device["rate_limit"]["reset_at"].as_str().unwrap().contains('T'), "{device}");
    assert_eq!(app.get("/secure/device/192.0.2.99", basic).status, 404);
    assert_eq!(app.get("/secure/device/127.0.77.1", None).status, 401);

    let ask = |key: Option<&str>, body: Value| app.post("/secure/execute", key, &body);
    let done = ask(premium, json!({ "command": "sh ver", "device_ip": "127.0.77.1" }));
    assert_eq!(done.status, 200, "{}", done.line());
    let done = done.json();
    assert_eq!(
        (&done["status"], &done["command"], &done["device"]),
        (&json!("executed"), &json!("show ver"), &json!("127.0.77.1"))
    );
    assert!(done["output"].as_str().unwrap().contains("Cisco IOS"), "{done}");
    let unheard = ask(premium, json!({ "command": "show nonsense", "device_ip": "127.0.77.1" })).json();
    assert_eq!(unheard["status"], "error", "{unheard}");
    let refused = ask(basic, json!({ "command": "show version", "device_ip": "127.0.77.1" }));
    assert_eq!(
        (refused.status, &refused.json()["error"]),
        (403, &json!("This endpoint requires premium tier"))
    );
    for (body, status) in [
        (json!({ "device_ip": "127.0.77.1" }), 400),
        (json!({ "command": 1, "device_ip": "127.0.77.1" }), 400),
        (json!({ "command": "show version" }), 400),
        (json!({ "command": "reload", "device_ip": "127.0.77.1" }), 403),
        (json!({ "command": "show version", "device_ip": "192.0.2.99" }), 404),
    ] {
        let answer = ask(premium, body.clone());
        assert_eq!(answer.status, status, "{body}: {}", answer.line());
    }

    // Usage is counted, and asking for it is not.
    let usage = || app.get("/secure/usage", basic).json();
    let first = usage();
    assert_eq!(
        (&first["user_id"], &first["tier"], &first["rate_limit"]),
        (&json!("user_viewer"), &json!("basic"), &json!(100))
    );
    let made = first["requests_today"].as_u64().unwrap();
    assert!(made >= 3 && first["requests_this_month"].as_u64().unwrap() >= made, "{first}");
    assert_eq!(usage()["requests_today"], made);
    app.get("/secure/device/127.0.77.1", basic);
    assert_eq!(usage()["requests_today"], made + 1);
    assert_eq!(app.get("/secure/usage", None).status, 401);
}

#[test]
fn signed_alerts_are_taken_once() {
    let mut app = app();
    let body = r#"{"device": "lab-r1", "severity": "critical", "message": "power supply 2 failed"}"#;
    let signature = sign(SECRET, now(), body);
    let taken = send(&app, Some(&signature), body);
    assert_eq!((taken.status, taken.text().as_str()), (200, r#"{"status":"received"}"#));
    let alerts = app.done("list_alerts", &json!({ "device_ip": "127.0.77.1" }));
    assert_eq!(
        (&alerts["total"], &alerts["alerts"][0]["sender"], &alerts["alerts"][0]["alert"]["severity"]),
        (&json!(1), &json!("monitoring"), &json!("critical"))
    );
    assert_eq!(app.done("list_alerts", &json!({ "device_ip": "lab-r2" }))["total"], 0);

    let other = body.replace("critical", "minor");
    let refused = [
        ("the same again", Some(signature.clone()), body),
        ("another body", Some(signature.clone()), other.as_str()),
        ("old", Some(sign(SECRET, now() - 301, body)), body),
        ("from the future", Some(sign(SECRET, now() + 302, body)), body),
        ("another secret", Some(sign("some other secret of some", now(), body)), body),
        ("bare, where that is not allowed", Some(hex(SECRET, body)), body),
        ("nothing", None, body),
        ("nonsense", Some("t=now,v1=yes".to_owned()), body),
        ("no JSON", Some("t=1,v1=2".to_owned()), "{"),
    ];
    for (what, signature, body) in refused {
        let answer = send(&app, signature.as_deref(), body);
        assert_eq!((answer.status, &answer.json()["error"]), (401, &json!("Invalid signature")), "{what}");
    }
    let broken = send(&app, Some(&sign(SECRET, now(), "[1]")), "[1]");
    assert_eq!(broken.status, 400, "{}", broken.line());
    let large = format!(r#"{{"text": "{}"}}"#, "x".repeat(70_000));
    assert_eq!(send(&app, Some(&sign(SECRET, now(), &large)), &large).status, 413);
    // Its sender is known, and may nothing.
    let stranger = send(&app, Some(&sign("what a stranger signs with", now(), body)), body);
    assert_eq!(stranger.status, 404, "{}", stranger.line());
    // Where the operator allows it, a bare signature of the body will do, as often as it comes.
    for _ in 0..2 {
        assert_eq!(send(&app, Some(&hex("another secret of another", body)), body).status, 200);
    }
    assert_eq!(app.done("list_alerts", &json!({}))["total"], 3);
    assert_eq!(app.get("/webhook/device-alert", None).status, 401);
    assert_eq!(app.get("/webhook/device-alert", Some(&app.key)).status, 405);

    // What was taken before a restart has no second effect after it.
    app.terminate();
    app.restart();
    assert_eq!(send(&app, Some(&signature), body).status, 200);
    assert_eq!(app.done("list_alerts", &json!({}))["total"], 0);
    let audit = app.cli(&["audit", "tail", "-n", "200", "--json"]).out;
    assert!(
        audit.contains("device_alert")
            && audit.contains("webhook:monitoring")
            && audit.contains("power supply 2 failed"),
        "{audit}"
    );
    assert!(audit.contains("auth.refused") && !audit.contains(SECRET), "{audit}");
}

/// A password that came with a request is used for it, and stands nowhere afterwards.
#[test]
fn logins_come_with_a_request_where_that_is_granted() {
    let app = App::with(|quickstart| {
        let text = quickstart.replace(
            "    lab-r2: { host: 127.0.77.2, platform: arista_eos, groups: [lab], labels: { site: fra, role: core } }\n",
            "",
        );
        let text = text.replace(
            "  known_hosts: known_hosts\n  logins:",
            "  known_hosts: known_hosts\n  outside: [127.0.77.2/32]\n  outside_ports: [2322]\n  logins:",
        );
        let text = text.replace("[viewer] }", "[viewer, plain] }");
        text.replace(
            "roles:\n  viewer:",
            "roles:\n  plain: { allow: [run_show_commands, query_device] }\n  viewer:",
        )
    });
    let config = std::fs::read_to_string(app.config()).unwrap();
    let port = config.split("network: { port: ").nth(1).unwrap().split(',').next().unwrap();
    let (inside, outside, other) =
        ("127.0.77.1".to_owned(), format!("127.0.77.2:{port}"), format!("127.0.77.3:{port}"));
    let login = |host: &str, password: &str| json!({ "host": host, "device_type": "arista_eos", "username": "lab", "password": password, "secret": password });
    let ask = |key: &str, devices: Value| {
        app.post(
            "/execute-commands",
            Some(key),
            &json!({ "devices": devices, "commands": ["show version"], "enable_mode": true }),
        )
    };
    let right = "lab";
    let answer = ask(
        &app.key,
        json!([login(&inside, right), login(&outside, right), "lab-r3", login("192.0.2.99", right)]),
    );
    assert_eq!(answer.status, 200, "{}", answer.line());
    let said: Vec<(Value, Value)> = answer.json()["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["host"].clone(), one["success"].clone()))
        .collect();
    let wanted =
        [(inside.as_str(), true), (outside.as_str(), true), ("192.0.2.99", false), ("127.0.77.3", true)];
    assert_eq!(said, wanted.map(|(host, success)| (json!(host), json!(success))), "{}", answer.text());
    assert!(answer.text().contains("Device not found: 192.0.2.99"), "{}", answer.text());

    // Who may not, is told so, device by device; a host that is in the inventory under another name is not outside it.
    let refused = ask(&app.viewer, json!([login(&outside, right)]));
    assert!(refused.text().contains("it takes a role that allows `query_device_as`"), "{}", refused.line());
    assert!(ask(&app.key, json!([login(&other, right)])).json()["successful"] == 1, "it is lab-r3");
    let alone = app.call(
        "query_device_as",
        &json!({ "device_ip": inside, "user": "lab", "commands": ["show version"] }),
    );
    assert!(alone.status == 400 && alone.line().contains("no login of"), "{}", alone.line());
    let changing = app.post(
        "/execute-commands",
        Some(&app.key),
        &json!({ "devices": [login(&outside, right)], "commands": ["reload"] }),
    );
    assert_eq!(changing.json()["results"][0]["error_class"], "denied", "{}", changing.line());

    // A wrong one is tried once, and is in nobody's way but its bringer's.
    let wrong = "wr0ngpassw0rd";
    for (attempt, error) in [&["refused"][..], &["is not tried again"; 6]].concat().into_iter().enumerate() {
        let host = if attempt % 2 == 0 { &outside } else { &inside };
        let answer = ask(&app.key, json!([login(host, wrong)])).json();
        assert!(answer["results"][0]["error"].as_str().unwrap().contains(error), "{attempt}: {answer}");
    }
    // A spelling of what the inventory has is no way around it, and hosts outside are nobody's to look at.
    let mapped = ask(&app.key, json!([login(&format!("[::ffff:{inside}]:{port}"), right)])).json();
    assert!(mapped["results"][0]["error"].as_str().unwrap().starts_with("lab-r1: "), "{mapped}");
    let looked = |key: &str| app.get(&format!("/operations/status/{outside}"), Some(key)).status;
    assert_eq!((looked(&app.key), looked(&app.viewer)), (200, 404));
    assert_eq!(
        app.done("query_device", &json!({ "device_ip": inside, "commands": ["show version"] }))["status"],
        "success"
    );

    for entry in walk(app.home()) {
        let bytes = std::fs::read(&entry).unwrap_or_default();
        let holds = bytes.windows(wrong.len()).any(|window| window == wrong.as_bytes());
        assert!(!holds, "{} holds a password", entry.display());
    }
}

/// Every file beneath a folder.
fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(walk(&path));
        } else if path.is_file() {
            files.push(path);
        }
    }
    files
}
