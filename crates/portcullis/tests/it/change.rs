//! The first change: a plan, an approval by another human, an apply; wholly old or wholly new at any moment.

use std::{
    fs,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    app::{App, approved_write},
    battery::{self, Dice},
};

#[test]
fn a_change_over_rest() {
    let app = App::start();
    let planned = app.done("fs_write_text", &json!({ "path": "hello.txt", "text": "hello, gate\n" }));
    let id = planned["change_id"].as_str().unwrap();
    assert_eq!(planned["approval"]["state"], "pending", "{planned}");
    let diff = planned["plan"].to_string();
    assert!(diff.contains("-hello, mcp") && diff.contains("+hello, gate"), "{diff}");
    assert_eq!(fs::read_to_string(app.files().join("hello.txt")).unwrap(), "hello, mcp\n");

    let change = json!({ "change_id": id });
    let early = app.call("change_apply", &change);
    assert_eq!(early.status, 409, "{}", early.line());
    let own = app.call("change_approve", &change);
    assert_eq!(own.status, 403, "{}", own.line());
    let machine = app.key_for("other-agent", "demo");
    assert_eq!(app.post("/v1/mcp/change_approve", Some(&machine), &change).status, 403);
    let viewer = app.post("/v1/mcp/change_approve", Some(&app.viewer), &change);
    assert_eq!(viewer.status, 404, "{}", viewer.line());

    let human = app.key_for("human", "local");
    let approved = app.post("/v1/mcp/change_approve", Some(&human), &change);
    assert_eq!(approved.status, 200, "{}", approved.line());
    let others = app.post("/v1/mcp/change_apply", Some(&human), &change);
    assert!(others.status == 403 || others.status == 404, "{}", others.line());
    let applied = app.done("change_apply", &change);
    assert_eq!(fs::read_to_string(app.files().join("hello.txt")).unwrap(), "hello, gate\n", "{applied}");
    let again = app.call("change_apply", &change);
    assert_eq!(again.status, 409, "an approval is good for once: {}", again.line());
}

#[test]
fn a_change_over_the_command_line() {
    let app = App::start();
    let planned =
        app.done("fs_write_text", &json!({ "path": "new/plan.md", "text": "one\n", "create_parents": true }));
    let id = planned["change_id"].as_str().unwrap();
    let pending = app.cli(&["pending", "--json"]);
    assert!(pending.code == 0 && pending.out.contains(id), "{pending:?}");
    let unasked = app.cli(&["approve", id]);
    assert!(unasked.code == 1 && unasked.err.contains("say --yes"), "{unasked:?}");
    let approved = app.cli(&["approve", id, "--yes", "--reason", "looks right"]);
    assert_eq!(approved.code, 0, "{approved:?}");
    app.done("change_apply", &json!({ "change_id": id }));
    assert_eq!(fs::read_to_string(app.files().join("new/plan.md")).unwrap(), "one\n");
    // whoever plans at the command line is the local human, who may not approve that
    let own = app.cli(&["call", "fs_write_text", "path=a.txt", "text=b", "--json"]);
    let own: serde_json::Value = serde_json::from_str(&own.out).unwrap();
    let refused = app.cli(&["approve", own["change_id"].as_str().unwrap(), "--yes"]);
    assert_eq!(refused.code, 4, "{refused:?}");
    let denied = app.cli(&["deny", own["change_id"].as_str().unwrap(), "--reason", "no"]);
    assert_eq!(denied.code, 4, "nobody decides about their own: {denied:?}");
}

#[test]
fn a_file_that_changed_since_is_not_overwritten() {
    let app = App::start();
    let human = app.key_for("human", "local");
    let id = approved_write(&app, &human, "hello.txt", "planned\n");
    fs::write(app.files().join("hello.txt"), "someone was here\n").unwrap();
    let drifted = app.call("change_apply", &json!({ "change_id": id }));
    assert_eq!(
        (drifted.status, drifted.json()["code"].clone()),
        (409, json!("drifted")),
        "{}",
        drifted.line()
    );
    assert_eq!(fs::read_to_string(app.files().join("hello.txt")).unwrap(), "someone was here\n");
}

#[test]
fn kill_at_any_point_leaves_old_or_new() {
    let mut app = App::unlimited();
    let human = app.key_for("human", "local");
    let rounds = battery::rounds(12);
    let mut dice = Dice::new();
    let mut wrong = Vec::new();
    let text = |round: u32| format!("round {round}\n").repeat(20_000);
    let target = app.files().join("target.txt");
    let mut old = text(rounds + 1);
    fs::write(&target, &old).unwrap();
    // What one apply takes here and now, so that kills fall before, into and after it.
    let id = approved_write(&app, &human, "target.txt", &text(rounds + 2));
    let started = Instant::now();
    app.done("change_apply", &json!({ "change_id": id }));
    let window = u64::try_from(started.elapsed().as_micros()).unwrap() * 5 / 4;
    old = text(rounds + 2);
    let mut applied = 0;
    for round in 0..rounds {
        let new = text(round);
        let id = approved_write(&app, &human, "target.txt", &new);
        let wait = Duration::from_micros(dice.below(window));
        let body = json!({ "change_id": id }).to_string();
        let bearer = format!("Bearer {}", app.key);
        let request = crate::http::request(
            "POST",
            "/v1/mcp/change_apply",
            &[("authorization", &bearer)],
            body.as_bytes(),
        );
        let mut stream = crate::http::connect(app.addr).unwrap();
        std::io::Write::write_all(&mut stream, &request).unwrap();
        std::thread::sleep(wait);
        app.kill();
        let answered = crate::http::read_answer(&mut stream).is_ok_and(|answer| answer.status == 200);
        let found = fs::read_to_string(&target).unwrap();
        if found != old && found != new {
            wrong.push(format!(
                "round {round}, killed after {wait:?}: neither old nor new, {} bytes",
                found.len()
            ));
        }
        if answered && found != new {
            wrong.push(format!("round {round}, killed after {wait:?}: said applied, but it is old"));
        }
        app.restart();
        let state = app.done("change_show", &json!({ "change_id": id }))["status"].clone();
        let fits = match state.as_str().unwrap_or_default() {
            "applied" => found == new,
            "approved" => found == old,
            "applying" => false,
            _ => true,
        };
        if !fits {
            wrong.push(format!(
                "round {round}, killed after {wait:?}: the change says {state}, the file does not"
            ));
        }
        applied += u32::from(found == new);
        old = found;
        // Not begun: the approval is as good as before.
        if state == "approved" {
            app.done("change_apply", &json!({ "change_id": id }));
            old = fs::read_to_string(&target).unwrap();
            if old != new {
                wrong.push(format!("round {round}: applied after the restart, and the file is old"));
            }
        }
    }
    let verified = app.cli(&["audit", "verify"]);
    if verified.code != 0 {
        wrong.push(format!("the audit log does not verify: {verified:?}"));
    }
    eprintln!("{applied} of {rounds} were applied before the end, killed within {window} us");
    battery::conclude(
        "kill_change",
        "kill -9 while a change is applied: wholly old or wholly new, and the record agrees",
        rounds as usize,
        &wrong,
    );
}
