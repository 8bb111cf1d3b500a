//! The one way out: an HTTP client that looks at every address before it connects to it.
//!
//! Invariants: no connection is made to an address that [`address::forbidden`] names, unless an operator listed
//! it; the addresses that are checked are the ones that are connected to, since the check *is* the resolver (so
//! a name that answers otherwise the second time gains nothing); each redirect is a new request, checked like the
//! first; proxies of the environment and cookies do not exist.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use place::{AllowPrivate, address};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tool::Stop;
use url::Url;

use crate::error::WebError;

/// The most headers an answer may have.
pub(crate) const HEADERS_MAX: usize = 100;
/// The most that the headers of an answer may take, in bytes.
pub(crate) const HEADER_BYTES_MAX: usize = 64 * 1024;
/// For how many hosts connections are kept.
const HOSTS_MAX: usize = 64;
/// How long an unused connection is kept.
const IDLE: Duration = Duration::from_secs(30);

/// Finds the addresses of a name. The real one asks the system; tests have their own.
#[async_trait]
pub(crate) trait Lookup: Send + Sync {
    /// All addresses of the name.
    async fn lookup(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The system's resolver.
pub(crate) struct SystemLookup;

#[async_trait]
impl Lookup for SystemLookup {
    async fn lookup(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((host, 0)).await?.map(|found| found.ip()).collect())
    }
}

/// What a client may do.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Places on our own network that may be reached all the same.
    pub(crate) private: AllowPrivate,
    /// The setting that holds them, for the sentence of a refusal.
    pub(crate) private_setting: String,
    /// How long a connection may take to come up.
    pub(crate) connect_timeout: Duration,
    /// Unused connections kept for each host.
    pub(crate) keepalive_max: usize,
    /// Redirects that are followed.
    pub(crate) redirects_max: usize,
    /// True to follow a redirect from https to http.
    pub(crate) downgrade: bool,
    /// What becomes of a redirect that leads away.
    pub(crate) away: Away,
}

/// What becomes of a redirect that leads to another place than the rules of this call were asked about. It is never
/// followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Away {
    /// One to another `host[:port]` is the answer, and says where it leads: going there is another call.
    Tell,
    /// One to another origin is a failure of whoever sent it.
    Refuse,
}

/// A request on its way out.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    pub(crate) url: Url,
    /// Headers that every host on the way may see.
    pub(crate) headers: HeaderMap,
    /// Headers for the first origin alone: credentials, and whatever else was meant for it.
    pub(crate) own_headers: HeaderMap,
    pub(crate) body: Option<Bytes>,
}

/// The head of an answer; the body is still to be read.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Where it came from, after redirects.
    pub(crate) url: Url,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Where it redirects to, where that was not followed because it leads away.
    pub(crate) away: Option<Url>,
    response: reqwest::Response,
}

/// The client. Connections are kept by host and port, since what may be reached depends on both.
pub(crate) struct Client {
    lookup: Arc<dyn Lookup>,
    settings: Arc<Settings>,
    hosts: Mutex<Vec<(String, reqwest::Client)>>,
}

/// A further rule for each URL on the way, such as a list of hosts.
pub(crate) type Rule<'a> = &'a (dyn Fn(&Url) -> Result<(), WebError> + Sync);

impl Client {
    pub(crate) fn new(settings: Settings, lookup: Arc<dyn Lookup>) -> Self {
        Self { lookup, settings: Arc::new(settings), hosts: Mutex::new(Vec::new()) }
    }

    /// Sends a request and follows redirects: those of GET and HEAD alone that stay where they are, each held against
    /// `rule` and the addresses again. Any other redirect is the answer.
    pub(crate) async fn send(&self, outgoing: &Outgoing, rule: Rule<'_>) -> Result<Answer, WebError> {
        let mut url = outgoing.url.clone();
        let mut own = true;
        let follows = matches!(outgoing.method, Method::GET | Method::HEAD);
        for _ in 0..=self.settings.redirects_max {
            let mut answer = self.hop(outgoing, &url, own, rule).await?;
            let Some(location) = next(&answer).filter(|_| follows) else { return Ok(answer) };
            let target = self.follow(&url, &location)?;
            if self.leads_away(&outgoing.url, &target)? {
                answer.away = Some(target);
                return Ok(answer);
            }
            own = own && target.origin() == outgoing.url.origin();
            url = target;
        }
        let host = place::authority(&outgoing.url);
        Err(WebError::TooManyRedirects { host, max: self.settings.redirects_max })
    }

