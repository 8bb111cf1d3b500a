//! What stands beside the calls: lists, health, metrics, and who may come at all.

use super::*;

#[tokio::test]
async fn the_lists() {
    let server = start(json!({})).await;
    check(&server, "GET /\nx-request-id: r-1", "", expect![[r#"
        HTTP/1.1 200 OK
        content-type: application/json
        cache-control: no-store
        x-request-id: r-1

        {"service":"portcullis","version":"9.9.9","docs":"/docs","documentation":"/docs","redoc":"/redoc","openapi":"/openapi.json","health":"/health","mcp_tools":"/mcp/tools","mcp":"/mcp"}"#]]).await;
    check(&server, "GET /mcp/info\nx-request-id: r-1", "", expect![[r#"
        HTTP/1.1 200 OK
        content-type: application/json
        cache-control: no-store
        x-request-id: r-1

        {"name":"portcullis","version":"9.9.9","protocol_version":"2026-07-28","protocol_versions":["2026-07-28","2025-11-25","2025-06-18","2025-03-26"],"capabilities":["tools","async_execution","prompts","resources","completions","logging","tasks"]}"#]]).await;
    check(&server, &format!("GET /stats\n{KEY}"), "", expect![[r#"
        HTTP/1.1 200 OK
        content-type: application/json
        cache-control: no-store
        x-request-id: r-1

        {"uptime_seconds":2.5,"total_operations":7,"operations_per_minute":3.5,"timestamp":"2026-01-01T00:00:00.000Z"}"#]]).await;
    let body = |answer: String| serde_json::from_str::<Value>(answer.split_once("\n\n").unwrap().1).unwrap();
    let listed = body(server.ask(&format!("GET /mcp/tools\n{KEY}"), "").await);
    let old = listed.as_array().unwrap().iter().find(|tool| tool["name"] == "old").unwrap();
    expect![[r#"
        {
          "name": "old",
          "description": "Answers as it used to.",
          "input_schema": {
            "type": "object"
          },
          "effect": "reads",
          "annotations": {
            "read_only_hint": true,
            "destructive_hint": false,
            "idempotent_hint": true
          },
          "needs_approval": false,
          "deprecated": true,
          "timeout_ms": 30000,
          "version": "1",
          "deprecation": {
            "since": "2025-01-01",
            "removal": "2026-06-30",
            "instead": "echo"
          }
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(old).unwrap());
    let tools = body(server.ask(&format!("GET /tools\n{KEY}"), "").await);
    assert_eq!(tools["tools"]["fs.tree"], tools["tools"]["fs_tree"]);
    assert_eq!(tools["tools"]["echo"]["params"]["required"], json!(["n"]));
    assert_eq!(tools["tools"]["echo"]["returns"], json!({ "type": "object" }));
}

#[tokio::test]
async fn health_goes_by_what_was_probed() {
    let server = start(json!({})).await;
    let body = |answer: &str| {
        let mut body: Value = serde_json::from_str(answer.split_once("\n\n").unwrap().1).unwrap();
        for load in ["memory_usage_percent", "metrics"] {
            assert!(body.as_object_mut().unwrap().remove(load).is_none_or(|load| !load.is_null()));
        }
        format!("{} {body}\n", answer.split(' ').nth(1).unwrap())
    };
    let mut shown = body(&server.ask("GET /health", "").await);
    shown += &body(&server.ask("GET /health/ready", "").await);
    server.road.probe("external_api", ProbeState::Degraded);
    shown += &body(&server.ask("GET /health", "").await);
    server.road.probe("database", ProbeState::Unhealthy);
    shown += &body(&server.ask("GET /health", "").await);
    shown += &body(&server.ask(&format!("GET /health/detailed\n{KEY}"), "").await);
    shown += &body(&server.ask("GET /health/ready\nx-request-id: r-1", "").await);
    shown += &body(&server.ask("GET /health/live", "").await);
    expect![[r#"
        200 {"status":"healthy","timestamp":"2026-01-01T00:00:00.000Z","version":"9.9.9","uptime_seconds":2.5,"database":"not configured","upstream_api":"not configured","audit":"writable","servers":1}
        200 {"status":"ready"}
        200 {"status":"degraded","timestamp":"2026-01-01T00:00:00.000Z","version":"9.9.9","uptime_seconds":2.5,"database":"not configured","upstream_api":"degraded","audit":"writable","servers":1}
        503 {"status":"unhealthy","timestamp":"2026-01-01T00:00:00.000Z","version":"9.9.9","uptime_seconds":2.5,"database":"disconnected","upstream_api":"degraded","audit":"writable","servers":1}
        503 {"status":"unhealthy","timestamp":"2026-01-01T00:00:00.000Z","version":"9.9.9","uptime_seconds":2.5,"checks":{"database":{"status":"unhealthy","latency_ms":3.0,"source":"database:x","connections":2},"external_api":{"status":"degraded","latency_ms":3.0,"source":"external_api:x","connections":2},"cache":{"hits":3,"misses":1,"hit_ratio":0.75},"audit":{"status":"healthy"},"breakers":{"status":"healthy","open":[]},"sources":{"external_api:x":{"status":"degraded","latency_ms":3.0,"source":"external_api:x","connections":2},"database:x":{"status":"unhealthy","latency_ms":3.0,"source":"database:x","connections":2}}}}
        503 {"error":"Service not ready: database unhealthy","status":"retry","detail":"Service not ready: database unhealthy","code":"unavailable","request_id":"r-1"}
        200 {"status":"alive"}
    "#]].assert_eq(&shown);
}

/// What a health door says of the audit log and of what is left alone.
async fn health_of(server: &Running, door: &str) -> String {
    let answer = server.ask(&format!("GET {door}\n{KEY}"), "").await;
    let status = answer.split(' ').nth(1).unwrap().to_owned();
    let body: Value = serde_json::from_str(answer.split_once("\n\n").unwrap().1).unwrap();
    let parts = [&body["status"], &body["audit"], &body["checks"]["audit"], &body["checks"]["breakers"]];
    let parts: Vec<String> = parts.iter().filter(|part| !part.is_null()).map(ToString::to_string).collect();
    format!("{door} {status} {}\n", parts.join(" "))
}

#[tokio::test]
async fn health_shows_what_is_left_alone_and_an_audit_log_that_cannot_be_written() {
    use std::sync::atomic::Ordering::SeqCst;
    let server = start(json!({})).await;
    let doors = ["/health", "/health/detailed", "/health/ready"];
    let mut shown = String::new();
    let open = |name: &str, is_source| OpenBreaker { name: name.into(), is_source };
    for (breakers, is_broken) in [
        (vec![], false),
        (vec![open("http:far.example", false)], false),
        (vec![open("http:far.example", false), open("rest:shop", true)], false),
        (vec![open("rest:shop", true)], true),
    ] {
        *server.road.open_breakers.lock().unwrap() = breakers;
        server.road.is_audit_broken.store(is_broken, SeqCst);
        for door in doors {
            shown += &health_of(&server, door).await;
        }
    }
    expect![[r#"
        /health 200 "healthy" "writable"
        /health/detailed 200 "healthy" {"status":"healthy"} {"status":"healthy","open":[]}
        /health/ready 200 "ready"
        /health 200 "healthy" "writable"
        /health/detailed 200 "healthy" {"status":"healthy"} {"status":"healthy","open":["http:far.example"]}
        /health/ready 200 "ready"
        /health 200 "degraded" "writable"
        /health/detailed 200 "degraded" {"status":"healthy"} {"status":"degraded","open":["http:far.example","rest:shop"]}
        /health/ready 200 "ready"
        /health 503 "unhealthy" "broken"
        /health/detailed 503 "unhealthy" {"status":"unhealthy"} {"status":"degraded","open":["rest:shop"]}
        /health/ready 503 "retry"
    "#]].assert_eq(&shown);
}

#[tokio::test]
async fn metrics_are_open_here_and_need_a_role_elsewhere() {
    let server = start(json!({ "metrics_listen": "127.0.0.1:0" })).await;
    check(
        &server,
        "GET /metrics\nx-request-id: r-1",
        "",
        expect![[r#"
            HTTP/1.1 200 OK
            content-type: application/openmetrics-text; version=1.0.0; charset=utf-8
            cache-control: no-store
            vary: accept
            x-request-id: r-1

            # EOF"#]],
    )
    .await;
    let own = server.metrics.unwrap();
    for (path, status) in
        [("/metrics", "200"), ("/health", "200"), ("/", "401"), ("/mcp/tools", "401"), ("/docs", "401")]
    {
        let socket = TcpStream::connect(own).await.unwrap();
        let answer = exchange(socket, &format!("GET {path}\nhost: anything"), "").await;
        assert_eq!(answer.split(' ').nth(1), Some(status), "{path}");
    }
    let open = start(json!({ "listen": "0.0.0.0:0" })).await;
    for (asked, status) in [
        ("GET /metrics", "401"),
        ("GET /metrics\nauthorization: Bearer good", "403"),
        ("GET /metrics\nauthorization: Bearer metrics", "200"),
        ("POST /metrics", "401"),
        ("POST /metrics\nauthorization: Bearer metrics", "405"),
    ] {
        let socket = TcpStream::connect(("127.0.0.1", open.address.port())).await.unwrap();
        let answer = exchange(socket, asked, "").await;
        assert_eq!(answer.split(' ').nth(1), Some(status), "{asked}");
    }
}

#[tokio::test]
async fn a_path_that_is_no_door_says_so_only_to_somebody() {
    let server = start(json!({})).await;
    let mut shown = "                       none bad off good\n".to_owned();
    for asked in
        ["GET /none", "POST /v1/mcp/", "PUT //", "GET /mcpx", "GET /.well-known/none", "GET /assets/"]
    {
        let mut row = format!("{asked:22}");
        for credentials in
            ["", "\nauthorization: Bearer bad", "\nauthorization: Bearer off", "\nauthorization: Bearer good"]
        {
            row += &format!(" {}", server.status(&format!("{asked}{credentials}"), "").await);
        }
        shown += &format!("{row}\n");
    }
    expect![[r#"
                               none bad off good
        GET /none              401 401 403 404
        POST /v1/mcp/          401 401 403 404
        PUT //                 401 401 403 404
        GET /mcpx              401 401 403 404
        GET /.well-known/none  404 404 404 404
        GET /assets/           404 404 404 404
    "#]]
    .assert_eq(&shown);
    let socket = UnixStream::connect(&server.socket).await.unwrap();
    let local = exchange(socket, "GET /none", "").await;
    assert_eq!(local.split(' ').nth(1), Some("404"), "the socket vouches for its user");
}

#[tokio::test]
async fn pages_from_elsewhere_are_kept_out() {
    let server =
        start(json!({ "cors": { "origins": ["https://ok.example"] }, "allowed_hosts": ["gate.example"] }))
            .await;
    let post = |fields: &str| format!("POST /v1/mcp/echo\n{KEY}\n{fields}");
    check(&server, &post("origin: https://evil.example"), "{}", expect![[r#"
        HTTP/1.1 403 Forbidden
        content-type: application/json
        cache-control: no-store
        x-request-id: r-1
        vary: origin

        {"error":"pages of \"https://evil.example\" may not call; add it to server.cors.origins","status":"denied","detail":"pages of \"https://evil.example\" may not call; add it to server.cors.origins","code":"denied","request_id":"r-1"}"#]]).await;
    check(&server, &post("origin: https://ok.example"), "{}", expect![[r#"
        HTTP/1.1 200 OK
        content-type: application/json
        cache-control: no-store
        x-ratelimit-limit: 100
        x-ratelimit-remaining: 99
        x-ratelimit-reset: 1767225660
        ratelimit-policy: "key";q=100;w=60
        ratelimit: "key";r=99;t=60
        x-request-id: r-1
        vary: origin
        access-control-allow-origin: https://ok.example
        access-control-expose-headers: x-request-id, x-correlation-id, retry-after, ratelimit, ratelimit-policy, x-ratelimit-limit, x-ratelimit-remaining, x-ratelimit-reset, x-cache, x-cut, x-artefact, x-removed-characters, x-masked-secrets, deprecation, sunset, link

        {}"#]]).await;
    check(&server, &post("host: evil.example"), "{}", expect![[r#"
        HTTP/1.1 403 Forbidden
        content-type: application/json
        cache-control: no-store
        x-request-id: r-1
        vary: origin

        {"error":"\"evil.example\" is not a host of this server; add it to server.allowed_hosts","status":"denied","detail":"\"evil.example\" is not a host of this server; add it to server.allowed_hosts","code":"denied","request_id":"r-1"}"#]]).await;
    assert_eq!(server.status(&post("host: gate.example\norigin: http://gate.example"), "{}").await, 200);
    let preflight = "x-request-id: r-1\naccess-control-request-method: POST";
    check(&server, &format!("OPTIONS /invoke\norigin: https://ok.example\n{preflight}"), "", expect![[r#"
        HTTP/1.1 204 No Content
        access-control-allow-methods: GET, HEAD, POST
        access-control-allow-headers: authorization, content-type, accept, idempotency-key, traceparent, x-request-id, x-correlation-id
        access-control-max-age: 600
        x-request-id: r-1
        vary: origin
        access-control-allow-origin: https://ok.example
        access-control-expose-headers: x-request-id, x-correlation-id, retry-after, ratelimit, ratelimit-policy, x-ratelimit-limit, x-ratelimit-remaining, x-ratelimit-reset, x-cache, x-cut, x-artefact, x-removed-characters, x-masked-secrets, deprecation, sunset, link
    "#]]).await;
    check(&server, &format!("OPTIONS /invoke\norigin: https://evil.example\n{preflight}"), "", expect![[r#"
        HTTP/1.1 403 Forbidden
        content-type: application/json
        cache-control: no-store
        x-request-id: r-1
        vary: origin

        {"error":"pages of \"https://evil.example\" may not call; add it to server.cors.origins","status":"denied","detail":"pages of \"https://evil.example\" may not call; add it to server.cors.origins","code":"denied","request_id":"r-1"}"#]]).await;
    assert_eq!(server.road.calls.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn requests_are_counted_by_the_template_of_their_door() {
    let server = start(json!({})).await;
    server.ask(&format!("POST /v1/mcp/echo\n{KEY}"), "{}").await;
    server.ask(&format!("POST /v1/mcp/missing\n{KEY}"), "{}").await;
    server.ask("GET /wp-login.php", "").await;
    server.ask(&format!("GET /.env\n{KEY}"), "").await;
    server.ask("HEAD /health", "").await;
    let mut counts: Vec<_> = server.road.http.lock().unwrap().clone().into_iter().collect();
    counts.sort();
    expect![[r#"[(("/health", 200), 1), (("/v1/mcp/{tool}", 200), 1), (("/v1/mcp/{tool}", 404), 1), (("unmatched", 401), 1), (("unmatched", 404), 1)]"#]].assert_eq(&format!("{counts:?}"));
}

#[tokio::test]
async fn every_answer_says_how_it_may_be_read() {
    let server = start(json!({})).await;
    let answer = server.ask("GET /health/live\nx-request-id: r-1\nx-correlation-id: c-1", "").await;
    let head: Vec<&str> =
        answer.split("\n\n").next().unwrap().lines().filter(|l| !l.starts_with("date")).collect();
    expect![[r#"
        HTTP/1.1 200 OK
        content-type: application/json
        cache-control: no-store
        x-request-id: r-1
        x-correlation-id: c-1
        x-content-type-options: nosniff
        x-frame-options: DENY
        referrer-policy: no-referrer
        connection: close
        content-length: 18"#]]
    .assert_eq(&head.join("\n"));
    let page = server.ask("HEAD /docs\nx-request-id: r-1", "").await;
    let policy = page.lines().find(|line| line.starts_with("content-security-policy")).unwrap();
    expect!["content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"].assert_eq(policy);
    assert!(page.ends_with("\n\n"), "no body answers a HEAD");
}

#[tokio::test]
async fn probes_as_old_as_http_1_0_need_no_host() {
    let server = start(json!({})).await;
    for (asked, status) in [
        ("GET /health/live HTTP/1.0\r\n\r\n", "200"),
        ("GET /health HTTP/1.0\r\n\r\n", "200"),
        ("GET /health/live HTTP/1.0\r\nhost: evil.example\r\n\r\n", "403"),
        ("GET /health/live HTTP/1.1\r\nconnection: close\r\n\r\n", "400"),
        ("GET / HTTP/1.0\r\n\r\n", "400"),
    ] {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        socket.write_all(asked.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(PATIENCE, socket.read_to_string(&mut answer)).await.unwrap().unwrap();
        assert_eq!(answer.split(' ').nth(1), Some(status), "{asked:?}: {answer}");
    }
}
