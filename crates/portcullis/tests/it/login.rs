//! Logging in to a tool server that we did not write, on the command line, as a person does.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use serde_json::{Value, json};

use crate::{
    app::{App, alone, program, until},
    beds,
    fixture::{self, Fixture},
    foreign::script,
    http::{exchange, request},
};

/// Opens a page as a browser does: the answer leads to the next one.
fn open(url: &str) -> Option<String> {
    let rest = url.strip_prefix("http://").unwrap();
    let (authority, path) = rest.split_once('/').unwrap();
    let answer =
        exchange(authority.parse().unwrap(), &request("GET", &format!("/{path}"), &[], b"")).unwrap();
    answer.header("location").map(str::to_owned)
}

/// A person who says yes on the command line's page.
fn log_in(app: &App) -> Value {
    let mut command = program(app.home());
    command.arg("--data").arg(app.data()).args(["upstream", "login", "wants", "--json"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let begun: Value = serde_json::from_str(&lines.next().unwrap()).unwrap();
    let mut at = begun["authorization_url"].as_str().unwrap().to_owned();
    while let Some(next) = open(&at) {
        at = next;
    }
    let ended = serde_json::from_str(&lines.next().unwrap()).unwrap();
    assert!(child.wait().unwrap().success());
    ended
}

fn greeted(app: &App) -> bool {
    app.call("wants_greet", &json!({ "name": "Ada" })).status == 200
}

#[test]
fn a_person_logs_in_to_a_server_of_others_and_stays_so() {
    let Some(mut python) = beds::program("python") else { return };
    let wants = Fixture::of(python.arg(script("fast_mcp_login.py")).stderr(Stdio::null()));
    let section = json!({ "wants": {
        "url": wants.url, "allow_private": [wants.addr.to_string()], "oauth": {}, "reads": ["greet"],
    } });
    let mut app = App::with(|config| format!("{config}\nupstreams: {section}\n"));
    let listed = app.cli(&["upstream", "list"]);
    assert!(listed.out.contains("wanted"), "{listed:?}");
    assert_eq!(log_in(&app)["logged_in"], true);
    until("its tool is there", || greeted(&app));
    // What was granted outlives the server.
    app.kill();
    app.restart();
    until("its tool is there again", || greeted(&app));
    let forgotten = app.cli(&["upstream", "logout", "wants"]);
    assert_eq!(forgotten.code, 0, "{forgotten:?}");
    let answer = app.call("wants_greet", &json!({ "name": "Ada" }));
    assert!(answer.text().contains("portcullis upstream login wants"), "{}", answer.line());
    let wrong = app.cli(&["upstream", "login", "nobody"]);
    assert!(wrong.code != 0 && wrong.err.contains("no tool server \"nobody\""), "{wrong:?}");
}

#[test]
fn one_is_added_from_the_command_line() {
    let Some(program) = fixture::program() else { return };
    let (program, home) = (program.to_str().unwrap(), tempfile::tempdir().unwrap());
    let file = home.path().join("portcullis.yaml");
    let add = |more: &[&str]| alone(home.path(), &[&["upstream", "add", "near"], more].concat());
    let said = add(&["--", program, "--stdio"]);
    assert!(said.code == 1 && said.err.contains("no configuration here"), "{said:?}");
    std::fs::write(&file, "server: {} # ours\n").unwrap();
    let said = add(&["--", "no-such-program-anywhere"]);
    assert!(said.code == 1 && said.err.contains("nothing is written"), "{said:?}");
    let said = add(&["--no-probe", "--env", "1X=y", "--", program]);
    assert!(said.code == 1 && said.err.contains("is not the name of a variable"), "{said:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "server: {} # ours\n");
    let said = add(&["--reads", "greet", "--", program, "--stdio"]);
    assert!(said.code == 0 && said.err.contains("source:mcp:near"), "{said:?}");
    assert!(said.out.contains("speaks 2026-07-28"), "{said:?}");
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(written.starts_with("server: {} # ours\n\nupstreams:\n  near:\n    command: ["), "{written}");
    let said = add(&["--", program, "--stdio"]);
    assert!(said.code == 1 && said.err.contains("already"), "{said:?}");
    let said = alone(
        home.path(),
        &[
            "upstream",
            "add",
            "far",
            "--print",
            "--url",
            "http://127.0.0.1:9/mcp",
            "--header",
            "X-Key: ${KEY}",
        ],
    );
    assert_eq!(
        said.out,
        "  far:\n    url: \"http://127.0.0.1:9/mcp\"\n    allow_private: [\"127.0.0.1:9\"]\n    headers: {\"X-Key\":\"${KEY}\"}\n"
    );
    assert_eq!(alone(home.path(), &["check"]).code, 0);
}
