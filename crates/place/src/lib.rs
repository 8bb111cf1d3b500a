//! Where a URL leads: one spelling for every way to write it, which addresses are our own network, and the lists of
//! hosts that operators keep. No IO: names are looked up by whoever connects.

pub mod address;

use std::net::IpAddr;

use url::{Host, Url};

/// The longest URL that is taken, in bytes.
pub const URL_BYTES_MAX: usize = 8 * 1024;

/// Parses a URL into its one normal form: WHATWG rules (so that `0x7f.1`, `2130706433` and full-width digits are
/// the address they stand for), less the fragment and a trailing dot of the host.
///
/// Error: a sentence, where it is no http or https URL, holds a user name or password, or is spelled in a way
/// that two readers may take for two places (spaces, control characters, backslashes).
pub fn parse_url(text: &str) -> Result<Url, String> {
    if text.len() > URL_BYTES_MAX {
        return Err(format!("the URL is longer than {URL_BYTES_MAX} bytes"));
    }
    if text.chars().any(|c| c == '\\' || c.is_whitespace() || c.is_control()) {
        return Err("the URL holds a space, a control character or a backslash; percent-encode it".to_owned());
    }
    let mut url = Url::parse(text).map_err(|e| format!("this is not an absolute URL: {e}"))?;
    check_parts(&url)?;
    drop_trailing_dot(&mut url)?;
    url.set_fragment(None);
    Ok(url)
}

/// Follows a `Location` from `base` (RFC 9110, 10.2.2), into the normal form of [`parse_url`].
pub fn join(base: &Url, location: &str) -> Result<Url, String> {
    let joined = base.join(location).map_err(|e| format!("{e}"))?;
    parse_url(joined.as_str())
}

/// `host` or `host:port`, the port only where it is not the scheme's usual one. IPv6 in brackets.
pub fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// The address that the host of a URL is, where it is one.
pub fn literal(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(v4) => Some(v4.into()),
        Host::Ipv6(v6) => Some(v6.into()),
        Host::Domain(_) => None,
    }
}

/// The port a URL leads to.
pub fn port(url: &Url) -> u16 {
    url.port_or_known_default().unwrap_or_default()
}

fn check_parts(url: &Url) -> Result<(), String> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("the scheme {:?} is not taken; use http or https", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the URL must not hold a user name or password".to_owned());
    }
    if url.port() == Some(0) {
        return Err("port 0 leads nowhere".to_owned());
    }
    Ok(())
}

fn drop_trailing_dot(url: &mut Url) -> Result<(), String> {
    let Some(Host::Domain(domain)) = url.host() else { return Ok(()) };
    let bare = domain.strip_suffix('.').unwrap_or(domain).to_owned();
    if bare.is_empty() || bare.split('.').any(str::is_empty) {
        return Err(format!("{domain:?} is not a host name"));
    }
    url.set_host(Some(&bare)).map_err(|e| format!("{bare:?} is not a host name: {e}"))
}

/// Exact pairs of host and port on our own network that may be reached all the same.
#[derive(Clone, Debug, Default)]
pub struct AllowPrivate(Vec<(Host<String>, u16)>);

impl AllowPrivate {
    /// Reads one entry, `host:port`.
    pub fn parse_entry(text: &str) -> Result<(Host<String>, u16), String> {
        match parse_authority(text)? {
            (host, Some(port)) => Ok((host, port)),
            (_, None) => Err(format!("{text:?} names no port; write host:port")),
        }
    }

    /// The entries that can be read; [`Self::parse_entry`] says what is wrong with the others.
    pub fn new(entries: &[String]) -> Self {
        Self(entries.iter().filter_map(|text| Self::parse_entry(text).ok()).collect())
    }

    /// True where this address may be reached although it is not public: it is listed itself, or the host's name
    /// is listed and the address is one of [`address::own_network`].
    pub fn admits(&self, host: &str, port: u16, at: IpAddr) -> bool {
        self.0.iter().any(|(entry, entry_port)| {
            *entry_port == port
                && match entry {
                    Host::Domain(name) => name == host && address::own_network(at),
                    Host::Ipv4(v4) => IpAddr::V4(*v4) == at,
                    Host::Ipv6(v6) => IpAddr::V6(*v6) == at,
                }
        })
    }
}

/// The hosts that may be fetched. An empty list allows none.
#[derive(Clone, Debug)]
pub struct AllowList(Vec<Entry>);

/// One entry of an [`AllowList`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    host: Pattern,
    /// `None`: the scheme's usual port.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Exactly(String),
    /// Any name below this one, and not this one.
    Below(String),
}

