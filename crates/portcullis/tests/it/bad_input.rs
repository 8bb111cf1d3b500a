//! What no honest client sends: each gets an answer that says what is wrong, never a 5xx, never silence.

use std::time::{SystemTime, UNIX_EPOCH};

use expect_test::expect_file;

use crate::{app::App, battery, http::exchange};

/// A body for a tool's own door, as bytes.
fn bodies() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let text = |text: &str| text.as_bytes().to_vec();
    let deep = |open: &str, close: &str, n: usize| format!("{}{}", open.repeat(n), close.repeat(n));
    vec![
        ("no body", "fs_read_text", text("")),
        ("white space", "fs_read_text", text("  \n")),
        ("cut off", "fs_read_text", text(r#"{"path":"a"#)),
        ("two values", "fs_read_text", text(r#"{"path":"hello.txt"}{"path":"b"}"#)),
        ("not an object", "fs_read_text", text(r#"["hello.txt"]"#)),
        ("null", "fs_read_text", text("null")),
        ("a comment", "fs_read_text", text(r#"{"path":"a"/* b */}"#)),
        ("single quotes", "fs_read_text", text("{'path':'a'}")),
        ("a comma too many", "fs_read_text", text(r#"{"path":"a",}"#)),
        ("NaN", "get_top_customers", text(r#"{"limit":NaN}"#)),
        ("a byte order mark", "fs_read_text", b"\xef\xbb\xbf{\"path\":\"hello.txt\"}".to_vec()),
        ("not UTF-8", "fs_read_text", b"{\"path\":\"\xff\xfe\"}".to_vec()),
        ("overlong UTF-8", "fs_read_text", b"{\"path\":\"\xc0\xae\xc0\xae/etc/passwd\"}".to_vec()),
        ("UTF-16", "fs_read_text", "{\"path\":\"a\"}".encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("a name twice", "fs_read_text", text(r#"{"path":"hello.txt","path":"../secret"}"#)),
        (
            "a name twice, once escaped",
            "fs_read_text",
            text(r#"{"path":"hello.txt","p\u0061th":"../secret"}"#),
        ),
        ("a name twice, deep", "sql_query", text(r#"{"sql":"SELECT 1","params":{"a":1,"a":2}}"#)),
        ("half a surrogate pair", "fs_read_text", text(r#"{"path":"\ud800"}"#)),
        ("surrogates the wrong way round", "fs_read_text", text(r#"{"path":"\udc00\ud800"}"#)),
        ("NUL in a text", "fs_read_text", text(r#"{"path":"hello.txt\u0000.png"}"#)),
        ("a raw control character", "fs_read_text", b"{\"path\":\"a\x01b\"}".to_vec()),
        ("deep lists", "sql_query", text(&format!(r#"{{"sql":{}}}"#, deep("[", "]", 100_000)))),
        (
            "deep objects",
            "sql_query",
            text(&format!(r#"{{"sql":{}1{}}}"#, "{\"a\":".repeat(50_000), "}".repeat(50_000))),
        ),
        ("deep and cut off", "sql_query", text(&"[".repeat(1_000_000))),
        (
            "many names",
            "sql_query",
            text(&format!(
                "{{{}}}",
                (0..50_000).map(|n| format!("\"n{n}\":0")).collect::<Vec<_>>().join(",")
            )),
        ),
        ("10 MB", "fs_write_text", text(&format!(r#"{{"path":"a","text":"{}"}}"#, "x".repeat(10_000_000)))),
        ("a number of 400 digits", "get_top_customers", text(&format!(r#"{{"limit":{}}}"#, "9".repeat(400)))),
        ("2^64", "get_top_customers", text(r#"{"limit":18446744073709551616}"#)),
        ("1e999", "get_top_customers", text(r#"{"limit":1e999}"#)),
        ("-0", "get_top_customers", text(r#"{"limit":1,"offset":-0}"#)),
        ("a fraction", "get_top_customers", text(r#"{"limit":1.5}"#)),
        ("below", "get_top_customers", text(r#"{"limit":0}"#)),
        ("above", "get_top_customers", text(r#"{"limit":1001}"#)),
        ("a list for a number", "get_top_customers", text(r#"{"limit":[1]}"#)),
        ("a truth for a number", "get_top_customers", text(r#"{"limit":true}"#)),
        ("words for a number", "get_top_customers", text(r#"{"limit":"ten"}"#)),
        ("an unknown argument", "get_top_customers", text(r#"{"limits":10}"#)),
        ("a number for a text", "fs_read_text", text(r#"{"path":1}"#)),
        ("a prototype", "fs_read_text", text(r#"{"path":"hello.txt","__proto__":{"admin":true}}"#)),
        ("an unknown tool", "no_such_tool", text("{}")),
        ("a tool of 300 letters", LONG, text("{}")),
        ("a tool with escapes", "fs_list%00", text("{}")),
        ("a tool above", "..%2f..%2fadmin", text("{}")),
    ]
}

const LONG: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// Ways out of the folder.
const PATHS: &[&str] = &[
    "../state.db",
    "../../../../etc/passwd",
    "/etc/passwd",
    "notes/../../state.db",
    "notes/..\\..\\state.db",
    "..%2fstate.db",
    "..;/state.db",
    "./../state.db",
    "notes/../..",
    "way-out/passwd",
    "loop",
    "fifo",
    "~root",
    "",
    ".",
    "notes",
    "hello.txt/",
    "/proc/self/environ",
    "file:///etc/passwd",
    "notes//../../state.db",
];

/// SQL that writes, or looks where it may not.
const STATEMENTS: &[&str] = &[
    "DELETE FROM customers",
    "delete/**/from customers",
    "SELECT 1; DROP TABLE customers",
    "/*x*/ DROP TABLE orders",
    "WITH x AS (SELECT 1) DELETE FROM customers",
    "INSERT INTO customers VALUES (1)",
    "REPLACE INTO customers VALUES (1)",
    "UPDATE customers SET name='x' RETURNING id",
    "CREATE TABLE t(a)",
    "CREATE TEMP TABLE t(a)",
    "ALTER TABLE customers RENAME TO c",
    "PRAGMA journal_mode=DELETE",
    "PRAGMA writable_schema=1",
    "ATTACH DATABASE '/tmp/x.db' AS x",
    "DETACH main",
    "VACUUM",
    "VACUUM INTO '/tmp/x.db'",
    "BEGIN IMMEDIATE",
    "REINDEX",
    "ANALYZE",
    "EXPLAIN DELETE FROM customers",
    "SELECT load_extension('x')",
    "SELECT writefile('/tmp/x','y')",
    "SELECT readfile('/etc/passwd')",
    "SELECT * FROM pragma_database_list",
    "SELECT sql FROM sqlite_master",
    "SELECT randomblob(2000000000)",
    "SELECT zeroblob(2000000000)",
    "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r) SELECT count(*) FROM r",
    "SELECT",
    "",
    ";",
    "-- nothing",
    "SELECT ?",
    "SELECT :missing",
    "\u{0}SELECT 1",
    "SELECT * FROM nowhere",
];

/// Our own network, in the spellings that get past a text comparison.
const URLS: &[&str] = &[
    "http://127.0.0.1:1/",
    "http://localhost:1/",
    "http://127.1:1/",
    "http://2130706433:1/",
    "http://0x7f000001:1/",
    "http://0177.0.0.1:1/",
    "http://0:1/",
    "http://[::1]:1/",
    "http://[::]:1/",
    "http://[::ffff:127.0.0.1]:1/",
    "http://[::ffff:7f00:1]:1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://10.0.0.1/",
    "http://192.168.0.1/",
    "http://[fe80::1]/",
    "http://[fd00::1]/",
    "http://user:pw@127.0.0.1:1/",
    "http://127.0.0.1%2f@example.com/",
    "http://\u{2460}\u{2461}\u{2466}.0.0.1/",
    "http://127\u{3002}0\u{3002}0\u{3002}1/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:1/",
    "ftp://127.0.0.1/",
    "http://",
    "//127.0.0.1",
    "javascript:alert(1)",
    "http://127.0.0.1:99999/",
    "http://a b/",
    "http://[::1/",
    "",
];

#[test]
fn every_body_is_answered() {
    let app = App::unlimited();
    rows(
        &app,
        "bad_bodies",
        bodies().into_iter().map(|(name, tool, body)| (name.to_owned(), tool, body)).collect(),
    );
}

#[test]
fn no_path_leads_out() {
    let app = App::unlimited();
    std::os::unix::fs::symlink("/etc", app.files().join("way-out")).unwrap();
    std::os::unix::fs::symlink("loop", app.files().join("loop")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, app.files().join("fifo"), rustix::fs::Mode::RWXU).unwrap();
    rows(&app, "bad_paths", with("fs_read_text", "path", PATHS));
}

#[test]
fn no_statement_writes() {
    let app = App::unlimited();
    let before = std::fs::read(app.data().join("shop.db")).unwrap();
    rows(&app, "bad_statements", with("sql_query", "sql", STATEMENTS));
    assert!(before == std::fs::read(app.data().join("shop.db")).unwrap(), "the database changed");
}

#[test]
fn no_spelling_of_our_own_network_is_fetched() {
    let app = App::unlimited();
    rows(&app, "bad_urls", with("http_fetch", "url", URLS));
}

#[test]
fn broken_http_is_answered_or_let_go() {
    let app = App::unlimited();
    let auth = format!("authorization: Bearer {}\r\n", app.key);
    let cases: Vec<(&str, String)> = vec![
        ("not HTTP", "hello\r\n\r\n".to_owned()),
        ("TLS", "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n".to_owned()),
        ("no host", format!("GET /tools HTTP/1.1\r\n{auth}connection: close\r\n\r\n")),
        ("another's host", format!("GET /tools HTTP/1.1\r\nhost: evil.example\r\n{auth}connection: close\r\n\r\n")),
        ("two lengths", format!("POST /v1/mcp/fs_list HTTP/1.1\r\nhost: localhost\r\n{auth}content-length: 2\r\ncontent-length: 3\r\nconnection: close\r\n\r\n{{}}")),
        ("length and chunks", format!("POST /v1/mcp/fs_list HTTP/1.1\r\nhost: localhost\r\n{auth}content-length: 4\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n")),
        ("a negative length", format!("POST /v1/mcp/fs_list HTTP/1.1\r\nhost: localhost\r\n{auth}content-length: -1\r\nconnection: close\r\n\r\n")),
        ("a folded header", format!("GET /tools HTTP/1.1\r\nhost: localhost\r\nx: a\r\n b\r\n{auth}connection: close\r\n\r\n")),
        ("two keys", format!("GET /tools HTTP/1.1\r\nhost: localhost\r\n{auth}{auth}connection: close\r\n\r\n")),
        ("a head of 100 KB", format!("GET /tools HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "a".repeat(100_000))),
        ("500 headers", format!("GET /tools HTTP/1.1\r\nhost: localhost\r\n{}\r\n", "x: y\r\n".repeat(500))),
        ("a path of 100 KB", format!("GET /{} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n", "a".repeat(100_000))),
        ("a bad escape", format!("GET /v1/mcp/%zz HTTP/1.1\r\nhost: localhost\r\n{auth}connection: close\r\n\r\n")),
        ("HTTP/9.9", "GET / HTTP/9.9\r\nhost: localhost\r\n\r\n".to_owned()),
        ("an unknown method", format!("BREW /tools HTTP/1.1\r\nhost: localhost\r\n{auth}connection: close\r\n\r\n")),
        ("CONNECT", format!("CONNECT 127.0.0.1:22 HTTP/1.1\r\nhost: 127.0.0.1:22\r\n{auth}connection: close\r\n\r\n")),
        ("TRACE", format!("TRACE /tools HTTP/1.1\r\nhost: localhost\r\n{auth}connection: close\r\n\r\n")),
        ("a cross-site page", format!("POST /v1/mcp/fs_list HTTP/1.1\r\nhost: localhost\r\norigin: https://evil.example\r\n{auth}content-length: 2\r\nconnection: close\r\n\r\n{{}}")),
        ("a preflight", "OPTIONS /v1/mcp/fs_list HTTP/1.1\r\nhost: localhost\r\norigin: https://evil.example\r\naccess-control-request-method: POST\r\nconnection: close\r\n\r\n".to_owned()),
    ];
    let count = cases.len();
    let (mut page, mut wrong) = (String::new(), Vec::new());
    for (name, request) in cases {
        let line = match exchange(app.addr, request.as_bytes()) {
            Ok(answer) => {
                if answer.status >= 500 && answer.status != 505 {
                    wrong.push(format!("{name}: {}", answer.line()));
                }
                answer.status.to_string()
            }
            Err(error) => format!("no answer ({:?})", error.kind()),
        };
        page.push_str(&format!("{name}: {line}\n"));
    }
    expect_file!["bad_http.txt"].assert_eq(&page);
    sound(&app, &mut wrong);
    battery::conclude(
        "bad_http",
        "broken HTTP: an answer below 500, or a closed connection where there is nobody to answer",
        count,
        &wrong,
    );
}

fn with(tool: &'static str, name: &str, values: &[&str]) -> Vec<(String, &'static str, Vec<u8>)> {
    let body = |value: &str| serde_json::json!({ name: value }).to_string().into_bytes();
    values.iter().map(|value| (value.escape_default().to_string(), tool, body(value))).collect()
}

/// Sends each row, keeps what came back in a golden file, and fails on a 5xx that says nothing.
fn rows(app: &App, name: &str, rows: Vec<(String, &'static str, Vec<u8>)>) {
    let count = rows.len();
    let (mut page, mut wrong) = (String::new(), Vec::new());
    for (case, tool, body) in rows {
        let json = [("content-type", "application/json")];
        let answer = app.send("POST", &format!("/v1/mcp/{tool}"), Some(&app.key), &json, &body);
        let said = serde_json::from_slice::<serde_json::Value>(&answer.body).unwrap_or_default();
        let code = said["code"].as_str().unwrap_or("-");
        let sentence = said["error"].as_str().unwrap_or_default();
        // what a source cannot answer in time is a 504 by the fault table; anything else is ours
        if answer.status >= 500 && code != "timed_out" {
            wrong.push(format!("{case}: {}", answer.line()));
        }
        if answer.status >= 400 && sentence.is_empty() {
            wrong.push(format!("{case}: {} says nothing", answer.status));
        }
        // either of two clocks may be the first to stop a call: the source's, or the road's
        let sentence = if code == "timed_out" { "took too long" } else { sentence };
        let sentence: String = sentence.chars().take(160).collect();
        page.push_str(&format!("{case}: {} {code} {sentence}\n", answer.status));
    }
    expect_file![format!("{name}.txt")].assert_eq(&page);
    sound(app, &mut wrong);
    battery::conclude(
        name,
        "bad input: an answer below 500 that says what is wrong; nothing half-done",
        count,
        &wrong,
    );
}

/// The server still answers, and nothing broke inside.
fn sound(app: &App, wrong: &mut Vec<String>) {
    let answer = app.call("fs_read_text", &serde_json::json!({ "path": "hello.txt" }));
    if answer.status != 200 {
        wrong.push(format!("afterwards: {}", answer.line()));
    }
    let log = app.log();
    let broke = log.lines().filter(|line| line.contains("panicked") || line.contains("\"level\":\"ERROR\""));
    wrong.extend(broke.map(|line| {
        format!("logged at {:?}: {line}", SystemTime::now().duration_since(UNIX_EPOCH).unwrap())
    }));
}
