//! Toolsets: chosen parts of what there is, each at an endpoint of its own.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use serde_json::json;

use crate::{
    app::{App, PROGRAM},
    client::Client,
};

/// A demo with a toolset to read with, and one that holds what the viewer may not see.
fn app() -> App {
    let toolsets = json!({
        "reading": { "tools": ["get_*", "fs_read_text"], "instructions": "Looks things up." },
        "writing": { "tools": ["fs_write_text"] },
    });
    App::with(|config| format!("{config}\ntoolsets: {toolsets}\n"))
}

fn client(app: &App, key: &str, path: &'static str) -> Client {
    Client { path, ..Client::new(app.addr, key) }
}

fn names(client: &Client) -> Vec<String> {
    let listed = client.modern("tools/list", json!({}), &json!({}));
    let tools = listed["result"]["tools"].as_array().unwrap_or_else(|| panic!("{listed}"));
    tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

const READING: &str = "/mcp/toolsets/reading";

#[test]
fn a_toolset_shows_what_it_names_and_nothing_else_is_there() {
    let app = app();
    let reading = client(&app, &app.key, READING);
    let shown = names(&reading);
    assert!(shown.iter().all(|name| name.starts_with("get_") || name == "fs_read_text"), "{shown:?}");
    assert!(shown.len() > 1 && shown.len() < names(&client(&app, &app.key, "/mcp")).len());
    let arguments = json!({ "path": "hello.txt" });
    let call = |client: &Client, tool: &str| {
        client.modern("tools/call", json!({ "name": tool, "arguments": arguments }), &json!({}))
    };
    assert_eq!(call(&reading, "fs_read_text")["result"]["isError"], false);
    // What is elsewhere is not there, as what nobody knows is not.
    for tool in ["fs_list", "no_such_tool"] {
        let answer = call(&reading, tool);
        let text = answer.to_string();
        assert!(text.contains(&format!("Tool not found: {tool}")), "{text}");
    }
    assert!(call(&client(&app, &app.key, "/mcp"), "fs_list").to_string().contains("hello.txt"));
    // What the server is for is said by the toolset; resources go by what stands for them.
    let discovered = reading.modern("server/discover", json!({}), &json!({}));
    assert_eq!(discovered["result"]["instructions"], "Looks things up.");
    let resources = reading.modern("resources/list", json!({}), &json!({}));
    assert_eq!(resources["result"]["resources"], json!([]));
    let tail = app.cli(&["audit", "tail", "-n", "1", "--tool", "fs_read_text", "--json"]);
    assert!(tail.out.contains(r#""toolset":"reading""#), "{tail:?}");
}

#[test]
fn a_toolset_grants_nothing() {
    let app = app();
    let writing = client(&app, &app.viewer, "/mcp/toolsets/writing");
    assert_eq!(names(&writing), [""; 0]);
    let arguments = json!({ "path": "x", "text": "y" });
    let answer =
        writing.modern("tools/call", json!({ "name": "fs_write_text", "arguments": arguments }), &json!({}));
    assert!(answer.to_string().contains("Tool not found"), "{answer}");
    // Who is nobody does not learn which there are; who is somebody does not learn more than that.
    for path in [READING, "/mcp/toolsets/none"] {
        let nobody = client(&app, "wrong", path);
        let answer = nobody.post(&json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }));
        assert_eq!(answer.status, 401, "{path}");
    }
    let none = client(&app, &app.key, "/mcp/toolsets/none");
    let answer = none.post(&json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }));
    assert_eq!(answer.status, 404, "{}", answer.line());
    assert!(answer.text().contains("there is no toolset"), "{}", answer.line());
}

#[test]
fn a_session_and_a_pipe_have_toolsets_too() {
    let app = app();
    let mut older = client(&app, &app.key, READING);
    let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } });
    let begun = older.post(&json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params }));
    assert_eq!(begun.json()["result"]["instructions"], "Looks things up.", "{}", begun.line());
    older.session = begun.header("mcp-session-id").map(str::to_owned);
    let listed = older.ask(json!(1), "tools/list", json!({}));
    assert!(!listed.to_string().contains("fs_list"), "{listed}");

    let mut pipe = Command::new(PROGRAM)
        .args(["stdio", "--toolset", "reading", "--data"])
        .arg(app.data())
        .env("PORTCULLIS_KEY", &app.key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let meta = json!({ crate::client::VERSION: "2026-07-28", crate::client::CAPABILITIES: {} });
    let asked = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": { "_meta": meta } });
    writeln!(pipe.stdin.take().unwrap(), "{asked}").unwrap();
    let said = pipe.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("get_customer") && !said.contains("fs_list"), "{said}");
}

#[test]
fn toolsets_that_select_nothing_are_refused_at_the_start() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("portcullis.yaml");
    let wrong = "toolsets: { a b: { tools: [\"*\"] }, empty: { tools: [] }, unknown: { tools: [no_such_tool, \"colour:red\"] } }\n";
    std::fs::write(&file, wrong).unwrap();
    let checked = crate::app::alone(home.path(), &["check", file.to_str().unwrap()]);
    assert_eq!(checked.code, 1, "{checked:?}");
    for text in
        ["is not a name", "an empty list selects nothing", "no_such_tool", "\"colour\" selects nothing"]
    {
        assert!(checked.err.contains(text), "{text}: {}", checked.err);
    }
}
