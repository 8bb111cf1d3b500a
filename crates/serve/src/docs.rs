//! The documentation pages, from the binary and without the network.

use std::{
    io::{self, Read as _},
    sync::{LazyLock, OnceLock},
};

use bytes::Bytes;
use flate2::read::GzDecoder;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use tool::{Fault, json::digest_bytes};

use crate::{conn::Body, problem::Refusal};

/// The most bytes that a file may unpack to. What is in the binary is known and smaller; a test holds it.
const UNPACKED_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Nothing but what this server itself serves.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// The same for ReDoc, which makes its styles as it goes and searches in a worker of its own.
const REDOC_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";
const FOR_EVER: &str = "public, max-age=31536000, immutable";
const ASK_AGAIN: &str = "no-cache";

/// One file in the binary.
struct Asset {
    name: &'static str,
    bytes: &'static [u8],
    content_type: &'static str,
    /// True where the bytes are gzip; the version is then part of the name, so that they never change under it.
    is_vendored: bool,
}

const JS: &str = "text/javascript; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";

static ASSETS: &[Asset] = &[
    vendored("swagger-ui-bundle-5.35.0.js", include_bytes!("../assets/swagger-ui-bundle-5.35.0.js.gz"), JS),
    vendored("swagger-ui-5.35.0.css", include_bytes!("../assets/swagger-ui-5.35.0.css.gz"), CSS),
    vendored("redoc-2.5.4-no-logo.js", include_bytes!("../assets/redoc-2.5.4-no-logo.js.gz"), JS),
    own("swagger-init.js", include_bytes!("../assets/swagger-init.js"), JS),
    own("redoc-init.js", include_bytes!("../assets/redoc-init.js"), JS),
    own("key.js", include_bytes!("../assets/key.js"), JS),
    own("docs.css", include_bytes!("../assets/docs.css"), CSS),
];

/// `GET /docs`
pub(crate) fn swagger() -> Response<Body> {
    page(include_bytes!("../assets/docs.html"), POLICY)
}

/// `GET /redoc`
pub(crate) fn redoc() -> Response<Body> {
    page(include_bytes!("../assets/redoc.html"), REDOC_POLICY)
}

/// `GET /assets/{file}`
pub(crate) fn asset(name: &str, asked: &HeaderMap) -> Result<Response<Body>, Refusal> {
    let at = ASSETS.iter().position(|asset| asset.name == name);
    let at = at.ok_or_else(|| Fault::not_found("there is no such file; the pages are /docs and /redoc"))?;
    let asset = &ASSETS[at];
    let packed = asset.is_vendored && takes_gzip(asked);
    let tag = if packed { &TAGS[at].packed } else { &TAGS[at].plain };
    let mut response = Response::new(Body::default());
    if asked.get_all(header::IF_NONE_MATCH).iter().any(|tags| names(tags, tag)) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        let bytes = if packed { Bytes::from_static(asset.bytes) } else { plain(at)? };
        *response.body_mut() = Body::new(bytes);
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
    headers.insert(header::ETAG, tag.clone());
    if packed {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    if asset.is_vendored {
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
    let keep = if asset.is_vendored { FOR_EVER } else { ASK_AGAIN };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(keep));
    Ok(response)
}

/// How one file is told from another one: each of its encodings has a tag of its own (RFC 9110, 8.8.3.3).
struct Tags {
    packed: HeaderValue,
    plain: HeaderValue,
}

static TAGS: LazyLock<Vec<Tags>> = LazyLock::new(|| {
    let tag = |text: String| HeaderValue::try_from(text).expect("hex fits into a header");
    let tags = |asset: &Asset| {
        let digest = &digest_bytes(asset.bytes)[3..35];
        Tags { packed: tag(format!("\"{digest}\"")), plain: tag(format!("\"{digest}-plain\"")) }
    };
    ASSETS.iter().map(tags).collect()
});

/// The files that were unpacked for a client that takes no gzip: each once, since there are few and unpacking is work.
static UNPACKED: LazyLock<Vec<OnceLock<Bytes>>> =
    LazyLock::new(|| ASSETS.iter().map(|_| OnceLock::new()).collect());

/// A file as it is behind its encoding.
fn plain(at: usize) -> Result<Bytes, Fault> {
    let asset = &ASSETS[at];
    if !asset.is_vendored {
        return Ok(Bytes::from_static(asset.bytes));
    }
    if let Some(bytes) = UNPACKED[at].get() {
        return Ok(bytes.clone());
    }
    let bytes = unpack(asset.bytes, UNPACKED_BYTES_MAX).map_err(Fault::internal)?;
    Ok(UNPACKED[at].get_or_init(|| bytes.into()).clone())
}

/// Unpacks gzip. Error: it is none, or there are more bytes in it than `bytes_max`.
fn unpack(packed: &[u8], bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    GzDecoder::new(packed).take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        let text = format!("a file of the documentation unpacks to more than {bytes_max} bytes");
        return Err(io::Error::other(text));
    }
    Ok(bytes)
}

fn page(html: &'static [u8], policy: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::new(Bytes::from_static(html)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(ASK_AGAIN));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    response
}

/// True where the client says that it takes gzip (RFC 9110, 12.5.3). One that says nothing gets the file as it is.
fn takes_gzip(asked: &HeaderMap) -> bool {
    let lines = asked.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let mut any = false;
    for coding in lines.flat_map(|line| line.split(',')) {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let wanted = !matches!(weight.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000");
        match name.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => return wanted,
            "*" => any = wanted,
            _ => {}
        }
    }
    any
}

