//! At most N calls in any 60 seconds, exactly, and every header of it.

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::json;

use crate::app::App;

#[test]
fn a_hundred_calls_and_not_one_more() {
    let app = App::start();
    let call = || app.post("/v1/mcp/fs_list", Some(&app.viewer), &json!({}));
    for left in (0..100).rev() {
        let answer = call();
        assert_eq!(answer.status, 200, "{}", answer.line());
        assert_eq!(answer.header("x-ratelimit-limit"), Some("100"));
        assert_eq!(answer.header("x-ratelimit-remaining"), Some(left.to_string().as_str()));
        assert!(answer.header("ratelimit").is_some() && answer.header("ratelimit-policy").is_some());
    }
    let over = call();
    let body = over.json();
    assert_eq!(over.status, 429);
    assert_eq!(body["error"], "Rate limit exceeded");
    assert_eq!(body["limit"], 100);
    assert_eq!(body["detail"]["error"], "Rate limit exceeded");
    assert_eq!(body["detail"]["limit"], 100);
    assert_eq!(body["detail"]["reset_at"], body["reset_at"]);
    assert_eq!(body["request_id"].as_str(), over.header("x-request-id"));
    let wait: u64 = over.header("retry-after").unwrap().parse().unwrap();
    assert_eq!(body["retry_after_seconds"], wait);
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(over.header("x-ratelimit-remaining"), Some("0"));
    // another key is not held up by it
    assert_eq!(app.call("fs_list", &json!({})).status, 200);
}

#[test]
fn a_race_for_the_last_calls_lets_a_hundred_through() {
    let app = App::start();
    let (good, limited) = (AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let answer = app.post("/v1/mcp/fs_list", Some(&app.viewer), &json!({}));
                    match answer.status {
                        200 => good.fetch_add(1, Ordering::Relaxed),
                        429 => limited.fetch_add(1, Ordering::Relaxed),
                        _ => panic!("{}", answer.line()),
                    };
                }
            });
        }
    });
    assert_eq!((good.into_inner(), limited.into_inner()), (100, 60));
}

#[test]
fn refused_arguments_cost_a_call_and_hidden_tools_do_not_cost_more() {
    let app = App::start();
    let viewer = Some(app.viewer.as_str());
    for _ in 0..100 {
        app.post("/v1/mcp/fs_read_text", viewer, &json!({ "path": "../etc/passwd" }));
    }
    assert_eq!(app.post("/v1/mcp/fs_list", viewer, &json!({})).status, 429);
}
