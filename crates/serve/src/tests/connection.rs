//! The connection loop against raw sockets: slow, half-open, oversized and malformed clients.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use expect_test::{Expect, expect};
use http::{Request, Response};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinHandle,
};
use tool::StopSource;

use super::fake::FakeRoad;
use crate::{
    config::Config,
    conn::{Answers, Body, ConnBounds, Peer},
    listen::{self, Crowd, House, Seats},
    problem::Refusal,
    upload::Upload,
};

/// No test takes longer; a connection that stays open makes it fail.
const PATIENCE: Duration = Duration::from_secs(10);

struct Running {
    address: SocketAddr,
    road: Arc<FakeRoad>,
    doors: Arc<FakeDoors>,
    stop: StopSource,
    task: JoinHandle<()>,
}

/// Says what it got, or does as the path says.
#[derive(Default)]
struct FakeDoors {
    begun: Notify,
    left: Arc<Notify>,
    go_on: Notify,
}

#[async_trait]
impl Answers for FakeDoors {
    async fn answer(&self, _peer: Peer, request: Request<Upload>) -> Response<Body> {
        struct Left(Arc<Notify>);
        impl Drop for Left {
            fn drop(&mut self) {
                self.0.notify_one();
            }
        }
        let (head, upload) = request.into_parts();
        let text = match head.uri.path() {
            "/ignore" => "not read".to_owned(),
            "/big" => "x".repeat(32 * 1024 * 1024),
            "/hang" => {
                let _left = Left(Arc::clone(&self.left));
                self.begun.notify_one();
                std::future::pending().await
            }
            "/wait" => {
                self.begun.notify_one();
                self.go_on.notified().await;
                "waited".to_owned()
            }
            path => match upload.read().await {
                Ok(body) => format!("{path} took {} bytes", body.len()),
                Err(refusal) => {
                    let mut response = Response::new(Body::new(refusal.fault.text.into()));
                    *response.status_mut() = refusal.http.try_into().unwrap();
                    return response;
                }
            },
        };
        Response::new(Body::new(text.into()))
    }

    fn unread(&self, _peer: Peer, refusal: &Refusal, _took: Duration) -> Response<Body> {
        let mut response = Response::new(Body::new(refusal.fault.text.clone().into()));
        *response.status_mut() = refusal.http.try_into().unwrap();
        response
    }
}

/// A server with small bounds; `section` changes them.
async fn start(section: serde_json::Value) -> Running {
    let mut bounds = json!({
        "header_timeout_ms": 200, "body_idle_ms": 200, "request_total_ms": 500, "idle_ms": 300,
        "header_bytes_max": 8192, "headers_max": 20, "body_bytes_max": 1000,
    });
    bounds.as_object_mut().unwrap().extend(section.as_object().unwrap().clone());
    let config: Config = serde_json::from_value(bounds).unwrap();
    let (road, doors) = (Arc::new(FakeRoad::default()), Arc::new(FakeDoors::default()));
    let house = House {
        bounds: ConnBounds::new(&config),
        crowd: Crowd { all_max: config.connections_max, per_address_max: config.connections_per_address_max },
        seats: Seats::default(),
        road: Arc::clone(&road) as _,
        grace: Duration::from_millis(300),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, asked) = StopSource::new();
    let task = tokio::spawn(listen::tcp(listener, house, Arc::clone(&doors) as _, asked));
    Running { address, road, doors, stop, task }
}

/// Reads until the server closes, and leaves out the date.
async fn rest_of(socket: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut bytes)).await;
    read.expect("the server closes the connection").ok();
    let text = String::from_utf8_lossy(&bytes).replace("\r\n", "\n");
    text.lines().filter(|line| !line.starts_with("date: ")).map(|line| format!("{line}\n")).collect()
}

/// Sends these pieces at once and reads until the server closes.
async fn check(section: serde_json::Value, sent: &[u8], expected: Expect) {
    let server = start(section).await;
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    // A server that has heard enough may close before it has taken everything.
    let _ = socket.write_all(sent).await;
    expected.assert_eq(&rest_of(&mut socket).await);
}

const GET: &str = "GET /a HTTP/1.1\r\nhost: x\r\n";

