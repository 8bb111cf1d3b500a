use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::json;

use super::*;

/// What is written without a copy has the bytes of the copy.
fn check_written(value: &Value) {
    let redactor = Redactor::new(&["x-Own Name".to_owned()]);
    let mut text = b"x".to_vec();
    redactor.push(value, &mut text);
    assert_eq!(String::from_utf8(text).unwrap(), format!("x{}", redactor.redact(value)));
}

fn check(value: &Value, expected: Expect) {
    check_written(value);
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
    check(
        &json!({ "a": 1, "sk_live_abcdefgh1234": 2, "sk_live_abcdefgh1235": 3, "[redacted]": 4 }),
        expect![[r#"{"a":1,"[redacted]":4}"#]],
    );
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
    check_written(&deep);
    let shown = redact(&deep, &[]).to_string();
    assert!(shown.contains("[cut: nested too deep]") && shown.len() < 300, "{shown}");
    let many = json!({ "rows": vec!["0123456789"; 100_000], "after": 1 });
    check_written(&many);
    let shown = redact(&many, &[]).to_string();
    assert!(shown.len() < 2 * TOTAL_BYTES_MAX && shown.contains("more]"), "{}", shown.len());
    let wide: Map<_, _> = (0..100_000).map(|n| (format!("name{n}"), json!(n))).collect();
    let shown = redact(&Value::Object(wide), &[]).to_string();
    assert!(shown.len() < 2 * TOTAL_BYTES_MAX && shown.contains(r#""[cut]":""#), "{}", shown.len());
}

#[test]
fn the_shortest_secrets_are_looked_for() {
    for shortest in [
        "-----BEGIN PRIVATE KEY-----",
        "basic 12345678",
        "eyJ12345.12345",
        "sk_12345678",
        "pk-12345678",
        "rk_12345678",
        "ghp_1234567890123456",
        "github_pat_1234567890123456",
        "glpat-1234567890123456",
        "xoxb-12345678",
        "AKIA1234567890123456",
        "AIza123456789012345678901234567890",
        "a://:b@c",
        "token=xx",
        "password 7 x",
        "key 1 xx",
    ] {
        assert!(!has_no_secret(shortest.as_bytes()), "{shortest}");
        assert_ne!(mask_text(shortest), shortest);
    }
    for name in ["customer_id", "x", "", "taskName"] {
        assert!(has_no_secret(name.as_bytes()), "{name}");
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "[ -~]{0,30}",
        "\\PC{0,20}",
        "[sprk_]{0,4}[A-Za-z0-9_]{0,20}",
        Just("sk_live_0123456789abcdef".to_owned()),
        Just("x".repeat(1_100)),
        Just("y".repeat(1_000)),
    ];
    let name = prop_oneof![
        "[a-z_]{0,12}",
        "\\PC{0,6}",
        "(?i)(user|my)?[-_ ]?(api_key|token|pass|pin|otp|secret|KEY|x own name|to\u{212a}en)s?",
        Just("sk_live_0123456789abcdef".to_owned()),
        Just("sk_live_0123456789abcdeg".to_owned()),
        Just("[cut]".to_owned()),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 24, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..24).prop_map(Value::from),
            prop::collection::vec((name.clone(), inner), 0..12)
                .prop_map(|all| Value::Object(all.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_has_the_bytes_of_the_copy(value in any_value()) {
        check_written(&value);
    }

    #[test]
    fn short_texts_that_are_not_looked_at_hold_nothing(text in "[A-Za-z0-9_]{0,3}(sk|pk|rk|gh|AKIA|xoxb|eyJ|key|token)?[_k]?[A-Za-z0-9_]{0,16}") {
        if has_no_secret(text.as_bytes()) {
            for shape in SHAPES {
                prop_assert!(!Regex::new(shape).unwrap().is_match(&text), "{}", text);
            }
        }
    }

    #[test]
    fn secret_names_are_known_by_the_rows_of_the_table(name in "[a-zA-Z0-9_ -]{0,6}(password|token|jwt|pin|api_Key|bearer|ſecret|cookie|to|pa)?[a-z0-9é-]{0,4}") {
        let plain = plain(&name);
        let known = NAMES.iter().any(|(secret, how)| match how {
            Match::Part | Match::PartOfText => plain.contains(secret),
            Match::Whole => plain == *secret,
        });
        let walk = Walk { names: &[], left: 0 };
        prop_assert_eq!(walk.is_secret(&name, &json!("x")), known, "{}", name);
    }

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
