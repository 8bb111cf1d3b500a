//! Every route x every state of a credential: nothing answers whom it should not.

use std::fmt::Write as _;

use expect_test::expect_file;
use serde_json::{Value, json};
use state::Keys as _;
use tool::Timestamp;

use crate::{app::App, battery};

const METHODS: &[&str] = &["GET", "POST", "PUT", "DELETE"];

/// Doors that need no key.
const PUBLIC: &[&str] = &[
    "/",
    "/health",
    "/health/ready",
    "/health/live",
    "/mcp/info",
    "/docs",
    "/redoc",
    "/openapi.json",
    "/metrics",
    "/.well-known/none",
];

/// Paths that are no doors: nobody learns that, and somebody gets 404.
const GHOSTS: &[&str] = &[
    "/none",
    "/no/such/door",
    "/v1",
    "/v1/mcp/",
    "/mcp/none",
    "/.well-known/none",
    "/v1/mcp/fs_list/x",
    "//",
    "/admin",
];

/// A state of a credential: its name, the header, and what doors that need a key answer (0: it depends).
struct State {
    name: &'static str,
    header: Option<String>,
    refused_with: u16,
}

#[test]
fn no_route_answers_whom_it_should_not() {
    let (app, states) = prepared();
    let mut routes: Vec<String> = app.get("/openapi.json", Some(&app.key)).json()["paths"]
        .as_object()
        .unwrap()
        .keys()
        .map(|path| {
            path.replace("{tool}", "no_such_tool").replace("{file}", "none.js").replace("{name}", "none")
        })
        .collect();
    routes.extend(GHOSTS.iter().map(|path| (*path).to_owned()));
    routes.sort();
    let (mut page, mut wrong, mut cases) = (String::new(), Vec::new(), 0);
    for route in &routes {
        for method in METHODS {
            let mut row = String::new();
            for state in &states {
                let status = ask(&app, method, route, state);
                cases += 1;
                let _ = write!(row, " {status}");
                wrong.extend(judge(method, route, state, status));
            }
            let _ = writeln!(page, "{method:6} {route:34}{row}");
        }
    }
    let log = app.log();
    assert!(log.contains("Invalid API key"), "refused logins are logged");
    let empty: Vec<&str> = log.lines().filter(|line| line.contains(r#""cause":"""#)).collect();
    assert!(empty.is_empty(), "a cause that says nothing: {:?}", empty.first());
    let names: Vec<&str> = states.iter().map(|state| state.name).collect();
    expect_file!["auth_matrix.txt"].assert_eq(&format!("{}\n{page}", names.join(" ")));
    battery::conclude(
        "auth_matrix",
        "every route x method x credential: nobody gets what is not theirs, and no 5xx",
        cases,
        &wrong,
    );
}

/// A server and one credential in each state. No call is made that would use up a limit.
fn prepared() -> (App, Vec<State>) {
    let mut app = App::with(|config| {
        let config = config.replace("rate_per_minute: 1000", "rate_per_minute: 1000000");
        config.replace("rate_per_minute: 100 ", "rate_per_minute: 1000000 ")
    });
    let bearer = |key: &str| Some(format!("Bearer {key}"));
    let expired = app.key_for("expired", "demo");
    let revoked = app.key_for("revoked", "demo");
    let disabled = app.key_for("disabled", "demo");
    assert_eq!(app.cli(&["keys", "revoke", "revoked"]).code, 0);
    assert_eq!(app.cli(&["keys", "disable", "disabled"]).code, 0);
    app.terminate();
    expire(&app.data().join("state.db"), "expired");
    app.restart();
    let (kept, last) = app.key.split_at(app.key.len() - 1);
    let forged = format!("{kept}{}", if last == "X" { "Y" } else { "X" });
    let states = vec![
        State { name: "none", header: None, refused_with: 401 },
        State { name: "empty", header: Some("Bearer ".to_owned()), refused_with: 401 },
        State { name: "basic", header: Some("Basic c2tfZGVtbzp4".to_owned()), refused_with: 401 },
        State { name: "long", header: Some(format!("Bearer {}", "a".repeat(8_000))), refused_with: 401 },
        State { name: "forged", header: bearer(&forged), refused_with: 401 },
        State { name: "revoked", header: bearer(&revoked), refused_with: 401 },
        State { name: "expired", header: bearer(&expired), refused_with: 401 },
        State { name: "disabled", header: bearer(&disabled), refused_with: 403 },
        State { name: "viewer", header: bearer(&app.viewer), refused_with: 0 },
        State { name: "operator", header: bearer(&app.key), refused_with: 0 },
    ];
    (app, states)
}

/// Lets a key's time run out, in the store of a server that is stopped.
fn expire(store: &std::path::Path, label: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = store::SqliteStore::open(store).await.unwrap();
        let mut key = store.get(label).await.unwrap().unwrap();
        key.expires_at = Some(Timestamp::from_unix_ms(1_000));
        assert_eq!(store.swap(&key).await.unwrap(), state::Swap::Done);
        store.close().await;
    });
}

fn ask(app: &App, method: &str, route: &str, state: &State) -> u16 {
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(state.header.as_deref().map(|header| ("authorization", header)));
    // an argument that no tool has, so that no operator's call changes anything
    let body: Value = json!({ "no_such_argument": true });
    let body = if method == "GET" { Vec::new() } else { body.to_string().into_bytes() };
    app.send(method, route, None, &headers, &body).status
}

fn judge(method: &str, route: &str, state: &State, status: u16) -> Option<String> {
    let public = PUBLIC.contains(&route) || route.starts_with("/assets/");
    // Where a signature counts, no key does.
    let refused_with =
        if (method, route) == ("POST", "/webhook/device-alert") { 401 } else { state.refused_with };
    let expected = match refused_with {
        _ if status >= 500 => "no 5xx",
        0 if method != "GET" && (200..300).contains(&status) && !harmless(route) => {
            "no 2xx for arguments that no tool has"
        }
        0 if GHOSTS.contains(&route) && status != 404 => "a 404, for there is no such door",
        0 => return None,
        refused if !public && status != refused => "a refusal, before anything else is looked at",
        _ => return None,
    };
    Some(format!("{method} {route} as {}: {status}; expected {expected}", state.name))
}

/// Doors that say in their body, with 200, that the arguments are wrong.
fn harmless(route: &str) -> bool {
    matches!(route, "/mcp/call-tool" | "/invoke" | "/operations/execute")
}
