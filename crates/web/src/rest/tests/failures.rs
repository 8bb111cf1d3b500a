//! What callers are told when an API says no, says nonsense, or says nothing.

use std::time::Duration;

use super::*;
use crate::rest::errors;

fn tools(method: &str, errors: &Value) -> Value {
    json!({ "it": {
        "api": "shop", "method": method, "description": "d", "path": "/", "errors": errors, "timeout_ms": 150
    } })
}

/// Calls one tool of this method and shows what becomes of it, and what was counted.
async fn check(bed: &Bed, method: &str, errors: &Value, expected: Expect) {
    let (provider, meter) = opened(&section(bed, json!({}), tools(method, errors)));
    let result = call(&*provider, "it", json!({})).await;
    let mut shown = show(&result).replace(&bed.port().to_string(), "PORT");
    for counted in meter.0.lock().unwrap().iter() {
        shown.push_str(&format!("\ncounted {counted}"));
    }
    if let Err(fault) = &result {
        shown.push_str(if fault.is_transient() { "\nmay pass" } else { "" });
    }
    expected.assert_eq(&shown);
}

#[tokio::test]
async fn every_status_has_a_meaning_where_none_is_declared() {
    let mut shown = String::new();
    for status in (300..600).filter(|status| *status != 304) {
        let refusal = errors::Refusal { status, retry_after: None, excerpt: None };
        let fault = errors::refused("shop", &[], refusal);
        let line = format!(
            "{:?}{} {}",
            fault.code,
            if fault.is_transient() { ", may pass:" } else { ":" },
            fault.text
        );
        let line = line.replace(&status.to_string(), "N");
        if !shown.ends_with(&format!("{line}\n")) {
            shown.push_str(&format!("from {status} {line}\n"));
        }
    }
    expect![[r#"
        from 300 Upstream, may pass: shop redirected elsewhere (N), which is not followed
        from 400 BadArguments: shop did not take the request (N)
        from 401 Upstream, may pass: shop did not take our credentials (N); tell an operator
        from 402 Upstream, may pass: shop failed (N)
        from 403 Denied: shop does not allow it (N)
        from 404 NotFound: shop has nothing there (N)
        from 405 BadArguments: shop did not take the request (N)
        from 407 Upstream, may pass: shop did not take our credentials (N); tell an operator
        from 408 Upstream, may pass: shop wants to be asked later (N)
        from 409 Conflict: shop says that it clashes with what is there (N)
        from 410 NotFound: shop has nothing there (N)
        from 411 BadArguments: shop did not take the request (N)
        from 412 Conflict: shop says that it clashes with what is there (N)
        from 413 BadArguments: shop did not take the request (N)
        from 418 Upstream, may pass: shop failed (N)
        from 422 BadArguments: shop did not take the request (N)
        from 423 Conflict: shop says that it clashes with what is there (N)
        from 424 Upstream, may pass: shop failed (N)
        from 425 Upstream, may pass: shop wants to be asked later (N)
        from 426 Upstream, may pass: shop failed (N)
        from 428 BadArguments: shop did not take the request (N)
        from 429 Upstream, may pass: shop wants to be asked later (N)
        from 430 Upstream, may pass: shop failed (N)
        from 431 BadArguments: shop did not take the request (N)
        from 432 Upstream, may pass: shop failed (N)
        from 451 Denied: shop does not allow it (N)
        from 452 Upstream, may pass: shop failed (N)
    "#]]
    .assert_eq(&shown);
}

#[tokio::test]
async fn declared_sentences_win_by_the_first_row_that_fits() {
    let rules = json!([
        { "status": 404, "error": "Customer not found", "code": "not_found" },
        { "status": 418, "error": "short and stout", "code": "invalid" },
        { "status": 409, "error": "taken" },
        { "status": "4xx", "error": "refused", "code": "denied" },
        { "status": "5xx", "error": "Upstream error", "code": "retry" }
    ]);
    const SAYS: &[u8] = br#"{"error": "inner words"}"#;
    for (status, expected) in [
        (
            404,
            expect![[r#"
                NotFound (not_found) Customer not found
                counted rest:shop 404"#]],
        ),
        (
            418,
            expect![[r#"
                BadArguments (invalid) short and stout
                counted rest:shop 418"#]],
        ),
        (
            409,
            expect![[r#"
                Conflict (conflict) taken
                counted rest:shop 409"#]],
        ),
        (
            422,
            expect![[r#"
                Denied (denied) refused
                counted rest:shop 422"#]],
        ),
        (
            500,
            expect![[r#"
            Upstream (retry) Upstream error, again after 7 s
            counted rest:shop 500
            may pass"#]],
        ),
        (
            503,
            expect![[r#"
            Upstream (retry) Upstream error, again after 7 s
            counted rest:shop 503
            may pass"#]],
        ),
    ] {
        check(&always(status, "application/json", SAYS).await, "GET", &rules, expected).await;
    }
}

#[tokio::test]
async fn undeclared_refusals_quote_a_little_and_no_pages() {
    let none = json!([]);
    for (content_type, body, expected) in [
        (
            "application/json",
            &br#"{"error": {"message": "id\u001b[31m must\u202e be\n positive"}}"#[..],
            expect![[r#"
                BadArguments (invalid) shop did not take the request (400): "id [31m must be positive"
                counted rest:shop 400"#]],
        ),
        (
            "application/problem+json",
            br#"{"title": "t", "detail": "the detail"}"#,
            expect![[r#"
                BadArguments (invalid) shop did not take the request (400): "the detail"
                counted rest:shop 400"#]],
        ),
        (
            "text/plain",
            b"  plain\r\n words ",
            expect![[r#"
                BadArguments (invalid) shop did not take the request (400): "plain words"
                counted rest:shop 400"#]],
        ),
        (
            "text/html",
            b"<h1>Traceback: /srv/app.py</h1>",
            expect![[r#"
                BadArguments (invalid) shop did not take the request (400)
                counted rest:shop 400"#]],
        ),
        (
            "application/json",
            b"{broken",
            expect![[r#"
                BadArguments (invalid) shop did not take the request (400)
                counted rest:shop 400"#]],
        ),
        (
            "application/json",
            br#"{"stack": ["a", "b"]}"#,
            expect![[r#"
                BadArguments (invalid) shop did not take the request (400)
                counted rest:shop 400"#]],
        ),
    ] {
        check(&always(400, content_type, body).await, "GET", &none, expected).await;
    }
}

#[tokio::test]
async fn a_refusal_never_shows_our_credentials() {
    let bed = always(403, "text/plain", b"the token t0p-s3cret or dTp0MHAtczNjcmV0 is bad").await;
    for auth in
        [json!({ "bearer": "t0p-s3cret" }), json!({ "basic": { "user": "u", "password": "t0p-s3cret" } })]
    {
        let (provider, _) = opened(&section(&bed, json!({ "auth": auth }), tools("GET", &json!([]))));
        let fault = call(&*provider, "it", json!({})).await.unwrap_err();
        for text in [fault.text.clone(), fault.chain(), format!("{fault:?}")] {
            assert!(!text.contains("t0p-s3cret"), "{text}");
            assert!(auth.get("bearer").is_some() || !text.contains("dTp0MHAtczNjcmV0"), "{text}");
        }
    }
}

#[test]
fn excerpts_are_short() {
    let long = format!("{{\"error\": {:?}}}", "x".repeat(500));
    assert_eq!(errors::excerpt(long.as_bytes(), "application/json", &[]).unwrap().len(), 200);
    assert_eq!(errors::excerpt(b" \r\n\t", "text/plain", &[]), None);
}

#[tokio::test]
async fn nonsense_is_the_sources_fault() {
    let none = json!([]);
    for (content_type, body, expected) in [
        (
            "application/json",
            &b"{"[..],
            expect![[r#"
            Upstream (retry) shop answered 200 with "application/json" that is not JSON
            counted rest:shop protocol
            may pass"#]],
        ),
        (
            "text/html",
            b"<html>",
            expect![[r#"
            Upstream (retry) shop answered 200 with "text/html" that is not JSON
            counted rest:shop protocol
            may pass"#]],
        ),
        (
            "application/json",
            b"{} {}",
            expect![[r#"
            Upstream (retry) shop answered 200 with "application/json" that is not JSON
            counted rest:shop protocol
            may pass"#]],
        ),
        ("application/json", b"", expect![[r#"{"status":200}"#]]),
        ("text/plain", b" [1] ", expect!["raw [1]"]),
    ] {
        check(&always(200, content_type, body).await, "GET", &none, expected).await;
    }
    let deep: &'static [u8] = Box::leak("[".repeat(100_000).into_bytes().into_boxed_slice());
    check(
        &always(200, "application/json", deep).await,
        "GET",
        &none,
        expect![[r#"
        Upstream (retry) shop answered 200 with "application/json" that is not JSON
        counted rest:shop protocol
        may pass"#]],
    )
    .await;
    check(&always(201, "text/html", b"<html>").await, "POST", &none, expect![[r#"
        OutcomeUnknown (unknown) shop answered 201 with "text/html" that is not JSON; it took the request, so look before you ask again
        counted rest:shop protocol"#]]).await;
}

#[tokio::test]
async fn silence_is_a_timeout_and_for_a_change_nobody_knows() {
    let rules = json!([
        { "status": "timeout", "error": "API timeout", "code": "retry" },
        { "status": "connect", "error": "API down", "code": "retry" }
    ]);
    for (method, expected) in [
        (
            "GET",
            expect![[r#"
        TimedOut (retry) API timeout
        counted rest:shop timeout
        may pass"#]],
        ),
        (
            "POST",
            expect![[r#"
        OutcomeUnknown (unknown) API timeout; it is not known whether the request took effect, look before you ask again
        counted rest:shop timeout"#]],
        ),
        (
            "PUT",
            expect![[r#"
        OutcomeUnknown (unknown) API timeout; it is not known whether the request took effect, look before you ask again
        counted rest:shop timeout"#]],
        ),
    ] {
        let (bed, mut closed) = Bed::bytes("", true).await;
        check(&bed, method, &rules, expected).await;
        closed.recv().await.unwrap();
    }
    for (method, expected) in [
        (
            "GET",
            expect![[r#"
                Upstream (retry) shop broke off before it had answered
                counted rest:shop protocol
                may pass"#]],
        ),
        (
            "POST",
            expect![[r#"
                OutcomeUnknown (unknown) shop broke off before it had answered; it is not known whether the request took effect, look before you ask again
                counted rest:shop protocol"#]],
        ),
    ] {
        // Breaks off in the middle of an answer.
        let (bed, _) = Bed::bytes("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{", false).await;
        check(&bed, method, &json!([]), expected).await;
    }
    for (method, expected) in
        [("GET", expect!["Upstream (retry) API down"]), ("POST", expect!["Upstream (retry) API down"])]
    {
        let (bed, _) = Bed::bytes("", false).await;
        let address = bed.address;
        drop(bed);
        // Nobody listens there any more once the task has ended.
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        let (gone, _) = Bed::bytes("", false).await;
        let mut config = section(&gone, json!({}), tools(method, &rules));
        let shop = config.apis.get_mut("shop").unwrap();
        shop.base_url = format!("http://{address}");
        shop.allow_private = vec![address.to_string()];
        let (provider, _) = opened(&config);
        expected.assert_eq(&show(&call(&*provider, "it", json!({})).await));
    }
}

#[tokio::test]
async fn an_answer_is_taken_up_to_its_bound() {
    for (bytes_max, expected) in [
        (12, expect![[r#"raw {"a": "bcd"}"#]]),
        (11, expect!["Upstream (retry) shop answered with more than 11 bytes"]),
    ] {
        let bed = always(200, "application/json", br#"{"a": "bcd"}"#).await;
        let api = json!({ "response_bytes_max": bytes_max });
        let (provider, _) = opened(&section(&bed, api, tools("GET", &json!([]))));
        let shown = show(&call(&*provider, "it", json!({})).await);
        expected.assert_eq(&shown.replace(&bed.port().to_string(), "PORT"));
    }
}

#[tokio::test]
async fn a_change_is_not_carried_on_by_a_redirect() {
    for (method, expected) in [
        (
            "GET",
            expect![[r#"
                Upstream (retry) shop redirected to a place that is not followed: it leads to another origin at 10.0.0.1
                counted rest:shop protocol
                may pass"#]],
        ),
        (
            "POST",
            expect![[r#"
        Upstream (retry) shop redirected elsewhere (302), which is not followed
        counted rest:shop 302
        may pass"#]],
        ),
    ] {
        let (bed, _) = Bed::bytes(answer("302 Found\r\nlocation: http://10.0.0.1/x", b""), false).await;
        check(&bed, method, &json!([]), expected).await;
    }
}

#[tokio::test]
async fn requests_wait_for_their_turn_and_say_so() {
    let (bed, _closed) = Bed::bytes("", true).await;
    let mut tools = tools("POST", &json!([]));
    tools["long"] = tools["it"].clone();
    tools["long"]["timeout_ms"] = json!(60_000);
    let (provider, meter) = opened(&section(&bed, json!({ "max_connections": 1 }), tools));
    let second = async {
        while bed.connections() == 0 {
            tokio::task::yield_now().await;
        }
        call(&*provider, "it", json!({})).await
    };
    let second = tokio::select! {
        _ = call(&*provider, "long", json!({})) => panic!("nothing ever answers"),
        second = second => second,
    };
    expect!["Busy (retry) too many requests to shop are under way; ask again in a moment, again after 1 s"]
        .assert_eq(&show(&second));
    assert_eq!((bed.connections(), meter.0.lock().unwrap().len()), (1, 0), "the second was never sent");
}

#[tokio::test]
async fn stopped_or_dropped_work_closes_its_connection() {
    let (bed, mut closed) = Bed::bytes("", true).await;
    let mut config = section(&bed, json!({}), tools("GET", &json!([])));
    config.tools.get_mut("it").unwrap().timeout_ms = Some(60_000);
    let (provider, _) = opened(&config);
    let reached = async |before: usize| {
        while bed.connections() == before {
            tokio::task::yield_now().await;
        }
    };
    let (source, talk) = testkit::talk_that_stops();
    let permit = testkit::permit_of(&*provider, "it", json!({})).unwrap();
    let (ended, ()) = tokio::join!(provider.run(permit, talk), async {
        reached(0).await;
        source.ask();
    });
    assert_eq!(ended.unwrap_err().code, tool::Code::Cancelled);
    closed.recv().await.unwrap();

    let permit = testkit::permit_of(&*provider, "it", json!({})).unwrap();
    tokio::select! {
        _ = provider.run(permit, testkit::talk()) => panic!("nothing ever answers"),
        () = reached(1) => {}
    }
    closed.recv().await.unwrap();
}

#[test]
fn retry_after_is_seconds_or_a_date_and_bounded() {
    let now = tool::Timestamp::from_unix_ms(1_767_225_600_000);
    for (text, seconds) in [
        ("7", Some(7)),
        ("0", Some(0)),
        ("999999999", Some(3600)),
        ("Thu, 01 Jan 2026 00:01:30 GMT", Some(90)),
        ("Thu, 01 Jan 2015 00:00:00 GMT", Some(0)),
        ("-1", None),
        ("soon", None),
        ("", None),
    ] {
        let mut headers = http::HeaderMap::new();
        headers.insert(http::header::RETRY_AFTER, text.parse().unwrap());
        assert_eq!(errors::retry_after(&headers, now), seconds.map(Duration::from_secs), "{text:?}");
    }
    assert_eq!(errors::retry_after(&http::HeaderMap::new(), now), None);
}

#[tokio::test]
async fn an_api_on_our_own_network_needs_to_be_listed() {
    let config = serde_json::from_value(json!({
        "apis": { "shop": { "base_url": "http://shop.internal" } },
        "tools": { "it": { "api": "shop", "method": "POST", "description": "d", "path": "/" } }
    }));
    let (provider, _) = opened(&config.unwrap());
    expect!["Denied (denied) shop is or leads to an address of a private network and is not reached from here; an operator can allow the host and port in `rest.apis.shop.allow_private`"].assert_eq(&show(&call(&*provider, "it", json!({})).await));
}

#[tokio::test]
async fn probes_tell_how_an_api_is() {
    let well = always(204, "text/plain", b"").await;
    let broken = always(503, "text/plain", b"").await;
    let locked = always(401, "text/plain", b"").await;
    let api = |bed: &Bed, path: Option<&str>| json!({ "base_url": format!("http://{}", bed.address), "allow_private": [bed.address], "health_path": path });
    let config = serde_json::from_value(json!({ "apis": {
        "a_well": api(&well, Some("/health")),
        "b_broken": api(&broken, Some("/health")),
        "c_locked": api(&locked, Some("/health")),
        "d_connects": api(&broken, None),
        "e_private": { "base_url": "http://shop.internal" },
        "f_unknown": { "base_url": "http://nowhere.test" }
    } }));
    let (provider, _) = opened(&config.unwrap());
    let shown: Vec<_> = provider
        .probe()
        .await
        .into_iter()
        .map(|probe| {
            assert_eq!(probe.kind, "external_api");
            format!("{} {:?} {}", probe.source, probe.state, Value::Object(probe.details))
        })
        .collect();
    expect![[r#"
        rest:a_well Healthy {"last_success":"2026-01-01T00:00:00.000Z"}
        rest:b_broken Unhealthy {"last_success":null,"error":"the health path answered 503"}
        rest:c_locked Degraded {"last_success":null,"error":"the health path answered 401"}
        rest:d_connects Healthy {"last_success":"2026-01-01T00:00:00.000Z"}
        rest:e_private Unhealthy {"last_success":null,"error":"shop.internal:80 is or leads to an address of a private network and is not reached from here; an operator can allow the host and port in `rest.apis.e_private.allow_private`"}
        rest:f_unknown Unhealthy {"last_success":null,"error":"cannot find the host nowhere.test"}"#]].assert_eq(&shown.join("\n"));
}
