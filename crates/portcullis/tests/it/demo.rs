//! What a newcomer's demo offers, with the exact shapes.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use crate::app::App;

fn check(app: &App, tool: &str, arguments: &Value, expect: &Expect) {
    let answer = app.call(tool, arguments);
    let id = answer.header("x-request-id").unwrap();
    expect.assert_eq(&answer.line().replace(id, "ID"));
}

#[test]
fn the_tools_of_the_first_five_minutes() {
    let app = App::start();
    check(
        &app,
        "get_customer",
        &json!({ "customer_id": 42 }),
        &expect![[r#"200 {"id":42,"name":"Acme Corp","email":"contact@acme.com"}"#]],
    );
    check(
        &app,
        "get_customer",
        &json!({ "customer_id": "42" }),
        &expect![[r#"200 {"id":42,"name":"Acme Corp","email":"contact@acme.com"}"#]],
    );
    check(
        &app,
        "get_customer",
        &json!({ "customer_id": 244 }),
        &expect![[
            r#"404 {"error":"Customer not found","status":"not_found","detail":"Customer not found","code":"not_found","request_id":"ID"}"#
        ]],
    );
    check(
        &app,
        "get_customer_v1",
        &json!({ "customer_id": 1 }),
        &expect![[
            r#"200 {"id":1,"name":"Amber Foods","email":"contact@amber-foods.example","city":"Oslo","created_at":"2024-02-02T09:01:00Z"}"#
        ]],
    );
    check(
        &app,
        "get_top_customers",
        &json!({ "limit": 2, "offset": 1 }),
        &expect![[
            r#"200 {"customers":[{"name":"Beta Inc","total":120000},{"name":"Zephyr Gardens","total":77427}],"limit":2,"offset":1,"total_count":243}"#
        ]],
    );
    check(
        &app,
        "get_top_customers",
        &json!({ "limit": 1001 }),
        &expect![[
            r#"400 {"error":"\"/limit\" must be at most 1000, not 1001","status":"invalid","detail":"\"/limit\" must be at most 1000, not 1001","code":"bad_arguments","request_id":"ID","pointer":"/limit","errors":[{"pointer":"/limit","detail":"\"/limit\" must be at most 1000, not 1001"}]}"#
        ]],
    );
    check(
        &app,
        "sql_query",
        &json!({ "sql": "SELECT :a + 1 AS b", "params": { "a": 1 } }),
        &expect![[r#"200 {"rows":[{"b":2}],"columns":["b"],"row_count":1,"truncated":false}"#]],
    );
    check(
        &app,
        "sql_query",
        &json!({ "sql": "SELECT count(*) AS n FROM customers" }),
        &expect![[r#"200 {"rows":[{"n":243}],"columns":["n"],"row_count":1,"truncated":false}"#]],
    );
    check(
        &app,
        "fs_read_text",
        &json!({ "path": "hello.txt" }),
        &expect![[
            r#"200 {"text":"hello, mcp\n","path":"hello.txt","offset":0,"bytes":11,"total_bytes":11,"truncated":false}"#
        ]],
    );
    check(
        &app,
        "fs_search",
        &json!({ "query": "Acme" }),
        &expect![[
            r#"200 {"matches":[{"path":"notes/shop.md","line":3,"text":"243 customers, eight cities. The largest customer is Acme Corp.","offset":12},{"path":"notes/todo.md","line":3,"text":"- call Acme Corp about the open order","offset":9}],"files_searched":5,"files_skipped":0,"folders_skipped":0,"truncated":false,"next":null}"#
        ]],
    );
}

#[test]
fn the_sample_api_can_be_fetched_and_nothing_else() {
    let app = App::start();
    let fetched = app.call("http_fetch", &json!({ "url": format!("http://{}/customers/42", app.lab) }));
    assert_eq!(fetched.status, 200, "{}", fetched.line());
    let own = app.call("http_fetch", &json!({ "url": format!("{}/health", app.url) }));
    assert_eq!((own.status, own.json()["code"].as_str()), (403, Some("denied")), "{}", own.line());
}

#[test]
fn files_are_listed() {
    let app = App::start();
    let listed = app.done("fs_list", &json!({}));
    let names: Vec<_> =
        listed["entries"].as_array().unwrap().iter().map(|entry| entry["name"].clone()).collect();
    assert_eq!(names, ["hello.txt", "notes", "reports"]);
}

#[test]
fn the_old_tool_says_that_it_is_old() {
    let app = App::start();
    let tools = app.get("/mcp/tools", Some(&app.key)).json();
    let old = tools.as_array().unwrap().iter().find(|tool| tool["name"] == "get_customer_v1").unwrap();
    assert_ne!(old["deprecated"], json!(false), "{old}");
    let answer = app.call("get_customer_v1", &json!({ "customer_id": 1 }));
    assert!(answer.header("deprecation").is_some(), "{:?}", answer.headers);
}

#[test]
fn a_viewer_sees_what_reads_and_nothing_else() {
    let app = App::start();
    let tools = app.get("/mcp/tools", Some(&app.viewer)).json();
    let tools = tools.as_array().unwrap();
    assert!(tools.iter().any(|tool| tool["name"] == "get_top_customers"));
    for tool in tools {
        assert_eq!(tool["effect"], "reads", "{tool}");
    }
    let hidden = app.post("/v1/mcp/fs_write_text", Some(&app.viewer), &json!({ "path": "a", "text": "b" }));
    assert_eq!(
        (hidden.status, hidden.json()["error"].clone()),
        (404, json!("Tool not found: fs_write_text"))
    );
}

#[test]
fn every_door_has_its_shape() {
    let app = App::start();
    let members = |answer: &Value| answer.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    let mut page = String::new();
    for path in ["/", "/mcp/info", "/health", "/health/detailed", "/health/ready", "/health/live", "/stats"] {
        let answer = app.get(path, Some(&app.key));
        page.push_str(&format!("{path} {}: {}\n", answer.status, members(&answer.json())));
    }
    let bodies = [
        ("/mcp/call-tool", json!({ "tool": "fs_read_text", "arguments": { "path": "hello.txt" } })),
        ("/mcp/call-tool", json!({ "tool": "fs_read_text", "arguments": { "path": "none.txt" } })),
        ("/invoke", json!({ "tool": "fs.read_text", "params": { "path": "hello.txt" }, "caller": "me" })),
    ];
    for (path, body) in bodies {
        let answer = app.post(path, Some(&app.key), &body);
        let json = answer.json();
        page.push_str(&format!("{path} {}: {} error={}\n", answer.status, members(&json), json["error"]));
    }
    expect![[r#"
        / 200: service version docs documentation redoc openapi health mcp_tools mcp
        /mcp/info 200: name version protocol_version protocol_versions capabilities
        /health 200: status timestamp version uptime_seconds database upstream_api audit memory_usage_percent servers
        /health/detailed 200: status timestamp version uptime_seconds checks metrics
        /health/ready 200: status
        /health/live 200: status
        /stats 200: uptime_seconds total_operations operations_per_minute timestamp
        /mcp/call-tool 200: tool result error execution_time_ms request_id error=null
        /mcp/call-tool 200: tool result error execution_time_ms request_id status code error="there is no \"none.txt\"; fs_list shows what there is"
        /invoke 200: request_id tool duration_ms result error error=null
    "#]].assert_eq(&page);
}

#[test]
fn arguments_without_a_content_type_are_taken_as_json() {
    let app = App::start();
    for kind in [&[][..], &[("content-type", "application/x-www-form-urlencoded")][..]] {
        let answer =
            app.send("POST", "/v1/mcp/fs_read_text", Some(&app.key), kind, br#"{"path":"hello.txt"}"#);
        assert_eq!(answer.status, 200, "{}", answer.line());
    }
}

#[test]
fn it_stops_in_order_when_it_is_asked() {
    let mut app = App::start();
    app.done("fs_list", &json!({}));
    assert!(app.terminate().success(), "{}", app.log());
    let verified = app.cli(&["audit", "verify"]);
    assert_eq!(verified.code, 0, "{verified:?}");
}
