//! The official conformance suite, run against the MCP endpoint of a house whose room has everything that the suite
//! asks for. What fails here and not with the fixture alone is the gate's or the face's.

use expect_test::{Expect, expect};
use serde_json::Value;

use crate::{
    conformance::{Exception, OF_2025_11_25, OF_2026_07_28, RELEASED, Run, SKIPPED_BY_THE_SUITE, passes},
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
