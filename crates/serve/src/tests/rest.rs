//! Every door behind a real server, over a road that ends in known ways.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use expect_test::{Expect, expect, expect_file};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    task::JoinHandle,
};
use tool::{ProbeState, StopSource};

use super::fake::{FakeRoad, tools};
use crate::{
    Config, Extras, Server,
    doors::{DOORS, Need},
    openapi,
    road::OpenBreaker,
};

mod beside;

const PATIENCE: Duration = Duration::from_secs(10);

struct Running {
    address: SocketAddr,
    metrics: Option<SocketAddr>,
    road: Arc<FakeRoad>,
    stop: StopSource,
    task: JoinHandle<()>,
    socket: PathBuf,
    _folder: tempfile::TempDir,
}

async fn start(section: Value) -> Running {
    let mut server = json!({ "listen": "127.0.0.1:0", "drain_ms": 500 });
    server.as_object_mut().unwrap().extend(section.as_object().unwrap().clone());
    let config: Config = serde_json::from_value(server).unwrap();
    let operations = json!({
        "echo": { "tool": "echo" },
        "mapped": { "tool": "echo", "arguments": { "n": "/parameters/id", "host": "/device_ip" }, "fixed": { "k": 1 } },
        "down": { "tool": "down" },
        "starts": { "tool": "starts" },
    });
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("portcullis.sock");
    let extras = Extras {
        version: "9.9.9".into(),
        clock: testkit::ManualClock::new(),
        operations: serde_json::from_value(operations).unwrap(),
        data_dir: folder.path().to_owned(),
        socket: Some(socket.clone()),
        mcp: super::fake::mcp_state(folder.path()).await,
    };
    let road = Arc::new(FakeRoad::default());
    let server = Server::bind_road(
        &config,
        Some(crate::listen_on(config.listen).unwrap()),
        Arc::clone(&road) as _,
        extras,
    )
    .unwrap();
    let (address, metrics) = (server.local_addr(), server.metrics_addr());
    let (stop, asked) = StopSource::new();
    let task = tokio::spawn(server.run(asked));
    Running { address, metrics, road, stop, task, socket, _folder: folder }
}