    /// The addresses a URL leads to, all of them allowed.
    pub(crate) async fn addresses(&self, url: &Url) -> Result<Vec<SocketAddr>, WebError> {
        let guard = self.guard(url);
        match place::literal(url) {
            Some(address) => guard.check(&[address])?,
            None => return guard.resolve_checked().await,
        }
        Ok(place::literal(url)
            .map(|address| SocketAddr::new(address, place::port(url)))
            .into_iter()
            .collect())
    }

    async fn hop(
        &self,
        outgoing: &Outgoing,
        url: &Url,
        own: bool,
        rule: Rule<'_>,
    ) -> Result<Answer, WebError> {
        rule(url)?;
        let guard = self.guard(url);
        if let Some(address) = place::literal(url) {
            guard.check(&[address])?;
        }
        let host = place::authority(url);
        let mut request = self.host_client(&guard)?.request(outgoing.method.clone(), url.clone());
        request = request.headers(outgoing.headers.clone());
        if own {
            request = request.headers(outgoing.own_headers.clone());
        }
        if let Some(body) = &outgoing.body {
            request = request.body(body.clone());
        }
        let response = request.send().await.map_err(|e| failed(host.clone(), e))?;
        if let Some(peer) = response.remote_addr() {
            guard.check(&[peer.ip()])?;
        }
        let size: usize =
            response.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        if size > HEADER_BYTES_MAX {
            return Err(WebError::HeadersTooLarge { host, max: HEADER_BYTES_MAX });
        }
        let (status, headers) = (response.status(), response.headers().clone());
        Ok(Answer { url: url.clone(), status, headers, away: None, response })
    }

    fn follow(&self, from: &Url, location: &str) -> Result<Url, WebError> {
        let refuse = |why: String| WebError::BadRedirect { host: place::authority(from), why };
        let target = place::join(from, location).map_err(refuse)?;
        if from.scheme() == "https" && target.scheme() == "http" && !self.settings.downgrade {
            return Err(refuse(format!("it leads from https to http at {}", place::authority(&target))));
        }
        Ok(target)
    }

    /// True where a redirect leads to another place than the one that was asked.
    fn leads_away(&self, asked: &Url, target: &Url) -> Result<bool, WebError> {
        match self.settings.away {
            Away::Tell => Ok(place::authority(asked) != place::authority(target)),
            Away::Refuse if asked.origin() == target.origin() => Ok(false),
            Away::Refuse => {
                let why = format!("it leads to another origin at {}", place::authority(target));
                Err(WebError::BadRedirect { host: place::authority(asked), why })
            }
        }
    }

    fn guard(&self, url: &Url) -> Guard {
        Guard {
            lookup: Arc::clone(&self.lookup),
            settings: Arc::clone(&self.settings),
            host: url.host_str().unwrap_or_default().to_owned(),
            port: place::port(url),
        }
    }

    /// The client that holds the connections to one host and port; the one unused for longest makes room.
    fn host_client(&self, guard: &Guard) -> Result<reqwest::Client, WebError> {
        let key = format!("{}:{}", guard.host, guard.port);
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = match hosts.iter().position(|(host, _)| *host == key) {
            Some(at) => hosts.remove(at),
            None => {
                let client = build(guard, &self.settings)
                    .map_err(|e| WebError::Connect { host: key.clone(), source: e.into() })?;
                (key, client)
            }
        };
        let client = entry.1.clone();
        if hosts.len() >= HOSTS_MAX {
            hosts.remove(0);
        }
        hosts.push(entry);
        Ok(client)
    }
}

impl Answer {
    /// `host[:port]` that answered.
    pub(crate) fn host(&self) -> String {
        place::authority(&self.url)
    }

    /// A header as text, where it is there and is text.
    pub(crate) fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Reads the body, decoded, up to `bytes_max` behind the first `skip` bytes; true where there was more. What is
    /// over is never taken in, so a small answer that unpacks to a large one costs no more than `bytes_max`.
    pub(crate) async fn read(mut self, skip: u64, bytes_max: usize) -> Result<(Vec<u8>, bool), WebError> {
        let host = self.host();
        if let Some(encoding) = self.headers.get(header::CONTENT_ENCODING) {
            // What the client understands, it has decoded and taken off the decoded response's headers.
            let encoding = String::from_utf8_lossy(encoding.as_bytes()).to_ascii_lowercase();
            if !matches!(encoding.trim(), "" | "identity") {
                return Err(WebError::Encoding { host, encoding });
            }
        }
        let (mut body, mut skip) = (Vec::new(), skip);
        while let Some(chunk) = self.response.chunk().await.map_err(|e| failed(host.clone(), e))? {
            let passed = chunk.len().min(usize::try_from(skip).unwrap_or(usize::MAX));
            skip -= passed as u64;
            let chunk = &chunk[passed..];
            let room = bytes_max - body.len();
            if chunk.len() > room {
                body.extend_from_slice(&chunk[..room]);
                return Ok((body, true));
            }
            body.extend_from_slice(chunk);
        }
        Ok((body, false))
    }
}