impl AllowList {
    /// Reads one entry: `example.com`, `*.example.org`, `10.0.0.7:8080`.
    pub fn parse_entry(text: &str) -> Result<Entry, String> {
        let (below, rest) = match text.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (host, port) = parse_authority(rest)?;
        let host = match (below, host) {
            (true, Host::Domain(name)) => Pattern::Below(name),
            (true, _) => return Err(format!("{text:?}: an address has no names below it")),
            (false, host) => Pattern::Exactly(host.to_string()),
        };
        Ok(Entry { host, port })
    }

    /// The entries that can be read.
    pub fn new(entries: &[String]) -> Self {
        Self(entries.iter().filter_map(|text| Self::parse_entry(text).ok()).collect())
    }

    /// True where a URL in normal form leads to a listed host and port.
    pub fn admits(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        self.0.iter().any(|entry| {
            let named = match &entry.host {
                Pattern::Exactly(name) => name == host,
                Pattern::Below(name) => host
                    .strip_suffix(name.as_str())
                    .is_some_and(|front| front.len() > 1 && front.ends_with('.')),
            };
            named && entry.port.map_or(url.port().is_none(), |entry_port| entry_port == port(url))
        })
    }
}

/// `host` or `host:port` in normal form; nothing else.
fn parse_authority(text: &str) -> Result<(Host<String>, Option<u16>), String> {
    if text.is_empty() || text.contains(['/', '@', '?', '#', '*']) {
        return Err(format!("{text:?} is not a host; write host or host:port, without a scheme or a path"));
    }
    let url = parse_url(&format!("http://{text}/"))?;
    let after_host = text.rsplit_once(']').map_or(text, |(_, rest)| rest);
    let port = after_host.contains(':').then(|| port(&url));
    let host = url.host().ok_or_else(|| format!("{text:?} names no host"))?;
    Ok((host.to_owned(), port))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_place_has_one_spelling() {
        let shown: Vec<_> = [
            "http://EXAMPLE.com",
            "HTTP://Example.COM.:80/a/../b?q#part",
            "https://example.com:443/",
            "https://example.com:80/",
            "http://b\u{fc}cher.example/",
            "http://127.1/",
            "http://0x7f.0.0.1/",
            "http://2130706433/",
            "http://017700000001/",
            "http://\u{2460}\u{2461}\u{2466}.0.0.1/",
            "http://\u{ff11}\u{ff12}\u{ff17}\u{3002}0.0.1/",
            "http://127.0.0.1./",
            "http://[0:0:0:0:0:0:0:1]/",
            "http://[::ffff:127.0.0.1]:81/",
            "http://l\u{24de}calhost/",
            "http://example.com:0/",
            "http://example.com:99999/",
            "http://user@example.com/",
            "http://:secret@example.com/",
            "http://example.com\\@127.0.0.1/",
            "http://exa\tmple.com/",
            " http://example.com/",
            "http://exa mple.com/",
            "http://a..b/",
            "http://./",
            "http:///",
            "http://256.0.0.1/",
            "http://1.2.3.4.5/",
            "http://[fe80::1%25eth0]/",
            "ftp://example.com/",
            "file:///etc/passwd",
            "gopher://127.0.0.1/",
            "//example.com/",
            "example.com",
            "",
        ]
        .into_iter()
        .map(|text| match parse_url(text) {
            Ok(url) => format!("{text:?} -> {url} at {} port {}", authority(&url), port(&url)),
            Err(e) => format!("{text:?} -> {e}"),
        })
        .collect();
        expect![[r#"
            "http://EXAMPLE.com" -> http://example.com/ at example.com port 80
            "HTTP://Example.COM.:80/a/../b?q#part" -> http://example.com/b?q at example.com port 80
            "https://example.com:443/" -> https://example.com/ at example.com port 443
            "https://example.com:80/" -> https://example.com:80/ at example.com:80 port 80
            "http://bücher.example/" -> http://xn--bcher-kva.example/ at xn--bcher-kva.example port 80
            "http://127.1/" -> http://127.0.0.1/ at 127.0.0.1 port 80
            "http://0x7f.0.0.1/" -> http://127.0.0.1/ at 127.0.0.1 port 80
            "http://2130706433/" -> http://127.0.0.1/ at 127.0.0.1 port 80
            "http://017700000001/" -> http://127.0.0.1/ at 127.0.0.1 port 80
            "http://①②⑦.0.0.1/" -> http://127.0.0.1/ at 127.0.0.1 port 80
            "http://１２７。0.0.1/" -> http://127.0.0.1/ at 127.0.0.1 port 80
            "http://127.0.0.1./" -> http://127.0.0.1/ at 127.0.0.1 port 80
            "http://[0:0:0:0:0:0:0:1]/" -> http://[::1]/ at [::1] port 80
            "http://[::ffff:127.0.0.1]:81/" -> http://[::ffff:7f00:1]:81/ at [::ffff:7f00:1]:81 port 81
            "http://lⓞcalhost/" -> http://localhost/ at localhost port 80
            "http://example.com:0/" -> port 0 leads nowhere
            "http://example.com:99999/" -> this is not an absolute URL: invalid port number
            "http://user@example.com/" -> the URL must not hold a user name or password
            "http://:secret@example.com/" -> the URL must not hold a user name or password
            "http://example.com\\@127.0.0.1/" -> the URL holds a space, a control character or a backslash; percent-encode it
            "http://exa\tmple.com/" -> the URL holds a space, a control character or a backslash; percent-encode it
            " http://example.com/" -> the URL holds a space, a control character or a backslash; percent-encode it
            "http://exa mple.com/" -> the URL holds a space, a control character or a backslash; percent-encode it
            "http://a..b/" -> "a..b" is not a host name
            "http://./" -> "." is not a host name
            "http:///" -> this is not an absolute URL: empty host
            "http://256.0.0.1/" -> this is not an absolute URL: invalid IPv4 address
            "http://1.2.3.4.5/" -> this is not an absolute URL: invalid IPv4 address
            "http://[fe80::1%25eth0]/" -> this is not an absolute URL: invalid IPv6 address
            "ftp://example.com/" -> the scheme "ftp" is not taken; use http or https
            "file:///etc/passwd" -> the scheme "file" is not taken; use http or https
            "gopher://127.0.0.1/" -> the scheme "gopher" is not taken; use http or https
            "//example.com/" -> this is not an absolute URL: relative URL without a base
            "example.com" -> this is not an absolute URL: relative URL without a base
            "" -> this is not an absolute URL: relative URL without a base"#]].assert_eq(&shown.join("\n"));
        assert!(parse_url(&format!("http://a/{}", "x".repeat(URL_BYTES_MAX - 9))).is_ok());
        assert!(parse_url(&format!("http://a/{}", "x".repeat(URL_BYTES_MAX - 8))).is_err());
    }

    #[test]
    fn the_list_admits_what_it_names() {
        let list = AllowList::new(
            &[
                "example.com",
                "*.example.org",
                "Example.NET:8080",
                "127.0.0.1:8098",
                "[::1]:81",
                "port80.test:80",
            ]
            .map(str::to_owned),
        );
        for (url, admitted) in [
            ("http://example.com/a", true),
            ("https://example.com/a", true),
            ("https://EXAMPLE.com./", true),
            ("http://example.com:8080/", false),
            ("http://www.example.com/", false),
            ("http://notexample.com/", false),
            ("http://example.com.evil.test/", false),
            ("http://a.example.org/", true),
            ("http://a.b.example.org/", true),
            ("http://example.org/", false),
            ("http://badexample.org/", false),
            ("http://example.net:8080/", true),
            ("http://example.net/", false),
            ("http://127.0.0.1:8098/", true),
            ("http://0x7f.1:8098/", true),
            ("http://127.0.0.1/", false),
            ("http://[0::1]:81/", true),
            ("http://port80.test/", true),
            ("https://port80.test/", false),
        ] {
            assert_eq!(list.admits(&parse_url(url).unwrap()), admitted, "{url}");
        }
        assert!(!AllowList::new(&[]).admits(&parse_url("http://example.com/").unwrap()), "empty allows none");
        let wrong = ["", "*", "*.*", "http://a", "a/b", "u@a", "*.127.0.0.1", "a:0", "a:x", "a b", "*."];
        for text in wrong {
            assert!(AllowList::parse_entry(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn private_places_are_exact_pairs() {
        let private =
            AllowPrivate::new(&["127.0.0.1:8098", "shop.internal:80", "[fd00::7]:443"].map(str::to_owned));
        for (host, port, at, admitted) in [
            ("127.0.0.1", 8098, "127.0.0.1", true),
            ("any.name", 8098, "127.0.0.1", true),
            ("127.0.0.1", 8099, "127.0.0.1", false),
            ("127.0.0.2", 8098, "127.0.0.2", false),
            ("::ffff:127.0.0.1", 8098, "::ffff:127.0.0.1", false),
            ("shop.internal", 80, "10.0.0.7", true),
            ("shop.internal", 80, "169.254.169.254", false),
            ("shop.internal", 81, "10.0.0.7", false),
            ("other.internal", 80, "10.0.0.7", false),
            ("fd00::7", 443, "fd00::7", true),
        ] {
            assert_eq!(private.admits(host, port, at.parse().unwrap()), admitted, "{host}:{port} at {at}");
        }
        assert!(AllowPrivate::parse_entry("127.0.0.1").unwrap_err().contains("host:port"));
        assert!(AllowPrivate::parse_entry("[::1]").is_err());
    }
}
