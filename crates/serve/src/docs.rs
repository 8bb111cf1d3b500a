//! The documentation pages, from the binary and without the network.

use std::sync::LazyLock;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use tool::{Code, Fault, json::digest_bytes};

use crate::{conn::Body, problem::Refusal};

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
    vendored("redoc-2.5.4.js", include_bytes!("../assets/redoc-2.5.4.js.gz"), JS),
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
    if asset.is_vendored && !takes_gzip(asked) {
        let text = "this file is kept compressed; ask for it with `Accept-Encoding: gzip`";
        return Err(Refusal { fault: Fault::new(Code::Malformed, text), http: 406 });
    }
    let tag = &TAGS[at];
    let mut response = Response::new(Body::from(Bytes::from_static(asset.bytes)));
    if asked.get_all(header::IF_NONE_MATCH).iter().any(|tags| names(tags, tag)) {
        *response.body_mut() = Body::default();
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
    headers.insert(header::ETAG, tag.clone());
    if asset.is_vendored {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
    let keep = if asset.is_vendored { FOR_EVER } else { ASK_AGAIN };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(keep));
    Ok(response)
}

static TAGS: LazyLock<Vec<HeaderValue>> = LazyLock::new(|| {
    let tag = |asset: &Asset| format!("\"{}\"", &digest_bytes(asset.bytes)[3..35]);
    ASSETS.iter().map(|asset| HeaderValue::try_from(tag(asset)).expect("hex fits into a header")).collect()
});

fn page(html: &'static [u8], policy: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(Bytes::from_static(html)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(ASK_AGAIN));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    response
}

/// True unless the client says which encodings it takes and gzip is not one of them (RFC 9110, 12.5.3).
fn takes_gzip(asked: &HeaderMap) -> bool {
    let Some(value) = asked.get(header::ACCEPT_ENCODING) else { return true };
    value.to_str().unwrap_or("").split(',').any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        matches!(name.trim(), "gzip" | "x-gzip" | "*")
            && !matches!(weight.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
    })
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
    fn files_are_sent_whole_or_not_at_all() {
        let ask = |pairs: &[(header::HeaderName, &str)], name| {
            let asked = pairs.iter().map(|(n, v)| (n.clone(), HeaderValue::from_str(v).unwrap())).collect();
            asset(name, &asked).map_or_else(|refusal| refusal.http, |response| response.status().as_u16())
        };
        let gz = "redoc-2.5.4.js";
        for (encoding, status) in [("gzip, br", 200), ("*", 200), ("br", 406), ("gzip;q=0", 406), ("", 406)] {
            assert_eq!(ask(&[(header::ACCEPT_ENCODING, encoding)], gz), status, "{encoding}");
        }
        assert_eq!(ask(&[], gz), 200);
        assert_eq!(ask(&[], "key.js"), 200);
        assert_eq!(ask(&[], "../Cargo.toml"), 404);
        let at = ASSETS.iter().position(|asset| asset.name == gz).unwrap();
        let tag = format!("\"other\", W/{}", TAGS[at].to_str().unwrap());
        assert_eq!(ask(&[(header::IF_NONE_MATCH, &tag)], gz), 304);
        assert_eq!(ask(&[(header::IF_NONE_MATCH, "\"other\"")], gz), 200);
    }
}
