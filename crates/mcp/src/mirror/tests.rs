use expect_test::{Expect, expect};
use http::HeaderValue;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn found(schema: &Value) -> String {
    match Mirrors::of(schema) {
        Ok(mirrors) => mirrors.0.iter().map(|m| format!("{} <- {}\n", m.header, m.path.join("."))).collect(),
        Err(error) => format!("{error}\n"),
    }
}

fn property(schema: Value) -> Value {
    json!({ "type": "object", "properties": { "a": schema } })
}

#[test]
fn annotations_that_hold() {
    let check = |schema: Value, expected: Expect| expected.assert_eq(&found(&schema));
    check(json!({ "type": "object" }), expect![""]);
    check(json!(true), expect![""]);
    check(
        json!({ "type": "object", "properties": {
            "region": { "type": "string", "x-mcp-header": "Region" },
            "count": { "type": "integer", "x-mcp-header": "Method" },
            "flag": { "type": ["boolean", "null"], "x-mcp-header": "fl_a.g" },
            "deep": { "type": "object", "properties": { "er": { "type": "string", "x-mcp-header": "Deep" } } },
            "x-mcp-header": { "type": "string" },
            "free": { "type": "string", "default": { "x-mcp-header": 7 } }
        } }),
        expect![[r#"
            mcp-param-region <- region
            mcp-param-method <- count
            mcp-param-fl_a.g <- flag
            mcp-param-deep <- deep.er
        "#]],
    );
}

#[test]
fn annotations_that_void_the_tool() {
    let check = |schema: Value, expected: Expect| expected.assert_eq(&found(&schema));
    for name in ["My Region", "Region:Primary", "Région", "Region\t1", "a\r\nb"] {
        assert_eq!(
            found(&property(json!({ "type": "string", "x-mcp-header": name }))),
            "x-mcp-header at \"/properties/a\" is no name of a header field (RFC 9110, 5.1)\n",
        );
    }
    for kind in [
        json!("number"),
        json!("array"),
        json!("object"),
        json!("null"),
        json!(null),
        json!(["string", "integer"]),
        json!(["null"]),
    ] {
        assert_eq!(
            found(&property(json!({ "type": kind, "x-mcp-header": "A" }))),
            "x-mcp-header at \"/properties/a\" annotates what is neither a string nor an integer nor a boolean\n",
            "{kind}"
        );
    }
    check(
        property(json!({ "x-mcp-header": "A" })),
        expect![[r#"
        x-mcp-header at "/properties/a" annotates what is neither a string nor an integer nor a boolean
    "#]],
    );
    check(
        property(json!({ "type": "string", "x-mcp-header": "" })),
        expect![[r#"
        x-mcp-header at "/properties/a" is empty
    "#]],
    );
    check(
        property(json!({ "type": "string", "x-mcp-header": 7 })),
        expect![[r#"
        x-mcp-header at "/properties/a" is not a string
    "#]],
    );
    check(
        json!({ "properties": {
            "a": { "type": "string", "x-mcp-header": "Region" },
            "b": { "type": "string", "x-mcp-header": "REGION" }
        } }),
        expect![[r#"
            x-mcp-header at "/properties/b" stands twice, in whatever case
        "#]],
    );
    let unreachable = json!({ "type": "string", "x-mcp-header": "A" });
    for (schema, pointer) in [
        (unreachable.clone(), ""),
        (property(json!({ "type": "array", "items": unreachable })), "/properties/a/items"),
        (property(json!({ "anyOf": [{ "type": "null" }, unreachable] })), "/properties/a/anyOf/1"),
        (json!({ "$defs": { "d": unreachable } }), "/$defs/d"),
        (json!({ "allOf": [{ "properties": { "a": unreachable } }] }), "/allOf/0/properties/a"),
        (json!({ "if": { "properties": { "a": unreachable } } }), "/if/properties/a"),
        (json!({ "not": unreachable }), "/not"),
        (json!({ "patternProperties": { "a/b": unreachable } }), "/patternProperties/a~1b"),
        (json!({ "additionalProperties": unreachable }), "/additionalProperties"),
    ] {
        assert_eq!(
            found(&schema),
            format!("x-mcp-header at {pointer:?} annotates what is not reached through properties alone\n"),
        );
    }
    let many: Map<String, Value> = (0..=MIRRORS_MAX)
        .map(|n| (format!("p{n}"), json!({ "type": "string", "x-mcp-header": format!("P{n}") })))
        .collect();
    check(
        json!({ "properties": many }),
        expect![[r#"
        x-mcp-header at "/properties/p32" is one too many
    "#]],
    );
}

fn tool() -> Mirrors {
    Mirrors::of(&json!({ "type": "object", "properties": {
        "text": { "type": "string", "x-mcp-header": "Text" },
        "n": { "type": "integer", "x-mcp-header": "N" },
        "flag": { "type": "boolean", "x-mcp-header": "Flag" },
        "in": { "type": "object", "properties": { "ner": { "type": "string", "x-mcp-header": "Inner" } } }
    } }))
    .unwrap()
}

fn raw(text: &str) -> &RawValue {
    serde_json::from_str(text).unwrap()
}

#[test]
fn headers_of_a_call() {
    let check = |arguments: &str, expected: Expect| {
        let mut headers = HeaderMap::new();
        let shown = match tool().write(&mut headers, Some(raw(arguments))) {
            Ok(()) => {
                headers.iter().map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap())).collect()
            }
            Err(error) => format!("{error}\n"),
        };
        expected.assert_eq(&shown);
    };
    check("{}", expect![""]);
    check(r#"{"text":null,"n":null,"in":{}}"#, expect![""]);
    check(
        r#"{"text":"日本語","n":-7,"flag":false,"in":{"ner":" padded "},"free":"x"}"#,
        expect![[r#"
            mcp-param-text: =?base64?5pel5pys6Kqe?=
            mcp-param-n: -7
            mcp-param-flag: false
            mcp-param-inner: =?base64?IHBhZGRlZCA=?=
        "#]],
    );
    check(
        r#"{"text":"","n":4.2e1,"in":7}"#,
        expect![[r#"
        mcp-param-text: 
        mcp-param-n: 42
    "#]],
    );
    check(
        r#"{"n":9007199254740991}"#,
        expect![[r#"
        mcp-param-n: 9007199254740991
    "#]],
    );
    check(
        r#"{"n":9007199254740992}"#,
        expect![[r#"
        "n" is 9007199254740992; headers carry integers up to 2^53 - 1 (-32602)
    "#]],
    );
    check(r#"{"text":["x"],"n":{}}"#, expect![""]);
}

#[test]
fn headers_compared_with_arguments() {
    let check = |arguments: &str, lines: &[(&str, &str)], expected: Expect| {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        let shown = tool()
            .check(&headers, Some(raw(arguments)))
            .map_or_else(|error| error.to_string(), |()| "fine".to_owned());
        expected.assert_eq(&shown);
    };
    check("{}", &[], expect!["fine"]);
    check(r#"{"text":null}"#, &[], expect!["fine"]);
    check(r#"{"text":"x"}"#, &[("Mcp-Param-TEXT", "x")], expect!["fine"]);
    check(r#"{"text":"Hello"}"#, &[("mcp-param-text", "=?base64?SGVsbG8=?=")], expect!["fine"]);
    check(r#"{"text":""}"#, &[("mcp-param-text", "")], expect!["fine"]);
    check(r#"{"in":{"ner":"x"}}"#, &[("mcp-param-inner", "x")], expect!["fine"]);
    check(r#"{"flag":true}"#, &[("mcp-param-flag", "true")], expect!["fine"]);
    check(r#"{"n":42}"#, &[("mcp-param-n", "42.0")], expect!["fine"]);
    check(r#"{"n":42.0}"#, &[("mcp-param-n", "42")], expect!["fine"]);
    check(r#"{"n":12345678901234567890123}"#, &[("mcp-param-n", "12345678901234567890123")], expect!["fine"]);
    check(r#"{"text":["x"]}"#, &[], expect!["fine"]);
    check(r#"{"other":"x"}"#, &[("mcp-param-other", "y")], expect!["fine"]);

    check(
        r#"{"text":"x"}"#,
        &[],
        expect![[r#"the header mcp-param-text is missing; it must repeat the argument "text" (-32020)"#]],
    );
    check(
        r#"{"text":"x"}"#,
        &[("mcp-param-text", "X")],
        expect![[r#"the header mcp-param-text does not repeat the argument "text" (-32020)"#]],
    );
    check(
        "{}",
        &[("mcp-param-text", "x")],
        expect![[r#"the header mcp-param-text does not repeat the argument "text" (-32020)"#]],
    );
    check(
        r#"{"text":null}"#,
        &[("mcp-param-text", "null")],
        expect![[r#"the header mcp-param-text does not repeat the argument "text" (-32020)"#]],
    );
    check(
        r#"{"text":"x"}"#,
        &[("mcp-param-text", "x"), ("mcp-param-text", "x")],
        expect!["the header mcp-param-text stands more than once (-32020)"],
    );
    check(
        r#"{"text":"é"}"#,
        &[("mcp-param-text", "é")],
        expect![
            "the header mcp-param-text holds characters that are not visible ASCII; encode it as =?base64?..?= (-32020)"
        ],
    );
    check(
        r#"{"text":"Hello"}"#,
        &[("mcp-param-text", "=?base64?SGVsbG8?=")],
        expect!["the header mcp-param-text encloses what is not base64 of UTF-8 text (-32020)"],
    );
    check(
        r#"{"flag":true}"#,
        &[("mcp-param-flag", "True")],
        expect![[r#"the header mcp-param-flag does not repeat the argument "flag" (-32020)"#]],
    );
    check(
        r#"{"n":9007199254740993}"#,
        &[("mcp-param-n", "9007199254740992")],
        expect![[r#"the header mcp-param-n does not repeat the argument "n" (-32020)"#]],
    );
    check(
        r#"{"n":42}"#,
        &[("mcp-param-n", "+42")],
        expect![[r#"the header mcp-param-n does not repeat the argument "n" (-32020)"#]],
    );
    check(
        r#"{"n":"42"}"#,
        &[("mcp-param-n", "42.0")],
        expect![[r#"the header mcp-param-n does not repeat the argument "n" (-32020)"#]],
    );
    check("[]", &[], expect![[r#""arguments" must be an object (-32602)"#]]);
}

proptest! {
    #[test]
    fn what_our_client_sends_our_server_takes(text in any::<Option<String>>(), n in -9_007_199_254_740_991_i64..=9_007_199_254_740_991, flag in any::<bool>()) {
        let arguments = json!({ "text": text, "n": n, "flag": flag, "in": { "ner": text } }).to_string();
        let mut headers = HeaderMap::new();
        tool().write(&mut headers, Some(raw(&arguments))).unwrap();
        prop_assert_eq!(tool().check(&headers, Some(raw(&arguments))), Ok(()));
    }
}
