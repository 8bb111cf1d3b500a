//! Doors for a fuzzer: any bytes go in, nothing may break, and what holds for all bytes is asserted.
//!
//! Each is a plain function, so that `cargo test` goes through them with random bytes and a fuzzer can take over
//! where that ends.

use http::{HeaderMap, HeaderValue};

use crate::{
    Capabilities, Edit, Message, Object, Splice as _, headers, meta::ModernMeta, mirror::Mirrors, result,
    sse, to_vec, write_error, write_request, write_result,
};

/// One message. Panics where what was read is not written and read back as the same.
pub fn fuzz_envelope(bytes: &[u8]) {
    let mut out = Vec::new();
    match Message::parse(bytes) {
        Ok(Message::Request(request)) => {
            let _ = ModernMeta::read(&request.params);
            write_request(&mut out, &request.id, &request.method, Some(&request.params));
            let Ok(Message::Request(again)) = Message::parse(&out) else { panic!("not read back: {out:?}") };
            assert_eq!((again.id, again.method), (request.id, request.method));
            assert_eq!(again.params.raw().get(), request.params.raw().get());
        }
        Ok(Message::Response(response)) => {
            write_result(&mut out, &response.id, &response.result);
            let Ok(Message::Response(again)) = Message::parse(&out) else { panic!("not read back: {out:?}") };
            assert_eq!((again.id, again.result.get()), (response.id, response.result.get()));
            fuzz_result(response.result);
        }
        Ok(Message::Failure(failure)) => drop(failure.read()),
        Ok(Message::Notification(_)) => {}
        Err(error) => {
            write_error(&mut out, error.id.as_ref(), &error.error);
            assert!(Message::parse(&out).is_ok(), "an answer to nonsense makes sense");
        }
    }
}

/// The header fields of a call, one a line, and its body behind an empty line.
pub fn fuzz_headers(bytes: &[u8]) {
    let mut fields = HeaderMap::new();
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
        let (line, after) = (&rest[..at], &rest[at + 1..]);
        rest = after;
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { break };
        let name = http::HeaderName::from_bytes(&line[..colon]);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(&line[colon + 1..])) {
            fields.append(name, value);
        }
    }
    let _ = (headers::Accepts::of(&fields), headers::check_content_type(&fields), headers::content(&fields));
    if let Ok(Message::Request(request)) = Message::parse(rest) {
        let _ = headers::check(&fields, "2026-07-28", &request);
        let ours = headers::of_request(crate::Version::LATEST, &request.method, &request.params);
        if request.method.bytes().all(|byte| byte.is_ascii_graphic()) {
            assert_eq!(headers::check(&ours, "2026-07-28", &request), Ok(()), "our own headers hold");
        }
        fuzz_mirrors(&request.params, &fields);
    }
}

/// A stream of events, in two pieces that the first byte parts, within 256 bytes an event.
pub fn fuzz_sse(bytes: &[u8]) {
    let Some((cut, stream)) = bytes.split_first() else { return };
    let read = |pieces: &[&[u8]]| {
        let mut reader = sse::Reader::new(256);
        pieces.iter().for_each(|piece| reader.feed(piece));
        std::iter::from_fn(|| reader.pop()).collect::<Vec<_>>()
    };
    let (head, tail) = stream.split_at(usize::from(*cut).min(stream.len()));
    assert_eq!(read(&[head, tail]), read(&[stream]), "pieces do not matter");
}

fn fuzz_result(raw: &serde_json::value::RawValue) {
    let Ok(object) = Object::read(raw) else { return };
    let dressed = to_vec(&result::for_modern(&object, result::Dress::default()));
    let again: &serde_json::value::RawValue =
        serde_json::from_slice(&dressed).expect("an edit of JSON is JSON");
    let again = Object::read(again).expect("an edit of an object is an object");
    for member in object.members() {
        assert_eq!(again.get(&member.name), Some(member.value), "what is not touched survives");
    }
    let _ = Capabilities::read(raw);
}

