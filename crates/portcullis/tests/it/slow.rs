//! Clients that are slow on purpose: each is let go in time, and nobody else waits for them.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{app::App, http::connect};

/// Far above the configured timeouts, far below the patience of a slow client.
const LET_GO_WITHIN: Duration = Duration::from_secs(15);

const BOUNDS: &str = "server:
  listen: 127.0.0.1:8000
  header_timeout_ms: 400
  body_idle_ms: 400
  request_total_ms: 1500
  idle_ms: 400
  connections_per_address_max: 64
";

fn app() -> App {
    App::with(|config| config.replace("server:\n  listen: 127.0.0.1:8000\n", BOUNDS))
}

/// Sends `start`, then a byte of `drip` every 50 ms, until the server has closed; says what it answered.
fn drip(app: &App, start: &str, drip: &str) -> String {
    let started = Instant::now();
    let mut stream = connect(app.addr).unwrap();
    stream.write_all(start.as_bytes()).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut bytes = drip.bytes().cycle();
    let mut answer = Vec::new();
    while !closed(&mut stream, &mut answer) {
        assert!(started.elapsed() < LET_GO_WITHIN, "not let go: {start:?} {drip:?}");
        if let Some(byte) = bytes.next() {
            let _ = stream.write_all(&[byte]);
        }
    }
    String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
}

fn closed(stream: &mut TcpStream, answer: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 4096];
    match stream.read(&mut buffer) {
        Ok(0) => true,
        Ok(got) => {
            answer.extend_from_slice(&buffer[..got]);
            false
        }
        Err(error) => !matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut),
    }
}

#[test]
fn slow_clients_are_let_go_and_hold_nobody_up() {
    let app = app();
    let head = format!(
        "POST /v1/mcp/fs_list HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\ncontent-length: 1000\r\n",
        app.key
    );
    let cases = [
        ("nothing", String::new(), ""),
        ("half a request line", "POST /v1/m".to_owned(), ""),
        ("a head without end", "GET / HTTP/1.1\r\nhost: localhost\r\n".to_owned(), "x: y\r\n"),
        ("no body", format!("{head}\r\n"), ""),
        ("a body drop by drop", format!("{head}\r\n"), " "),
        ("nothing after an answer", "GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned(), ""),
    ];
    let answers: Vec<String> = std::thread::scope(|scope| {
        let slow: Vec<_> = cases
            .iter()
            .map(|(name, start, drops)| {
                scope.spawn({
                    let app = &app;
                    move || format!("{name}: {}", drip(app, start, drops))
                })
            })
            .collect();
        let honest = app.call("fs_list", &json!({}));
        assert_eq!(honest.status, 200, "{}", honest.line());
        slow.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    expect_test::expect![[r#"
        nothing: 
        half a request line: HTTP/1.1 408 Request Timeout
        a head without end: HTTP/1.1 408 Request Timeout
        no body: HTTP/1.1 408 Request Timeout
        a body drop by drop: HTTP/1.1 408 Request Timeout
        nothing after an answer: HTTP/1.1 200 OK"#]]
    .assert_eq(&answers.join("\n"));
}

#[test]
fn one_address_cannot_take_every_connection() {
    let app = app();
    let held: Vec<_> = (0..64).map(|_| TcpStream::connect(app.addr).unwrap()).collect();
    let over = crate::http::exchange(
        app.addr,
        b"GET /health/live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
    );
    // told to come back, or let go at once: never kept waiting
    if let Ok(answer) = over {
        assert!(matches!(answer.status, 200 | 429 | 503), "{}", answer.line());
    }
    drop(held);
    crate::app::until("the server answers again", || {
        crate::http::exchange(
            app.addr,
            b"GET /health/live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
        )
        .is_ok_and(|answer| answer.status == 200)
    });
}
