use expect_test::{Expect, expect};
use http::HeaderMap;
use proptest::prelude::*;

use super::*;
use crate::Message;

/// `Name: value` lines as a header map.
fn fields(lines: &[(&str, &[u8])]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_bytes(value).unwrap(),
        );
    }
    headers
}

fn check_call(params: &str, lines: &[(&str, &str)], expected: Expect) {
    check_method("tools/call", params, lines, expected);
}

fn check_method(method: &str, params: &str, lines: &[(&str, &str)], expected: Expect) {
    let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":{method:?},"params":{params}}}"#);
    let Ok(Message::Request(request)) = Message::parse(text.as_bytes()) else { panic!("{text}") };
    let lines: Vec<(&str, &[u8])> = lines.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    let shown = match check(&fields(&lines), "2026-07-28", &request) {
        Ok(()) => "fine".to_owned(),
        Err(error) => error.to_string(),
    };
    expected.assert_eq(&shown);
}

const VERSION: (&str, &str) = ("MCP-Protocol-Version", "2026-07-28");
const CALL: (&str, &str) = ("mcp-method", "tools/call");

#[test]
fn headers_repeat_the_body() {
    check_call(r#"{"name":"x"}"#, &[VERSION, CALL, ("MCP-NAME", "x")], expect!["fine"]);
    check_call(r#"{"name":"x"}"#, &[VERSION, CALL, ("mcp-name", "  x ")], expect!["fine"]);
    check_call(r#"{"name":"\u0078"}"#, &[VERSION, CALL, ("mcp-name", "=?base64?eA==?=")], expect!["fine"]);
    check_call(
        r#"{"name":"日本語"}"#,
        &[VERSION, CALL, ("mcp-name", "=?base64?5pel5pys6Kqe?=")],
        expect!["fine"],
    );
    check_method("tools/list", "{}", &[VERSION, ("MCP-METHOD", "tools/list")], expect!["fine"]);
    check_method(
        "tools/list",
        r#"{"name":"y"}"#,
        &[VERSION, ("mcp-method", "tools/list"), ("mcp-name", "x")],
        expect!["fine"],
    );
    let read = "resources/read";
    check_method(
        read,
        r#"{"uri":"file:///a%20b?c=1"}"#,
        &[VERSION, ("mcp-method", read), ("mcp-name", "file:///a%20b?c=1")],
        expect!["fine"],
    );
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        check_method(
            method,
            r#"{"taskId":"t"}"#,
            &[VERSION, ("mcp-method", method), ("mcp-name", "t")],
            expect!["fine"],
        );
    }
}

#[test]
fn headers_that_do_not() {
    let name = ("mcp-name", "x");
    check_call(
        r#"{"name":"x"}"#,
        &[CALL, name],
        expect![[r#"the header mcp-protocol-version is missing; it must be "2026-07-28" (-32020)"#]],
    );
    check_call(
        r#"{"name":"x"}"#,
        &[("mcp-protocol-version", "2025-11-25"), CALL, name],
        expect![[r#"the header mcp-protocol-version says "2025-11-25", and the body "2026-07-28" (-32020)"#]],
    );
    check_call(
        r#"{"name":"x"}"#,
        &[VERSION, VERSION, CALL, name],
        expect!["the header mcp-protocol-version stands more than once (-32020)"],
    );
    check_call(
        r#"{"name":"x"}"#,
        &[VERSION, name],
        expect![[r#"the header mcp-method is missing; it must be "tools/call" (-32020)"#]],
    );
    check_call(
        r#"{"name":"x"}"#,
        &[VERSION, ("mcp-method", "TOOLS/CALL"), name],
        expect![[r#"the header mcp-method says "TOOLS/CALL", and the body "tools/call" (-32020)"#]],
    );
    check_call(
        r#"{"name":"x"}"#,
        &[VERSION, ("mcp-method", "=?base64?dG9vbHMvY2FsbA==?="), name],
        expect![[
            r#"the header mcp-method says "=?base64?dG9vbHMvY2FsbA==?=", and the body "tools/call" (-32020)"#
        ]],
    );
    check_call(
        r#"{"name":"x"}"#,
        &[VERSION, CALL],
        expect![[r#"the header mcp-name is missing; it must be "x" (-32020)"#]],
    );
    check_call(
        r#"{"name":"x"}"#,
        &[VERSION, CALL, ("mcp-name", "X")],
        expect![[r#"the header mcp-name says "X", and the body "x" (-32020)"#]],
    );
    check_call(
        r#"{"name":"x"}"#,
        &[VERSION, CALL, name, ("mcp-name", "y")],
        expect!["the header mcp-name stands more than once (-32020)"],
    );
    check_call(
        r#"{"name":"é"}"#,
        &[VERSION, CALL, ("mcp-name", "é")],
        expect![
            "the header mcp-name holds characters that are not visible ASCII; encode it as =?base64?..?= (-32020)"
        ],
    );
    check_call(
        r#"{"name":"Hello"}"#,
        &[VERSION, CALL, ("mcp-name", "=?base64?SGVsbG8?=")],
        expect!["the header mcp-name encloses what is not base64 of UTF-8 text (-32020)"],
    );
    check_method(
        "tasks/get",
        r#"{"taskId":"t"}"#,
        &[VERSION, ("mcp-method", "tasks/get"), ("mcp-name", "u")],
        expect![[r#"the header mcp-name says "u", and the body "t" (-32020)"#]],
    );
}

#[test]
fn a_body_without_a_name_is_not_the_headers_fault() {
    check_call("{}", &[VERSION, CALL], expect!["fine"]);
    check_call(r#"{"name":7}"#, &[VERSION, CALL], expect!["fine"]);
    check_call(
        "{}",
        &[VERSION, CALL, ("mcp-name", "x")],
        expect![[r#"the header mcp-name names something, and the body has no string "name" (-32020)"#]],
    );
}

#[test]
fn values_encoded() {
    for (text, value) in [
        ("us-west1", "us-west1"),
        ("us west 1", "us west 1"),
        ("", ""),
        (" us-west1", "=?base64?IHVzLXdlc3Qx?="),
        ("us-west1 ", "=?base64?dXMtd2VzdDEg?="),
        ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
        ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
        ("line1\r\nline2", "=?base64?bGluZTENCmxpbmUy?="),
        ("\tindented", "=?base64?CWluZGVudGVk?="),
        ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
        ("file:///a%20b?x=1", "file:///a%20b?x=1"),
    ] {
        assert_eq!(encode(text).to_str().unwrap(), value);
        assert_eq!(decode(value).as_deref(), Some(text));
    }
}

#[test]
fn values_decoded() {
    for (value, text) in [
        ("=?base64?SGVsbG8=?=", Some("Hello")),
        ("=?base64?SGVsbG8?=", None),
        ("=?base64?SGVs!!!bG8=?=", None),
        ("=?base64?SGVsbG9=?=", None),
        ("=?base64?/w==?=", None),
        ("=?base64??=", Some("")),
        ("SGVsbG8=", Some("SGVsbG8=")),
        ("=?base64?SGVsbG8=", Some("=?base64?SGVsbG8=")),
        ("=?BASE64?SGVsbG8=?=", Some("=?BASE64?SGVsbG8=?=")),
        ("=?base64?=", Some("=?base64?=")),
    ] {
        assert_eq!(decode(value).as_deref(), text, "{value}");
    }
}

#[test]
fn headers_of_a_request() {
    let raw: &serde_json::value::RawValue = serde_json::from_str(r#"{"name":"é","uri":"test://x"}"#).unwrap();
    let params = Object::read(raw).unwrap();
    let shown = |method: &str| format!("{:?}", of_request(Version::V2026_07_28, method, &params));
    expect![[
        r#"{"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "=?base64?w6k=?="}"#
    ]]
    .assert_eq(&shown("tools/call"));
    expect![[
        r#"{"mcp-protocol-version": "2026-07-28", "mcp-method": "resources/read", "mcp-name": "test://x"}"#
    ]]
    .assert_eq(&shown("resources/read"));
    expect![[r#"{"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/list"}"#]]
        .assert_eq(&shown("tools/list"));
}

#[test]
fn what_clients_accept() {
    let check = |lines: &[&str], expected: Expect| {
        let lines: Vec<(&str, &[u8])> = lines.iter().map(|value| ("accept", value.as_bytes())).collect();
        let accepts = Accepts::of(&fields(&lines));
        let status = |result: Result<(), WireError>| {
            result.map_or_else(|error| error.http(crate::Era::Modern), |()| 200)
        };
        let (post, get) = (status(accepts.check_post()), status(accepts.check_get()));
        expected.assert_eq(&format!("json {} events {} post {post} get {get}", accepts.json, accepts.events));
    };
    check(&[], expect!["json true events true post 200 get 200"]);
    check(&["application/json, text/event-stream"], expect!["json true events true post 200 get 200"]);
    check(&["Text/Event-Stream;q=0.5 ,application/json"], expect!["json true events true post 200 get 200"]);
    check(&["application/json", "text/event-stream"], expect!["json true events true post 200 get 200"]);
    check(&["*/*"], expect!["json true events true post 200 get 200"]);
    check(&["application/*, text/*"], expect!["json true events true post 200 get 200"]);
    check(&["application/json"], expect!["json true events false post 406 get 406"]);
    check(&["text/event-stream"], expect!["json false events true post 406 get 200"]);
    check(&["*/*, text/event-stream;q=0"], expect!["json true events false post 406 get 406"]);
    check(&["text/html"], expect!["json false events false post 406 get 406"]);
    check(&[""], expect!["json false events false post 406 get 406"]);
}

#[test]
fn what_bodies_are() {
    for (value, is_taken, read_as) in [
        ("application/json", true, Content::Json),
        ("Application/JSON; charset=UTF-8", true, Content::Json),
        ("application/json;charset=\"utf-8\"", true, Content::Json),
        ("application/json; charset=latin1", false, Content::Json),
        ("application/jsonp", false, Content::Other),
        ("text/event-stream; charset=utf-8", false, Content::Events),
        ("text/plain", false, Content::Other),
        ("", false, Content::Other),
    ] {
        let headers = fields(&[("content-type", value.as_bytes())]);
        assert_eq!(check_content_type(&headers).is_ok(), is_taken, "{value}");
        assert_eq!(content(&headers), read_as, "{value}");
    }
    assert_eq!(check_content_type(&HeaderMap::new()).unwrap_err().http(crate::Era::Legacy), 415);
}

proptest! {
    #[test]
    fn every_text_comes_back(text in any::<String>()) {
        let value = encode(&text);
        prop_assert_eq!(decode(value.to_str().unwrap()), Some(Cow::Borrowed(&*text)));
    }

    #[test]
    fn what_our_client_sends_our_server_takes(name in any::<String>()) {
        let params = serde_json::json!({ "name": name }).to_string();
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
        let Ok(Message::Request(request)) = Message::parse(text.as_bytes()) else { panic!("{text}") };
        let headers = of_request(Version::V2026_07_28, "tools/call", &request.params);
        prop_assert_eq!(check(&headers, "2026-07-28", &request), Ok(()));
    }
}