/// Ends with the work, at the deadline, or when the caller asks to stop; whichever comes first. What was begun is
/// dropped, which closes its connection.
pub(crate) async fn within<T>(
    host: &str,
    deadline: Instant,
    stop: &Stop,
    work: impl Future<Output = Result<T, WebError>>,
) -> Result<T, WebError> {
    tokio::select! {
        biased;
        () = stop.asked() => Err(WebError::Cancelled),
        ended = tokio::time::timeout_at(deadline.into(), work) => {
            ended.unwrap_or_else(|_| Err(WebError::Timeout { host: host.to_owned() }))
        }
    }
}

/// Stands between a name and a connection, for one host and port.
struct Guard {
    lookup: Arc<dyn Lookup>,
    settings: Arc<Settings>,
    host: String,
    port: u16,
}

impl Guard {
    /// Refuses unless every one of the addresses may be reached: an answer that mixes public and private ones is
    /// no accident.
    fn check(&self, addresses: &[IpAddr]) -> Result<(), WebError> {
        for address in addresses {
            let Some(what) = address::forbidden(*address) else { continue };
            if !self.settings.private.admits(&self.host, self.port, *address) {
                return Err(WebError::OwnNetwork {
                    host: format!("{}:{}", self.host, self.port),
                    what,
                    address: *address,
                    setting: self.settings.private_setting.clone(),
                });
            }
        }
        Ok(())
    }

    async fn resolve_checked(&self) -> Result<Vec<SocketAddr>, WebError> {
        let no_host = |source: io::Error| WebError::NoHost { host: self.host.clone(), source: source.into() };
        let addresses = self.lookup.lookup(&self.host).await.map_err(no_host)?;
        if addresses.is_empty() {
            return Err(no_host(io::Error::new(io::ErrorKind::NotFound, "the name has no address")));
        }
        self.check(&addresses)?;
        Ok(addresses.into_iter().map(|address| SocketAddr::new(address, self.port)).collect())
    }
}

struct GuardedResolver(Arc<Guard>);

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = Arc::clone(&self.0);
        Box::pin(async move {
            if name.as_str() != guard.host {
                return Err(format!("asked for {:?} and guards {:?}", name.as_str(), guard.host).into());
            }
            let found = guard.resolve_checked().await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

fn build(guard: &Guard, settings: &Settings) -> Result<reqwest::Client, reqwest::Error> {
    let guard = Guard {
        lookup: Arc::clone(&guard.lookup),
        settings: Arc::clone(&guard.settings),
        host: guard.host.clone(),
        port: guard.port,
    };
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .tcp_nodelay(true)
        .connect_timeout(settings.connect_timeout)
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(settings.keepalive_max)
        .http1_max_headers(HEADERS_MAX)
        .http2_max_header_list_size(64 * 1024)
        .dns_resolver(GuardedResolver(Arc::new(guard)))
        .build()
}

/// Where the answer redirects to, where it does.
fn next(answer: &Answer) -> Option<String> {
    let redirects = matches!(answer.status.as_u16(), 301 | 302 | 303 | 307 | 308);
    let location = answer.headers.get(header::LOCATION).filter(|_| redirects)?;
    Some(String::from_utf8_lossy(location.as_bytes()).into_owned())
}

/// What went wrong: our own refusal where the resolver made it, else what the client says.
fn failed(host: String, error: reqwest::Error) -> WebError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(inner) = cause {
        match inner.downcast_ref::<WebError>() {
            Some(WebError::OwnNetwork { host, what, address, setting }) => {
                return WebError::OwnNetwork {
                    host: host.clone(),
                    what,
                    address: *address,
                    setting: setting.clone(),
                };
            }
            Some(_) => return WebError::NoHost { host, source: error.without_url().into() },
            None => cause = inner.source(),
        }
    }
    let connect = error.is_connect();
    let source = error.without_url().into();
    if connect { WebError::Connect { host, source } } else { WebError::Broken { host, source } }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
