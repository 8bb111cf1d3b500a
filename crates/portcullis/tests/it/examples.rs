//! Every configuration of `examples/` is good, starts, and does what it is there to show.

use std::{
    fs,
    path::{Path, PathBuf},
};

use expect_test::expect;
use serde_json::json;

use crate::app::{App, QUICKSTART, alone, copy};

/// Checks an example in an empty folder, then starts it.
fn start(example: &'static str) -> App {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("example.yaml"), example).unwrap();
    let checked = alone(home.path(), &["check", "example.yaml"]);
    assert_eq!(checked.code, 0, "{checked:?}");
    App::with(|_| example.to_owned())
}

#[test]
fn every_example_is_tried() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| Path::new(name).extension().is_some_and(|ending| ending == "yaml"))
        .collect();
    names.sort();
    assert_eq!(names, ["files-with-approval.yaml", "rest-api.yaml", "sqlite-only.yaml"]);
}

#[test]
fn the_quickstart_starts() {
    let app = start(QUICKSTART);
    assert_eq!(app.done("get_top_customers", &json!({ "limit": 1 }))["total_count"], 243);
}

fn runbooks() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/runbooks")
}

#[test]
fn the_example_of_a_gateway_starts_though_its_server_is_down() {
    let app = App::of_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/gateway"));
    assert_eq!(app.get("/mcp/tools", Some(&app.key)).json(), json!([]));
    assert!(app.log().contains("a tool server cannot be reached"), "{}", app.log());
}

#[test]
fn the_example_of_runbooks() {
    let app = App::of_folder(&runbooks());
    let page = app.done("list_customers", &json!({ "limit": 2 }));
    assert_eq!(page["customers"].as_array().map(Vec::len), Some(2), "{page}");
    // What stands for a prompt or a resource is no tool.
    for name in ["prompt_incident", "resource_runbook", "resource_on_call"] {
        assert_eq!(
            app.call(name, &json!({ "symptom": "x", "uri": "docs:///on-call" })).status,
            404,
            "{name}"
        );
    }
}

#[test]
fn the_example_of_runbooks_is_good_and_what_is_wrong_with_it_is_said() {
    let home = tempfile::tempdir().unwrap();
    copy(&runbooks(), home.path());
    let checked = alone(home.path(), &["check"]);
    assert_eq!(checked.code, 0, "{checked:?}");
    let file = home.path().join("portcullis.yaml");
    let text = fs::read_to_string(&file).unwrap();
    let wrong = text
        .replace("{symptom}", "{symptm}")
        .replace("tool: list_customers,", "tool: list_custmers,")
        .replace("name: runbook\n", "name: on_call\n");
    fs::write(&file, wrong).unwrap();
    let checked = alone(home.path(), &["check", "--no-color"]);
    expect![[r#"
        error: there is no argument "symptm"
          --> portcullis.yaml:57:11 (/prompts/incident/messages/0/text)
            |
         57 |           We have an incident. Severity: {severity}. Affected: {customer}.
            |           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
          help: did you mean "symptom"?

        error: there are two resources named "on_call"; rename one
          --> portcullis.yaml:68:11 (/resources/runbook:~1~1~1{name}/name)
            |
         68 |     name: on_call
            |           ^^^^^^^

        portcullis.yaml: 2 problems
    "#]]
    .assert_eq(&checked.err);
    fs::write(&file, text.replace("tool: list_customers,", "tool: list_custmers,")).unwrap();
    let checked = alone(home.path(), &["check", "--no-color"]);
    expect![[r#"
        error: there is no tool "list_custmers"
          --> portcullis.yaml:53:27 (/prompts/incident/arguments/customer/complete/tool)
            |
         53 |         complete: { tool: list_custmers, arguments: { limit: 500 }, pointer: "/customers/*/name" }
            |                           ^^^^^^^^^^^^^
          help: did you mean "list_customers"?

        portcullis.yaml: 1 problem
    "#]].assert_eq(&checked.err);
}

#[test]
fn the_example_of_sqlite() {
    let app = start(include_str!("../../../../examples/sqlite-only.yaml"));
    let page = app.done("list_customers", &json!({ "limit": 2 }));
    assert_eq!(page["total_count"], 243, "{page}");
    assert_eq!(app.done("get_customer", &json!({ "customer_id": 42 }))["name"], "Acme Corp");
    let missing = app.call("get_customer", &json!({ "customer_id": 9999 }));
    assert!(
        missing.status == 404 && missing.line().contains("there is no customer 9999"),
        "{}",
        missing.line()
    );
    assert!(app.done("count_orders", &json!({}))["states"].as_array().is_some_and(|rows| rows.len() == 3));
    assert_eq!(app.call("sql_query", &json!({ "sql": "SELECT 1" })).status, 404);
}

#[test]
fn the_example_of_a_rest_api() {
    let app = start(include_str!("../../../../examples/rest-api.yaml"));
    assert_eq!(app.done("get_customer", &json!({ "customer_id": 42 }))["email"], "contact@acme.com");
    let orders = app.done("list_orders", &json!({ "customer_id": 42 }));
    assert!(
        orders.as_array().is_some_and(|rows| rows.iter().all(|row| row["status"] == "completed")),
        "{orders}"
    );
    let refused = app.call("list_orders", &json!({ "customer_id": 42, "status": "cancelled" }));
    assert_eq!(refused.status, 403, "{}", refused.line());
    let missing = app.call("get_customer", &json!({ "customer_id": 9999 }));
    assert!(missing.status == 404 && missing.line().contains("Customer not found"), "{}", missing.line());
}

#[test]
fn the_example_of_files_with_approval() {
    let app = start(include_str!("../../../../examples/files-with-approval.yaml"));
    let (writer, alice) = (&app.key, &app.viewer);
    let outside = app.call("fs_write_text", &json!({ "path": "a.txt", "text": "a" }));
    assert_eq!(outside.status, 403, "{}", outside.line());
    let planned =
        app.done("fs_write_text", &json!({ "path": "drafts/a.md", "text": "a\n", "create_parents": true }));
    assert_eq!(planned["approval"]["four_eyes"], true, "{planned}");
    let change = json!({ "change_id": planned["change_id"] });
    assert_eq!(app.post("/v1/mcp/change_approve", Some(writer), &change).status, 404);
    let approved = app.post("/v1/mcp/change_approve", Some(alice), &change);
    assert_eq!(approved.status, 200, "{}", approved.line());
    app.done("change_apply", &change);
    assert_eq!(fs::read_to_string(app.files().join("drafts/a.md")).unwrap(), "a\n");
}
