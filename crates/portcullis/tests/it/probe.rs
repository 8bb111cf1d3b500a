//! `portcullis probe`: the client that calls of tools go through, tried by the official suite and by hand.

use std::{fs, process::Stdio};

use serde_json::Value;

use crate::{
    app::{PROGRAM, alone},
    beds,
    conformance::judge,
    fixture::{Fixture, program},
};

/// What the suite requires of clients, by revision; what it has of OAuth in both is below.
const SCENARIOS: [(&str, &[&str]); 2] = [
    ("2025-11-25", &["initialize", "tools_call", "elicitation-sep1034-client-defaults", "sse-retry"]),
    (
        "2026-07-28",
        &[
            "tools_call",
            "request-metadata",
            "sep-2322-client-request-state",
            "http-standard-headers",
            "http-custom-headers",
            "http-invalid-tool-headers",
            "json-schema-ref-no-deref",
            "auth/resource-mismatch",
            "auth/offline-access-scope",
            "auth/offline-access-not-supported",
            "auth/authorization-server-migration",
            "auth/iss-supported",
            "auth/iss-not-advertised",
            "auth/iss-supported-missing",
            "auth/iss-wrong-issuer",
            "auth/iss-unexpected",
            "auth/iss-normalized",
            "auth/metadata-issuer-mismatch",
        ],
    ),
];

/// What it requires of OAuth in both revisions.
const OAUTH: &[&str] = &[
    "auth/metadata-default",
    "auth/metadata-var1",
    "auth/metadata-var2",
    "auth/metadata-var3",
    "auth/basic-cimd",
    "auth/scope-from-www-authenticate",
    "auth/scope-from-scopes-supported",
    "auth/scope-omitted-when-undefined",
    "auth/scope-step-up",
    "auth/scope-retry-limit",
    "auth/token-endpoint-auth-basic",
    "auth/token-endpoint-auth-post",
    "auth/token-endpoint-auth-none",
    "auth/pre-registration",
];

/// An extension that we have.
const EXTENSION: &[&str] = &["auth/client-credentials-jwt", "auth/client-credentials-basic"];

/// The document that a client of the suite is known by.
const DOCUMENT: &str = "https://conformance-test.local/client-metadata.json";

#[test]
fn the_client_passes_the_suite_in_both_eras() {
    for (revision, scenarios) in SCENARIOS {
        try_scenarios(scenarios.iter().chain(OAUTH), Some(revision));
    }
    try_scenarios(EXTENSION.iter(), None);
}

/// Runs scenarios, several at a time: most of each is the start of the suite.
fn try_scenarios<'a>(scenarios: impl Iterator<Item = &'a &'a str>, revision: Option<&str>) {
    let (Some(node), Some(script)) = (beds::place("node"), beds::place("conformance")) else { return };
    let scenarios: Vec<&&str> = scenarios.collect();
    let results = tempfile::tempdir().unwrap();
    for some in scenarios.chunks(4) {
        let running: Vec<_> = some
            .iter()
            .map(|scenario| {
                let folder = results.path().join(scenario.replace('/', "-"));
                fs::create_dir_all(&folder).unwrap();
                let probe = match **scenario {
                    "auth/basic-cimd" => format!("{PROGRAM} probe --client-metadata-url {DOCUMENT}"),
                    _ => format!("{PROGRAM} probe"),
                };
                let child = std::process::Command::new(&node)
                    .arg(&script)
                    .args(["client", "--command", &probe, "--timeout", "60000", "--scenario", scenario])
                    .args(revision.iter().flat_map(|revision| ["--spec-version", revision]))
                    .arg("-o")
                    .arg(&folder)
                    .current_dir(&folder)
                    .env("NO_COLOR", "1")
                    .stdin(Stdio::null())
                    .stdout(Stdio::piped())
                    .spawn()
                    .unwrap();
                (scenario, folder, child)
            })
            .collect();
        for (scenario, folder, child) in running {
            let said = child.wait_with_output().unwrap();
            let text = || String::from_utf8_lossy(&said.stdout).into_owned();
            // The suite makes a folder of the part before the slash.
            let results = folder.join(scenario.rsplit_once('/').map_or("", |(group, _)| group));
            let counts =
                judge(&results, &[]).unwrap_or_else(|wrong| panic!("{scenario}: {wrong}\n{}", text()));
            assert_eq!((counts.scenarios, counts.passed > 0), (1, true), "{scenario}: {counts}");
        }
    }
}

fn probed(arguments: &[&str]) -> (i32, Value) {
    let home = tempfile::tempdir().unwrap();
    let said = alone(home.path(), &[&["probe", "--json"], arguments].concat());
    (said.code, serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{said:?}")))
}

#[test]
fn a_server_is_tried_over_pipes_and_over_the_network() {
    let (Some(program), Some(served)) = (program(), Fixture::start()) else { return };
    let program = program.to_str().unwrap();
    let (code, report) = probed(&["--", program, "--stdio"]);
    assert_eq!((code, &report["protocol_version"]), (0, &"2026-07-28".into()), "{report}");
    assert!(report["tools"].as_u64().unwrap() > 30, "{report}");
    assert_eq!(report["sandbox"]["seccomp"], true, "{report}");
    let call = ["--call", "greet", "--arguments", r#"{"name":"Ada"}"#];
    let (code, report) = probed(&[&call[..], &["--protocol", "legacy", &served.url]].concat());
    assert_eq!((code, &report["protocol_version"]), (0, &"2025-11-25".into()), "{report}");
    assert_eq!(report["calls"][0]["result"]["content"][0]["text"], "Hello, Ada!", "{report}");
    // It is asked in the middle, and told on the way.
    let (_, report) =
        probed(&["--call", "test_elicitation", "--call", "test_tool_with_progress", &served.url]);
    assert_eq!(report["calls"][0]["asked"][0], "elicitation/create", "{report}");
    assert_eq!(report["calls"][1]["progress"], 3, "{report}");
}

#[test]
fn what_is_wrong_with_a_server_is_said() {
    let (code, report) = probed(&["--", "no-such-program-anywhere"]);
    assert_eq!(code, 1);
    assert!(report["problem"].as_str().unwrap().contains("No such file"), "{report}");
    let (_, report) = probed(&["http://127.0.0.1:9/mcp"]);
    assert!(report["problem"].as_str().unwrap().contains("refused"), "{report}");
    assert!(report["hint"].as_str().unwrap().contains("is it running"), "{report}");
    let (_, report) = probed(&["--", "sh", "-c", "echo broken >&2; exit 3"]);
    assert_eq!(report["stderr"][0], "broken", "{report}");
    let home = tempfile::tempdir().unwrap();
    for (arguments, text) in [
        (&["probe"][..], "required arguments"),
        (&["probe", "ftp://x"], "the scheme \"ftp\" is not taken"),
        (&["probe", "--bearer-env", "NOT_SET_ANYWHERE", "http://127.0.0.1:9/"], "is not set"),
        (&["probe", "--call", "a", "--call", "b", "--arguments", "{}", "http://127.0.0.1:9/"], "of one tool"),
        (&["probe", "--call", "a", "--arguments", "[]", "http://127.0.0.1:9/"], "expected a JSON object"),
        (&["probe", "--protocol", "soap", "http://127.0.0.1:9/"], "unknown variant `soap`"),
    ] {
        let said = alone(home.path(), arguments);
        assert_eq!(said.code, 2, "{said:?}");
        assert!(said.err.contains(text), "{text}: {said:?}");
    }
}
