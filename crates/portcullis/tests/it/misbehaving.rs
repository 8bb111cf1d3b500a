//! Tool servers that misbehave in every way we could think of, all of them at once behind one gate: each call ends
//! with a typed error in time, a neighbour that behaves is not disturbed, and nothing is left over.

use std::{
    fmt::Write as _,
    path::PathBuf,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use expect_test::expect;
use serde_json::{Value, json};

use crate::{
    app::{App, until},
    beds, procs,
};

/// What they do, and how long a call of each may be silent, in milliseconds: those that are to be waited for in vain
/// have little, the others so much that a busy machine makes no difference.
const WAYS: &[(&str, u32)] = &[
    ("silent", 1_500),
    ("late", 4_000),
    ("foreign_id", 1_500),
    ("id_as_text", 1_500),
    ("no_id", 1_500),
    ("twice", 30_000),
    ("garbage", 30_000),
    ("endless_line", 1_500),
    ("byte_a_second", 1_500),
    ("half_close", 30_000),
    ("exits_at_start", 30_000),
    ("exits_at_initialize", 30_000),
    ("exits_at_tools_list", 30_000),
    ("exits_in_call", 30_000),
    ("killed_in_call", 30_000),
    ("stops", 1_500),
    ("forks", 30_000),
    ("orphan", 30_000),
    ("descriptors", 30_000),
    ("stderr_flood", 30_000),
    ("storm", 30_000),
    ("large", 30_000),
    ("deep", 30_000),
    ("not_utf8", 30_000),
    ("key_twice", 30_000),
    ("no_result", 30_000),
    ("both", 30_000),
    ("batch", 1_500),
    ("asks_much", 30_000),
    ("answers_much", 30_000),
    ("progress_of_others", 1_500),
    ("progress_for_ever", 1_500),
    ("large_error", 30_000),
    ("does_not_end", 30_000),
];

/// The longest that a call may take in all, in milliseconds; where it is what ends it, that is late enough.
const CALL_MS_MAX: u32 = 40_000;
/// What the gateway may have more of afterwards than before, in MiB: pools and caches keep some.
const GROWN_MB_MAX: u64 = 128;

pub(crate) fn server() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/misbehaving/server.py")
}

fn section(python: &str) -> Value {
    let one = |way: &str, timeout_ms: u32| {
        let call_ms_max = if way == "progress_for_ever" { 3_000 } else { CALL_MS_MAX };
        json!({
            "command": [python, server(), way],
            "protocol": "legacy",
            "reads": ["*"],
            "prefix": format!("{way}_"),
            "timeout_ms": timeout_ms,
            "call_ms_max": call_ms_max,
            "close_timeout_ms": 300,
            "start_wait_ms": 60_000,
            "alive_ms": 0,
            "ends_max": 3,
            "message_bytes_max": 4 * 1024 * 1024,
        })
    };
    let all = WAYS.iter().chain(&[("well", 30_000)]);
    all.map(|(way, timeout_ms)| ((*way).to_owned(), one(way, *timeout_ms))).collect()
}

/// What a call came to, in a few words.
fn came_to(app: &App, way: &str, n: u32) -> String {
    let answer = app.call(&format!("{way}_do"), &json!({ "n": n }));
    if answer.status != 200 {
        let code = answer.json()["code"].as_str().unwrap_or_default().to_owned();
        return format!("{} {code}", answer.status);
    }
    let said = answer.json()["content"][0]["text"].as_str().unwrap_or_default().to_owned();
    if said == format!("{way} {n}") { "answered".to_owned() } else { format!("answered {said:?}") }
}