#[tokio::test]
async fn requests_in_one_go_are_answered_in_turn_and_the_connection_ends_when_idle() {
    check(
        json!({}),
        format!("{GET}\r\n{GET}\r\n").as_bytes(),
        expect![[r#"
        HTTP/1.1 200 OK
        content-length: 15

        /a took 0 bytesHTTP/1.1 200 OK
        content-length: 15

        /a took 0 bytes
    "#]],
    )
    .await;
}

#[tokio::test]
async fn a_client_that_sends_nothing_is_closed_without_a_word() {
    check(json!({}), b"", expect![]).await;
    check(json!({}), b"\r\n\r\n", expect![]).await;
}

#[tokio::test]
async fn half_a_head_gets_408_and_is_closed() {
    let late = || {
        expect![[r#"
            HTTP/1.1 408 Request Timeout
            connection: close
            content-length: 79

            the head of the request did not arrive within 200 ms (server.header_timeout_ms)
        "#]]
    };
    check(json!({}), b"G", late()).await;
    check(json!({}), b"GET /a HT", late()).await;
    check(json!({}), b"\r\nGET /a HT", late()).await;
    check(json!({}), format!("{GET}x-a: 1\r\n").as_bytes(), late()).await;
    check(
        json!({}),
        format!("{GET}\r\n{GET}").as_bytes(),
        expect![[r#"
            HTTP/1.1 200 OK
            content-length: 15

            /a took 0 bytesHTTP/1.1 408 Request Timeout
            connection: close
            content-length: 79

            the head of the request did not arrive within 200 ms (server.header_timeout_ms)
        "#]],
    )
    .await;
}

#[tokio::test]
async fn a_head_that_drips_gets_408_in_time() {
    let server = start(json!({})).await;
    let socket = TcpStream::connect(server.address).await.unwrap();
    let (mut reader, mut writer) = socket.into_split();
    let drip = async {
        let mut pause = tokio::time::interval(Duration::from_millis(20));
        writer.write_all(GET.as_bytes()).await.unwrap();
        loop {
            pause.tick().await;
            if writer.write_all(b"x-a: 1\r\n").await.is_err() {
                return;
            }
        }
    };
    let mut answer = Vec::new();
    let closed = async {
        let _ = reader.read_to_end(&mut answer).await;
    };
    tokio::time::timeout(PATIENCE, async {
        tokio::select! { () = drip => {}, () = closed => {} }
    })
    .await
    .unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
}

#[tokio::test]
async fn a_body_that_pauses_or_drips_gets_408_and_is_closed() {
    let half = "POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n12345";
    check(
        json!({}),
        half.as_bytes(),
        expect![[r#"
        HTTP/1.1 408 Request Timeout
        connection: close
        content-length: 73

        the body did not arrive in time: 200 ms between two pieces, 500 ms in all
    "#]],
    )
    .await;
    check(
        json!({ "body_idle_ms": 5000 }),
        half.as_bytes(),
        expect![[r#"
        HTTP/1.1 408 Request Timeout
        connection: close
        content-length: 74

        the body did not arrive in time: 5000 ms between two pieces, 500 ms in all
    "#]],
    )
    .await;
}

#[tokio::test]
async fn a_body_at_the_limit_is_taken_and_one_byte_more_is_not() {
    let post = |length: usize, sent: usize| {
        format!("POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{}", "y".repeat(sent))
    };
    check(
        json!({}),
        post(1000, 1000).as_bytes(),
        expect![[r#"
        HTTP/1.1 200 OK
        content-length: 18

        /a took 1000 bytes
    "#]],
    )
    .await;
    check(
        json!({}),
        post(1001, 0).as_bytes(),
        expect![[r#"
        HTTP/1.1 413 Payload Too Large
        connection: close
        content-length: 58

        the body is larger than 1000 bytes (server.body_bytes_max)
    "#]],
    )
    .await;
    let chunked = |length: usize| {
        let head = "POST /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
        format!("{head}{length:x}\r\n{}\r\n0\r\n\r\n", "y".repeat(length))
    };
    check(
        json!({}),
        chunked(1000).as_bytes(),
        expect![[r#"
            HTTP/1.1 200 OK
            content-length: 18

            /a took 1000 bytes
        "#]],
    )
    .await;
    check(
        json!({}),
        chunked(1001).as_bytes(),
        expect![[r#"
        HTTP/1.1 413 Payload Too Large
        connection: close
        content-length: 58

        the body is larger than 1000 bytes (server.body_bytes_max)
    "#]],
    )
    .await;
}

#[tokio::test]
async fn a_body_in_chunks_leaves_the_connection_open_for_the_next_request() {
    let chunked = "POST /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let sized = "POST /b HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nab";
    check(
        json!({}),
        format!("{sized}{chunked}").as_bytes(),
        expect![[r#"
        HTTP/1.1 200 OK
        content-length: 15

        /b took 2 bytesHTTP/1.1 200 OK
        content-length: 15

        /a took 3 bytes
    "#]],
    )
    .await;
}

#[tokio::test]
async fn ten_megabytes_are_refused_and_the_client_gets_to_read_why() {
    let head = "POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 10000000\r\n\r\n";
    let sent = [head.as_bytes(), &vec![b'y'; 10_000_000]].concat();
    check(
        json!({}),
        &sent,
        expect![[r#"
        HTTP/1.1 413 Payload Too Large
        connection: close
        content-length: 58

        the body is larger than 1000 bytes (server.body_bytes_max)
    "#]],
    )
    .await;
}

#[tokio::test]
async fn who_waits_for_100_continue_is_told_before_sending() {
    let ask = |length| {
        format!("POST /a HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n\r\n")
    };
    check(
        json!({}),
        ask(1001).as_bytes(),
        expect![[r#"
        HTTP/1.1 413 Payload Too Large
        connection: close
        content-length: 58

        the body is larger than 1000 bytes (server.body_bytes_max)
    "#]],
    )
    .await;
    let server = start(json!({})).await;
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    socket.write_all(ask(3).as_bytes()).await.unwrap();
    let mut told = [0_u8; 25];
    socket.read_exact(&mut told).await.unwrap();
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
    socket.write_all(b"abc").await.unwrap();
    assert!(rest_of(&mut socket).await.contains("/a took 3 bytes"));
}

#[tokio::test]
async fn a_body_nobody_reads_ends_the_connection() {
    let sent = "POST /ignore HTTP/1.1\r\nhost: x\r\ncontent-length: 900\r\n\r\nabc";
    check(
        json!({}),
        sent.as_bytes(),
        expect![[r#"
        HTTP/1.1 200 OK
        connection: close
        content-length: 8

        not read
    "#]],
    )
    .await;
}

#[tokio::test]
async fn heads_that_are_too_large_or_malformed_are_refused() {
    check(
        json!({}),
        format!("{GET}x-a: {}\r\n\r\n", "y".repeat(9000)).as_bytes(),
        expect![[r#"
            HTTP/1.1 431 Request Header Fields Too Large
            connection: close
            content-length: 108

            the head of the request has more than 8192 bytes (server.header_bytes_max) or 20 fields (server.headers_max)
        "#]],
    )
    .await;
    check(
        json!({}),
        format!("{GET}{}\r\n", "x-a: 1\r\n".repeat(20)).as_bytes(),
        expect![[r#"
            HTTP/1.1 431 Request Header Fields Too Large
            connection: close
            content-length: 108

            the head of the request has more than 8192 bytes (server.header_bytes_max) or 20 fields (server.headers_max)
        "#]],
    )
    .await;
    check(
        json!({}),
        b"what is this\r\n\r\n",
        expect![[r#"
            HTTP/1.1 400 Bad Request
            connection: close
            content-length: 78

            the head of the request is not as HTTP/1.1 has it: invalid HTTP version parsed
        "#]],
    )
    .await;
    check(
        json!({}),
        format!("{GET}\r\nwhat is this\r\n\r\n").as_bytes(),
        expect![[r#"
            HTTP/1.1 200 OK
            content-length: 15

            /a took 0 bytesHTTP/1.1 400 Bad Request
            connection: close
            content-length: 78

            the head of the request is not as HTTP/1.1 has it: invalid HTTP version parsed
        "#]],
    )
    .await;
    for (what, fields) in [("NUL", "x-a: a\0b"), ("a folded line", "x-a: 1\r\n  2"), ("no colon", "x-a")] {
        let server = start(json!({})).await;
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        socket.write_all(format!("{GET}{fields}\r\n\r\n").as_bytes()).await.unwrap();
        let answer = rest_of(&mut socket).await;
        assert!(answer.contains("not as HTTP/1.1 has it: invalid HTTP header parsed"), "{what}: {answer}");
    }
    check(
        json!({}),
        b"GET /a HTTP/1.1\r\nhost: x\r\nx a: 1\r\n\r\n",
        expect![[r#"
            HTTP/1.1 400 Bad Request
            connection: close
            content-length: 77

            the head of the request is not as HTTP/1.1 has it: invalid HTTP header parsed
        "#]],
    )
    .await;
    // The preface of HTTP/2, which this listener does not speak.
    check(json!({}), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", expect![]).await;
}

#[tokio::test]
async fn heads_at_the_limit_are_taken() {
    let fields = |count| format!("GET /a HTTP/1.1\r\n{}\r\n", "x-a: 1\r\n".repeat(count));
    let sized = |bytes: usize| {
        let (start, end) = (format!("{GET}x-a: "), "\r\n\r\n");
        format!("{start}{}{end}", "y".repeat(bytes - start.len() - end.len()))
    };
    for (head, status) in
        [(fields(20), "200"), (fields(21), "431"), (sized(8192), "200"), (sized(8193), "431")]
    {
        let server = start(json!({})).await;
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        socket.write_all(head.as_bytes()).await.unwrap();
        let answer = rest_of(&mut socket).await;
        assert_eq!(answer.split(' ').nth(1), Some(status), "{} bytes", head.len());
    }
}

#[tokio::test]
async fn a_place_is_free_again_when_its_connection_ends() {
    let server = start(json!({ "connections_per_address_max": 1 })).await;
    for _ in 0..3 {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        socket.write_all(format!("{GET}connection: close\r\n\r\n").as_bytes()).await.unwrap();
        assert!(rest_of(&mut socket).await.starts_with("HTTP/1.1 200"));
        let free = async {
            while server.road.open_connections.load(std::sync::atomic::Ordering::SeqCst) != 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, free).await.unwrap();
    }
}

#[tokio::test]
async fn bodies_that_two_readers_could_read_in_two_ways_are_refused() {
    let post = |fields: &str, body: &str| format!("POST /a HTTP/1.1\r\nhost: x\r\n{fields}\r\n\r\n{body}");
    let both = |first, second| {
        let ids = "x-request-id: r-1";
        post(&format!("{first}\r\n{ids}\r\n{second}"), "0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n")
    };
    let (length, chunked) = ("Content-Length: 5", "transfer-encoding: chunked");
    check(json!({}), both(chunked, length).as_bytes(), expect![[r#"
        HTTP/1.1 400 Bad Request
        content-type: application/json
        cache-control: no-store
        connection: close
        content-length: 215

        {"error":"the request has both Content-Length and Transfer-Encoding; send one","status":"invalid","detail":"the request has both Content-Length and Transfer-Encoding; send one","code":"malformed","request_id":"r-1"}
    "#]]).await;
    let both = both(length, chunked);
    check(
        json!({}),
        both.as_bytes(),
        expect![[r#"
            HTTP/1.1 400 Bad Request
            content-type: application/json
            cache-control: no-store
            connection: close
            content-length: 215

            {"error":"the request has both Content-Length and Transfer-Encoding; send one","status":"invalid","detail":"the request has both Content-Length and Transfer-Encoding; send one","code":"malformed","request_id":"r-1"}
        "#]],
    )
    .await;
    check(
        json!({}),
        post("content-length: 5\r\ncontent-length: 6", "123456").as_bytes(),
        expect![[r#"
            HTTP/1.1 400 Bad Request
            connection: close
            content-length: 80

            the head of the request is not as HTTP/1.1 has it: invalid content-length parsed
        "#]],
    )
    .await;
    check(
        json!({}),
        post("content-length: +5", "12345").as_bytes(),
        expect![[r#"
            HTTP/1.1 400 Bad Request
            connection: close
            content-length: 80

            the head of the request is not as HTTP/1.1 has it: invalid content-length parsed
        "#]],
    )
    .await;
    check(
        json!({}),
        post("transfer-encoding: gzip", "12345").as_bytes(),
        expect![[r#"
            HTTP/1.1 400 Bad Request
            connection: close
            content-length: 83

            the head of the request is not as HTTP/1.1 has it: invalid transfer-encoding parsed
        "#]],
    )
    .await;
    check(
        json!({}),
        post("transfer-encoding: chunked", "zz\r\nabc\r\n").as_bytes(),
        expect![[r#"
        HTTP/1.1 400 Bad Request
        connection: close
        content-length: 51

        the body breaks off or is not framed as HTTP has it
    "#]],
    )
    .await;
    check(
        json!({}),
        post("transfer-encoding: chunked", "ffffffffffffffffff\r\n").as_bytes(),
        expect![[r#"
        HTTP/1.1 400 Bad Request
        connection: close
        content-length: 51

        the body breaks off or is not framed as HTTP has it
    "#]],
    )
    .await;
}

#[tokio::test]
async fn an_answer_that_is_not_taken_ends_the_connection() {
    let server = start(json!({})).await;
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    socket.write_all(b"GET /big HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let gone = async {
        while server.road.open_connections.load(std::sync::atomic::Ordering::SeqCst) != 0 {
            tokio::task::yield_now().await;
        }
    };
    socket.readable().await.unwrap();
    tokio::time::timeout(PATIENCE, gone).await.expect("the server gives up on a client that does not read");
}

#[tokio::test]
async fn a_client_that_leaves_drops_its_request() {
    let server = start(json!({})).await;
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    socket.write_all(b"GET /hang HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    server.doors.begun.notified().await;
    drop(socket);
    tokio::time::timeout(PATIENCE, server.doors.left.notified()).await.expect("the request is dropped");
}

#[tokio::test]
async fn connections_too_many_are_told_to_come_back() {
    let server =
        start(json!({ "connections_per_address_max": 1, "idle_ms": 60_000, "header_timeout_ms": 60_000 }))
            .await;
    let mut first = TcpStream::connect(server.address).await.unwrap();
    first.write_all(format!("{GET}\r\n").as_bytes()).await.unwrap();
    first.readable().await.unwrap();
    let mut second = TcpStream::connect(server.address).await.unwrap();
    expect![[r#"
        HTTP/1.1 503 Service Unavailable
        connection: close
        retry-after: 1
        content-type: application/json
        content-length: 111

        {"error":"too many connections at once","status":"retry","detail":"too many connections at once","code":"busy"}
    "#]].assert_eq(&rest_of(&mut second).await);
    let refused = server.road.http.lock().unwrap().get(&("refused".to_owned(), 503)).copied();
    assert_eq!(refused, Some(1));
}

#[tokio::test]
async fn a_stop_answers_what_runs_and_closes_what_is_quiet() {
    let server = start(json!({ "idle_ms": 60_000, "header_timeout_ms": 60_000 })).await;
    let mut quiet = TcpStream::connect(server.address).await.unwrap();
    let mut busy = TcpStream::connect(server.address).await.unwrap();
    busy.write_all(b"GET /wait HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    server.doors.begun.notified().await;
    server.stop.ask();
    expect![].assert_eq(&rest_of(&mut quiet).await);
    server.doors.go_on.notify_one();
    expect![[r#"
        HTTP/1.1 200 OK
        connection: close
        content-length: 6

        waited
    "#]]
    .assert_eq(&rest_of(&mut busy).await);
    tokio::time::timeout(PATIENCE, server.task).await.unwrap().unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn what_does_not_end_within_the_grace_is_cut() {
    let server = start(json!({})).await;
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    socket.write_all(b"GET /hang HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    server.doors.begun.notified().await;
    server.stop.ask();
    assert_eq!(rest_of(&mut socket).await, "");
    tokio::time::timeout(PATIENCE, server.task).await.unwrap().unwrap();
}
