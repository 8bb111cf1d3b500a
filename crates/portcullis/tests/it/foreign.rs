//! Clients that we did not write, on the running demo, in every era they speak.

use std::{
    io::Write as _,
    path::PathBuf,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use crate::{app::App, beds};

/// How long one client may take.
const CLIENT_MAX: Duration = Duration::from_secs(60);

pub(crate) fn script(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/foreign").join(name)
}

/// Runs a client to its end.
pub(crate) fn run(command: &mut Command, key: &str) -> Output {
    let mut child = command
        .env("KEY", key)
        .env("MCP_INSPECTOR_SECRET_STORE", "memory")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if started.elapsed() > CLIENT_MAX {
            child.kill().unwrap();
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.wait_with_output().unwrap()
}

/// The last line that a client printed; what it complained of where there is none.
fn last_line(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().rfind(|line| !line.trim().is_empty());
    last.map_or_else(|| String::from_utf8_lossy(&output.stderr).into_owned(), str::to_owned)
}

pub(crate) fn check(app: &App, command: &mut Command, expected: &Expect) {
    expected.assert_eq(&last_line(&run(command, &app.key)));
}

pub(crate) fn url(app: &App) -> String {
    format!("{}/mcp", app.url)
}

#[test]
fn the_python_sdk_in_every_mode() {
    let app = App::start();
    for mode in ["auto", "legacy", "2026-07-28"] {
        let Some(mut python) = beds::program("python") else { return };
        check(
            &app,
            python.arg(script("python_sdk.py")).args([&url(&app), mode]),
            &expect!["True {'id': 42, 'name': 'Acme Corp', 'email': 'contact@acme.com'} True"],
        );
    }
}

#[test]
fn the_fastmcp_client() {
    let app = App::start();
    let Some(mut python) = beds::program("python") else { return };
    check(
        &app,
        python.arg(script("fast_mcp.py")).arg(url(&app)),
        &expect!["True {'id': 42, 'name': 'Acme Corp', 'email': 'contact@acme.com'} True"],
    );
}

#[test]
fn the_typescript_client_in_every_mode() {
    let app = App::start();
    for mode in ["legacy", "auto", "2026-07-28"] {
        let (Some(mut node), Some(place)) = (beds::program("node"), beds::place("mcp_client")) else {
            return;
        };
        check(
            &app,
            node.arg(script("typescript.mjs")).args([&place, &url(&app), mode]),
            &expect![[r#"true {"id":42,"name":"Acme Corp","email":"contact@acme.com"} true"#]],
        );
    }
}

#[test]
fn the_inspector_in_every_era() {
    let app = App::start();
    let folder = tempfile::tempdir().unwrap();
    for era in ["legacy", "auto", "modern"] {
        let (Some(mut node), Some(place)) = (beds::program("node"), beds::place("mcp_inspector")) else {
            return;
        };
        let bearer = format!("Bearer {}", app.key);
        let server = json!({
            "type": "streamable-http", "url": url(&app), "protocolEra": era, "headers": { "Authorization": bearer },
        });
        let config = folder.path().join("config.json");
        std::fs::write(&config, json!({ "mcpServers": { "s": server } }).to_string()).unwrap();
        node.arg(place).args(["--cli", "--server", "s", "--format", "json", "--config"]).arg(&config);
        node.args(["--method", "tools/call", "--tool-name", "get_customer", "--tool-arg", "customer_id=42"]);
        let output = run(&mut node, &app.key);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let shown: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{era}: {e}: {text}"));
        assert_eq!(shown["result"]["structuredContent"]["name"], "Acme Corp", "{era}: {text}");
    }
}

/// A program that speaks the older protocol over pipes: it is sent these messages, each once those before it are
/// answered, as the protocol has it.
fn speak(command: &mut Command, asked: &[Value]) -> Vec<Value> {
    use std::io::{BufRead as _, BufReader};
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let (sender, lines) = std::sync::mpsc::channel();
    let reading = std::thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            let _ = sender.send(serde_json::from_str(&line).unwrap());
        }
    });
    let mut told = Vec::<Value>::new();
    for message in asked {
        writeln!(input, "{message}").unwrap();
        if message.get("id").is_some() {
            // Whoever is not answered goes on, and the check after it says what is missing.
            told.extend(lines.recv_timeout(CLIENT_MAX));
        }
    }
    drop(input);
    let _ = child.kill();
    child.wait().unwrap();
    reading.join().unwrap();
    told
}

fn asked() -> Vec<Value> {
    let params = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "x", "version": "1" } });
    vec![
        json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params }),
        json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
        json!({
            "jsonrpc": "2.0", "id": "b", "method": "tools/call",
            "params": { "name": "get_customer", "arguments": { "customer_id": 42 } },
        }),
    ]
}

fn check_spoken(told: &[Value]) {
    let find = |id: &Value| told.iter().find(|answer| answer["id"] == *id).cloned().unwrap_or_default();
    assert_eq!(find(&json!(1))["result"]["protocolVersion"], "2025-06-18", "{told:?}");
    assert_eq!(find(&json!("b"))["result"]["structuredContent"]["name"], "Acme Corp", "{told:?}");
}

#[test]
fn mcp_remote_as_a_bridge() {
    let app = App::start();
    let (Some(mut node), Some(place)) = (beds::program("node"), beds::place("mcp_remote")) else { return };
    node.arg(place).arg(url(&app)).args(["--allow-http", "--transport", "http-only", "--header"]);
    node.arg(format!("Authorization: Bearer {}", app.key));
    check_spoken(&speak(&mut node, &asked()));
}

#[test]
fn stdio_passes_on_to_the_server_that_runs_and_serves_by_itself_where_none_does() {
    let mut app = App::start();
    let stdio = |app: &App| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        command.arg("stdio").arg("--data").arg(app.data()).env("PORTCULLIS_KEY", &app.key);
        command.arg("--config").arg(app.config());
        command
    };
    check_spoken(&speak(&mut stdio(&app), &asked()));
    let mut wrong = stdio(&app);
    wrong.env("PORTCULLIS_KEY", "sk_demo_nobody");
    let told = speak(&mut wrong, &asked()[..1]);
    assert_eq!(told[0]["error"]["code"], -32603, "{told:?}");
    app.terminate();
    check_spoken(&speak(&mut stdio(&app), &asked()));
    let refused = stdio(&app).env("PORTCULLIS_KEY", "sk_demo_nobody").stdin(Stdio::null()).output().unwrap();
    assert_eq!(refused.status.code(), Some(4));
    assert!(refused.stdout.is_empty(), "only the protocol goes to standard output");
}
