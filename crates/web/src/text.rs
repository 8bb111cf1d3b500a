//! From the bytes of an answer to text: which kinds of content are text, and in which encoding.

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};

/// How far into a page its encoding may be declared (HTML, 4.2.5.4).
const META_BYTES_MAX: usize = 1024;

/// The type and subtype of a `Content-Type`, in lower case and without parameters.
pub(crate) fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// True where a content type fits one of the patterns: `text/html`, `text/*`, `*/*+json` as `application/*+json`.
pub(crate) fn fits(essence: &str, patterns: &[String]) -> bool {
    patterns.iter().any(|pattern| match pattern.split_once('*') {
        None => pattern.eq_ignore_ascii_case(essence),
        Some((front, back)) => {
            let (front, back) = (front.to_ascii_lowercase(), back.to_ascii_lowercase());
            essence.len() >= front.len() + back.len()
                && essence.starts_with(&front)
                && essence.ends_with(&back)
        }
    })
}

/// What an answer without a `Content-Type` is: text where it is UTF-8 without NUL, else nobody knows.
pub(crate) fn guess(body: &[u8]) -> &'static str {
    let whole = match std::str::from_utf8(body) {
        Ok(_) => true,
        Err(e) => e.error_len().is_none(),
    };
    if whole && !body.contains(&0) { "text/plain" } else { "application/octet-stream" }
}

/// Decodes a body by its byte order mark, else by the `charset` of its content type, else by what the page says
/// itself, else as UTF-8, else as windows-1252, which is never wrong by the letter.
pub(crate) fn decode(body: &[u8], content_type: &str) -> String {
    let declared = charset(content_type).or_else(|| meta_charset(body));
    let encoding = declared.unwrap_or_else(|| match std::str::from_utf8(body) {
        Err(e) if e.error_len().is_some() => WINDOWS_1252,
        _ => UTF_8,
    });
    let (text, used, _) = encoding.decode(body);
    let mut text = text.into_owned();
    // A body that was cut may end within a letter.
    if used == UTF_8 && std::str::from_utf8(body).is_err_and(|e| e.error_len().is_none()) {
        text.truncate(text.trim_end_matches('\u{fffd}').len());
    }
    text
}

/// How many bytes of a body that was cut are whole letters, where it is UTF-8; all of them where it is not, or where
/// it is less than one letter.
pub(crate) fn whole_letters(body: &[u8]) -> usize {
    match std::str::from_utf8(body) {
        Err(e) if e.error_len().is_none() && e.valid_up_to() > 0 => e.valid_up_to(),
        _ => body.len(),
    }
}

fn charset(content_type: &str) -> Option<&'static Encoding> {
    content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let value = value.trim().trim_matches('"');
        name.trim().eq_ignore_ascii_case("charset").then(|| Encoding::for_label(value.as_bytes()))?
    })
}

/// The encoding in `<meta charset=..>` or `<meta http-equiv .. content="..; charset=..">`.
fn meta_charset(body: &[u8]) -> Option<&'static Encoding> {
    let head = String::from_utf8_lossy(&body[..body.len().min(META_BYTES_MAX)]).to_ascii_lowercase();
    head.split("<meta").skip(1).find_map(|meta| {
        let meta = meta.split('>').next()?;
        let (_, value) = meta.split_once("charset=")?;
        let label = value.trim_start_matches(['"', '\'', ' ']);
        let end = label.find(['"', '\'', ';', ' ', '/']).unwrap_or(label.len());
        Encoding::for_label(&label.as_bytes()[..end])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_text_by_what_declares_them() {
        for (body, content_type, text) in [
            (&b"na\xc3\xafve"[..], "text/plain", "na\u{ef}ve"),
            (b"na\xefve", "text/plain; charset=ISO-8859-1", "na\u{ef}ve"),
            (b"na\xefve", "text/plain; x=y; Charset=\"latin1\"", "na\u{ef}ve"),
            (b"na\xefve", "text/plain", "na\u{ef}ve"),
            (b"na\xefve", "text/plain; charset=nonsense", "na\u{ef}ve"),
            (b"\xef\xbb\xbfa", "text/plain; charset=latin1", "a"),
            (b"\xff\xfea\0", "text/plain", "a"),
            (b"<meta charset='windows-1251'>\xe4", "text/html", "<meta charset='windows-1251'>\u{434}"),
            (
                b"<META http-equiv=x content=\"text/html; charset=koi8-r\">\xc4",
                "text/html",
                "<META http-equiv=x content=\"text/html; charset=koi8-r\">\u{434}",
            ),
            (b"cut na\xc3", "text/plain", "cut na"),
            (b"\x82\xa0", "text/plain; charset=shift_jis", "\u{3042}"),
        ] {
            assert_eq!(decode(body, content_type), text, "{body:?} as {content_type}");
        }
    }

    #[test]
    fn content_types_are_held_against_patterns() {
        let patterns = ["text/*", "application/json", "application/*+json"].map(str::to_owned);
        for (content_type, fit) in [
            ("text/html; charset=utf-8", true),
            ("TEXT/HTML", true),
            ("application/json", true),
            ("application/problem+json", true),
            ("application/+json", true),
            ("application/jsonx", false),
            ("image/png", false),
            ("application/octet-stream", false),
            ("", false),
        ] {
            assert_eq!(fits(&essence(content_type), &patterns), fit, "{content_type}");
        }
        assert_eq!(guess(b"plain"), "text/plain");
        assert_eq!(guess(b"cut \xc3"), "text/plain");
        assert_eq!(guess(b"\x89PNG\r\n\x1a\n\0"), "application/octet-stream");
    }
}
