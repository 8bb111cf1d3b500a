//! What the tests of this crate run against: real servers on loopback, and a resolver that says what it is told.

use std::{
    collections::{HashMap, VecDeque},
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use axum::Router;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::mpsc,
    task::AbortHandle,
};
use tool::Meter;

use crate::client::Lookup;

/// A server that stops with the test.
pub(crate) struct Bed {
    pub(crate) address: SocketAddr,
    /// Connections so far.
    pub(crate) connections: Arc<AtomicUsize>,
    task: AbortHandle,
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Bed {
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// An axum application.
    pub(crate) async fn app(router: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, connections: Arc::default(), task: serving.abort_handle() }
    }

    /// Sends the same bytes to everyone, once the head of a request has come; then closes, unless `hold`. The
    /// receiver hears each time that a held connection was closed by the other side.
    pub(crate) async fn bytes(answer: impl Into<Vec<u8>>, hold: bool) -> (Self, mpsc::UnboundedReceiver<()>) {
        Self::bytes_at("127.0.0.1:0", answer, hold).await.unwrap()
    }

    pub(crate) async fn bytes_at(
        at: &str,
        answer: impl Into<Vec<u8>>,
        hold: bool,
    ) -> io::Result<(Self, mpsc::UnboundedReceiver<()>)> {
        let listener = TcpListener::bind(at).await?;
        let address = listener.local_addr()?;
        let (connections, answer) = (Arc::new(AtomicUsize::new(0)), Arc::new(answer.into()));
        let (sender, closed) = mpsc::unbounded_channel();
        let count = Arc::clone(&connections);
        let serving = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let (answer, sender) = (Arc::clone(&answer), sender.clone());
                tokio::spawn(async move {
                    let mut seen = Vec::new();
                    let mut buffer = [0; 4096];
                    while !seen.windows(4).any(|four| four == b"\r\n\r\n") {
                        match stream.read(&mut buffer).await {
                            Ok(0) | Err(_) => break,
                            Ok(n) => seen.extend_from_slice(&buffer[..n]),
                        }
                    }
                    // The other side may have had enough already.
                    let _ = stream.write_all(&answer).await;
                    if hold {
                        while stream.read(&mut buffer).await.is_ok_and(|n| n > 0) {}
                        let _ = sender.send(());
                    }
                });
            }
        });
        Ok((Self { address, connections, task: serving.abort_handle() }, closed))
    }
}

/// An answer of HTTP/1.1 that ends with the connection.
pub(crate) fn answer(head: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {head}\r\nconnection: close\r\n\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// A resolver with its own answers: for each name a line of them, the last one for ever.
#[derive(Default)]
pub(crate) struct FakeLookup(Mutex<HashMap<String, VecDeque<Vec<IpAddr>>>>);

impl FakeLookup {
    /// `name=address,address;address`: `;` parts one answer from the next.
    pub(crate) fn new(names: &[&str]) -> Arc<Self> {
        let lookup = Self::default();
        for line in names {
            let (name, answers) = line.split_once('=').unwrap();
            let parse = |answer: &str| answer.split(',').map(|address| address.parse().unwrap()).collect();
            lookup.0.lock().unwrap().insert(name.to_owned(), answers.split(';').map(parse).collect());
        }
        Arc::new(lookup)
    }
}

#[async_trait]
impl Lookup for FakeLookup {
    async fn lookup(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let mut names = self.0.lock().unwrap();
        let answers = names.get_mut(host).ok_or_else(|| io::Error::other("no such name"))?;
        let first = answers.pop_front().unwrap();
        if answers.is_empty() {
            answers.push_back(first.clone());
        }
        Ok(first)
    }
}

/// Remembers what was counted.
#[derive(Default)]
pub(crate) struct Counting(pub(crate) Mutex<Vec<String>>);

impl Meter for Counting {
    fn db_query(&self, _query_name: &str, _took: std::time::Duration) {}

    fn api_error(&self, source: &str, status_code: &str) {
        self.0.lock().unwrap().push(format!("{source} {status_code}"));
    }
}
