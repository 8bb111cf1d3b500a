//! Who may speak to this listener at all: the `Host` and `Origin` of a request, before anything else is looked at.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri, header};
use tool::{Code, Fault};

use crate::{conn::Body, headers::only};

const METHODS: &str = "GET, HEAD, POST";
const HEADERS_IN: &str =
    "authorization, content-type, accept, idempotency-key, traceparent, x-request-id, x-correlation-id";
const HEADERS_OUT: &str = "x-request-id, x-correlation-id, retry-after, ratelimit, ratelimit-policy, \
    x-ratelimit-limit, x-ratelimit-remaining, x-ratelimit-reset, x-cache, x-cut, x-artefact, \
    x-removed-characters, x-masked-secrets, deprecation, sunset, link";

/// Which hosts and origins are let in.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    pub(crate) hosts: Hosts,
    /// Origins of foreign pages that may call, exactly as browsers send them.
    pub(crate) origins: Vec<String>,
}

/// Which names in `Host` are ours.
#[derive(Clone, Debug)]
pub(crate) enum Hosts {
    /// Every name.
    Any,
    /// These, beside the names of this machine where the listener is a loopback one.
    Only { names: Vec<String>, takes_loopback: bool },
}

/// Where a request comes from, as far as the browser says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From<'a> {
    /// No browser, or a page of our own.
    Here,
    /// A foreign page that may call.
    Allowed(&'a str),
    /// A foreign page that may not; its reads are answered, and its browser keeps the answer from it.
    Stranger,
}

impl Guard {
    /// Refuses a request whose `Host` is not ours: the mark of DNS rebinding.
    pub(crate) fn check_host(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Fault> {
        let Hosts::Only { names, takes_loopback } = &self.hosts else { return Ok(()) };
        // The target's own authority counts more than the field (RFC 9112, 3.2.2).
        let authority = match uri.authority() {
            Some(authority) => authority.as_str(),
            None => only(headers, &header::HOST)
                .ok_or_else(|| Fault::new(Code::Malformed, "the request needs exactly one Host"))?,
        };
        let host = without_port(authority);
        let is_ours = names.iter().any(|name| name.eq_ignore_ascii_case(host))
            || (*takes_loopback && is_loopback(host));
        if is_ours {
            return Ok(());
        }
        let shown: String = host.chars().take(80).collect();
        Err(Fault::new(
            Code::Denied,
            format!("{shown:?} is not a host of this server; add it to server.allowed_hosts"),
        ))
    }

    /// Tells pages of our own and allowed ones from strangers.
    ///
    /// Fault: `Denied` where a stranger's page does more than read.
    pub(crate) fn check_origin<'a>(
        &self,
        method: &Method,
        headers: &'a HeaderMap,
    ) -> Result<From<'a>, Fault> {
        if !headers.contains_key(header::ORIGIN) {
            return Ok(From::Here);
        }
        let origin = only(headers, &header::ORIGIN).unwrap_or("null");
        if self.origins.iter().any(|allowed| allowed == origin) {
            return Ok(From::Allowed(origin));
        }
        let host = only(headers, &header::HOST);
        let is_own = origin.split_once("://").is_some_and(|(_, authority)| Some(authority) == host);
        if is_own {
            return Ok(From::Here);
        }
        if matches!(*method, Method::GET | Method::HEAD) {
            return Ok(From::Stranger);
        }
        let shown: String = origin.chars().take(80).collect();
        Err(Fault::new(
            Code::Denied,
            format!("pages of {shown:?} may not call; add it to server.cors.origins"),
        ))
    }
}

/// True for the question that a browser asks before it lets a page call.
pub(crate) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS
        && headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to it.
pub(crate) fn preflight() -> Response<Body> {
    let mut response = Response::new(Body::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_METHODS, METHODS),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS_IN),
        (header::ACCESS_CONTROL_MAX_AGE, "600"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Tells the browser whether its page may read the answer. `has_cors` is true where any origin may: then answers
/// differ by origin.
pub(crate) fn write_cors(headers: &mut HeaderMap, from: From<'_>, has_cors: bool) {
    if has_cors {
        headers.append(header::VARY, HeaderValue::from_static("origin"));
    }
    if let From::Allowed(origin) = from
        && let Ok(origin) = HeaderValue::from_str(origin)
    {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        let exposed: (HeaderName, _) =
            (header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(HEADERS_OUT));
        headers.insert(exposed.0, exposed.1);
    }
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !host.is_empty() => host,
        _ => authority,
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(names: &[&str], takes_loopback: bool) -> Guard {
        let names = names.iter().map(ToString::to_string).collect();
        Guard { hosts: Hosts::Only { names, takes_loopback }, origins: vec!["https://ok.example".to_owned()] }
    }

    fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn hosts_of_a_loopback_listener() {
        let guard = guard(&["gate.example"], true);
        for (host, is_ours) in [
            ("localhost", true),
            ("LOCALHOST:8000", true),
            ("127.0.0.1:8000", true),
            ("127.8.9.1", true),
            ("[::1]:8000", true),
            ("gate.example:443", true),
            ("evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("localhost.evil.example:8000", false),
            ("192.168.1.1", false),
            ("0.0.0.0:8000", false),
            ("", false),
            (":8000", false),
        ] {
            let headers = headers(&[(header::HOST, host)]);
            assert_eq!(guard.check_host(&Uri::from_static("/"), &headers).is_ok(), is_ours, "{host}");
        }
        let none = HeaderMap::new();
        assert_eq!(guard.check_host(&Uri::from_static("/"), &none).unwrap_err().code, Code::Malformed);
        let local = headers(&[(header::HOST, "localhost")]);
        assert!(guard.check_host(&Uri::from_static("http://evil.example/"), &local).is_err());
    }

    #[test]
    fn origins_by_method() {
        let guard = guard(&[], true);
        for (origin, method, expected) in [
            ("https://ok.example", Method::POST, Some(From::Allowed("https://ok.example"))),
            ("http://localhost:8000", Method::POST, Some(From::Here)),
            ("http://localhost:9000", Method::POST, None),
            ("https://evil.example", Method::POST, None),
            ("https://evil.example", Method::GET, Some(From::Stranger)),
            ("null", Method::POST, None),
            ("null", Method::GET, Some(From::Stranger)),
            ("https://ok.example.evil", Method::OPTIONS, None),
        ] {
            let headers = headers(&[(header::HOST, "localhost:8000"), (header::ORIGIN, origin)]);
            assert_eq!(guard.check_origin(&method, &headers).ok(), expected, "{method} {origin}");
        }
    }
}
