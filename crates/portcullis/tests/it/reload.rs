//! A changed configuration holds at once; a bad one changes nothing; and no call notices.

use std::{
    fs,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
};

use serde_json::{Value, json};

use crate::app::{App, until};

fn description(app: &App) -> String {
    let tools = app.get("/mcp/tools", Some(&app.key)).json();
    let tools = tools.as_array().unwrap();
    let found = tools.iter().find(|tool| tool["name"] == "get_top_customers").unwrap();
    found["description"].as_str().unwrap().to_owned()
}

/// How many lines the log has about refused configurations.
fn refusals(app: &App) -> usize {
    app.log().matches("the configuration is not taken").count()
}

#[test]
fn a_changed_file_holds_at_once_and_no_call_fails() {
    let app = App::unlimited();
    let config = fs::read_to_string(app.config()).unwrap();
    let usual = "Lists the customers of the shop by what their orders are worth, the best first.";
    let (stop, calls) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let answer = app.call("get_top_customers", &json!({ "limit": 3 }));
                    assert_eq!(answer.status, 200, "{}", answer.line());
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let edits = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for n in 0..5 {
                let wanted = format!("Edition {n}.");
                fs::write(app.config(), config.replace(usual, &wanted)).unwrap();
                until("the new description holds", || description(&app) == wanted);
                let before = refusals(&app);
                fs::write(app.config(), "roles: [nonsense\n").unwrap();
                until("the bad file is refused", || refusals(&app) > before);
                assert_eq!(description(&app), wanted);
            }
        }));
        stop.store(true, Ordering::Relaxed);
        edits.unwrap();
    });
    assert!(calls.into_inner() > 20);
}

#[test]
fn a_bad_file_says_why_and_changes_nothing() {
    let app = App::start();
    let before = description(&app);
    let config = fs::read_to_string(app.config()).unwrap();
    fs::write(app.config(), config.replace("database: shop\n", "databose: shop\n")).unwrap();
    let refused = app.call("config_reload", &json!({}));
    assert_eq!(refused.status / 100, 4, "{}", refused.line());
    assert!(refused.text().contains("databose") && refused.text().contains("database"), "{}", refused.line());
    assert_eq!(description(&app), before);
    app.done("get_top_customers", &json!({ "limit": 1 }));
}

#[test]
fn a_signal_reloads_too() {
    let app = App::with(|config| format!("{config}\nupkeep: {{ watch_config: false }}\n"));
    let config = fs::read_to_string(app.config()).unwrap();
    fs::write(app.config(), config.replace("the best first.", "the best first!")).unwrap();
    app.signal(rustix::process::Signal::HUP);
    until("the new description holds", || description(&app).ends_with('!'));
}

#[test]
fn what_a_role_may_holds_at_once() {
    let app = App::start();
    let config = fs::read_to_string(app.config()).unwrap();
    let list = || app.post("/v1/mcp/fs_list", Some(&app.viewer), &json!({})).status;
    assert_eq!(list(), 200);
    let narrower = config.replace("allow: [\"effect:reads\"]\n", "allow: [\"get_*\"]\n");
    assert_ne!(narrower, config);
    fs::write(app.config(), narrower).unwrap();
    let reloaded: Value = app.done("config_reload", &json!({}));
    assert_eq!(list(), 404, "{reloaded}");
}
