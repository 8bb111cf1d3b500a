//! `portcullis serve` without a file: the environment makes the configuration.

use std::{
    path::Path,
    process::{Child, Stdio},
};

use serde_json::{Value, json};

use crate::{
    app::{program, until},
    http::{exchange, request},
};

const KEY: &str = "sk_env_0123456789abcdef0123456789abcdef";

/// A server that is ended when it is dropped.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A database with one table of one row.
fn database(path: &Path, name: &str) {
    let script = format!("CREATE TABLE t (name TEXT); INSERT INTO t VALUES ('{name}');");
    sql::create_from_script(path, &script).unwrap();
}

/// Where the server listens, once it does.
fn address(home: &Path) -> std::net::SocketAddr {
    let note = || std::fs::read(home.join("data/server.json")).ok();
    let mut url = None;
    until("the server listens", || {
        let note: Option<Value> = note().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        url = note.and_then(|note| note["url"].as_str()?.strip_prefix("http://").map(str::to_owned));
        url.is_some()
    });
    url.unwrap().parse().unwrap()
}

#[test]
fn sql_query_needs_no_database_where_the_environment_names_two() {
    let home = tempfile::tempdir().unwrap();
    database(&home.path().join("shop.db"), "of DB_URL");
    database(&home.path().join("other.db"), "of MCP_SQLITE");
    let mut command = program(home.path());
    command.args(["serve", "--listen", "127.0.0.1:0"]).env("API_KEY_PRIMARY", KEY);
    command.env("DB_URL", "sqlite:///shop.db").env("MCP_SQLITE", "other.db");
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let _served = Served(child);
    let address = address(home.path());
    let ask = |arguments: Value| {
        let headers = [("authorization", format!("Bearer {KEY}"))];
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let body = arguments.to_string();
        let sent = request("POST", "/v1/mcp/sql_query", &headers, body.as_bytes());
        exchange(address, &sent).unwrap().line()
    };
    let sql = "SELECT name FROM t WHERE name <> ?";
    let lines = [
        ask(json!({ "sql": sql, "params": ["x"] })),
        ask(json!({ "sql": sql, "params": ["x"], "database": "main" })),
        ask(json!({ "sql": sql, "params": ["x"], "database": "mcp" })),
    ];
    expect_test::expect![[r#"
        200 {"rows":[{"name":"of MCP_SQLITE"}],"columns":["name"],"row_count":1,"truncated":false}
        200 {"rows":[{"name":"of DB_URL"}],"columns":["name"],"row_count":1,"truncated":false}
        200 {"rows":[{"name":"of MCP_SQLITE"}],"columns":["name"],"row_count":1,"truncated":false}"#]]
    .assert_eq(&lines.join("\n"));
}
