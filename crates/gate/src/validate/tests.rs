use expect_test::{Expect, expect};
use serde_json::json;

use super::*;

fn schema() -> Schema {
    Schema::compile(&Arc::new(json!({
        "type": "object",
        "required": ["id"],
        "additionalProperties": false,
        "$defs": { "Level": { "type": "string", "enum": ["low", "high"], "default": "low" } },
        "properties": {
            "id": { "type": "integer", "minimum": 1, "description": "the customer's number" },
            "ratio": { "type": "number", "exclusiveMaximum": 2 },
            "deep": { "type": "boolean", "default": false },
            "level": { "$ref": "#/$defs/Level" },
            "name": { "type": "string", "minLength": 1, "maxLength": 5, "pattern": "^[a-z]*$" },
            "tags": { "type": "array", "maxItems": 2, "items": { "type": "integer" } },
            "size": { "anyOf": [{ "type": "integer" }, { "type": "null" }] },
            "either": { "type": ["string", "integer"] },
            "api_token": { "type": "string", "pattern": "^t" },
            "inner": { "type": "object", "properties": { "n": { "type": "integer", "default": 7 } } },
        },
    })))
    .unwrap()
}

fn check(sent: &str, expected: Expect) {
    let raw = RawValue::from_string(sent.to_owned()).unwrap();
    let shown = match schema().canonical(&raw, 300) {
        Ok(arguments) => arguments.to_string(),
        Err(fault) => {
            format!("{:?} at {:?}: {fault}", fault.code, fault.pointer.as_deref().unwrap_or_default())
        }
    };
    expected.assert_eq(&shown);
}

#[test]
fn from_what_was_sent_to_what_is_meant() {
    check(r#"{"id":10}"#, expect![[r#"{"id":10,"deep":false,"level":"low"}"#]]);
    check(
        r#"{"id":"10","ratio":"1.5","deep":"true","tags":["1",2],"size":"3","inner":{}}"#,
        expect![[r#"{"id":10,"ratio":1.5,"deep":true,"tags":[1,2],"size":3,"inner":{"n":7},"level":"low"}"#]],
    );
    check(r#"{"id":10.0,"either":"5"}"#, expect![[r#"{"id":10,"either":"5","deep":false,"level":"low"}"#]]);
    check(
        r#"{"id":1e16,"ratio":"-7"}"#,
        expect![[r#"{"id":10000000000000000,"ratio":-7,"deep":false,"level":"low"}"#]],
    );
    check(r#"{"id":1,"size":null}"#, expect![[r#"{"id":1,"size":null,"deep":false,"level":"low"}"#]]);
}

#[test]
fn what_does_not_fit_is_named() {
    check("{}", expect![[r#"BadArguments at "/id": "id" is required (integer): the customer's number"#]]);
    check("[]", expect![[r#"BadArguments at "": the arguments must be a JSON object, not an array"#]]);
    check("null", expect![[r#"BadArguments at "": the arguments must be a JSON object, not null"#]]);
    check(r#"{"id":"ten"}"#, expect![[r#"BadArguments at "/id": "/id" must be an integer, not "ten""#]]);
    check(r#"{"id":10.5}"#, expect![[r#"BadArguments at "/id": "/id" must be an integer, not 10.5"#]]);
    check(r#"{"id":true}"#, expect![[r#"BadArguments at "/id": "/id" must be an integer, not true"#]]);
    check(r#"{"id":" 10"}"#, expect![[r#"BadArguments at "/id": "/id" must be an integer, not " 10""#]]);
    check(r#"{"id":0}"#, expect![[r#"BadArguments at "/id": "/id" must be at least 1, not 0"#]]);
    check(
        r#"{"id":18446744073709551616}"#,
        expect![[
            r#"BadArguments at "": the integer 18446744073709551616 does not fit 64 bits; send it as a string"#
        ]],
    );
    check(r#"{"id":1e30}"#, expect![[r#"BadArguments at "/id": "/id" must be an integer, not "1e+30""#]]);
    check(
        r#"{"id":1,"id":2}"#,
        expect![[
            r#"Malformed at "": not valid JSON: the name "id" stands twice in one object at line 1 column 12"#
        ]],
    );
    check(
        r#"{"id":1,"nmae":"x"}"#,
        expect![[r#"BadArguments at "/nmae": there is no argument "nmae"; did you mean "name"?"#]],
    );
    check(
        r#"{"id":1,"ratio":2}"#,
        expect![[r#"BadArguments at "/ratio": "/ratio" must be less than 2, not 2"#]],
    );
    check(
        r#"{"id":1,"name":""}"#,
        expect![[r#"BadArguments at "/name": "/name" must have at least 1 character"#]],
    );
    check(
        r#"{"id":1,"name":"abcdef"}"#,
        expect![[r#"BadArguments at "/name": "/name" must have at most 5 characters"#]],
    );
    check(
        r#"{"id":1,"name":"ABC"}"#,
        expect![[r#"BadArguments at "/name": "/name" must match "^[a-z]*$", and "ABC" does not"#]],
    );
    // What may be a secret is not said again: the sentence goes to the log and the audit record too.
    check(
        r#"{"id":1,"api_token":"hunter2"}"#,
        expect![[r#"BadArguments at "/api_token": "/api_token" must match "^t", and "[redacted]" does not"#]],
    );
    check(
        r#"{"id":1,"level":"sk_live_0123456789"}"#,
        expect![[r#"BadArguments at "/level": "/level" must be one of ["low","high"], not "[redacted]""#]],
    );
    check(
        r#"{"id":1,"level":"middle"}"#,
        expect![[r#"BadArguments at "/level": "/level" must be one of ["low","high"], not "middle""#]],
    );
    check(
        r#"{"id":1,"tags":[1,2,3]}"#,
        expect![[r#"BadArguments at "/tags": "/tags" must have at most 2 items"#]],
    );
    check(
        r#"{"id":1,"tags":["x"]}"#,
        expect![[r#"BadArguments at "/tags/0": "/tags/0" must be an integer, not "x""#]],
    );
    check(
        r#"{"id":1,"inner":{"n":[]}}"#,
        expect![[r#"BadArguments at "/inner/n": "/inner/n" must be an integer, not []"#]],
    );
    check(
        &format!(r#"{{"id":1,"name":"{}"}}"#, "x".repeat(300)),
        expect![[r#"TooLarge at "": the arguments are larger than 300 bytes"#]],
    );
    check(
        r#"{"id":1,"name":"\ud800"}"#,
        expect![[r#"Malformed at "": not valid JSON: unexpected end of hex escape at line 1 column 23"#]],
    );
}

#[test]
fn a_schema_that_points_elsewhere_is_refused() {
    for reference in ["http://127.0.0.1:1/x.json", "file:///etc/passwd", "other.json"] {
        assert!(Schema::compile(&Arc::new(json!({ "$ref": reference }))).is_err(), "{reference}");
    }
    assert!(Schema::compile(&Arc::new(json!({ "type": "nonsense" }))).is_err());
}
