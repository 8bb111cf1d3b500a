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

/// Starts a server with these variables alone.
fn serve(home: &Path, variables: &[(&str, &str)]) -> (Served, std::net::SocketAddr) {
    let _ = std::fs::remove_file(home.join("data/server.json"));
    let mut command = program(home);
    command.args(["serve", "--listen", "127.0.0.1:0"]).envs(variables.iter().copied());
    let log = std::fs::File::options().create(true).append(true).open(home.join("log")).unwrap();
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    let served = Served(command.spawn().unwrap());
    (served, address(home))
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
    let variables = [("API_KEY_PRIMARY", KEY), ("DB_URL", "sqlite:///shop.db"), ("MCP_SQLITE", "other.db")];
    let (_served, address) = serve(home.path(), &variables);
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

/// A server that was tried out with `change-me-in-production` took it in production too.
#[test]
fn a_placeholder_of_development_is_good_for_nothing_afterwards() {
    let home = tempfile::tempdir().unwrap();
    let (first, second) = ("change-me-in-production", "kitten");
    let asked = |variables: &[(&str, &str)]| {
        let (_served, address) = serve(home.path(), variables);
        [first, second].map(|key| {
            let bearer = format!("Bearer {key}");
            let sent = request("GET", "/mcp/tools", &[("authorization", &bearer)], b"");
            exchange(address, &sent).unwrap().status
        })
    };
    let keys = [("API_KEY_PRIMARY", first), ("API_KEY_SECONDARY", second)];
    let development = [&keys[..], &[("ENVIRONMENT", "development")]].concat();
    assert_eq!(asked(&development), [200, 200]);
    assert_eq!(asked(&[("ENVIRONMENT", "production")]), [401, 401]);
    let log = std::fs::read_to_string(home.path().join("log")).unwrap();
    assert!(log.contains("a key lost its placeholder secret"), "{log}");
    assert_eq!(asked(&development), [200, 200], "what is given again is good again");
}

/// 500 refused logins were 560 lines of log, and some of them did not say `Invalid`.
#[test]
fn refused_logins_fill_no_log() {
    let home = tempfile::tempdir().unwrap();
    let (_served, address) = serve(home.path(), &[("API_KEY_PRIMARY", KEY)]);
    for i in 0..200 {
        let bearer = format!("Bearer guess-{i}");
        let headers = [("authorization", bearer.as_str())];
        let sent = request("POST", "/v1/mcp/change_list", &headers[..i % 2], b"{}");
        assert_eq!(exchange(address, &sent).unwrap().status, 401);
    }
    let log = std::fs::read_to_string(home.path().join("log")).unwrap();
    let refused: Vec<&str> = log.lines().filter(|line| line.contains("API key")).collect();
    assert!((1..=60).contains(&refused.len()), "{} lines", refused.len());
    let silent: Vec<_> = refused.iter().filter(|line| !line.contains("Invalid")).collect();
    assert!(silent.is_empty(), "{silent:?}");
}