fn names(tags: &HeaderValue, tag: &HeaderValue) -> bool {
    let (Ok(tags), Ok(tag)) = (tags.to_str(), tag.to_str()) else { return false };
    tags.trim() == "*" || tags.split(',').any(|one| one.trim().trim_start_matches("W/") == tag)
}

const fn vendored(name: &'static str, bytes: &'static [u8], content_type: &'static str) -> Asset {
    Asset { name, bytes, content_type, is_vendored: true }
}

const fn own(name: &'static str, bytes: &'static [u8], content_type: &'static str) -> Asset {
    Asset { name, bytes, content_type, is_vendored: false }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[test]
    fn the_pages_use_only_files_that_are_there_and_nothing_from_elsewhere() {
        for page in [include_str!("../assets/docs.html"), include_str!("../assets/redoc.html")] {
            assert!(!page.contains("http://") && !page.contains("https://"));
            let used = page.split("\"/assets/").skip(1).map(|rest| rest.split('"').next().unwrap());
            let mut count = 0;
            for name in used {
                assert!(ASSETS.iter().any(|asset| asset.name == name), "{name}");
                count += 1;
            }
            assert!(count >= 4);
            let inline = page.split("<script").skip(1).filter(|script| !script.starts_with(" src=")).count();
            assert_eq!(inline, 0);
        }
    }

    #[test]
    fn no_script_asks_the_host_of_its_makers_for_a_logo() {
        for asset in ASSETS.iter().filter(|asset| asset.is_vendored) {
            let text = String::from_utf8(unpack(asset.bytes, UNPACKED_BYTES_MAX).unwrap()).unwrap();
            assert!(!text.contains("//cdn.redoc.ly"), "{}", asset.name);
        }
    }

    fn ask(pairs: &[(header::HeaderName, &str)], name: &str) -> Result<Response<Body>, u16> {
        let asked = pairs.iter().map(|(n, v)| (n.clone(), HeaderValue::from_str(v).unwrap())).collect();
        asset(name, &asked).map_err(|refusal| refusal.http)
    }

    fn body(response: Response<Body>) -> Bytes {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(response.into_body().collect()).unwrap().to_bytes()
    }

    #[test]
    fn a_client_that_takes_no_gzip_gets_the_files_all_the_same() {
        for asset in ASSETS.iter().filter(|asset| asset.is_vendored) {
            let packed = ask(&[(header::ACCEPT_ENCODING, "gzip")], asset.name).unwrap();
            assert_eq!(packed.headers()[header::CONTENT_ENCODING], "gzip");
            let mut unpacked = Vec::new();
            GzDecoder::new(&*body(packed)).read_to_end(&mut unpacked).unwrap();
            for asked in [&[][..], &[(header::ACCEPT_ENCODING, "identity")]] {
                let plain = ask(asked, asset.name).unwrap();
                assert!(!plain.headers().contains_key(header::CONTENT_ENCODING), "{}", asset.name);
                assert_eq!(plain.headers()[header::VARY], "accept-encoding");
                assert_eq!(body(plain), unpacked, "{}", asset.name);
            }
        }
    }

    #[test]
    fn encodings_go_by_what_the_client_takes() {
        for (encoding, packed) in [
            ("gzip, br", true),
            ("GZIP;q=0.5", true),
            ("*", true),
            ("br", false),
            ("gzip;q=0", false),
            ("*, gzip;q=0", false),
            ("gzip;q=0, *", false),
            ("identity", false),
            ("", false),
        ] {
            let response = ask(&[(header::ACCEPT_ENCODING, encoding)], "redoc-2.5.4-no-logo.js").unwrap();
            assert_eq!(response.headers().contains_key(header::CONTENT_ENCODING), packed, "{encoding}");
        }
    }

    #[test]
    fn files_that_the_client_has_are_not_sent_again() {
        let status = |pairs: &[(header::HeaderName, &str)], name| {
            ask(pairs, name).map_or_else(|http| http, |response| response.status().as_u16())
        };
        assert_eq!(status(&[], "key.js"), 200);
        assert_eq!(status(&[], "../Cargo.toml"), 404);
        let gz = "redoc-2.5.4-no-logo.js";
        let at = ASSETS.iter().position(|asset| asset.name == gz).unwrap();
        let tag = |tag: &HeaderValue| format!("\"other\", W/{}", tag.to_str().unwrap());
        let (packed, plain) = (tag(&TAGS[at].packed), tag(&TAGS[at].plain));
        let gzip = (header::ACCEPT_ENCODING, "gzip");
        for (tag, asked, http) in [
            (packed.as_str(), Some(&gzip), 304),
            (&packed, None, 200),
            (&plain, None, 304),
            (&plain, Some(&gzip), 200),
            ("\"other\"", None, 200),
        ] {
            let mut pairs = vec![(header::IF_NONE_MATCH, tag)];
            pairs.extend(asked.cloned());
            assert_eq!(status(&pairs, gz), http, "{tag} {asked:?}");
        }
    }

    #[test]
    fn unpacking_is_bounded() {
        let at = ASSETS.iter().position(|asset| asset.name.ends_with(".css") && asset.is_vendored).unwrap();
        let packed = ASSETS[at].bytes;
        let length = unpack(packed, UNPACKED_BYTES_MAX).unwrap().len() as u64;
        assert!(unpack(packed, length).is_ok());
        assert!(unpack(packed, length - 1).is_err());
        assert!(unpack(b"not gzip", length).is_err());
    }
}
