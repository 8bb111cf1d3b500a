//! Servers of the older era: how they are told apart, their sessions, and streams that are taken up again.

use super::*;

/// What an older server answers, with a session.
fn legacy(asked: &Asked, session: &str) -> Response {
    match asked.method() {
        "initialize" => {
            let result = r#"{"protocolVersion":"2025-06-18","capabilities":{"tools":{},"logging":{}},"serverInfo":{"name":"old","version":"1"}}"#;
            let mut response = json_answer(asked.result(result));
            response.headers_mut().insert("mcp-session-id", session.parse().unwrap());
            response
        }
        "tools/list" => json_answer(asked.result(&format!(r#"{{"tools":{ONE_TOOL}}}"#))),
        method if method.starts_with("notifications/") => status(202, "text/plain", ""),
        "" if asked.verb != Method::POST => status(405, "text/plain", ""),
        _ => json_answer(asked.result(r#"{"content":[{"type":"text","text":"old"}]}"#)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_no_error_of_the_newer_era_is_the_older_one() {
    for (how, is_legacy) in [
        ("empty 400", true),
        ("html 404", true),
        ("rpc 400", true),
        ("rpc 200", true),
        ("html 200", true),
        ("silent", true),
        ("old versions", true),
        ("no common version", false),
        ("unsupported, old ones listed", true),
        ("unsupported, none listed", false),
        ("500", false),
    ] {
        let odd = Odd::serve(move |asked| match asked.method() {
            "server/discover" => match how {
                "empty 400" => status(400, "text/plain", ""),
                "html 404" => status(404, "text/html", "<p>no</p>"),
                "rpc 400" => status(
                    400,
                    "application/json",
                    r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"no session"}}"#,
                ),
                "rpc 200" => json_answer(asked.error(r#"{"code":-32601,"message":"no"}"#)),
                "html 200" => status(200, "text/html", "<p>hello</p>"),
                "silent" => events(vec![": \n\n".to_owned()], true),
                "old versions" => json_answer(asked.result(r#"{"supportedVersions":["2025-11-25"]}"#)),
                "no common version" => json_answer(asked.result(r#"{"supportedVersions":["2099-01-01"]}"#)),
                "unsupported, old ones listed" => status(
                    400,
                    "application/json",
                    asked.error(r#"{"code":-32022,"message":"no","data":{"supported":["2025-06-18"]}}"#),
                ),
                "unsupported, none listed" => {
                    status(400, "application/json", asked.error(r#"{"code":-32022,"message":"no"}"#))
                }
                _ => status(500, "text/plain", ""),
            },
            _ => legacy(asked, "one"),
        })
        .await;
        let room = odd.open().await;
        assert_eq!(!odd.asked("initialize").is_empty(), is_legacy, "{how}");
        let answer = match room.names().is_empty() {
            true => Err(Fault::not_found("no tools")),
            false => room.plain("odd_do", "{}").await,
        };
        assert_eq!(answer.is_ok(), is_legacy, "{how}");
        let state = room.probe().await.state;
        assert_eq!(state == ProbeState::Healthy, is_legacy, "{how}");
        room.provider.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_named_renewed_and_ended() {
    let sessions = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sessions);
    let odd = Odd::serve(move |asked| {
        if asked.method() == "initialize" {
            let number = count.fetch_add(1, Ordering::SeqCst);
            return legacy(asked, &format!("s{number}"));
        }
        // The first session is forgotten before its first call.
        if asked.header("mcp-session-id") == "s0" && asked.method() == "tools/call" {
            return status(
                404,
                "application/json",
                asked.error(r#"{"code":-32001,"message":"Session not found"}"#),
            );
        }
        legacy(asked, "")
    })
    .await;
    let room = Room::open(odd.section(json!({ "protocol": "legacy" }))).await;
    assert!(room.plain("odd_do", "{}").await.unwrap().contains("old"));
    assert_eq!(sessions.load(Ordering::SeqCst), 2);
    let calls = odd.asked("tools/call");
    let named: Vec<[&str; 2]> = calls
        .iter()
        .map(|call| [call.header("mcp-session-id"), call.header("mcp-protocol-version")])
        .collect();
    assert_eq!(named, [["s0", "2025-06-18"], ["s1", "2025-06-18"]]);
    assert_eq!(odd.asked("initialize")[0].header("mcp-session-id"), "-");
    assert_eq!(odd.asked("logging/setLevel")[0].body["params"], json!({ "level": "info" }));
    room.provider.close().await;
    let last = odd.asked.lock().unwrap().last().unwrap().clone();
    assert_eq!((last.verb.as_str(), last.header("mcp-session-id")), ("DELETE", "s1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_whose_stream_ended_early_is_taken_up_again() {
    let odd = Odd::serve(|asked| match (asked.verb.as_str(), asked.header("last-event-id"), asked.method()) {
        ("POST", _, "tools/call") => {
            let progress = json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": {
                "progressToken": asked.body["id"], "progress": 1,
            } });
            events(vec!["id: 0\nretry: 10\ndata:\n\n".to_owned(), format!("id: {}\n{}", asked.body["id"], event(&progress.to_string()))], false)
        }
        ("GET", "-", _) => status(405, "text/plain", ""),
        ("GET", id, _) => {
            let answer = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"type":"text","text":"late"}}]}}}}"#);
            events(vec![event(&answer)], false)
        }
        _ => legacy(asked, "one"),
    })
    .await;
    let room = Room::open(odd.section(json!({ "protocol": "legacy" }))).await;
    let ear = Arc::new(Ear::default());
    assert_eq!(said(&room.call("odd_do", "{}", &ear).await.unwrap()), "late");
    assert_eq!(ear.heard(), ["progress 1 of None "]);
    room.provider.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn last_words_on_the_stream_of_the_session_come_before_the_answer() {
    let (aside, listening) = tokio::sync::mpsc::unbounded_channel::<Result<String, Infallible>>();
    let listening = Mutex::new(Some(listening));
    let odd = Odd::serve(move |asked| match (asked.verb.as_str(), asked.method()) {
        ("GET", _) => {
            let listening = listening.lock().unwrap().take().unwrap();
            let said = futures_util::stream::unfold(listening, async |mut listening| {
                Some((listening.recv().await?, listening))
            });
            ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(said)).into_response()
        }
        (_, "tools/call") => {
            let log = |data: &str| {
                let params = json!({ "level": "info", "data": data });
                event(
                    &json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": params })
                        .to_string(),
                )
            };
            let answer = event(&asked.result(r#"{"content":[{"type":"text","text":"done"}]}"#));
            let (first, last, aside) = (log("first"), log("last"), aside.clone());
            // The last line is said only once the answer is on its way.
            let body = futures_util::stream::iter([0, 1, 2]).then(move |step| {
                let (first, last, aside, answer) =
                    (first.clone(), last.clone(), aside.clone(), answer.clone());
                async move {
                    match step {
                        0 => aside.send(Ok(first)).unwrap(),
                        1 => return Ok::<_, Infallible>(answer),
                        _ => {}
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    if step == 2 {
                        aside.send(Ok(last)).unwrap();
                    }
                    Ok(String::new())
                }
            });
            ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(body)).into_response()
        }
        _ => legacy(asked, "one"),
    })
    .await;
    let room = Room::open(odd.section(json!({ "protocol": "legacy" }))).await;
    let ear = Arc::new(Ear::default());
    assert_eq!(said(&room.call("odd_do", "{}", &ear).await.unwrap()), "done");
    assert_eq!(ear.heard(), ["log Info \"first\"", "log Info \"last\""]);
    room.provider.close().await;
}
