//! Where a login page leads back to: a port of this machine that takes one visit.

use std::{convert::Infallible, io, net::Ipv4Addr};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

/// The path of the way back.
const PATH: &str = "/callback";

/// A port that waits for a browser.
pub(super) struct Callback {
    listener: TcpListener,
    port: u16,
}

impl Callback {
    /// Listens on a port of this machine alone; 0 for any that is free.
    pub(super) async fn listen(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let port = listener.local_addr()?.port();
        Ok(Self { listener, port })
    }

    /// Where a page has to lead.
    pub(super) fn uri(&self) -> String {
        format!("http://127.0.0.1:{}{PATH}", self.port)
    }

    /// Waits for somebody to come back, and gives the whole address that they came with.
    pub(super) async fn wait(&self) -> String {
        let (said, mut came) = mpsc::channel(1);
        let own = format!("http://127.0.0.1:{}", self.port);
        let mut visits = tokio::task::JoinSet::new();
        loop {
            tokio::select! {
                Some(target) = came.recv() => {
                    // The page that says so is on its way.
                    let _ = tokio::time::timeout(std::time::Duration::from_secs(1), visits.join_next()).await;
                    return format!("{own}{target}");
                }
                Ok((stream, _)) = self.listener.accept() => {
                    visits.spawn(visit(stream, said.clone()));
                }
            }
        }
    }
}

async fn visit(stream: TcpStream, said: mpsc::Sender<String>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let said = said.clone();
        async move { Ok::<_, Infallible>(answer(&request, &said)) }
    });
    let _ = http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), service).await;
}

fn answer(request: &Request<Incoming>, said: &mpsc::Sender<String>) -> Response<Full<Bytes>> {
    let target = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    let comes_back = request.uri().path() == PATH && request.uri().query().is_some();
    let (status, text) = if comes_back && said.try_send(target).is_ok() {
        (StatusCode::OK, "This page can be closed; the terminal says how it ended.\n")
    } else {
        (StatusCode::NOT_FOUND, "There is nothing here.\n")
    };
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    let plain = header::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}