/// Sends one request and gives back status, chosen headers and body.
async fn exchange(mut socket: impl AsyncRead + AsyncWrite + Unpin, asked: &str, body: &str) -> String {
    let length = if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    let host = if asked.to_ascii_lowercase().contains("\nhost:") { "" } else { "host: localhost\r\n" };
    let (line, fields) = asked.split_once('\n').unwrap_or((asked, ""));
    let fields: String = fields.lines().map(|field| format!("{field}\r\n")).collect();
    let sent = format!("{line} HTTP/1.1\r\n{host}connection: close\r\n{length}{fields}\r\n{body}");
    socket.write_all(sent.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    tokio::time::timeout(PATIENCE, socket.read_to_end(&mut bytes)).await.unwrap().unwrap();
    String::from_utf8_lossy(&bytes).replace("\r\n", "\n")
}

impl Running {
    async fn ask(&self, asked: &str, body: &str) -> String {
        exchange(TcpStream::connect(self.address).await.unwrap(), asked, body).await
    }

    async fn status(&self, asked: &str, body: &str) -> u16 {
        let answer = self.ask(asked, body).await;
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

const KEY: &str = "authorization: Bearer good\nx-request-id: r-1";

/// What is in every answer, and tested once.
const EVERYWHERE: &[&str] = &[
    "date",
    "connection",
    "x-content-type-options",
    "x-frame-options",
    "referrer-policy",
    "content-length",
    "x-correlation-id",
];

async fn check(server: &Running, asked: &str, body: &str, expected: Expect) {
    let answer = server.ask(asked, body).await;
    let kept = |line: &&str| {
        !EVERYWHERE.iter().any(|name| line.strip_prefix(name).is_some_and(|r| r.starts_with(':')))
    };
    let shown: Vec<&str> = answer.lines().filter(kept).collect();
    expected.assert_eq(&shown.join("\n"));
}

#[tokio::test]
async fn a_tool_on_its_own_path() {
    let server = start(json!({})).await;
    let post = |tool: &str| format!("POST /v1/mcp/{tool}\n{KEY}");
    check(
        &server,
        &post("echo"),
        r#"{"n": 18446744073709551615}"#,
        expect![[r#"
        HTTP/1.1 200 OK
        content-type: application/json
        cache-control: no-store
        x-ratelimit-limit: 100
        x-ratelimit-remaining: 99
        x-ratelimit-reset: 1767225660
        ratelimit-policy: "key";q=100;w=60
        ratelimit: "key";r=99;t=60
        x-request-id: r-1

        {"n":18446744073709551615}"#]],
    )
    .await;
    let form = format!("{}\ncontent-type: application/x-www-form-urlencoded", post("echo"));
    check(
        &server,
        &form,
        r#"{"n":1}"#,
        expect![[r#"
        HTTP/1.1 200 OK
        content-type: application/json
        cache-control: no-store
        x-ratelimit-limit: 100
        x-ratelimit-remaining: 99
        x-ratelimit-reset: 1767225660
        ratelimit-policy: "key";q=100;w=60
        ratelimit: "key";r=99;t=60
        x-request-id: r-1

        {"n":1}"#]],
    )
    .await;
    check(
        &server,
        &post("echo"),
        "",
        expect![[r#"
        HTTP/1.1 200 OK
        content-type: application/json
        cache-control: no-store
        x-ratelimit-limit: 100
        x-ratelimit-remaining: 99
        x-ratelimit-reset: 1767225660
        ratelimit-policy: "key";q=100;w=60
        ratelimit: "key";r=99;t=60
        x-request-id: r-1

        {}"#]],
    )
    .await;
    check(
        &server,
        &post("fs%2Etree"),
        "{}",
        expect![[r#"
        HTTP/1.1 200 OK
        content-type: application/json
        cache-control: no-store
        x-ratelimit-limit: 100
        x-ratelimit-remaining: 99
        x-ratelimit-reset: 1767225660
        ratelimit-policy: "key";q=100;w=60
        ratelimit: "key";r=99;t=60
        x-request-id: r-1

        {}"#]],
    )
    .await;
    check(&server, &post("nothing"), "{}", expect![[r#"
        HTTP/1.1 404 Not Found
        content-type: application/json
        cache-control: no-store
        x-request-id: r-1

        {"error":"Tool not found: nothing","status":"not_found","detail":"Tool not found: nothing","code":"not_found","request_id":"r-1"}"#]]).await;
    check(
        &server,
        &post("old"),
        "{}",
        expect![[r#"
        HTTP/1.1 200 OK
        content-type: application/json
        cache-control: no-store
        x-ratelimit-limit: 100
        x-ratelimit-remaining: 99
        x-ratelimit-reset: 1767225660
        ratelimit-policy: "key";q=100;w=60
        ratelimit: "key";r=99;t=60
        deprecation: @1735689600
        sunset: Tue, 30 Jun 2026 00:00:00 GMT
        link: </v1/mcp/echo>; rel="successor-version", </docs>; rel="deprecation"; type="text/html"
        x-request-id: r-1

        {}"#]],
    )
    .await;
    check(&server, &post("limited"), "{}", expect![[r#"
        HTTP/1.1 429 Too Many Requests
        content-type: application/json
        cache-control: no-store
        retry-after: 30
        x-ratelimit-limit: 100
        x-ratelimit-remaining: 99
        x-ratelimit-reset: 1767225660
        ratelimit-policy: "key";q=100;w=60
        ratelimit: "key";r=99;t=60
        x-request-id: r-1

        {"error":"Rate limit exceeded","status":"retry","detail":{"error":"Rate limit exceeded","limit":100,"reset_at":"2026-01-01T00:01:00.000Z"},"code":"rate_limited","request_id":"r-1","retry_after_seconds":30,"limit":100,"reset_at":"2026-01-01T00:01:00.000Z"}"#]]).await;
    check(&server, &post("down"), "{}", expect![[r#"
        HTTP/1.1 503 Service Unavailable
        content-type: application/json
        cache-control: no-store
        retry-after: 5
        x-ratelimit-limit: 100
        x-ratelimit-remaining: 99
        x-ratelimit-reset: 1767225660
        ratelimit-policy: "key";q=100;w=60
        ratelimit: "key";r=99;t=60
        x-request-id: r-1

        {"error":"shop is down","status":"retry","detail":"shop is down","code":"unavailable","request_id":"r-1","retry_after_seconds":5}"#]]).await;
    check(
        &server,
        &post("cut"),
        "{}",
        expect![[r#"
        HTTP/1.1 200 OK
        content-type: application/json
        cache-control: no-store
        x-cut: rows
        x-artefact: art-1
        x-ratelimit-limit: 100
        x-ratelimit-remaining: 99
        x-ratelimit-reset: 1767225660
        ratelimit-policy: "key";q=100;w=60
        ratelimit: "key";r=99;t=60
        x-request-id: r-1

        {"rows":[]}"#]],
    )
    .await;
    check(
        &server,
        &post("asks"),
        "{}",
        expect![[r#"
            HTTP/1.1 202 Accepted
            content-type: application/json
            cache-control: no-store
            x-ratelimit-limit: 100
            x-ratelimit-remaining: 99
            x-ratelimit-reset: 1767225660
            ratelimit-policy: "key";q=100;w=60
            ratelimit: "key";r=99;t=60
            x-request-id: r-1

            {"status":"input_required","question":{"key":"which","method":"elicitation/create","params":{"mode":"form","message":"which one","requestedSchema":{}}},"request_id":"r-1"}"#]],
    )
    .await;
    check(
        &server,
        &post("starts"),
        "{}",
        expect![[r#"
        HTTP/1.1 202 Accepted
        content-type: application/json
        cache-control: no-store
        x-ratelimit-limit: 100
        x-ratelimit-remaining: 99
        x-ratelimit-reset: 1767225660
        ratelimit-policy: "key";q=100;w=60
        ratelimit: "key";r=99;t=60
        x-request-id: r-1

        {"status":"working","task_id":"task-1","request_id":"r-1"}"#]],
    )
    .await;
    check(&server, &post("echo"), "n=1", expect![[r#"
        HTTP/1.1 400 Bad Request
        content-type: application/json
        cache-control: no-store
        x-request-id: r-1

        {"error":"not valid JSON: expected ident at line 1 column 2; the body must be a JSON object, whatever its content type","status":"invalid","detail":"not valid JSON: expected ident at line 1 column 2; the body must be a JSON object, whatever its content type","code":"malformed","request_id":"r-1"}"#]]).await;
    check(&server, &post("echo"), "[1]", expect![[r#"
        HTTP/1.1 400 Bad Request
        content-type: application/json
        cache-control: no-store
        x-request-id: r-1

        {"error":"the body must be a JSON object","status":"invalid","detail":"the body must be a JSON object","code":"bad_arguments","request_id":"r-1","pointer":""}"#]]).await;
    let encoded = format!("{}\ncontent-encoding: gzip", post("echo"));
    check(&server, &encoded, "{}", expect![[r#"
        HTTP/1.1 400 Bad Request
        content-type: application/json
        cache-control: no-store
        x-request-id: r-1

        {"error":"the body is compressed; send it as it is","status":"invalid","detail":"the body is compressed; send it as it is","code":"malformed","request_id":"r-1"}"#]]).await;
    let problem = format!("{}\naccept: application/problem+json", post("missing"));
    check(&server, &problem, "{}", expect![[r#"
        HTTP/1.1 404 Not Found
        content-type: application/problem+json
        cache-control: no-store
        x-ratelimit-limit: 100
        x-ratelimit-remaining: 99
        x-ratelimit-reset: 1767225660
        ratelimit-policy: "key";q=100;w=60
        ratelimit: "key";r=99;t=60
        x-request-id: r-1

        {"type":"about:blank","title":"Not Found","status":404,"detail":"Customer not found","error":"Customer not found","code":"not_found","request_id":"r-1"}"#]]).await;
}

#[tokio::test]
async fn the_envelopes_tell_failures_of_tools_under_200() {
    let server = start(json!({})).await;
    let mut shown = String::new();
    for tool in [
        "echo",
        "missing",
        "nothing",
        "denied",
        "limited",
        "down",
        "breaks",
        "conflicts",
        "cut",
        "asks",
        "starts",
    ] {
        for (door, body) in [
            ("/mcp/call-tool", json!({ "tool": tool, "arguments": { "n": 1 } })),
            ("/invoke", json!({ "tool": tool, "params": { "n": 1 }, "caller": "me" })),
        ] {
            let answer = server.ask(&format!("POST {door}\n{KEY}"), &body.to_string()).await;
            let (head, body) = answer.split_once("\n\n").unwrap();
            let status = head.split(' ').nth(1).unwrap();
            shown += &format!("{door} {tool} {status} {body}\n");
        }
    }
    expect![[r#"
        /mcp/call-tool echo 200 {"tool":"echo","result":{"n":1},"error":null,"execution_time_ms":1.5,"request_id":"r-1"}
        /invoke echo 200 {"request_id":"r-1","tool":"echo","duration_ms":1,"result":{"n":1},"error":null}
        /mcp/call-tool missing 200 {"tool":"missing","result":null,"error":"Customer not found","execution_time_ms":1.5,"request_id":"r-1","status":"not_found","code":"not_found"}
        /invoke missing 200 {"request_id":"r-1","tool":"missing","duration_ms":1,"result":null,"error":"Customer not found","status":"not_found","code":"not_found"}
        /mcp/call-tool nothing 404 {"error":"Tool not found: nothing","status":"not_found","detail":"Tool not found: nothing","code":"not_found","request_id":"r-1"}
        /invoke nothing 404 {"error":"Tool not found: nothing","status":"not_found","detail":"Tool not found: nothing","code":"not_found","request_id":"r-1"}
        /mcp/call-tool denied 403 {"error":"tool not allowed","status":"denied","detail":"tool not allowed","code":"denied","request_id":"r-1"}
        /invoke denied 403 {"error":"tool not allowed","status":"denied","detail":"tool not allowed","code":"denied","request_id":"r-1"}
        /mcp/call-tool limited 429 {"error":"Rate limit exceeded","status":"retry","detail":{"error":"Rate limit exceeded","limit":100,"reset_at":"2026-01-01T00:01:00.000Z"},"code":"rate_limited","request_id":"r-1","retry_after_seconds":30,"limit":100,"reset_at":"2026-01-01T00:01:00.000Z"}
        /invoke limited 429 {"error":"Rate limit exceeded","status":"retry","detail":{"error":"Rate limit exceeded","limit":100,"reset_at":"2026-01-01T00:01:00.000Z"},"code":"rate_limited","request_id":"r-1","retry_after_seconds":30,"limit":100,"reset_at":"2026-01-01T00:01:00.000Z"}
        /mcp/call-tool down 200 {"tool":"down","result":null,"error":"shop is down","execution_time_ms":1.5,"request_id":"r-1","status":"retry","code":"unavailable","retry_after_seconds":5}
        /invoke down 200 {"request_id":"r-1","tool":"down","duration_ms":1,"result":null,"error":"shop is down","status":"retry","code":"unavailable","retry_after_seconds":5}
        /mcp/call-tool breaks 200 {"tool":"breaks","result":null,"error":"something broke","execution_time_ms":1.5,"request_id":"r-1","status":"error","code":"internal"}
        /invoke breaks 200 {"request_id":"r-1","tool":"breaks","duration_ms":1,"result":null,"error":"something broke","status":"error","code":"internal"}
        /mcp/call-tool conflicts 200 {"tool":"conflicts","result":null,"error":"it clashes","execution_time_ms":1.5,"request_id":"r-1","status":"conflict","code":"conflict"}
        /invoke conflicts 200 {"request_id":"r-1","tool":"conflicts","duration_ms":1,"result":null,"error":"it clashes","status":"conflict","code":"conflict"}
        /mcp/call-tool cut 200 {"tool":"cut","result":{"rows":[]},"error":null,"execution_time_ms":1.5,"request_id":"r-1","cut":{"bound":"rows","artefact":"art-1"}}
        /invoke cut 200 {"request_id":"r-1","tool":"cut","duration_ms":1,"result":{"rows":[]},"error":null,"cut":{"bound":"rows","artefact":"art-1"}}
        /mcp/call-tool asks 202 {"tool":"asks","result":null,"error":null,"execution_time_ms":1.5,"request_id":"r-1","status":"input_required","question":{"key":"which","method":"elicitation/create","params":{"mode":"form","message":"which one","requestedSchema":{}}}}
        /invoke asks 202 {"request_id":"r-1","tool":"asks","duration_ms":1,"result":null,"error":null,"status":"input_required","question":{"key":"which","method":"elicitation/create","params":{"mode":"form","message":"which one","requestedSchema":{}}}}
        /mcp/call-tool starts 202 {"tool":"starts","result":null,"error":null,"execution_time_ms":1.5,"request_id":"r-1","status":"working","task_id":"task-1"}
        /invoke starts 202 {"request_id":"r-1","tool":"starts","duration_ms":1,"result":null,"error":null,"status":"working","task_id":"task-1"}
    "#]].assert_eq(&shown);
    for (body, status) in
        [("{}", 400), (r#"{"tool":"echo","x":1}"#, 400), ("", 400), (r#"{"tool":"a","tool":"b"}"#, 400)]
    {
        assert_eq!(server.status(&format!("POST /mcp/call-tool\n{KEY}"), body).await, status, "{body}");
        assert_eq!(server.status(&format!("POST /invoke\n{KEY}"), body).await, status, "{body}");
    }
}

#[tokio::test]
async fn operations_stand_for_tools() {
    let server = start(json!({})).await;
    let post = format!("POST /operations/execute\n{KEY}");
    let mut shown = String::new();
    for body in [
        r#"{"device_ip":"10.0.0.1","operation":"echo","parameters":{"n":1}}"#,
        r#"{"device_ip":"10.0.0.1","operation":"mapped","parameters":{"id":7}}"#,
        r#"{"operation":"down"}"#,
        r#"{"operation":"starts"}"#,
        r#"{"operation":"nothing"}"#,
        r#"{"operation":7}"#,
    ] {
        let answer = server.ask(&post, body).await;
        let (head, body) = answer.split_once("\n\n").unwrap();
        shown += &format!("{} {body}\n", head.split(' ').nth(1).unwrap());
    }
    expect![[r#"
        200 {"device_ip":"10.0.0.1","operation":"echo","success":true,"result":{"status":"completed","output":{"n":1},"parameters_used":{"n":1}},"error":null,"execution_time_ms":1.5,"timestamp":"2026-01-01T00:00:00.000Z","request_id":"r-1"}
        200 {"device_ip":"10.0.0.1","operation":"mapped","success":true,"result":{"status":"completed","output":{"host":"10.0.0.1","n":7,"k":1},"parameters_used":{"id":7}},"error":null,"execution_time_ms":1.5,"timestamp":"2026-01-01T00:00:00.000Z","request_id":"r-1"}
        200 {"device_ip":null,"operation":"down","success":false,"result":null,"error":"shop is down","execution_time_ms":1.5,"timestamp":"2026-01-01T00:00:00.000Z","request_id":"r-1","status":"retry","code":"unavailable","retry_after_seconds":5}
        202 {"device_ip":null,"operation":"starts","success":false,"result":null,"error":null,"execution_time_ms":1.5,"timestamp":"2026-01-01T00:00:00.000Z","request_id":"r-1","status":"working","task_id":"task-1"}
        404 {"error":"Operation not found: nothing","status":"not_found","detail":"Operation not found: nothing","code":"not_found","request_id":"r-1"}
        400 {"error":"operation must be a string","status":"invalid","detail":"operation must be a string","code":"bad_arguments","request_id":"r-1","pointer":"/operation"}
    "#]].assert_eq(&shown);
}

#[tokio::test]
async fn every_door_in_every_state_of_credentials() {
    let server = start(json!({})).await;
    let mut shown = format!("{:<28} none bad off good wrong-method\n", "");
    for door in DOORS {
        let path = door.path.replace("{tool}", "echo").replace("{file}", "key.js").replace("{host}", "r1");
        let body =
            if door.method == http::Method::POST { r#"{"tool":"echo","operation":"echo"}"# } else { "" };
        let mut row = format!("{:<28}", format!("{} {}", door.method, door.path));
        for credentials in
            ["", "\nauthorization: Bearer bad", "\nauthorization: Bearer off", "\nauthorization: Bearer good"]
        {
            let status = server.status(&format!("{} {path}{credentials}", door.method), body).await;
            row += &format!(" {status}");
            let is_public = door.need == Need::Nothing;
            if is_public {
                assert_eq!(status, 200, "{path}");
            } else if credentials.contains("bad") && door.need == Need::Key {
                assert_eq!(status, 401, "{path}");
            }
        }
        for credentials in ["", "\nauthorization: Bearer good"] {
            row += &format!(" {}", server.status(&format!("DELETE {path}{credentials}"), "").await);
        }
        shown += &format!("{row}\n");
    }
    expect![[r#"
                                     none bad off good wrong-method
        GET /                        200 200 200 200 405 405
        POST /v1/mcp/{tool}          401 401 403 200 401 405
        POST /mcp/call-tool          401 401 403 400 401 405
        POST /invoke                 401 401 403 400 401 405
        POST /operations/execute     401 401 403 400 401 405
        GET /operations/status/{host} 401 401 403 404 401 405
        GET /devices                 401 401 403 404 401 405
        POST /devices/query          401 401 403 404 401 405
        POST /execute-commands       401 401 403 400 401 405
        GET /secure/device/{ip}      401 401 403 404 401 405
        POST /secure/execute         401 401 403 400 401 405
        GET /secure/usage            401 401 403 200 401 405
        POST /webhook/device-alert   401 401 401 401 401 405
        POST /mcp                    401 401 403 415 401 400
        POST /mcp/toolsets/{name}    401 401 403 404 401 404
        GET /mcp/info                200 200 200 200 405 405
        GET /mcp/tools               401 401 403 200 401 405
        GET /tools                   401 401 403 200 401 405
        GET /stats                   401 401 403 200 401 405
        GET /health                  200 200 200 200 405 405
        GET /health/detailed         401 401 403 200 401 405
        GET /health/ready            200 200 200 200 405 405
        GET /health/live             200 200 200 200 405 405
        GET /metrics                 200 200 200 200 405 405
        GET /openapi.json            200 401 403 200 405 405
        GET /docs                    200 200 200 200 405 405
        GET /redoc                   200 200 200 200 405 405
        GET /assets/{file}           200 200 200 200 405 405
    "#]]
    .assert_eq(&shown);
}

#[tokio::test]
async fn nobody_learns_more_than_that_they_are_nobody() {
    let server = start(json!({})).await;
    check(&server, "POST /v1/mcp/echo\nx-request-id: r-1", "{not json", expect![[r#"
        HTTP/1.1 401 Unauthorized
        content-type: application/json
        cache-control: no-store
        www-authenticate: Bearer realm="portcullis"
        x-request-id: r-1

        {"error":"missing API key; send it as a bearer token","status":"denied","detail":"missing API key; send it as a bearer token","code":"unauthenticated","request_id":"r-1"}"#]]).await;
    check(&server, "GET /invoke\nauthorization: Bearer bad\nx-request-id: r-1", "", expect![[r#"
        HTTP/1.1 401 Unauthorized
        content-type: application/json
        cache-control: no-store
        www-authenticate: Bearer realm="portcullis", error="invalid_token"
        x-request-id: r-1

        {"error":"Invalid API key","status":"denied","detail":"Invalid API key","code":"unauthenticated","request_id":"r-1"}"#]]).await;
    check(&server, &format!("GET /invoke\n{KEY}"), "", expect![[r#"
        HTTP/1.1 405 Method Not Allowed
        content-type: application/json
        cache-control: no-store
        allow: POST
        x-request-id: r-1

        {"error":"/invoke takes POST, not GET","status":"invalid","detail":"/invoke takes POST, not GET","code":"method_not_allowed","request_id":"r-1"}"#]]).await;
    let large = "y".repeat(70_000);
    assert_eq!(server.status("POST /invoke\nauthorization: Bearer bad", &large).await, 401);
    for header in
        ["Basic good", "good", "Bearer", "Bearer good\nauthorization: Bearer good", "Digest Bearer good"]
    {
        assert_eq!(server.status(&format!("GET /stats\nauthorization: {header}"), "").await, 401, "{header}");
    }
    assert_eq!(server.status("GET /stats\nauthorization: bearer   good ", "").await, 200);
    assert!(server.road.calls.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_a_call_carries_to_the_gate() {
    let server = start(json!({})).await;
    let trace = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let asked = format!("POST /invoke\n{KEY}\nidempotency-key: \"k1\"\nuser-agent: curl/8\n{trace}");
    assert_eq!(server.status(&asked, r#"{"tool":"echo","params":{"n":1},"caller":"me"}"#).await, 200);
    assert_eq!(server.status(&format!("POST /v1/mcp/echo\n{KEY}\nuser-agent: curl/8"), "{}").await, 200);
    assert_eq!(server.status(&format!("POST /v1/mcp/echo\n{KEY}\nidempotency-key: a b"), "{}").await, 400);
    let local = UnixStream::connect(&server.socket).await.unwrap();
    assert!(exchange(local, "POST /v1/mcp/echo\nhost: anything", "{}").await.starts_with("HTTP/1.1 200"));
    expect![[r#"
        alice echo {"n":1} face=rest label=me key=k1 trace=true
        alice echo {} face=rest label=curl/8 key=- trace=false
        local echo {} face=cli label=- key=- trace=false"#]]
    .assert_eq(&server.road.calls.lock().unwrap().join("\n"));
}

#[tokio::test]
async fn a_client_that_leaves_drops_its_call() {
    let server = start(json!({})).await;
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    let asked = "POST /v1/mcp/hangs HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer good\r\n\r\n";
    socket.write_all(asked.as_bytes()).await.unwrap();
    server.road.begun.notified().await;
    drop(socket);
    tokio::time::timeout(PATIENCE, server.road.dropped.notified()).await.expect("the call is dropped");
}

#[tokio::test]
async fn a_door_that_breaks_answers_500_and_the_next_request_is_served() {
    let server = start(json!({})).await;
    check(&server, &format!("POST /v1/mcp/panics\n{KEY}"), "{}", expect![[r#"
        HTTP/1.1 500 Internal Server Error
        content-type: application/json
        cache-control: no-store
        x-request-id: r-1

        {"error":"something broke on our side; the log has it under this request id","status":"error","detail":"something broke on our side; the log has it under this request id","code":"internal","request_id":"r-1"}"#]]).await;
    assert_eq!(server.status(&format!("POST /v1/mcp/echo\n{KEY}"), "{}").await, 200);
    let broken = server.road.http.lock().unwrap().get(&("/v1/mcp/{tool}".to_owned(), 500)).copied();
    assert_eq!(broken, Some(1));
}

#[tokio::test]
async fn a_stop_ends_everything() {
    let server = start(json!({})).await;
    assert_eq!(server.status("GET /health/ready", "").await, 200);
    server.stop.ask();
    tokio::time::timeout(PATIENCE, server.task).await.unwrap().unwrap();
    assert!(server.road.is_draining.load(std::sync::atomic::Ordering::SeqCst));
    assert!(!server.socket.exists());
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[test]
fn the_openapi_document() {
    let tools = tools();
    let chosen = tools.iter().filter(|tool| ["echo", "old", "fs_tree"].contains(&tool.name.as_str()));
    let document = openapi::document("portcullis", "9.9.9", chosen.map(AsRef::as_ref));
    for door in DOORS {
        let method = door.method.as_str().to_ascii_lowercase();
        assert!(document["paths"][door.path][method].is_object(), "{}", door.path);
    }
    let text = serde_json::to_string_pretty(&document).unwrap();
    expect_file!["openapi.golden.json"].assert_eq(&format!("{text}\n"));
}

#[tokio::test]
async fn the_document_shows_only_what_the_credentials_may_call() {
    let server = start(json!({})).await;
    let paths = |answer: String| {
        let document: Value = serde_json::from_str(answer.split_once("\n\n").unwrap().1).unwrap();
        document["paths"].as_object().unwrap().len()
    };
    assert_eq!(paths(server.ask("GET /openapi.json", "").await), DOORS.len());
    assert_eq!(
        paths(server.ask(&format!("GET /openapi.json\n{KEY}"), "").await),
        DOORS.len() + tools().len()
    );
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_like_everything_else() {
    let server = start(json!({})).await;
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    socket.write_all(b"what is this\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, socket.read_to_string(&mut answer)).await.unwrap().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{head}");
    let id = body["request_id"].as_str().unwrap();
    assert!(head.contains(&format!("x-request-id: {id}")) && head.contains("\r\ndate: "), "{head}");
    assert_eq!((&body["status"], &body["code"]), (&json!("invalid"), &json!("malformed")));
    let refused = server.road.http.lock().unwrap().get(&("refused".to_owned(), 400)).copied();
    assert_eq!(refused, Some(1));
}
