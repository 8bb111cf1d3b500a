//! The official conformance suite, run against the MCP endpoint: of a house whose room has everything that the suite
//! asks for, and of the binary with the fixture behind it. What fails here and not with the fixture alone is ours.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use crate::{
    app::App,
    conformance::{Exception, OF_2025_11_25, OF_2026_07_28, RELEASED, Run, SKIPPED_BY_THE_SUITE, passes},
    fixture::{Fixture, program},
    house::House,
    proxy::Proxy,
};

/// Runs the suite through the endpoint, with a key that a proxy adds since the suite can send none. Afterwards the
/// house stops in order: no call is left, and what was written down is whole.
///
/// The endpoint answers lists as JSON, not as a stream, so `server-sse-streams-functional` is a remark of the suite here.
fn check(run: &Run, exceptions: &[Exception], expected: &Expect) {
    let house = House::start();
    let proxy = Proxy::start(house.addr, &house.key);
    let url = format!("http://{}/mcp", proxy.addr);
    let Some(counts) = passes(run, &url, exceptions) else { return };
    expected.assert_eq(&counts.to_string());
    drop(proxy);
    let records = house.stop();
    let read = |record: &Value| record["tool"] == "suite_resource" && record["outcome"] == "success";
    assert!(records.iter().any(read), "what the suite read is not in the audit log");
}

#[test]
fn the_endpoint_meets_the_requirements_of_2025_11_25() {
    check(&OF_2025_11_25, &[], &expect!["33 scenarios, 83 checks passed, 0 warnings, 0 excepted"]);
}

#[test]
fn the_endpoint_meets_the_requirements_of_2026_07_28() {
    let expected = expect!["50 scenarios, 196 checks passed, 0 warnings, 1 excepted"];
    check(&OF_2026_07_28, SKIPPED_BY_THE_SUITE, &expected);
}

#[test]
fn the_endpoint_passes_the_released_suite() {
    check(&RELEASED, &[], &expect!["32 scenarios, 46 checks passed, 0 warnings, 0 excepted"]);
}

/// The fixture lets go of its connection only in the older era over HTTP. In any other it just answers, and the suite
/// looks at nothing but that.
const NOTHING_TO_LET_GO: &[Exception] = &[
    not_applicable("server-sse-polling:outgoing-request"),
    not_applicable("server-sse-polling:incoming-response"),
    not_applicable("server-sse-polling:server-sse-content-type"),
];

const fn not_applicable(at: &'static str) -> Exception {
    Exception { at, why: "a call that keeps its connection is answered as JSON" }
}

/// A way to the fixture.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Http,
    Program,
}

/// Runs suites through the binary and the fixture behind it, under the fixture's own names and in the era of `protocol`:
/// each with what may fail and what is then counted.
fn check_behind(way: Way, protocol: &str, suites: &[(&Run, &[Exception], Expect)]) {
    for (run, exceptions, expected) in suites {
        let (Some(program), Some(fixture)) = (program(), Fixture::start()) else { return };
        let mut server = match way {
            Way::Http => json!({ "url": fixture.url, "allow_private": [fixture.addr.to_string()] }),
            Way::Program => json!({ "command": [program, "--stdio"] }),
        };
        server["protocol"] = json!(protocol);
        let app = App::with(|_| config(server).to_string());
        let proxy = Proxy::start(app.addr, &app.key);
        let url = format!("http://{}/mcp", proxy.addr);
        let Some(counts) = passes(run, &url, exceptions) else { return };
        expected.assert_eq(&counts.to_string());
        assert_eq!(app.cli(&["audit", "verify"]).code, 0);
    }
}

/// A gate before one server, and a human who may do everything without a limit that a test meets.
fn config(mut server: Value) -> Value {
    // The suite leaves tasks behind that wait for an answer, and each has its turn until it ends.
    server["concurrent_max"] = json!(1_000);
    server["prefix"] = json!("");
    json!({
        "data_dir": "data",
        "server": { "listen": "127.0.0.1:8000" },
        "principals": { "owner": { "kind": "human", "owner": "owner", "roles": ["owner"] } },
        "roles": { "owner": { "allow": ["*"] } },
        "limits": {
            "rate_per_minute": 1_000_000,
            "concurrent_per_key_max": 1_000,
            "concurrent_per_source_max": 1_000,
        },
        "bootstrap": { "keys": [{ "label": "owner", "principal": "owner", "show": "key" }] },
        "upstreams": { "fixture": server },
    })
}

// Where nothing else is said the fixture is spoken to in the newer era, as `auto` finds out.

#[test]
fn the_fixture_over_http_passes_as_it_does_alone() {
    check_behind(
        Way::Http,
        "auto",
        &[
            (
                &OF_2026_07_28,
                SKIPPED_BY_THE_SUITE,
                expect!["50 scenarios, 196 checks passed, 0 warnings, 1 excepted"],
            ),
            (
                &OF_2025_11_25,
                NOTHING_TO_LET_GO,
                expect!["33 scenarios, 80 checks passed, 0 warnings, 3 excepted"],
            ),
            (&RELEASED, NOTHING_TO_LET_GO, expect!["32 scenarios, 43 checks passed, 0 warnings, 3 excepted"]),
        ],
    );
}

#[test]
fn the_older_fixture_over_http_passes_as_it_does_alone() {
    check_behind(
        Way::Http,
        "legacy",
        &[
            (&OF_2025_11_25, &[], expect!["33 scenarios, 83 checks passed, 0 warnings, 0 excepted"]),
            (&RELEASED, &[], expect!["32 scenarios, 46 checks passed, 0 warnings, 0 excepted"]),
        ],
    );
}

#[test]
fn the_fixture_as_a_program_passes_as_it_does_alone() {
    check_behind(
        Way::Program,
        "auto",
        &[
            (
                &OF_2026_07_28,
                SKIPPED_BY_THE_SUITE,
                expect!["50 scenarios, 196 checks passed, 0 warnings, 1 excepted"],
            ),
            (
                &OF_2025_11_25,
                NOTHING_TO_LET_GO,
                expect!["33 scenarios, 80 checks passed, 0 warnings, 3 excepted"],
            ),
            (&RELEASED, NOTHING_TO_LET_GO, expect!["32 scenarios, 43 checks passed, 0 warnings, 3 excepted"]),
        ],
    );
}

#[test]
fn the_older_fixture_as_a_program_passes_as_it_does_alone() {
    check_behind(
        Way::Program,
        "legacy",
        &[
            (
                &OF_2025_11_25,
                NOTHING_TO_LET_GO,
                expect!["33 scenarios, 80 checks passed, 0 warnings, 3 excepted"],
            ),
            (&RELEASED, NOTHING_TO_LET_GO, expect!["32 scenarios, 43 checks passed, 0 warnings, 3 excepted"]),
        ],
    );
}