#[test]
fn servers_that_misbehave_harm_nobody() {
    let Some(python) = beds::place("python") else { return };
    let section = section(&python);
    let mut app = App::unlimited_with(|config| format!("{config}\nupstreams: {section}\n"));
    let home = app.home().to_owned();
    let (before, is_over, heard) = (procs::of(app.pid()), AtomicBool::new(false), AtomicUsize::new(0));
    let mut table = String::new();
    std::thread::scope(|scope| {
        let neighbour = scope.spawn(|| {
            let mut n = 0;
            while !is_over.load(Ordering::Relaxed) {
                n += 1;
                let said = app.done("well_say", &json!({ "text": n.to_string() }));
                let text = said["content"][0]["text"].as_str().unwrap().to_owned();
                assert_eq!(text.split_once('|').unwrap().0, n.to_string(), "{said}");
                heard.fetch_add(1, Ordering::Relaxed);
            }
        });
        let calls = WAYS.iter().map(|(way, _)| {
            let app = &app;
            let call = scope.spawn(move || {
                let began = Instant::now();
                let twice = [1, 2].map(|n| came_to(app, way, n));
                assert!(began.elapsed() < Duration::from_secs(90), "{way} took {:?}", began.elapsed());
                twice
            });
            (way, call)
        });
        for (way, call) in calls.collect::<Vec<_>>() {
            let [first, mut second] = call.join().unwrap();
            // A program that hangs is ended, sooner or later than the next call gives up.
            if ["stops", "byte_a_second", "endless_line"].contains(way)
                && ["502 upstream", "504 timed_out"].contains(&&*second)
            {
                second = "502 or 504".to_owned();
            }
            writeln!(table, "{way}: {first}, then {second}").unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
        neighbour.join().unwrap();
    });
    expect![[r#"
        silent: 504 timed_out, then 504 timed_out
        late: 504 timed_out, then answered
        foreign_id: 504 timed_out, then 504 timed_out
        id_as_text: 504 timed_out, then 504 timed_out
        no_id: 504 timed_out, then 504 timed_out
        twice: answered, then answered
        garbage: answered, then answered
        endless_line: 504 timed_out, then 502 or 504
        byte_a_second: 504 timed_out, then 502 or 504
        half_close: 502 upstream, then 502 upstream
        exits_at_start: 404 not_found, then 404 not_found
        exits_at_initialize: 404 not_found, then 404 not_found
        exits_at_tools_list: 404 not_found, then 404 not_found
        exits_in_call: 502 upstream, then 502 upstream
        killed_in_call: 502 upstream, then 502 upstream
        stops: 504 timed_out, then 502 or 504
        forks: answered, then answered
        orphan: answered, then answered
        descriptors: answered, then answered
        stderr_flood: answered, then answered
        storm: answered, then answered
        large: 502 upstream, then 502 upstream
        deep: 502 upstream, then 502 upstream
        not_utf8: 502 upstream, then 502 upstream
        key_twice: 502 upstream, then 502 upstream
        no_result: 502 upstream, then 502 upstream
        both: 502 upstream, then 502 upstream
        batch: 504 timed_out, then 504 timed_out
        asks_much: answered, then answered
        answers_much: answered, then answered
        progress_of_others: 504 timed_out, then 504 timed_out
        progress_for_ever: 504 timed_out, then 504 timed_out
        large_error: 502 upstream, then 502 upstream
        does_not_end: answered, then answered
    "#]]
    .assert_eq(&table);
    assert!(heard.into_inner() >= 20, "the neighbour was hardly heard");

    // What multiplied, or left something behind, is gone with its server.
    for way in ["forks", "orphan"] {
        assert_eq!(app.cli(&["upstream", "restart", way]).code, 0);
    }
    until("nothing is left of what multiplied", || procs::count(&home) <= 3 * (WAYS.len() + 2));
    until("descriptors are back", || procs::of(app.pid()).descriptors <= before.descriptors + 16);
    let after = procs::of(app.pid());
    assert!(after.resident_mb <= before.resident_mb + GROWN_MB_MAX, "{before:?} {after:?}");
    assert!(app.terminate().success());
    until("no process is left", || procs::count(&home) == 0);
}
