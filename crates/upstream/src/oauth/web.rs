//! What is said to authorization servers. Where they are is said by servers that nobody vouches for, so every address
//! is looked at first, nothing goes over plain HTTP but on our own network, and answers are small.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt as _, Full, Limited};
use place::{AllowPrivate, address};
use rmcp::transport::auth::{
    OAuthHttpClient, OAuthHttpClientFuture, OAuthHttpRedirectPolicy, OAuthHttpRequest,
};
use rustls::ClientConfig;
use tokio::time::timeout;
use url::{Host, Url};

use crate::{
    error::{UpstreamError, excerpt},
    guard::{self, Guard},
};

/// The longest that one exchange may take.
const TIME_MAX: Duration = Duration::from_secs(20);
/// The most that is read of an answer, in bytes.
const BYTES_MAX: usize = 256 * 1024;
/// How often an answer may send us elsewhere.
const REDIRECTS_MAX: usize = 5;

/// The way to authorization servers.
pub(super) struct Web {
    pub(super) server: String,
    pub(super) allow_private: Vec<String>,
    /// True where the server is one that a person named, on this machine: what it names on this machine is reached too.
    pub(super) is_local: bool,
    pub(super) connect_timeout: Duration,
    /// Whom they are believed to be; `None` for those that this system trusts.
    pub(super) tls: Option<ClientConfig>,
}

/// True for a host that can only be this machine.
pub(crate) fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(v4)) => v4.is_loopback(),
        Some(Host::Ipv6(v6)) => v6.is_loopback(),
        None => false,
    }
}

impl OAuthHttpClient for Web {
    fn execute(&self, asked: OAuthHttpRequest) -> OAuthHttpClientFuture<'_> {
        Box::pin(async move {
            let follows = asked.redirect_policy == OAuthHttpRedirectPolicy::Follow;
            Ok(self.exchange(asked.request, follows).await?)
        })
    }
}

impl Web {
    async fn exchange(
        &self,
        request: Request<Vec<u8>>,
        follows: bool,
    ) -> Result<Response<Vec<u8>>, UpstreamError> {
        let mut hops_left = if follows && request.method() == Method::GET { REDIRECTS_MAX } else { 0 };
        let (parts, body) = request.into_parts();
        let mut at = parse(&parts.uri.to_string())?;
        loop {
            let mut one = Request::new(body.clone());
            *one.method_mut() = parts.method.clone();
            *one.headers_mut() = parts.headers.clone();
            let answer = self.send(&at, one).await?;
            match elsewhere(&at, &answer) {
                Some(next) if hops_left > 0 => {
                    hops_left -= 1;
                    at = next;
                }
                _ => return Ok(answer),
            }
        }
    }

    /// Opens a page as a browser would, and gives the address with which it leads back to `redirect`.
    pub(super) async fn visit(&self, page: &str, redirect: &str) -> Result<String, UpstreamError> {
        let mut at = parse(page)?;
        for _ in 0..=REDIRECTS_MAX {
            let mut request = Request::new(Vec::new());
            request.headers_mut().insert(header::ACCEPT, header::HeaderValue::from_static("text/html"));
            let answer = self.send(&at, request).await?;
            match elsewhere(&at, &answer) {
                Some(back) if back.as_str().starts_with(redirect) => return Ok(back.into()),
                Some(next) => at = next,
                None => {
                    let text = format!("its login page wants a person ({}): {page}", answer.status());
                    return Err(UpstreamError::Authorization(text));
                }
            }
        }
        Err(UpstreamError::Authorization("its login page leads nowhere".to_owned()))
    }

    async fn send(&self, url: &Url, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, UpstreamError> {
        let answered = timeout(TIME_MAX, self.send_unbounded(url, request)).await;
        answered.unwrap_or(Err(UpstreamError::Timeout))
    }

    async fn send_unbounded(
        &self,
        url: &Url,
        request: Request<Vec<u8>>,
    ) -> Result<Response<Vec<u8>>, UpstreamError> {
        let guard = Guard::new(&self.server, url, self.admitted(url));
        let addresses = match place::literal(url) {
            Some(address) => {
                guard.check(&[address])?;
                vec![SocketAddr::new(address, place::port(url))]
            }
            None => guard.resolve().await?,
        };
        let is_public = |at: &SocketAddr| address::forbidden(at.ip()).is_none();
        if url.scheme() != "https" && addresses.iter().any(is_public) {
            let text = format!("{url} is no https URL, and tokens go over nothing else");
            return Err(UpstreamError::Authorization(text));
        }
        let connector = guard::connector(&guard, self.connect_timeout, self.tls.clone())
            .map_err(|e| UpstreamError::Authorization(e.to_string()))?;
        let client = guard::client(connector, 0);
        let (mut parts, body) = request.into_parts();
        parts.uri = url.as_str().parse().map_err(|e| UpstreamError::Authorization(format!("{url}: {e}")))?;
        let request = Request::from_parts(parts, Full::new(Bytes::from(body)));
        let answer = client.request(request).await.map_err(guard::failed)?;
        let (parts, body) = answer.into_parts();
        let body = Limited::new(body, BYTES_MAX).collect().await;
        let body = body.map_err(|error| UpstreamError::Broken(Some(error)))?.to_bytes();
        Ok(Response::from_parts(parts, body.to_vec()))
    }

    fn admitted(&self, url: &Url) -> AllowPrivate {
        let own = self.is_local && is_this_machine(url);
        let own = own.then(|| format!("{}:{}", url.host_str().unwrap_or_default(), place::port(url)));
        let entries: Vec<String> = self.allow_private.iter().cloned().chain(own).collect();
        AllowPrivate::new(&entries)
    }
}

fn parse(text: &str) -> Result<Url, UpstreamError> {
    place::parse_url(text)
        .map_err(|e| UpstreamError::Authorization(format!("{:?} is not reached: {e}", excerpt(text))))
}

/// Where an answer sends us, where it does.
fn elsewhere(at: &Url, answer: &Response<Vec<u8>>) -> Option<Url> {
    let location = answer.headers().get(header::LOCATION).filter(|_| answer.status().is_redirection())?;
    at.join(location.to_str().ok()?).ok()
}
