//! Programs that do what a test says: small shell scripts.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tool::{Code, ProbeState, Stop};

use super::bed::{Ear, Room, said};

/// How a script begins: a loop over messages, with the id of each.
const HEAD: &str = r#"
answer() { printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$1" "$2"; }
fail() { printf '{"jsonrpc":"2.0","id":%s,"error":%s}\n' "$1" "$2"; }
say() { answer "$1" '{"content":[{"type":"text","text":"'"$2"'"}]}'; }
while IFS= read -r line; do
  id=${line#*\"id\":}; id=${id%%[,\}]*}
  case $line in
"#;

/// What an older server answers while it is opened.
const LEGACY: &str = r#"
    *'"server/discover"'*) fail "$id" '{"code":-32601,"message":"no"}' ;;
    *'"initialize"'*) answer "$id" '{"protocolVersion":"2024-11-05","capabilities":{"tools":{}},"serverInfo":{"name":"x","version":"1"}}' ;;
    *'"tools/list"'*) answer "$id" '{"tools":[{"name":"do","inputSchema":{"type":"object"}},{"name":"read","inputSchema":{"type":"object"}}]}' ;;
"#;

const TAIL: &str = "\n  esac\ndone\n";

/// The section of a program with these cases before the usual ones.
pub(super) fn section(cases: &str, more: Value) -> Value {
    let script = format!("{HEAD}{cases}{LEGACY}{TAIL}");
    let mut one = json!({
        "command": ["sh", "-c", script],
        "timeout_ms": 2_000,
        "probe_timeout_ms": 300,
        "close_timeout_ms": 300,
        "reads": ["read"],
    });
    one.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "sh": one })
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_are_no_messages_and_answers_that_nobody_waits_for_are_passed_over() {
    let cases = r#"
    *'"tools/call"'*)
      echo 'starting up..'; echo; echo '{"jsonrpc":"2.0"}'; echo '[]'
      say 999 'unknown'; say 1 'late'; say '"x"' 'no id of ours'
      echo 'it complains' >&2
      say "$id" 'right'; say "$id" 'twice' ;;
    "#;
    let room = Room::open(section(cases, json!({}))).await;
    let ear = Arc::new(Ear::default());
    for _ in 0..3 {
        assert_eq!(said(&room.call("sh_do", "{}", &ear).await.unwrap()), "right");
    }
    let probe = room.probe().await;
    assert_eq!(probe.state, ProbeState::Unhealthy, "it does not answer a ping");
    room.provider.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_ends_within_a_call_ends_the_call_and_is_started_again() {
    let cases = r#"
    *'"how":"exit"'*) exit 3 ;;
    *'"how":"closes"'*) exec >&- ; sleep 60 ;;
    *'"tools/call"'*) say "$id" 'here' ;;
    "#;
    // It ends four times, and is waited for longer each time.
    let room = Room::open(section(cases, json!({ "timeout_ms": 10_000 }))).await;
    for how in ["exit", "closes"] {
        for (tool, code) in [("sh_read", Code::Upstream), ("sh_do", Code::OutcomeUnknown)] {
            let began = Instant::now();
            let fault = room.plain(tool, &json!({ "how": how }).to_string()).await.unwrap_err();
            assert_eq!(fault.code, code, "{how} {}", fault.text);
            assert!(began.elapsed() < Duration::from_secs(1), "{how}");
            assert!(room.plain(tool, "{}").await.unwrap().contains("here"), "{how}");
        }
    }
    room.provider.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_silent_or_ends_at_the_first_question_speaks_the_older_protocol() {
    for case in [r#"*'"server/discover"'*) : ;;"#, r#"*'"server/discover"'*) exit 1 ;;"#] {
        let cases = format!("{case}\n*'\"tools/call\"'*) say \"$id\" 'old' ;;");
        let room = Room::open(section(&cases, json!({}))).await;
        assert!(room.plain("sh_do", "{}").await.unwrap().contains("old"), "{case}");
        room.provider.close().await;
    }
    let room = Room::open(section("", json!({ "protocol": "modern" }))).await;
    let probe = room.probe().await;
    assert_eq!(probe.state, ProbeState::Unhealthy);
    assert!(probe.details["error"].as_str().unwrap().contains("does not speak the newer one"), "{probe:?}");
    room.provider.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_cannot_be_started_keeps_nobody_from_opening() {
    let room = Room::open(json!({ "no": { "command": ["no-such-program-anywhere"] } })).await;
    let probe = room.probe().await;
    assert_eq!(probe.state, ProbeState::Unhealthy);
    assert!(room.names().is_empty());
    room.provider.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_ends_a_call_and_progress_keeps_it_going() {
    let cases = r#"
    *'"how":"slow"'*)
      for done in 1 2 3 4; do
        sleep 0.3
        printf '{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":%s,"progress":%s}}\n' "$id" "$done"
      done
      sleep 0.3; say "$id" 'done' ;;
    "#;
    let room = Room::open(section(cases, json!({ "timeout_ms": 800 }))).await;
    let ear = Arc::new(Ear::default());
    assert_eq!(said(&room.call("sh_do", r#"{"how":"slow"}"#, &ear).await.unwrap()), "done");
    assert_eq!(ear.heard().len(), 4);
    let fault = room.plain("sh_read", "{}").await.unwrap_err();
    assert_eq!(fault.code, Code::TimedOut);
    room.provider.close().await;
    let room = Room::open(section(cases, json!({ "timeout_ms": 800, "call_ms_max": 900 }))).await;
    let fault = room.plain("sh_do", r#"{"how":"slow"}"#).await.unwrap_err();
    assert_eq!(fault.code, Code::OutcomeUnknown);
    room.provider.close().await;
}

/// Over one shared stream, log lines and questions do not say which call they belong to.
#[tokio::test(flavor = "multi_thread")]
async fn what_could_be_of_two_callers_is_nobodys() {
    let cases = r#"
    *'"how":"wait"'*) waits=$id; : > waiting ;;
    *'"tools/call"'*)
      echo '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"whose?"}}'
      echo '{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":{"mode":"form","message":"?","requestedSchema":{}}}'
      asks=$id ;;
    *'"id":"q"'*)
      case $line in
        *'"error"'*) said=refused ;;
        *) said=answered ;;
      esac
      say "$asks" "$said"
      if [ -n "$waits" ]; then say "$waits" 'waited'; waits=; fi ;;
    "#;
    let folder = tempfile::tempdir().unwrap();
    let room = Room::open(section(cases, json!({ "cwd": folder.path() }))).await;
    let (one, other) = (Arc::new(Ear::open()), Arc::new(Ear::open()));
    let waiting = room.call("sh_do", r#"{"how":"wait"}"#, &one);
    let asking = async {
        room.until("one waits", |_| folder.path().join("waiting").exists()).await;
        room.call("sh_do", "{}", &other).await
    };
    let (waited, asked) = tokio::join!(waiting, asking);
    assert_eq!((said(&waited.unwrap()), said(&asked.unwrap())), ("waited".to_owned(), "refused".to_owned()));
    assert!(one.heard().is_empty() && other.heard().is_empty());
    // Alone it is clear whom it means.
    assert_eq!(said(&room.call("sh_do", "{}", &one).await.unwrap()), "answered");
    assert_eq!(one.heard(), [r#"log Info "whose?""#, "asked question-1 elicitation/create"]);
    room.provider.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn time_counts_again_once_a_question_is_withdrawn() {
    let cases = r#"
    *'"how":"withdraws"'*)
      echo '{"jsonrpc":"2.0","id":"q","method":"roots/list"}'
      echo '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"q"}}' ;;
    *'"tools/call"'*) echo '{"jsonrpc":"2.0","id":"r","method":"roots/list"}' ;;
    *'"id":"q"'*) echo answered >> answers ;;
    "#;
    let folder = tempfile::tempdir().unwrap();
    let room = Room::open(section(cases, json!({ "cwd": folder.path(), "timeout_ms": 400 }))).await;
    let ear = Arc::new(Ear { is_slow: true, ..Ear::open() });
    let fault = room.call("sh_read", r#"{"how":"withdraws"}"#, &ear).await.unwrap_err();
    assert_eq!(fault.code, Code::TimedOut);
    let waits = room.call("sh_read", "{}", &ear);
    assert!(
        tokio::time::timeout(Duration::from_secs(1), waits).await.is_err(),
        "the caller has all the time"
    );
    // The one that was withdrawn need not have been asked at all.
    assert_eq!(ear.heard().last().unwrap(), "asked question-1 roots/list");
    room.provider.close().await;
    assert!(!folder.path().join("answers").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn turns_are_bounded_and_stopping_gives_one_back() {
    let cases = r#"*'"how":"never"'*) : > waiting ;;
    *'"tools/call"'*) say "$id" 'here' ;;
    *'notifications/cancelled'*) echo "$line" >> cancelled ;;"#;
    let folder = tempfile::tempdir().unwrap();
    let more = json!({ "concurrent_max": 1, "timeout_ms": 60_000, "cwd": folder.path() });
    let room = Room::open(section(cases, more)).await;
    let (source, stop) = tool::StopSource::new();
    let ear = Arc::new(Ear::default());
    let first = room.stoppable("sh_do", r#"{"how":"never"}"#, &ear, stop);
    let second = async {
        room.until("the first has its turn", |_| folder.path().join("waiting").exists()).await;
        let waiting = room.stoppable("sh_do", "{}", &ear, Stop::never());
        tokio::pin!(waiting);
        assert!(tokio::time::timeout(Duration::from_millis(200), &mut waiting).await.is_err(), "it waits");
        source.ask();
        waiting.await
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!(first.unwrap_err().code, Code::Cancelled);
    assert_eq!(said(&second.unwrap()), "here");
    let told = std::fs::read_to_string(folder.path().join("cancelled")).unwrap();
    assert!(told.contains(r#""requestId":"#), "{told}");
    room.provider.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_knows_only_what_it_is_given() {
    let cases = r#"*'"tools/call"'*) say "$id" "$(env | sort | tr '\n' ' ') in $(pwd)" ;;"#;
    let folder = tempfile::tempdir().unwrap();
    let more = json!({ "env": { "TOKEN": "t0ps3cret" }, "cwd": folder.path() });
    let room = Room::open(section(cases, more)).await;
    let said = said(&room.call("sh_do", "{}", &Arc::new(Ear::default())).await.unwrap());
    let (env, place) = said.split_once(" in ").unwrap();
    // A shell adds these itself.
    let known: Vec<&str> =
        env.split_whitespace().filter(|name| !name.starts_with("PWD=") && !name.starts_with("_=")).collect();
    let known: Vec<&str> = known
        .into_iter()
        .filter(|name| !name.starts_with("SHLVL=") && !name.starts_with("OLDPWD="))
        .collect();
    assert_eq!(known, ["PATH=/usr/local/bin:/usr/bin:/bin", "TOKEN=t0ps3cret"]);
    assert_eq!(Path::new(place), folder.path().canonicalize().unwrap());
    room.provider.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_does_not_want_to_end_is_ended_with_all_it_started() {
    let mark = format!("94{}", std::process::id());
    let cases = format!(
        r#"*'"tools/call"'*)
      trap '' TERM
      sleep {mark} & setsid sleep {mark} &
      say "$id" 'started' ;;"#
    );
    let folder = tempfile::tempdir().unwrap();
    // It ignores the end of its input, too.
    let mut section = section(&cases, json!({ "cwd": folder.path() }));
    let script = section["sh"]["command"][2].as_str().unwrap().to_owned();
    section["sh"]["command"][2] = json!(format!("{script}\nsleep {mark}\n"));
    let room = Room::open(section).await;
    room.plain("sh_do", "{}").await.unwrap();
    room.until("all three run", |_| marked(&mark) == 3).await;
    let began = Instant::now();
    room.provider.close().await;
    assert!(began.elapsed() < Duration::from_secs(4));
    assert_eq!(marked(&mark), 0);
}

/// How many processes have this mark on their command line.
fn marked(mark: &str) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).contains(mark)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_on_standard_error_and_a_line_that_is_too_long_stop_nothing() {
    let cases = r#"*'"tools/call"'*)
      head -c 300000 /dev/zero | tr '\0' 'x' >&2; yes complaint | head -n 20000 >&2
      head -c 5000 /dev/zero | tr '\0' 'x'; echo
      say "$id" 'here' ;;"#;
    let room = Room::open(section(cases, json!({ "message_bytes_max": 4_096 }))).await;
    assert!(room.plain("sh_do", "{}").await.unwrap().contains("here"));
    room.provider.close().await;
}
