use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::Edit;

fn shown(message: &Message<'_>) -> String {
    match message {
        Message::Request(r) => format!("request {} {} {}", r.id, r.method, r.params.raw().get()),
        Message::Notification(n) => format!("notification {} {}", n.method, n.params.raw().get()),
        Message::Response(r) => format!("response {} {}", r.id, r.result.get()),
        Message::Failure(f) => format!("failure {:?} {}", f.id, f.error.get()),
    }
}

fn read(bytes: &[u8]) -> String {
    match Message::parse(bytes) {
        Ok(message) => shown(&message),
        Err(Unreadable { id, error }) => {
            let id = id.map_or("none".to_owned(), |id| id.to_string());
            format!("{} {} (id {id})", error.code, error.message)
        }
    }
}

fn check(text: &str, expected: Expect) {
    expected.assert_eq(&read(text.as_bytes()));
}

#[test]
fn the_four_kinds() {
    check(
        r#" {"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":{"n":123456789012345678901234567890}}} "#,
        expect![[r#"request 1 tools/call {"name":"x","arguments":{"n":123456789012345678901234567890}}"#]],
    );
    check(r#"{"method":"pi\u006eg","id":"a","jsonrpc":"2.0"}"#, expect![[r#"request "a" ping {}"#]]);
    check(
        r#"{"jsonrpc":"2.0","method":"notifications/initialized","params":null,"extra":[1]}"#,
        expect!["notification notifications/initialized {}"],
    );
    check(
        r#"{"jsonrpc":"2.0","id":12345678901234567890123,"result":{"a":1,"a":2}}"#,
        expect![[r#"response 12345678901234567890123 {"a":1,"a":2}"#]],
    );
    check(
        r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32601,"message":"no"}}"#,
        expect![[r#"failure Some(7) {"code":-32601,"message":"no"}"#]],
    );
    check(
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"no"}}"#,
        expect![[r#"failure None {"code":-32700,"message":"no"}"#]],
    );
    check(r#"{"jsonrpc":"2.0","error":{}}"#, expect!["failure None {}"]);
}

#[test]
fn what_is_not_json() {
    check("", expect!["-32700 there is nothing to read; send one JSON-RPC message (id none)"]);
    check(" \n", expect!["-32700 there is nothing to read; send one JSON-RPC message (id none)"]);
    check(
        r#"{"jsonrpc":"2.0","id":1"#,
        expect!["-32700 not valid JSON: EOF while parsing an object at line 1 column 23 (id none)"],
    );
    check(
        r#"{"jsonrpc":"2.0","id":1,}"#,
        expect!["-32700 not valid JSON: trailing comma at line 1 column 25 (id none)"],
    );
    check("{} {}", expect!["-32700 not valid JSON: trailing characters at line 1 column 4 (id none)"]);
    check("\u{feff}{}", expect!["-32700 not valid JSON: expected value at line 1 column 1 (id none)"]);
    check(
        "{\"a\":\"\n\"}",
        expect![[
            r#"-32700 not valid JSON: control character (\u0000-\u001F) found while parsing a string at line 1 column 6 (id none)"#
        ]],
    );
    check("nonsense", expect!["-32700 not valid JSON: expected ident at line 1 column 2 (id none)"]);
    expect!["-32700 not UTF-8 at byte 6 (id none)"].assert_eq(&read(b"{\"a\":\"\xff\"}"));
}

#[test]
fn what_is_no_message() {
    check("[]", expect!["-32600 several messages in one array are not taken; send each by itself (id none)"]);
    check(
        r#" [{"jsonrpc":"2.0","id":1,"method":"ping"}]"#,
        expect!["-32600 several messages in one array are not taken; send each by itself (id none)"],
    );
    check("42", expect!["-32600 a message is a JSON object (id none)"]);
    check("\"x\"", expect!["-32600 a message is a JSON object (id none)"]);
    check("{}", expect![[r#"-32600 "jsonrpc" must be "2.0" (id none)"#]]);
    check(r#"{"jsonrpc":"1.0","id":3,"method":"x"}"#, expect![[r#"-32600 "jsonrpc" must be "2.0" (id 3)"#]]);
    check(
        r#"{"jsonrpc":2.0,"id":"q","method":"x"}"#,
        expect![[r#"-32600 "jsonrpc" must be "2.0" (id "q")"#]],
    );
    check(
        r#"{"jsonrpc":"2.0","id":3}"#,
        expect!["-32600 there is neither a method nor a result nor an error (id 3)"],
    );
    check(
        r#"{"jsonrpc":"2.0","id":3,"method":"x","result":{}}"#,
        expect!["-32600 a message has one of method, result and error (id 3)"],
    );
    check(
        r#"{"jsonrpc":"2.0","id":3,"error":{},"result":{}}"#,
        expect!["-32600 a message has one of method, result and error (id 3)"],
    );
    check(r#"{"jsonrpc":"2.0","id":3,"method":7}"#, expect![[r#"-32600 "method" must be a string (id 3)"#]]);
    check(
        &format!(r#"{{"jsonrpc":"2.0","id":3,"method":"{}"}}"#, "x".repeat(129)),
        expect![[r#"-32600 "method" is longer than 128 bytes (id 3)"#]],
    );
    check(r#"{"jsonrpc":"2.0","id":3,"result":7}"#, expect![[r#"-32600 "result" must be an object (id 3)"#]]);
    check(r#"{"jsonrpc":"2.0","id":3,"error":"x"}"#, expect![[r#"-32600 "error" must be an object (id 3)"#]]);
    check(
        r#"{"jsonrpc":"2.0","result":{}}"#,
        expect![[r#"-32600 an answer without "id" answers nothing (id none)"#]],
    );
    let many: String = (0..17).map(|n| format!(r#""m{n}":1,"#)).collect();
    check(
        &format!(r#"{{{many}"jsonrpc":"2.0"}}"#),
        expect!["-32600 more than 16 members that no message has (id none)"],
    );
}

#[test]
fn ids_of_the_wrong_kind() {
    for id in ["null", "1.0", "1e2", "true", "[1]", "{}"] {
        for rest in [r#""method":"x""#, r#""result":{}"#] {
            assert_eq!(
                read(format!(r#"{{"jsonrpc":"2.0","id":{id},{rest}}}"#).as_bytes()),
                r#"-32600 "id" must be a string or an integer (id none)"#,
                "{id}"
            );
        }
    }
    check(
        &format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"x"}}"#, "x".repeat(257)),
        expect![[r#"-32600 "id" is longer than 256 bytes (id none)"#]],
    );
}

#[test]
fn names_that_stand_twice() {
    check(
        r#"{"jsonrpc":"2.0","id":1,"method":"a","method":"b"}"#,
        expect![[r#"-32600 the name "method" stands twice in one object (id 1)"#]],
    );
    check(
        r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"a"}"#,
        expect![[r#"-32600 the name "id" stands twice in one object (id none)"#]],
    );
    check(
        r#"{"jsonrpc":"2.0","id":1,"method":"a","x":1,"\u0078":2}"#,
        expect![[r#"-32600 the name "x" stands twice in one object (id 1)"#]],
    );
    check(
        r#"{"jsonrpc":"2.0","id":1,"method":"a","params":{"name":"x","n\u0061me":"y"}}"#,
        expect![[r#"-32600 "params": the name "name" stands twice in one object (id 1)"#]],
    );
    check(
        r#"{"jsonrpc":"2.0","id":1,"method":"a","params":{"arguments":{"a":[{"b":1,"b":2}]}}}"#,
        expect![[r#"-32600 "params": the name "b" stands twice in one object (id 1)"#]],
    );
}

#[test]
fn params() {
    for params in ["[]", "[1]", "7", "true", "\"x\""] {
        assert_eq!(
            read(format!(r#"{{"jsonrpc":"2.0","id":1,"method":"a","params":{params}}}"#).as_bytes()),
            r#"-32600 "params" must be an object (id 1)"#
        );
    }
    let nested = |n: usize| {
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"a","params":{}1{}}}"#,
            r#"{"a":"#.repeat(n),
            "}".repeat(n)
        )
    };
    assert!(Message::parse(nested(64).as_bytes()).is_ok());
    check(&nested(65), expect![[r#"-32600 "params": nested deeper than 64 levels (id 1)"#]]);
    check(&nested(100_000), expect![[r#"-32600 "params": nested deeper than 64 levels (id 1)"#]]);
    check(
        r#"{"jsonrpc":"2.0","id":1,"method":"a","params":{"a":"\ud800"}}"#,
        expect![[r#"-32600 "params": half a surrogate pair is not text (id 1)"#]],
    );
    check(
        r#"{"jsonrpc":"2.0","id":1,"method":"\ud800"}"#,
        expect![[r#"-32600 "method" must be a string (id 1)"#]],
    );
}

#[test]
fn errors_of_peers() {
    let check = |error: &str, expected: Expect| {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"error":{error}}}"#);
        let Ok(Message::Failure(failure)) = Message::parse(text.as_bytes()) else { panic!("{text}") };
        let shown = match failure.read() {
            Ok(read) => format!("{} {} {:?}", read.code, read.message, read.data),
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&shown);
    };
    check(
        r#"{"code":-32601,"message":"no \u0061","data":{"n":1e400}}"#,
        expect![[r#"-32601 no a Some("{\"n\":1e400}")"#]],
    );
    check(r#"{"code":99999999999999999999,"message":""}"#, expect!["-32603  None"]);
    check(r#"{"code":1.5,"message":""}"#, expect!["the error of an answer has no integer code (-32600)"]);
    check(r#"{"code":"1","message":""}"#, expect!["the error of an answer has no integer code (-32600)"]);
    check(r#"{"code":1}"#, expect!["the error of an answer has no message (-32600)"]);
    check(
        r#"{"code":1,"code":2}"#,
        expect![[
            r#"the error of an answer cannot be read: the name "code" stands twice in one object (-32600)"#
        ]],
    );
}

#[test]
fn what_is_written() {
    let written = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    };
    let raw: &RawValue = serde_json::from_str(r#"{ "n" : 1234567890123456789012 }"#).unwrap();
    let object = Object::read(raw).unwrap();
    let edit = Edit::of(&object).set("resultType", &"complete");
    expect![[r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#]]
        .assert_eq(&written(&|out| write_request(out, &1.into(), "ping", None)));
    expect![[r#"{"jsonrpc":"2.0","id":"a\"","method":"x","params":{ "n" : 1234567890123456789012 }}"#]]
        .assert_eq(&written(&|out| write_request(out, &Id::text("a\"").unwrap(), "x", Some(&raw))));
    expect![[r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":0.5}}"#]].assert_eq(
        &written(&|out| write_notification(out, "notifications/progress", Some(&json!({ "progress": 0.5 })))),
    );
    expect![[r#"{"jsonrpc":"2.0","id":2,"result":{"n" : 1234567890123456789012,"resultType":"complete"}}"#]]
        .assert_eq(&written(&|out| write_result(out, &2.into(), &edit)));
    expect![[r#"{"jsonrpc":"2.0","error":{"code":-32700,"message":"no"}}"#]]
        .assert_eq(&written(&|out| write_error(out, None, &WireError::parse("no"))));
    expect![[r#"{"jsonrpc":"2.0","id":3,"error":{ "n" : 1234567890123456789012 }}"#]]
        .assert_eq(&written(&|out| write_error(out, Some(&3.into()), &raw)));
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(id in any::<i64>(), method in "[a-z/]{1,20}", text in "\\PC{0,20}") {
        let params = json!({ "text": text });
        let mut out = Vec::new();
        write_request(&mut out, &id.into(), &method, Some(&params));
        let Ok(Message::Request(request)) = Message::parse(&out) else { panic!("unreadable") };
        prop_assert_eq!(request.id, Id::integer(id));
        prop_assert_eq!(&*request.method, &*method);
        prop_assert_eq!(&*request.params.needed_text("text").unwrap(), &*text);
    }

    #[test]
    fn what_is_taken_is_what_the_strict_parser_takes(text in r#"\{("(jsonrpc|id|method|params|x)":(1|"2.0"|"a"|\{"a":1(,"[ab]":2)?\}|null),?){0,5}\}"#) {
        if Message::parse(text.as_bytes()).is_ok() {
            prop_assert!(json::parse(text.as_bytes()).is_ok(), "{}", text);
        }
    }
}