fn fuzz_mirrors(params: &Object<'_>, fields: &HeaderMap) {
    let Some(Ok(schema)) = params.get("schema").map(|text| tool::json::parse(text.as_bytes())) else {
        return;
    };
    let Ok(mirrors) = Mirrors::of(&schema) else { return };
    let arguments = params.raw_of("arguments");
    let _ = mirrors.check(fields, arguments);
    let mut ours = HeaderMap::new();
    if mirrors.write(&mut ours, arguments).is_ok() {
        assert_eq!(mirrors.check(&ours, arguments), Ok(()), "our own headers hold");
    }
    Edit::of(params).remove("schema").splice(&mut Vec::new());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bytes that are nearly what is wanted: pieces of messages, with some in between.
    fn nearly(pieces: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            9 => prop::sample::select(pieces).prop_map(|piece| piece.as_bytes().to_vec()),
            1 => prop::collection::vec(any::<u8>(), 0..4),
        ];
        prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
    }

    const ENVELOPE: &[&str] = &[
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\ud800",
        "\\u0061",
        "\"jsonrpc\":\"2.0\",",
        "\"id\":",
        "1",
        "\"a\"",
        "null",
        "1e9",
        "\"method\":\"tools/call\",",
        "\"params\":",
        "\"result\":",
        "\"error\":",
        "\"name\":\"x\"",
        "\"_meta\":{",
        " ",
        "\n",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{",
        "\"resultType\":\"complete\"",
        "\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\"",
        "}}",
    ];
    const HEADERS: &[&str] = &[
        "mcp-name:",
        "mcp-method:",
        "mcp-param-a:",
        "mcp-protocol-version:",
        "accept:",
        "content-type:",
        "x",
        "\n",
        "\n\n",
        "=?base64?",
        "?=",
        "eA==",
        "application/json",
        ";charset=",
        "*/*",
        ";q=0",
        ",",
        "2026-07-28",
        "tools/call",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"x\",\"schema\":{\"properties\":{\"a\":{\"type\":\"string\",\"x-mcp-header\":\"A\"}}},\"arguments\":{\"a\":",
        "\"é\"",
        "1",
        "null",
        "}}}",
    ];
    const SSE: &[&str] = &[
        "data: a", "data:", "event: x", "id: 1", "retry: 5", ":", "\n", "\r", "\r\n", "\n\n", "\u{feff}",
        "\0",
    ];

    #[test]
    fn what_holds_in_full() {
        for envelope in [
            r#"{"jsonrpc":"2.0","id":"\u0061","method":"x","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#,
            r#"{"jsonrpc":"2.0","id":12345678901234567890,"result":{"a":[1.0],"_meta":{"x":{}}}}"#,
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":""}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","method":"x"}"#,
        ] {
            fuzz_envelope(envelope.as_bytes());
        }
        let schema = r#"{"properties":{"a":{"type":"string","x-mcp-header":"A"}}}"#;
        for argument in ["\"é\"", "7", "9007199254740992", "null", "[]"] {
            let params = format!(r#"{{"name":"x","schema":{schema},"arguments":{{"a":{argument}}}}}"#);
            let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
            fuzz_headers(format!("mcp-method:tools/call\nmcp-param-a:=?base64?w6k=?=\n\n{body}").as_bytes());
        }
        fuzz_sse(b"\x07data: a\r\n\r\n: x\n\ndata\n\n");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn envelopes(bytes in nearly(ENVELOPE)) {
            fuzz_envelope(&bytes);
        }

        #[test]
        fn fields(bytes in nearly(HEADERS)) {
            fuzz_headers(&bytes);
        }

        #[test]
        fn streams(bytes in nearly(SSE)) {
            fuzz_sse(&bytes);
        }

        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            fuzz_envelope(&bytes);
            fuzz_headers(&bytes);
            fuzz_sse(&bytes);
        }
    }
}
