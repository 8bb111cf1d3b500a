use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn check(value: &Value, expected: Expect) {
    expected.assert_eq(&redact(value, &["x-Own Name".to_owned()]).to_string());
}

#[test]
fn names_that_look_secret_are_masked_however_they_are_written() {
    for name in [
        "password",
        "Password",
        "db_password",
        "passwd",
        "passphrase",
        "secret",
        "client-secret",
        "api_key",
        "API-Key",
        "apiKey",
        "x-api-key",
        "Authorization",
        "private_key",
        "privateKey",
        "credential",
        "credentials",
        "token",
        "access_token",
        "aws_secret_access_key",
        "Cookie",
        "jwt",
        "pwd",
        "otp",
        "xOwnName",
        "X_OWN_NAME",
        "enable_secret",
        "Set-Cookie",
        "connection_string",
    ] {
        assert_eq!(
            redact(&json!({ name: "x" }), &["x-Own Name".to_owned()]),
            json!({ name: MASK }),
            "{name}"
        );
        let nested = json!([{ "a": { name: { "deep": ["x"] } } }]);
        assert!(!redact(&nested, &["x-own-name".to_owned()]).to_string().contains("deep"), "{name}");
    }
    for name in
        ["path", "name", "author", "passenger", "keyboard", "pinned", "x", "secre", "tok", "authority"]
    {
        assert_eq!(redact(&json!({ name: "x" }), &[]), json!({ name: "x" }), "{name}");
    }
}

#[test]
fn numbers_are_no_tokens_but_may_be_other_secrets() {
    check(
        &json!({ "max_tokens": 100, "stream_tokens": true, "token": "x", "password": 1234, "pin": 1, "secret": null }),
        expect![[
            r#"{"max_tokens":100,"stream_tokens":true,"token":"[redacted]","password":"[redacted]","pin":"[redacted]","secret":null}"#
        ]],
    );
}

#[test]
fn shapes_of_secrets_are_masked_inside_texts() {
    let shown: String = [
        "use sk_live_abcdefgh1234 now",
        "sk-proj-abcdefgh-1234_x",
        "Authorization: Bearer abcdef.ghi-jkl~mno==, then",
        "basic dXNlcjpwYXNz",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl!",
        "a -----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY----- b",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blb",
        "ghp_0123456789abcdefghij and glpat-0123456789abcdefghij",
        "AKIAIOSFODNN7EXAMPLE",
        "postgres://app:hunter2@db:5432/shop",
        "password=hunter2&next=1",
        r#"{"user":"a","password":"hun\"ter2","x":1}"#,
        "WHERE password = 'hunter2' AND id = 3",
        "api-key: abc; other",
        "enable secret 5 $1$abcd$efgh",
        "username a password 7 0822455D0A16",
    ]
    .iter()
    .map(|text| format!("{}\n", mask_text(text)))
    .collect();
    expect![[r#"
        use [redacted] now
        [redacted]
        Authorization: Bearer [redacted], then
        basic [redacted]
        [redacted]!
        a [redacted] b
        [redacted]
        [redacted] and [redacted]
        [redacted]
        postgres://app:[redacted]@db:5432/shop
        password=[redacted]&next=1
        {"user":"a","password":[redacted],"x":1}
        WHERE password = [redacted] AND id = 3
        api-key: [redacted]; other
        enable secret 5 [redacted]
        username a password 7 [redacted]
    "#]]
    .assert_eq(&shown);
}

#[test]
fn ordinary_texts_stay_as_they_are() {
    for text in [
        "select id, name from customers where total > 10 order by name",
        "the basic idea is a bearer of news",
        "/srv/reports/2026-11-21.csv",
        "https://example.com/a?b=c#d",
        "mailto:a@example.com",
        "forgot the password, please help",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        "task_12345678 and risk-assessment",
        "日本語のテキスト",
    ] {
        assert_eq!(mask_text(text), text);
    }
}

#[test]
fn secrets_in_names_are_masked_too() {
    check(&json!({ "sk_live_abcdefgh1234": 1 }), expect![[r#"{"[redacted]":1}"#]]);
}

#[test]
fn long_texts_are_cut_at_their_bound() {
    let at = "a".repeat(TEXT_BYTES_MAX);
    assert_eq!(redact(&json!(at), &[]), json!(at));
    let cut = redact(&json!("é".repeat(TEXT_BYTES_MAX / 2) + "x"), &[]);
    let cut = cut.as_str().unwrap();
    assert!(cut.starts_with("éé") && cut.contains("é[cut: 1025 bytes, b3:"), "{cut}");
    let inside = redact(&json!("x".repeat(TEXT_BYTES_MAX - 1) + "é"), &[]);
    assert!(inside.as_str().unwrap().contains("x[cut: 1025 bytes"), "cut before the letter");
}

#[test]
fn a_secret_across_the_cut_does_not_show() {
    let text = "x ".repeat(TEXT_BYTES_MAX / 2 - 4) + "sk_live_abcdefgh1234";
    let shown = redact(&json!(text), &[]).to_string();
    assert!(!shown.contains("sk_"), "{shown}");
}

#[test]
fn wide_and_deep_values_are_bounded() {
    let mut deep = json!(1);
    for _ in 0..500 {
        deep = json!([deep]);
    }
    let shown = redact(&deep, &[]).to_string();
    assert!(shown.contains("[cut: nested too deep]") && shown.len() < 300, "{shown}");
    let many = json!({ "rows": vec!["0123456789"; 100_000], "after": 1 });
    let shown = redact(&many, &[]).to_string();
    assert!(shown.len() < 2 * TOTAL_BYTES_MAX && shown.contains("more]"), "{}", shown.len());
    let wide: Map<_, _> = (0..100_000).map(|n| (format!("name{n}"), json!(n))).collect();
    let shown = redact(&Value::Object(wide), &[]).to_string();
    assert!(shown.len() < 2 * TOTAL_BYTES_MAX && shown.contains(r#""[cut]":""#), "{}", shown.len());
}

proptest! {
    #[test]
    fn a_key_never_shows_wherever_it_stands(before in "[ -~]{0,40}[ ,\"]", after in "[ ,\"][ -~]{0,40}", n in 0_u32..3) {
        let text = format!("{before}sk_live_0123456789abcdef{after}");
        let mut value = json!(text);
        for _ in 0..n {
            value = json!({ "x": [value.to_string(), value] });
        }
        prop_assert!(!redact(&value, &[]).to_string().contains("0123456789abcdef"));
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,60}") {
        let once = mask_text(&text);
        prop_assert!(mask_text(&once).len() <= once.len() + 2 * MASK.len());
    }
}
