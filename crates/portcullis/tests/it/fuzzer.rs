//! mcp-fuzzer, which sends what a server should refuse, in each of its modes. It ends well whatever it finds, so each
//! finding must be one of those that are explained here; and nothing it sends may break the server.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::{app::App, beds};

/// A prompt and a resource, so that there is something to ask for. Appended to the demo's configuration.
const CONTENT: &str = r#"
prompts:
  greet:
    description: Greets somebody.
    arguments: { name: { description: Whom, required: true } }
    messages: [{ role: user, text: "Hello {name}" }]
resources:
  "docs:///on-call": { name: on_call, description: Who is on call, mime_type: text/markdown, text: The SRE team. }
"#;

const MODES: [&str; 4] = ["protocol", "tools", "resources", "prompts"];

fn app() -> App {
    App::with(|config| config.replace("rate_per_minute: 1000", "rate_per_minute: 1000000") + CONTENT)
}

/// Runs the fuzzer in one mode and gives back its findings.
fn findings(app: &App, mode: &str, version: &str, folder: &Path) -> Option<Vec<Value>> {
    let mut fuzzer = beds::program("mcp_fuzzer")?;
    let bearer = json!({ "type": "api_key", "api_key": app.key, "header_name": "Authorization" });
    let auth = json!({ "providers": { "key": bearer }, "default_provider": "key" });
    fs::write(folder.join("auth.json"), auth.to_string()).unwrap();
    let output = folder.join(format!("{mode}-{version}"));
    let said = fuzzer
        .current_dir(folder)
        .env("HOME", folder)
        .args(["--mode", mode, "--phase", "both", "--protocol-phase", "aggressive", "--runs", "3"])
        .args(["--protocol", "streamablehttp", "--endpoint", &format!("{}/mcp", app.url), "--no-network"])
        .args(["--spec-schema-version", version, "--seed", "1", "--no-corpus", "--auth-config", "auth.json"])
        .args(["--spec-prompt-name", "greet", "--spec-prompt-args", r#"{"name":"a"}"#])
        .args(["--spec-resource-uri", "docs:///on-call", "--auth-audit", "--security-audit"])
        .args(["--fs-root", "root", "--log-level", "ERROR", "--output-dir"])
        .arg(&output)
        .output()
        .unwrap();
    let told = || String::from_utf8_lossy(&said.stdout).into_owned() + &String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "{mode} {version}: {}", told());
    let report = fs::read(output.join("findings.json")).unwrap_or_else(|e| panic!("{e}: {}", told()));
    let report: Value = serde_json::from_slice(&report).unwrap();
    report["findings"].as_array().cloned()
}

/// Why a finding is none; nothing where it is one.
fn explanation(finding: &Value, tools: &[Value]) -> Option<&'static str> {
    let input = &finding["evidence"]["input"];
    let method = input["method"].as_str().unwrap_or_default();
    match finding["category"].as_str()? {
        "dangerous_capability_combo" => Some("the demo reads files and fetches; its roles part the two"),
        "injection_reflection" if finding["evidence"]["result"].is_null() => {
            Some("an error quotes what was sent, in JSON that no browser takes for a page")
        }
        "accepted_malformed" if method.starts_with("notifications/") => {
            Some("a notification is never answered")
        }
        "accepted_malformed" if is_told_in_the_result(&finding["evidence"]["result"]) => {
            Some("a failed call is told in its result, as the specification wants it")
        }
        "accepted_malformed" if finding["kind"] == "tool" => fits(&finding["target"], input, tools),
        "accepted_malformed" => good(method, &input["params"], tools),
        _ => None,
    }
}

/// Why this is a request that may be answered, whatever the fuzzer put into it.
fn good(method: &str, params: &Value, tools: &[Value]) -> Option<&'static str> {
    const LEVELS: [&str; 8] =
        ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];
    match method {
        "tools/call" => fits(&params["name"], &params["arguments"], tools),
        "initialize" => Some("the version is negotiated, and what a client says of itself is a label"),
        "ping" => Some("a ping is answered"),
        "logging/setLevel" if LEVELS.contains(&params["level"].as_str()?) => Some("it is a level"),
        "resources/read" if params["uri"] == "docs:///on-call" => Some("there is such a resource"),
        "prompts/get" if params["name"] == "greet" && params["arguments"]["name"].is_string() => {
            Some("there is such a prompt")
        }
        "resources/unsubscribe" if params["uri"].is_string() => Some("nobody is subscribed, as was wanted"),
        _ if method.ends_with("/list") && params.get("cursor").is_none() => {
            Some("a list has no argument but its cursor, and members that nobody knows are let be")
        }
        _ => None,
    }
}

fn is_told_in_the_result(result: &Value) -> bool {
    result["isError"] == true || result["response"]["isError"] == true
}

/// Whether these arguments are what the tool says that it takes.
fn fits(tool: &Value, arguments: &Value, tools: &[Value]) -> Option<&'static str> {
    let tool = tools.iter().find(|known| known["name"] == *tool)?;
    let fits = jsonschema::is_valid(&tool["input_schema"], arguments);
    fits.then_some("the arguments fit the schema of the tool, so the call is a good one")
}

#[test]
fn it_finds_nothing_that_is_not_explained() {
    let app = app();
    let folder = tempfile::tempdir().unwrap();
    let listed = app.get("/mcp/tools", Some(&app.key)).json();
    let tools = listed.as_array().unwrap();
    let mut seen = 0;
    let mut unexplained = Vec::new();
    for version in ["2026-07-28", "2025-11-25"] {
        for mode in MODES {
            let Some(found) = findings(&app, mode, version, folder.path()) else { return };
            seen += found.len();
            let odd = found.iter().filter(|finding| explanation(finding, tools).is_none());
            unexplained.extend(odd.map(|finding| format!("{mode} {version}: {finding}")));
        }
    }
    assert!(unexplained.is_empty(), "{}", unexplained.join("\n"));
    assert!(seen > 20, "it found only {seen} things: it has not really asked");
    nothing_broke(&app);
}

fn nothing_broke(app: &App) {
    let metrics = app.get("/metrics", None).text();
    let asked: Vec<&str> =
        metrics.lines().filter(|line| line.starts_with(r#"http_requests_total{endpoint="/mcp""#)).collect();
    let status = |code: &str| asked.iter().any(|line| line.contains(&format!(r#"status_code="{code}"#)));
    assert!(status("2") && status("4") && !status("5"), "{}", asked.join("\n"));
    assert!(!app.log().contains(r#""level":"ERROR""#), "{}", app.log());
    assert_eq!(app.get("/health/ready", None).status, 200);
    assert_eq!(app.cli(&["audit", "verify"]).code, 0);
}
