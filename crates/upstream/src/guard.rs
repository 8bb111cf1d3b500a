//! The way to a server on the network: a client that looks at every address before it connects to it.
//!
//! The address that is checked is the one that is connected to, since the check is the resolver. There are no
//! proxies of the environment, no cookies, and redirects are answers.

use std::{
    error::Error,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
    vec,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::Uri;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{
        self,
        connect::{HttpConnector, dns::Name},
    },
    rt::{TokioExecutor, TokioTimer},
};
use place::{AllowPrivate, address};
use rustls::{ClientConfig, crypto::aws_lc_rs};
use tower_service::Service;
use url::Url;

use crate::error::UpstreamError;

/// How long an unused connection is kept.
pub(crate) const IDLE: Duration = Duration::from_secs(30);
/// How long a connection is silent before the other side is asked for a sign of life, and between two such questions.
const ALIVE: Duration = Duration::from_secs(15);
/// How many of them stay unanswered before the connection is given up.
const ALIVE_TRIES: u32 = 3;
/// The most headers an answer may have.
pub(crate) const HEADERS_MAX: usize = 100;
/// The most that the headers of an answer may take over HTTP/2, in bytes.
const HEADER_BYTES_MAX: u32 = 64 * 1024;

/// Stands between one server and the connections to it.
#[derive(Debug)]
pub(crate) struct Guard {
    host: String,
    port: u16,
    private: AllowPrivate,
    setting: String,
}

impl Guard {
    /// The guard of the server with this name and URL.
    pub(crate) fn new(name: &str, url: &Url, private: AllowPrivate) -> Arc<Self> {
        let host = url.host_str().unwrap_or_default().to_owned();
        let setting = format!("upstreams.{name}.allow_private");
        Arc::new(Self { host, port: place::port(url), private, setting })
    }

    /// Refuses unless every one of the addresses may be reached.
    pub(crate) fn check(&self, addresses: &[IpAddr]) -> Result<(), UpstreamError> {
        for address in addresses {
            let Some(what) = address::forbidden(*address) else { continue };
            if !self.private.admits(&self.host, self.port, *address) {
                let setting = self.setting.clone();
                return Err(UpstreamError::OwnNetwork { what, address: *address, setting });
            }
        }
        Ok(())
    }

    pub(crate) async fn resolve(&self) -> Result<Vec<SocketAddr>, UpstreamError> {
        let no_host = |e: io::Error| UpstreamError::NoHost(e.into());
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await.map_err(no_host)?;
        let addresses: Vec<SocketAddr> = found.collect();
        if addresses.is_empty() {
            return Err(no_host(io::Error::new(io::ErrorKind::NotFound, "the name has no address")));
        }
        self.check(&addresses.iter().map(SocketAddr::ip).collect::<Vec<_>>())?;
        Ok(addresses)
    }
}

type Cause = Box<dyn Error + Send + Sync>;

/// Looks names up for the client; every address that it gives may be connected to.
#[derive(Clone)]
pub(crate) struct Resolver(Arc<Guard>);

impl Service<Name> for Resolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = Cause;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let guard = Arc::clone(&self.0);
        Box::pin(async move {
            if name.as_str() != guard.host {
                return Err(format!("asked for {:?} and guards {:?}", name.as_str(), guard.host).into());
            }
            Ok(guard.resolve().await?.into_iter())
        })
    }
}

/// Connects, name and handshake included, within a time.
#[derive(Clone)]
pub(crate) struct Timely<C> {
    connector: C,
    time_max: Duration,
}

impl<C> Service<Uri> for Timely<C>
where
    C: Service<Uri, Error = Cause, Future: Send + 'static>,
{
    type Response = C::Response;
    type Error = Cause;
    type Future = BoxFuture<'static, Result<C::Response, Cause>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        self.connector.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (connecting, time_max) = (self.connector.call(uri), self.time_max);
        Box::pin(async move {
            let connected = tokio::time::timeout(time_max, connecting).await;
            connected
                .unwrap_or_else(|_| Err(format!("no connection within {} ms", time_max.as_millis()).into()))
        })
    }
}

/// What connects to one server.
pub(crate) type Connector = Timely<HttpsConnector<HttpConnector<Resolver>>>;

/// The client to one server.
pub(crate) type Client = legacy::Client<Connector, Full<Bytes>>;

/// What connects to what a guard admits, within a time.
///
/// Error: the certificates that this system trusts cannot be read.
pub(crate) fn connector(
    guard: &Arc<Guard>,
    time_max: Duration,
    tls: Option<ClientConfig>,
) -> Result<Connector, io::Error> {
    let mut plain = HttpConnector::new_with_resolver(Resolver(Arc::clone(guard)));
    plain.enforce_http(false);
    plain.set_nodelay(true);
    plain.set_keepalive(Some(ALIVE));
    plain.set_keepalive_interval(Some(ALIVE));
    plain.set_keepalive_retries(Some(ALIVE_TRIES));
    let secure = match tls {
        Some(tls) => HttpsConnectorBuilder::new().with_tls_config(tls),
        None => {
            HttpsConnectorBuilder::new().with_provider_and_platform_verifier(aws_lc_rs::default_provider())?
        }
    };
    Ok(Timely { connector: secure.https_or_http().enable_all_versions().wrap_connector(plain), time_max })
}

/// A client that connects so, over HTTP/1.1 or HTTP/2.
pub(crate) fn client(connector: Connector, idle_max: usize) -> Client {
    legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(idle_max)
        .http1_max_headers(HEADERS_MAX)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .build(connector)
}

/// What a failure of the client is: our own refusal where the resolver made it, else how far it came.
pub(crate) fn failed(error: legacy::Error) -> UpstreamError {
    if error.is_connect() { not_connected(error.into()) } else { UpstreamError::Broken(Some(error.into())) }
}

/// Why there is no connection: our own refusal where the resolver made it.
pub(crate) fn not_connected(error: Cause) -> UpstreamError {
    let mut cause: Option<&(dyn Error + 'static)> = Some(&*error);
    while let Some(inner) = cause {
        match inner.downcast_ref() {
            Some(UpstreamError::OwnNetwork { what, address, setting }) => {
                return UpstreamError::OwnNetwork { what, address: *address, setting: setting.clone() };
            }
            Some(UpstreamError::NoHost(_)) => return UpstreamError::NoHost(error),
            _ => cause = inner.source(),
        }
    }
    UpstreamError::Connect(error)
}

/// An answer that broke off.
pub(crate) fn broken(error: hyper::Error) -> UpstreamError {
    UpstreamError::Broken(Some(error.into()))
}
