//! A reverse proxy that adds a key to every request, for clients that cannot send one. It passes every byte on as it
//! comes, in both directions, and a client that goes away is gone for the server behind it too.

use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{AUTHORIZATION, HOST, HeaderValue, ORIGIN},
    service::service_fn,
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{net::TcpListener, runtime::Runtime, task::JoinSet};

/// A running proxy; it stops when it is dropped.
pub(crate) struct Proxy {
    pub addr: SocketAddr,
    runtime: Option<Runtime>,
}

struct Way {
    own: String,
    target: String,
    bearer: HeaderValue,
    client: Client<HttpConnector, Incoming>,
}

impl Proxy {
    /// One before `target` that sends `Authorization: Bearer <key>`.
    pub(crate) fn start(target: SocketAddr, key: &str) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let addr = listener.local_addr().unwrap();
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let way = Way {
            own: addr.to_string(),
            target: target.to_string(),
            bearer: HeaderValue::from_str(&format!("Bearer {key}")).unwrap(),
            client: Client::builder(TokioExecutor::new()).build(connector),
        };
        runtime.spawn(accept(listener, Arc::new(way)));
        Self { addr, runtime: Some(runtime) }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn accept(listener: TcpListener, way: Arc<Way>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        stream.set_nodelay(true).unwrap();
        let way = way.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let way = way.clone();
                async move { Ok::<_, Infallible>(way.pass(request).await) }
            });
            let _ = auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

impl Way {
    async fn pass(&self, mut request: Request<Incoming>) -> Response<BoxBody<Bytes, hyper::Error>> {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        *request.uri_mut() = format!("http://{}{path}", self.target).parse().unwrap();
        request.headers_mut().insert(AUTHORIZATION, self.bearer.clone());
        // What names the proxy names the server behind it; a name that is neither's stays for the server to judge.
        for name in [HOST, ORIGIN] {
            let Some(value) = request.headers().get(&name).and_then(|value| value.to_str().ok()) else {
                continue;
            };
            let value = HeaderValue::from_str(&value.replace(&self.own, &self.target)).unwrap();
            request.headers_mut().insert(name, value);
        }
        match self.client.request(request).await {
            Ok(answer) => answer.map(BodyExt::boxed),
            Err(error) => {
                let text = Full::from(format!("the server behind the proxy did not answer: {error}"));
                let mut answer = Response::new(text.map_err(|never| match never {}).boxed());
                *answer.status_mut() = StatusCode::BAD_GATEWAY;
                answer
            }
        }
    }
}

mod tests {
    use std::{
        io::{BufRead as _, BufReader, Read as _, Write as _},
        net::{TcpListener, TcpStream},
        thread,
    };

    use super::Proxy;

    #[test]
    fn it_adds_the_key_and_passes_each_event_as_it_comes() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = server.local_addr().unwrap();
        let proxy = Proxy::start(target, "k-1");
        let mut client = TcpStream::connect(proxy.addr).unwrap();
        let request = format!("GET /mcp?a=b HTTP/1.1\r\nHost: {0}\r\nOrigin: http://{0}\r\n\r\n", proxy.addr);
        client.write_all(request.as_bytes()).unwrap();

        let (mut upstream, _) = server.accept().unwrap();
        let head = head(&mut upstream);
        assert!(head.starts_with("GET /mcp?a=b HTTP/1.1"), "{head}");
        for line in [
            "authorization: Bearer k-1".to_owned(),
            format!("host: {target}"),
            format!("origin: http://{target}"),
        ] {
            assert!(head.to_lowercase().contains(&line.to_lowercase()), "{line} is not in {head}");
        }
        let begun =
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        upstream.write_all(format!("{begun}8\r\ndata: 1\n\r\n").as_bytes()).unwrap();
        let mut lines = BufReader::new(client.try_clone().unwrap()).lines().map(Result::unwrap);
        // The stream has not ended yet: what was written is here all the same.
        assert!(lines.any(|line| line == "data: 1"));
        upstream.write_all(b"8\r\ndata: 2\n\r\n").unwrap();
        assert!(lines.any(|line| line == "data: 2"));

        // Who goes away is gone for the server too.
        client.shutdown(std::net::Shutdown::Both).unwrap();
        let gone = thread::spawn(move || {
            let mut rest = [0; 16];
            while upstream.read(&mut rest).is_ok_and(|length| length > 0) {}
        });
        gone.join().unwrap();
    }

    #[test]
    fn it_leaves_the_names_of_others_as_they_are() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy::start(server.local_addr().unwrap(), "k-1");
        let mut client = TcpStream::connect(proxy.addr).unwrap();
        client
            .write_all(b"GET / HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\n\r\n")
            .unwrap();
        let (mut upstream, _) = server.accept().unwrap();
        let head = head(&mut upstream).to_lowercase();
        assert!(
            head.contains("host: evil.example\r\n") && head.contains("origin: http://evil.example\r\n"),
            "{head}"
        );
    }

    fn head(stream: &mut TcpStream) -> String {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        String::from_utf8(head).unwrap()
    }
}
