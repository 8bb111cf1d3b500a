//! The official MCP conformance suite, run against a URL, and a judge of what it found. The suite itself takes a
//! scenario that looked at nothing for a success, and its exit code leaves some scenarios out; the judge does not.

use std::{
    fmt, fs,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{beds, fixture::Fixture};

/// How long a run may take; the longest takes 11 s on idle cores.
const RUN_MAX: Duration = Duration::from_secs(120);

/// How long one scenario may take, in milliseconds.
const SCENARIO_MAX_MS: &str = "30000";

/// One way to run the suite.
pub(crate) struct Run {
    /// Which suite: its name in the beds.
    suite: &'static str,
    args: &'static [&'static str],
}

/// What revision 2025-11-25 requires, and what else the suite has for it.
pub(crate) const OF_2025_11_25: Run =
    Run { suite: "conformance", args: &["--requirements", "2025-11-25", "--timeout", SCENARIO_MAX_MS] };

/// What revision 2026-07-28 requires, and what else the suite has for it.
pub(crate) const OF_2026_07_28: Run =
    Run { suite: "conformance", args: &["--requirements", "2026-07-28", "--timeout", SCENARIO_MAX_MS] };

/// Every scenario of the released suite.
pub(crate) const RELEASED: Run = Run { suite: "conformance_0_1", args: &["--suite", "all"] };

/// A check that may fail, or a scenario that may succeed in nothing.
pub(crate) struct Exception {
    /// `scenario:check-id`.
    pub at: &'static str,
    /// Why that is right.
    pub why: &'static str,
}

/// What every server may miss in [`OF_2026_07_28`].
pub(crate) const SKIPPED_BY_THE_SUITE: &[Exception] = &[Exception {
    at: "tasks-status-notifications:tasks-status-notifications",
    why: "the suite leaves it out until it looks at the right stream",
}];

/// How much the suite looked at.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Counts {
    pub scenarios: usize,
    pub passed: usize,
    pub warnings: usize,
    pub excepted: usize,
}

impl Counts {
    fn add(&mut self, checks: &[Value]) {
        let with = |status: &str| checks.iter().filter(|check| check["status"] == status).count();
        self.scenarios += 1;
        self.passed += with("SUCCESS");
        self.warnings += with("WARNING");
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenarios, passed, warnings, excepted } = self;
        write!(out, "{scenarios} scenarios, {passed} checks passed, {warnings} warnings, {excepted} excepted")
    }
}

/// Runs the suite against `url` and judges; nothing where there is no suite.
pub(crate) fn passes(run: &Run, url: &str, exceptions: &[Exception]) -> Option<Counts> {
    let results = suite(run, url)?;
    let log = || fs::read_to_string(results.path().join("suite.log")).unwrap_or_default();
    Some(judge(results.path(), exceptions).unwrap_or_else(|wrong| panic!("{wrong}\n{}", end_of(&log()))))
}

