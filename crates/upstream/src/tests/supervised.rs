//! Programs that end, hang and say too much, and what operators see of it.

use serde_json::{Value, json};
use tool::{Code, PrincipalKind, ProbeState};

use super::{bed::Room, odd_stdio::section};

async fn listed(room: &Room) -> Value {
    let answer = room.operate(PrincipalKind::Human, "upstream_list", json!({})).await.unwrap();
    answer["servers"][0].clone()
}

/// Waits until the server is in this state.
async fn until(room: &Room, state: &str) -> Value {
    once(room, |server| server["state"] == state).await
}

/// Waits until it runs and was started again so many times.
async fn restarted(room: &Room, times: u32) -> Value {
    once(room, |server| server["state"] == "connected" && server["restarts"] == times).await
}

async fn once(room: &Room, is_so: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..2_000 {
        let server = listed(room).await;
        if is_so(&server) {
            return server;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("never: {}", listed(room).await);
}

/// Dies when it is told to, and says that it does.
const DIES: &str = r#"
    *'"how":"die"'*) echo "it dies of $$" >&2; say "$id" 'dying'; exit 7 ;;
    *'"how":"hang"'*) kill -STOP $$ ;;
    *'"tools/call"'*) say "$id" 'here' ;;
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_ended_is_there_again_before_anybody_asks() {
    let room = Room::open(section(DIES, json!({}))).await;
    assert_eq!(listed(&room).await["restarts"], 0);
    assert!(room.plain("sh_do", r#"{"how":"die"}"#).await.unwrap().contains("dying"));
    let server = restarted(&room, 1).await;
    assert_eq!(server["tools"], 2, "what it offers stays: {server}");
    assert!(room.plain("sh_do", "{}").await.unwrap().contains("here"));
    let logs = room.operate(PrincipalKind::Human, "upstream_logs", json!({ "server": "sh" })).await.unwrap();
    assert!(logs["lines"][0].as_str().unwrap().starts_with("it dies of "), "{logs}");
    room.provider.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_keeps_ending_waits_for_an_operator() {
    let room = Room::open(section(DIES, json!({ "ends_max": 3 }))).await;
    for ends in 1..=3 {
        assert!(room.plain("sh_do", r#"{"how":"die"}"#).await.unwrap().contains("dying"));
        if ends < 3 {
            restarted(&room, ends).await;
        }
    }
    let server = until(&room, "quarantined").await;
    let why = server["why"].as_str().unwrap();
    assert!(why.starts_with("exit status: 7; it said last: it dies of "), "{why}");
    assert_eq!(room.names(), ["sh_do", "sh_read"], "they are still listed");
    let fault = room.plain("sh_do", "{}").await.unwrap_err();
    assert_eq!(fault.code, Code::Unavailable);
    let text = "the tool server \"sh\" ended 3 times and is left alone until `portcullis upstream restart`; the last time: exit";
    assert!(fault.text.starts_with(text), "{}", fault.text);
    let probe = room.probe().await;
    assert_eq!((probe.state, &probe.details["quarantined"]), (ProbeState::Unhealthy, &json!(true)));
    room.operate(PrincipalKind::Human, "upstream_restart", json!({ "server": "sh" })).await.unwrap();
    assert!(room.plain("sh_do", "{}").await.unwrap().contains("here"));
    assert_eq!(listed(&room).await["state"], "connected");
    room.provider.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_never_comes_up_says_why() {
    let room = Room::open(json!({ "no": { "command": ["no-such-program"], "ends_max": 2 } })).await;
    let server = until(&room, "quarantined").await;
    assert_eq!(
        server["why"],
        "it cannot be started: no-such-program: No such file or directory (os error 2)"
    );
    room.provider.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_ends_at_its_start_says_how() {
    let command = json!(["sh", "-c", "echo no config >&2; exit 2"]);
    let room = Room::open(json!({ "no": { "command": command, "ends_max": 2 } })).await;
    let server = until(&room, "quarantined").await;
    assert_eq!(server["why"], "exit status: 2; it said last: no config");
    let restarted = room.operate(PrincipalKind::Human, "upstream_restart", json!({ "server": "no" })).await;
    let fault = restarted.unwrap_err();
    assert_eq!((fault.code, fault.text.contains("not known")), (Code::Upstream, false), "{}", fault.text);
    room.provider.close().await;
}

/// It neither answers nor ends: a stopped process does not even take a signal.
#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_hangs_is_ended_and_started_again() {
    let more = json!({ "timeout_ms": 400, "alive_ms": 0, "close_timeout_ms": 100 });
    let answers = format!("*'\"ping\"'*) answer \"$id\" '{{}}' ;;\n{DIES}");
    let room = Room::open(section(&answers, more.clone())).await;
    let fault = room.plain("sh_read", r#"{"how":"hang"}"#).await.unwrap_err();
    assert_eq!(fault.code, Code::TimedOut);
    until(&room, "down").await;
    let server = until(&room, "connected").await;
    assert_eq!(server["restarts"], 1);
    assert!(room.plain("sh_do", "{}").await.unwrap().contains("here"));
    room.provider.close().await;

    let mut idle = more;
    idle["alive_ms"] = json!(50);
    let room = Room::open(section(&answers, idle)).await;
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    assert_eq!(listed(&room).await["restarts"], 0, "it answers");
    room.provider.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strict_sandbox_shows_a_program_what_is_named_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data");
    std::fs::write(&file, "known").unwrap();
    for path in [folder.path(), &file] {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let path = file.display();
    let cases = format!(
        r#"*'"tools/call"'*) said=$(cat {path} 2>&1 || echo no); echo "$said" > "$HOME/x"; say "$id" "$(head -n1 "$HOME/x" | tr -d '"')" ;;"#
    );
    // The folder of the tests is one that nobody else may enter.
    let more = |sandbox: Value| json!({ "cwd": "/usr", "sandbox": sandbox });
    let room = Room::open(section(&cases, more(json!({ "mode": "strict" })))).await;
    assert!(room.plain("sh_do", "{}").await.unwrap().contains("Permission denied"));
    let sandbox = listed(&room).await["sandbox"].clone();
    assert_eq!(sandbox["seccomp"], true, "{sandbox}");
    room.provider.close().await;
    let room = Room::open(section(&cases, more(json!({ "mode": "strict", "read": [file] })))).await;
    assert!(room.plain("sh_do", "{}").await.unwrap().contains("known"));
    room.provider.close().await;
}
