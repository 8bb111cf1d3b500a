//! The way to a server on the network: a client that looks at every address before it connects to it.
//!
//! The address that is checked is the one that is connected to, since the check is the resolver. There are no
//! proxies of the environment, no cookies, and redirects are answers.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use place::{AllowPrivate, address};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::Url;

use crate::error::UpstreamError;

/// How long an unused connection is kept.
const IDLE: Duration = Duration::from_secs(30);
/// The most headers an answer may have.
const HEADERS_MAX: usize = 100;
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

    async fn resolve(&self) -> Result<Vec<SocketAddr>, UpstreamError> {
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

struct Guarded(Arc<Guard>);

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = Arc::clone(&self.0);
        Box::pin(async move {
            if name.as_str() != guard.host {
                return Err(format!("asked for {:?} and guards {:?}", name.as_str(), guard.host).into());
            }
            let found = guard.resolve().await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// The client to one server.
pub(crate) fn client(
    guard: &Arc<Guard>,
    connect_timeout: Duration,
    idle_max: usize,
) -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        // Events have to come as they are written, not when a block of them is full.
        .no_gzip()
        .tcp_nodelay(true)
        .connect_timeout(connect_timeout)
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(idle_max)
        .http1_max_headers(HEADERS_MAX)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .user_agent(concat!("portcullis/", env!("CARGO_PKG_VERSION")))
        .dns_resolver(Guarded(Arc::clone(guard)))
        .build()
}

/// What a failure of the client is: our own refusal where the resolver made it, else how far it came.
pub(crate) fn failed(error: reqwest::Error) -> UpstreamError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(inner) = cause {
        match inner.downcast_ref() {
            Some(UpstreamError::OwnNetwork { what, address, setting }) => {
                return UpstreamError::OwnNetwork { what, address: *address, setting: setting.clone() };
            }
            Some(UpstreamError::NoHost(_)) => return UpstreamError::NoHost(error.without_url().into()),
            _ => cause = inner.source(),
        }
    }
    let error = error.without_url();
    if error.is_timeout() && !error.is_connect() {
        UpstreamError::Timeout
    } else if error.is_connect() {
        UpstreamError::Connect(error.into())
    } else {
        UpstreamError::Broken(Some(error.into()))
    }
}