/// Runs the suite against `url` into a folder; nothing where there is no suite.
pub(crate) fn suite(run: &Run, url: &str) -> Option<TempDir> {
    let mut node = beds::program("node")?;
    let script = beds::place(run.suite)?;
    let results = tempfile::Builder::new().prefix("portcullis-conformance-").tempdir().unwrap();
    let log = fs::File::create(results.path().join("suite.log")).unwrap();
    node.arg(script).args(["server", "--url", url]).args(run.args).arg("-o").arg(results.path());
    node.current_dir(results.path()).env("NO_COLOR", "1").stdin(Stdio::null());
    let mut suite = node.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
    let started = Instant::now();
    while suite.try_wait().unwrap().is_none() {
        if started.elapsed() > RUN_MAX {
            suite.kill().unwrap();
            suite.wait().unwrap();
            panic!("the suite did not end within {} s", RUN_MAX.as_secs());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Some(results)
}

/// Whether every scenario in the suite's results succeeded in something and failed in nothing. The error is for people.
pub(crate) fn judge(results: &Path, exceptions: &[Exception]) -> Result<Counts, String> {
    let mut counts = Counts::default();
    let mut wrong = Vec::new();
    let mut needed = vec![false; exceptions.len()];
    for (scenario, checks) in scenarios(results) {
        counts.add(&checks);
        if checks.is_empty() {
            wrong.push(format!("{scenario} looked at nothing"));
        }
        for check in missed(&checks) {
            let at = format!("{scenario}:{}", check["id"].as_str().unwrap_or_default());
            match exceptions.iter().position(|exception| exception.at == at) {
                Some(i) => needed[i] = true,
                None => wrong.push(said(&at, check)),
            }
        }
    }
    if counts.scenarios == 0 {
        wrong.push("the suite ran no scenario".to_owned());
    }
    let idle = exceptions.iter().zip(&needed).filter(|(_, needed)| !**needed);
    wrong.extend(idle.map(|(idle, _)| format!("{} passes; take out its exception ({})", idle.at, idle.why)));
    counts.excepted = needed.iter().filter(|needed| **needed).count();
    if wrong.is_empty() { Ok(counts) } else { Err(format!("{counts}\n{}", wrong.join("\n"))) }
}

/// The checks of a scenario that count against it: what failed, and everything where nothing succeeded.
fn missed(checks: &[Value]) -> Vec<&Value> {
    let some_success = checks.iter().any(|check| check["status"] == "SUCCESS");
    checks.iter().filter(|check| !some_success || check["status"] == "FAILURE").collect()
}

/// The suite's folders, each with its checks: none where it broke off before it wrote them.
fn scenarios(results: &Path) -> Vec<(String, Vec<Value>)> {
    let mut folders: Vec<_> = fs::read_dir(results).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|path| path.is_dir());
    folders.sort();
    folders
        .iter()
        .map(|folder| {
            let checks = fs::read(folder.join("checks.json")).unwrap_or_else(|_| b"[]".to_vec());
            (scenario_of(folder), serde_json::from_slice(&checks).unwrap())
        })
        .collect()
}

/// `caching` of `server-caching-2026-11-26T03-58-19-334Z`.
fn scenario_of(folder: &Path) -> String {
    const TIME: usize = "-2026-11-26T03-58-19-334Z".len();
    let name = folder.file_name().unwrap().to_string_lossy();
    let name = name.strip_prefix("server-").unwrap_or(&name);
    name[..name.len().saturating_sub(TIME)].to_owned()
}

fn said(at: &str, check: &Value) -> String {
    let word = |name: &str| check[name].as_str().unwrap_or_default();
    format!("{at} {}: {}", word("status"), word("errorMessage"))
}

fn end_of(log: &str) -> &str {
    let from = log.len().saturating_sub(4_000);
    &log[(from..=log.len()).find(|&at| log.is_char_boundary(at)).unwrap_or(0)..]
}

// The fixture alone. A failure here is the suite's or the fixture's; one only through the gate is the gate's.

fn check_fixture(run: &Run, exceptions: &[Exception], expected: &expect_test::Expect) {
    let Some(fixture) = Fixture::start() else { return };
    let Some(counts) = passes(run, &fixture.url, exceptions) else { return };
    expected.assert_eq(&counts.to_string());
}

#[test]
fn the_fixture_alone_meets_the_requirements_of_2025_11_25() {
    let expected = expect_test::expect!["33 scenarios, 84 checks passed, 0 warnings, 0 excepted"];
    check_fixture(&OF_2025_11_25, &[], &expected);
}

#[test]
fn the_fixture_alone_meets_the_requirements_of_2026_07_28() {
    let expected = expect_test::expect!["50 scenarios, 197 checks passed, 0 warnings, 1 excepted"];
    check_fixture(&OF_2026_07_28, SKIPPED_BY_THE_SUITE, &expected);
}

#[test]
fn the_fixture_alone_passes_the_released_suite() {
    let expected = expect_test::expect!["32 scenarios, 47 checks passed, 0 warnings, 0 excepted"];
    check_fixture(&RELEASED, &[], &expected);
}

#[test]
fn the_fixture_passes_behind_the_proxy_as_it_does_alone() {
    let Some(fixture) = Fixture::start() else { return };
    let proxy = crate::proxy::Proxy::start(fixture.addr, "any key");
    let url = format!("http://{}/mcp", proxy.addr);
    let Some(counts) = passes(&OF_2025_11_25, &url, &[]) else { return };
    assert_eq!(counts.to_string(), "33 scenarios, 84 checks passed, 0 warnings, 0 excepted");
}

mod judging {
    use std::fs;

    use serde_json::json;

    use super::{Exception, judge};

    /// What the judge says of scenarios given as (name, [(check, status)]).
    fn check(scenarios: &[(&str, &[(&str, &str)])], exceptions: &[Exception], expected: expect_test::Expect) {
        let results = tempfile::tempdir().unwrap();
        fs::write(results.path().join("suite.log"), "not a scenario").unwrap();
        for (name, checks) in scenarios {
            let folder = results.path().join(format!("server-{name}-2026-11-26T03-58-19-334Z"));
            fs::create_dir(&folder).unwrap();
            let checks: Vec<_> = checks
                .iter()
                .map(|(id, status)| json!({ "id": id, "status": status, "errorMessage": "why" }))
                .collect();
            if *checks != [json!({ "id": "", "status": "", "errorMessage": "why" })] {
                fs::write(folder.join("checks.json"), json!(checks).to_string()).unwrap();
            }
        }
        expected.assert_eq(&match judge(results.path(), exceptions) {
            Ok(counts) => counts.to_string(),
            Err(wrong) => wrong,
        });
    }

    const A1: Exception = Exception { at: "a:a-1", why: "known" };

    #[test]
    fn a_success_is_enough_and_a_failure_too_much() {
        let good: &[(&str, &str)] =
            &[("a-1", "SUCCESS"), ("a-2", "INFO"), ("a-3", "WARNING"), ("a-4", "SKIPPED")];
        check(
            &[("a", good)],
            &[],
            expect_test::expect!["1 scenarios, 1 checks passed, 1 warnings, 0 excepted"],
        );
        let bad: &[(&str, &str)] = &[("a-1", "FAILURE"), ("a-2", "SUCCESS")];
        check(
            &[("a", bad), ("b", good)],
            &[],
            expect_test::expect![[r#"
                2 scenarios, 2 checks passed, 1 warnings, 0 excepted
                a:a-1 FAILURE: why"#]],
        );
    }

    #[test]
    fn a_scenario_without_a_success_has_failed() {
        check(
            &[("a", &[("a-1", "WARNING"), ("a-2", "INFO")]), ("b-c", &[]), ("broke-off", &[("", "")])],
            &[],
            expect_test::expect![[r#"
                3 scenarios, 0 checks passed, 1 warnings, 0 excepted
                a:a-1 WARNING: why
                a:a-2 INFO: why
                b-c looked at nothing
                broke-off looked at nothing"#]],
        );
        check(
            &[],
            &[],
            expect_test::expect![[r#"
            0 scenarios, 0 checks passed, 0 warnings, 0 excepted
            the suite ran no scenario"#]],
        );
    }

    #[test]
    fn an_exception_excuses_one_check_and_only_while_it_is_needed() {
        check(
            &[("a", &[("a-1", "FAILURE"), ("a-2", "SUCCESS")])],
            &[A1],
            expect_test::expect!["1 scenarios, 1 checks passed, 0 warnings, 1 excepted"],
        );
        check(
            &[("a", &[("a-1", "SKIPPED")])],
            &[A1],
            expect_test::expect!["1 scenarios, 0 checks passed, 0 warnings, 1 excepted"],
        );
        check(
            &[("a", &[("a-1", "SUCCESS")]), ("b", &[("a-1", "FAILURE"), ("b-1", "SUCCESS")])],
            &[A1],
            expect_test::expect![[r#"
                2 scenarios, 2 checks passed, 0 warnings, 0 excepted
                b:a-1 FAILURE: why
                a:a-1 passes; take out its exception (known)"#]],
        );
    }
}
