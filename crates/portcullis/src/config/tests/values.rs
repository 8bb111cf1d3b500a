//! What stands in for values: the environment, files, anchors; and what is never shown of it.

use super::*;

#[test]
fn values_of_the_environment_become_what_is_wanted_and_are_never_shown() {
    let loaded = load("limits: {concurrent_max: \"${WORD:-5}\"}");
    assert!(!loaded.unwrap_err().render(Colours::Off).contains("hunter2"));
    let text = "limits:\n  concurrent_max: ${PORT}\nupkeep:\n  watch_config: ${YES}\ndata_dir: ${PORT}\n";
    let config = load(text).unwrap().config;
    assert_eq!(config.limits.concurrent_max, 8080);
    assert!(config.upkeep.watch_config);
    assert_eq!(config.data_dir, Some(PathBuf::from("8080")));
    check(
        "limits: {concurrent_max: \"${PORT}\"}\n",
        expect![[r#"
        error: expected an integer, found the value from the environment (not shown)
          --> portcullis.yaml:1:26 (/limits/concurrent_max)
           |
         1 | limits: {concurrent_max: "${PORT}"}
           |                          ^^^^^^^^^
          help: remove the quotes

        portcullis.yaml: 1 problem
    "#]],
    );
    check(
        "limits:\n  concurrent_max: ${WORD}\n",
        expect![[r#"
        error: expected an integer, found the value from the environment (not shown)
          --> portcullis.yaml:2:19 (/limits/concurrent_max)
           |
         2 |   concurrent_max: ${WORD}
           |                   ^^^^^^^

        portcullis.yaml: 1 problem
    "#]],
    );
    check(
        "log:\n  level: ${WORD}\n",
        expect![[r#"
        error: expected debug, info, warning or error, found the value from the environment (not shown)
          --> portcullis.yaml:2:10 (/log/level)
           |
         2 |   level: ${WORD}
           |          ^^^^^^^

        portcullis.yaml: 1 problem
    "#]],
    );
    check(
        "log: {level: ${WORD}}\n",
        expect![[r#"
        error: not valid YAML: while parsing a flow mapping, did not find expected ',' or '}'
          --> portcullis.yaml:1:15
           |
         1 | log: {level: ${WORD}}
           |               ^
          help: within `{ }` and `[ ]` a `${..}` must be in quotes, or stand on a line of its own

        portcullis.yaml: 1 problem
    "#]],
    );
    check(
        "log:\n  level: ${MISSING}\n  format: ${OTHER:?ask ops}\n",
        expect![[r#"
        error: the environment variable MISSING is not set; set it, or write `${MISSING:-default}`
          --> portcullis.yaml:2:10 (/log/level)
           |
         2 |   level: ${MISSING}
           |          ^^^^^^^^^^

        error: the environment variable OTHER is not set: ask ops
          --> portcullis.yaml:3:11 (/log/format)
           |
         3 |   format: ${OTHER:?ask ops}
           |           ^^^^^^^^^^^^^^^^^

        portcullis.yaml: 2 problems
    "#]],
    );
}

#[test]
fn what_looks_like_a_secret_is_not_shown_in_an_excerpt() {
    check(
        "bootstrap:\n  token: hunter2\n  pasword: x\n",
        expect![[r#"
        error: unknown key "token"
          --> portcullis.yaml:2:3 (/bootstrap/token)
           |
         2 |   token: *******
           |   ^^^^^
          help: there is keys

        error: unknown key "pasword"
          --> portcullis.yaml:3:3 (/bootstrap/pasword)
           |
         3 |   pasword: x
           |   ^^^^^^^
          help: there is keys

        portcullis.yaml: 2 problems
    "#]],
    );
    check(
        "bootstrap: {keys: [{label: a, secret: hunter2, principle: b}]}\n",
        expect![[r#"
            error: the key "principal" is missing
              --> portcullis.yaml:1:20 (/bootstrap/keys/0)
               |
             1 | bootstrap: {keys: [{label: a, secret: *******, principle: b}]}
               |                    ^
              help: principal: The principal it stands for, as in `principals`

            error: a secret stands in the configuration itself
              --> portcullis.yaml:1:39 (/bootstrap/keys/0/secret)
               |
             1 | bootstrap: {keys: [{label: a, secret: *******, principle: b}]}
               |                                       ^^^^^^^
              help: write ${NAME}, { file: PATH } or { exec: [PROGRAM, ARGUMENT] }

            error: unknown key "principle"
              --> portcullis.yaml:1:48 (/bootstrap/keys/0/principle)
               |
             1 | bootstrap: {keys: [{label: a, secret: *******, principle: b}]}
               |                                                ^^^^^^^^^
              help: did you mean "principal"?

            portcullis.yaml: 3 problems
        "#]],
    );
    check(
        "token: \"hunter2\n",
        expect![[r#"
        error: not valid YAML: invalid indentation in multiline quoted scalar
          --> portcullis.yaml:2:1

        portcullis.yaml: 1 problem
    "#]],
    );
}

#[test]
fn bombs_are_refused() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..12 {
        let previous = format!("*a{}", i - 1);
        text.push_str(&format!("a{i}: &a{i} [{}]\n", vec![previous; 10].join(", ")));
    }
    let error = load(&text).unwrap_err();
    assert!(error.list[0].text.starts_with("not valid YAML"), "{:?}", error.list);
    let deep = format!("a: {}{}", "[".repeat(500), "]".repeat(500));
    assert!(load(&deep).unwrap_err().list[0].text.starts_with("not valid YAML"));
    let long = "x".repeat(5 * 1024 * 1024);
    check(
        &long,
        expect![[r#"
        error: the file has 5242880 bytes; at most 4194304 are read
          --> portcullis.yaml

        portcullis.yaml: 1 problem
    "#]],
    );
}

#[test]
fn anchors_and_merges_work() {
    let text = "tiers:\n  a: &a {rate_per_minute: 5}\n  b: {<<: *a, concurrent_max: 2}\n  c: *a\n";
    let tiers = load(text).unwrap().config.tiers;
    assert_eq!(tiers["b"].rate_per_minute, Some(5));
    assert_eq!(tiers["c"].rate_per_minute, Some(5));
}

/// Whoever reads the file reads the secret: `secret: plain` was taken.
#[test]
fn secrets_do_not_stand_in_the_file() {
    check(
        "principals: {p: {kind: machine, roles: []}}\n\
         bootstrap: {keys: [{label: a, principal: p, secret: plain-text-in-the-file, secondary: 'x${WORD}'}]}\n\
         rest: {apis: {a: {base_url: 'http://a.test', auth: {bearer: plain-text}}}}\n\
         telemetry: {otlp: {endpoint: 'http://c.test', headers: {x-key: plain-text}}}\n",
        expect![[r#"
            error: a secret stands in the configuration itself
              --> portcullis.yaml:2:53 (/bootstrap/keys/0/secret)
               |
             2 | bootstrap: {keys: [{label: a, principal: p, secret: **********************, secondary: 'x${WORD}'}]}
               |                                                     ^^^^^^^^^^^^^^^^^^^^^^
              help: write ${NAME}, { file: PATH } or { exec: [PROGRAM, ARGUMENT] }

            error: a secret stands in the configuration itself
              --> portcullis.yaml:3:61 (/rest/apis/a/auth/bearer)
               |
             3 | rest: {apis: {a: {base_url: 'http://a.test', auth: {bearer: **********}}}}
               |                                                             ^^^^^^^^^^
              help: write ${NAME}, { file: PATH } or { exec: [PROGRAM, ARGUMENT] }

            error: a secret stands in the configuration itself
              --> portcullis.yaml:4:64 (/telemetry/otlp/headers/x-key)
               |
             4 | telemetry: {otlp: {endpoint: 'http://c.test', headers: {x-key: plain-text}}}
               |                                                                ^^^^^^^^^^
              help: write ${NAME}, { file: PATH } or { exec: [PROGRAM, ARGUMENT] }

            portcullis.yaml: 3 problems
        "#]],
    );
}
