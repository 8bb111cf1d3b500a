//! Every call that was answered is in the log, whatever happened after; and a log that was touched says where.

use std::{collections::BTreeSet, fs, sync::Mutex, time::Duration};

use serde_json::{Value, json};

use crate::{
    app::App,
    battery::{self, Dice},
    http::{exchange, request},
};

#[test]
fn kill_under_load_loses_no_answered_call() {
    let mut app = App::unlimited();
    let rounds = battery::rounds(4);
    let mut dice = Dice::new();
    let answered = Mutex::new(BTreeSet::new());
    for _ in 0..rounds {
        let wait = Duration::from_millis(100 + dice.below(300));
        let bearer = format!("Bearer {}", app.key);
        let addr = app.addr;
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let bytes = request("POST", "/v1/mcp/fs_list", &[("authorization", &bearer)], b"{}");
                    // until the server is gone
                    while let Ok(answer) = exchange(addr, &bytes) {
                        assert_eq!(answer.status, 200, "{}", answer.line());
                        answered.lock().unwrap().insert(answer.header("x-request-id").unwrap().to_owned());
                    }
                });
            }
            std::thread::sleep(wait);
            app.kill();
        });
        app.restart();
    }
    let answered = answered.into_inner().unwrap();
    let wrong = unrecorded(&app, &answered);
    assert!(answered.len() >= 20, "only {} calls were answered", answered.len());
    battery::conclude(
        "kill_audit",
        "kill -9 under load: every answered call is in the audit log, and it verifies",
        answered.len(),
        &wrong,
    );
}

#[test]
fn a_touched_log_says_where() {
    let mut app = App::start();
    for _ in 0..20 {
        app.done("fs_list", &json!({}));
    }
    app.terminate();
    let good = app.cli(&["audit", "verify", "--json"]);
    assert_eq!(good.code, 0, "{good:?}");
    let segment = app.data().join("audit/audit-000001.jsonl");
    let honest = fs::read_to_string(&segment).unwrap();
    let lines: Vec<&str> = honest.lines().collect();
    let without = |n: usize| [&lines[..n], &lines[n + 1..]].concat().join("\n") + "\n";
    let tampered = [
        ("a word changed", honest.replacen("\"fs_list\"", "\"fs_lisp\"", 1)),
        ("a record taken out", without(5)),
        ("the last record taken out", without(lines.len() - 1)),
        ("two records swapped", {
            let mut swapped = lines.clone();
            swapped.swap(6, 7);
            swapped.join("\n") + "\n"
        }),
        ("cut in half", honest[..honest.len() / 2].to_owned()),
        ("emptied", String::new()),
    ];
    for (name, text) in tampered {
        fs::write(&segment, text).unwrap();
        let said = app.cli(&["audit", "verify", "--json"]);
        assert_eq!(said.code, 1, "{name}: {said:?}");
        let report: Value = serde_json::from_str(said.out.lines().next().unwrap_or_default()).unwrap();
        assert!(!report["problem"].is_null(), "{name}: {report}");
    }
    fs::write(&segment, &honest).unwrap();
    assert_eq!(app.cli(&["audit", "verify"]).code, 0);
}

#[test]
fn no_secret_is_in_the_log() {
    let mut app = App::start();
    let secret = app.key_for("fresh", "demo");
    app.post("/v1/mcp/fs_list", Some(&secret), &json!({}));
    let forged = app.post("/v1/mcp/fs_list", Some("sk_demo_forgedforgedforgedforged"), &json!({}));
    assert_eq!(forged.status, 401);
    app.call("fs_write_text", &json!({ "path": "a.txt", "text": format!("key={secret}") }));
    app.terminate();
    for entry in fs::read_dir(app.data().join("audit")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        for hidden in [&secret, &app.key, &app.viewer, "sk_demo_forgedforgedforgedforged"] {
            assert!(!text.contains(hidden), "a secret is in the audit log");
        }
    }
    assert!(!app.log().contains(&secret) && !app.log().contains(&app.key), "a secret is in the server's log");
    let log = app.log();
    let line = log.lines().find(|line| line.contains("Invalid")).unwrap();
    assert!(line.contains(r#""address":"127.0.0.1""#), "a failed login says so, and from where: {line}");
}

/// What is wrong with the log after these calls were answered: those that are not in it, and that it does not verify.
pub(crate) fn unrecorded(app: &App, answered: &BTreeSet<String>) -> Vec<String> {
    let recorded = recorded(app);
    let lost = answered.difference(&recorded);
    let mut wrong: Vec<String> = lost.map(|id| format!("{id} was answered and is not in the log")).collect();
    let verified = app.cli(&["audit", "verify"]);
    if verified.code != 0 {
        wrong.push(format!("{verified:?}"));
    }
    wrong
}

/// The request ids of the calls that the log has an outcome of.
fn recorded(app: &App) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for entry in fs::read_dir(app.data().join("audit")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ext| ext != "jsonl") {
            continue;
        }
        for line in fs::read_to_string(path).unwrap().lines() {
            let record: Value = serde_json::from_str(line).unwrap_or_default();
            if record["event"] == "call.outcome" {
                ids.extend(record["request_id"].as_str().map(str::to_owned));
            }
        }
    }
    ids
}
