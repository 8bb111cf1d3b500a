use std::path::PathBuf;

use expect_test::{Expect, expect};

use super::{Colours, examine_text, problem::Problems};

fn lookup(name: &str) -> Option<String> {
    match name {
        "PORT" => Some("8080".to_owned()),
        "WORD" => Some("hunter2".to_owned()),
        "YES" => Some("true".to_owned()),
        _ => None,
    }
}

fn load(text: &str) -> Result<super::Loaded, Problems> {
    examine_text("portcullis.yaml", text, PathBuf::from("/srv"), &lookup)?.whole()
}

/// The same from a real file, with the names in it checked as well.
fn load_file(text: &str) -> Result<super::Loaded, Problems> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("portcullis.yaml");
    std::fs::write(&path, text).unwrap();
    super::load(&path, &lookup).map_err(|mut problems| {
        problems.file = "portcullis.yaml".to_owned();
        problems
    })
}

#[allow(clippy::needless_pass_by_value)]
fn check(text: &str, want: Expect) {
    let got = match load_file(text) {
        Ok(_) => "ok\n".to_owned(),
        Err(problems) => problems.render(Colours::Off),
    };
    want.assert_eq(&got);
}

#[test]
fn the_smallest_file_is_an_empty_mapping() {
    check(
        "{}",
        expect![[r#"
        ok
    "#]],
    );
    check(
        "log: {level: debug}\n",
        expect![[r#"
        ok
    "#]],
    );
}

#[test]
fn files_that_hold_nothing_say_so() {
    check(
        "",
        expect![[r#"
        error: the file is empty
          --> portcullis.yaml
          help: `portcullis demo` shows a whole one; `server: {}` is enough to start with

        portcullis.yaml: 1 problem
    "#]],
    );
    check(
        "# only a comment\n",
        expect![[r#"
        error: the file is empty
          --> portcullis.yaml
          help: `portcullis demo` shows a whole one; `server: {}` is enough to start with

        portcullis.yaml: 1 problem
    "#]],
    );
    check(
        "just words",
        expect![[r#"
        error: expected a mapping, found "just words"
          --> portcullis.yaml:1:1
           |
         1 | just words
           | ^^^^^^^^^^

        portcullis.yaml: 1 problem
    "#]],
    );
    check(
        "- a\n- b\n",
        expect![[r#"
        error: expected a mapping, found a list
          --> portcullis.yaml:1:1
           |
         1 | - a
           | ^

        portcullis.yaml: 1 problem
    "#]],
    );
}

#[test]
fn broken_yaml_is_shown_where_it_breaks() {
    check(
        "log:\n\tlevel: info\n",
        expect![[r#"
        error: not valid YAML: tabs disallowed within this context (block indentation)
          --> portcullis.yaml:2:2
           |
         2 |  level: info
           |  ^
          help: indent with spaces: YAML does not take tabs

        portcullis.yaml: 1 problem
    "#]],
    );
    check(
        "log: {level: info\n",
        expect![[r#"
        error: not valid YAML: unclosed bracket '{'
          --> portcullis.yaml:1:6
           |
         1 | log: {level: info
           |      ^

        portcullis.yaml: 1 problem
    "#]],
    );
    check(
        "log:\n  level: info\n  level: debug\n",
        expect![[r#"
            error: the key "level" is here twice
              --> portcullis.yaml:3:3 (/log/level)
               |
             3 |   level: debug
               |   ^^^^^
              help: keep one of them; the first one is in line 2

            portcullis.yaml: 1 problem
        "#]],
    );
    check(
        "log: {}\n---\nlog: {}\n",
        expect![[r#"
        error: not valid YAML: there is a second document in the file
          --> portcullis.yaml:3:1
           |
         3 | log: {}
           | ^
          help: remove the `---` line and what follows it

        portcullis.yaml: 1 problem
    "#]],
    );
    check(
        "log: *nowhere\n",
        expect![[r#"
        error: not valid YAML: reference to unknown value
          --> portcullis.yaml:1:6
           |
         1 | log: *nowhere
           |      ^

        portcullis.yaml: 1 problem
    "#]],
    );
    check(
        "log: {level: \"inf\n",
        expect![[r#"
        error: not valid YAML: unclosed quote
          --> portcullis.yaml:1:14
           |
         1 | log: {level: "inf
           |              ^

        portcullis.yaml: 1 problem
    "#]],
    );
    check(
        "a\0b: 1\n",
        expect![[r#"
        error: the file holds NUL bytes: it is not a text file
          --> portcullis.yaml

        portcullis.yaml: 1 problem
    "#]],
    );
}

#[test]
fn unknown_keys_come_with_what_may_have_been_meant() {
    check(
        "lgo:\n  level: info\n",
        expect![[r#"
        error: unknown key "lgo"
          --> portcullis.yaml:1:1 (/lgo)
           |
         1 | lgo:
           | ^^^
          help: did you mean "log"?

        portcullis.yaml: 1 problem
    "#]],
    );
    check(
        "log:\n  levle: info\n  zzz: 1\n",
        expect![[r#"
        error: unknown key "levle"
          --> portcullis.yaml:2:3 (/log/levle)
           |
         2 |   levle: info
           |   ^^^^^
          help: did you mean "level"?

        error: unknown key "zzz"
          --> portcullis.yaml:3:3 (/log/zzz)
           |
         3 |   zzz: 1
           |   ^^^
          help: there is level, format, file

        portcullis.yaml: 2 problems
    "#]],
    );
}

#[test]
fn every_fault_is_said_not_only_the_first() {
    check(
        "log:\n  level: loud\n  format: xml\n  file: {path: x, bytes_max: 1, keep: many}\nlimits:\n  concurrent_max: 0\n  queue_wait_ms: 99999999\nbootstrap:\n  keys:\n    - label: A B\n",
        expect![[r#"
            error: expected debug, info, warning or error, found "loud"
              --> portcullis.yaml:2:10 (/log/level)
               |
             2 |   level: loud
               |          ^^^^

            error: expected json or text, found "xml"
              --> portcullis.yaml:3:11 (/log/format)
               |
             3 |   format: xml
               |           ^^^

            error: must be at least 4096, is 1
              --> portcullis.yaml:4:30 (/log/file/bytes_max)
               |
             4 |   file: {path: x, bytes_max: 1, keep: many}
               |                              ^

            error: expected an integer, found "many"
              --> portcullis.yaml:4:39 (/log/file/keep)
               |
             4 |   file: {path: x, bytes_max: 1, keep: many}
               |                                       ^^^^

            error: must be at least 1, is 0
              --> portcullis.yaml:6:19 (/limits/concurrent_max)
               |
             6 |   concurrent_max: 0
               |                   ^

            error: must be at most 60000, is 99999999
              --> portcullis.yaml:7:18 (/limits/queue_wait_ms)
               |
             7 |   queue_wait_ms: 99999999
               |                  ^^^^^^^^

            error: the key "principal" is missing
              --> portcullis.yaml:10:7 (/bootstrap/keys/0)
                |
             10 |     - label: A B
                |       ^
              help: principal: The principal it stands for, as in `principals`

            error: "A B" does not match `^[a-z0-9-]{1,32}$`
              --> portcullis.yaml:10:14 (/bootstrap/keys/0/label)
                |
             10 |     - label: A B
                |              ^^^

            portcullis.yaml: 8 problems
        "#]],
    );
}

#[test]
fn wrong_types_say_what_was_expected_and_found() {
    check(
        "log: []\n",
        expect![[r#"
        error: expected a mapping, found a list
          --> portcullis.yaml:1:6 (/log)
           |
         1 | log: []
           |      ^

        portcullis.yaml: 1 problem
    "#]],
    );
    check(
        "log:\n",
        expect![[r#"
        error: expected a mapping, found nothing
          --> portcullis.yaml:1:4 (/log)
           |
         1 | log:
           |    ^
          help: fill it in, or remove the key

        portcullis.yaml: 1 problem
    "#]],
    );
    check(
        "limits: {concurrent_max: \"5\"}\n",
        expect![[r#"
        error: expected an integer, found "5"
          --> portcullis.yaml:1:26 (/limits/concurrent_max)
           |
         1 | limits: {concurrent_max: "5"}
           |                          ^^^
          help: remove the quotes

        portcullis.yaml: 1 problem
    "#]],
    );
    check(
        "limits: {concurrent_max: 5.5}\n",
        expect![[r#"
        error: expected an integer, found 5.5
          --> portcullis.yaml:1:26 (/limits/concurrent_max)
           |
         1 | limits: {concurrent_max: 5.5}
           |                          ^^^

        portcullis.yaml: 1 problem
    "#]],
    );
    check(
        "data_dir: 5\n",
        expect![[r#"
        error: expected text, found 5
          --> portcullis.yaml:1:11 (/data_dir)
           |
         1 | data_dir: 5
           |           ^
          help: put it in quotes

        portcullis.yaml: 1 problem
    "#]],
    );
    check(
        "upkeep: {watch_config: yes}\n",
        expect![[r#"
        error: expected true or false, found "yes"
          --> portcullis.yaml:1:24 (/upkeep/watch_config)
           |
         1 | upkeep: {watch_config: yes}
           |                        ^^^
          help: write true or false

        portcullis.yaml: 1 problem
    "#]],
    );
}

#[test]
fn choices_say_what_was_meant_or_what_there_is() {
    check(
        "roles: {r: {allow: [{tols: [x]}]}}\n",
        expect![[r#"
        error: the key "tools" is missing
          --> portcullis.yaml:1:21 (/roles/r/allow/0)
           |
         1 | roles: {r: {allow: [{tols: [x]}]}}
           |                     ^
          help: tools: Which tools: a name, a glob (`get_*`), `effect:reads`, `label:NAME`, `source:GLOB` or `group:admin`

        error: unknown key "tols"
          --> portcullis.yaml:1:22 (/roles/r/allow/0/tols)
           |
         1 | roles: {r: {allow: [{tols: [x]}]}}
           |                      ^^^^
          help: did you mean "tools"?

        portcullis.yaml: 2 problems
    "#]],
    );
    check(
        "roles: {r: {allow: [5]}}\n",
        expect![[r#"
        error: expected text or a mapping with `tools`, found 5
          --> portcullis.yaml:1:21 (/roles/r/allow/0)
           |
         1 | roles: {r: {allow: [5]}}
           |                     ^

        portcullis.yaml: 1 problem
    "#]],
    );
    check(
        "bootstrap: {keys: [{label: a, principal: p, secret: {fil: x}}]}\n",
        expect![[r#"
            error: there is no principal "p"
              --> portcullis.yaml:1:42 (/bootstrap/keys/0/principal)
               |
             1 | bootstrap: {keys: [{label: a, principal: p, secret: {fil: x}}]}
               |                                          ^
              help: declare it under `principals`

            error: expected text, a mapping with `file` or a mapping with `exec`
              --> portcullis.yaml:1:45 (/bootstrap/keys/0/secret)
               |
             1 | bootstrap: {keys: [{label: a, principal: p, secret: {fil: x}}]}
               |                                             ^^^^^^
              help: did you mean "file"?

            portcullis.yaml: 2 problems
        "#]],
    );
}

#[test]
fn names_that_point_nowhere_are_found() {
    check(
        "principals: {alice: {kind: human, roles: [admn]}}\nroles: {admin: {}}\nbootstrap:\n  keys:\n    - {label: a, principal: alcie}\n    - {label: a, principal: alice, roles: [x], secondary: b}\n",
        expect![[r#"
            error: there is no role "admn"
              --> portcullis.yaml:1:43 (/principals/alice/roles/0)
               |
             1 | principals: {alice: {kind: human, roles: [admn]}}
               |                                           ^^^^
              help: did you mean "admin"?

            error: there is no principal "alcie"
              --> portcullis.yaml:5:29 (/bootstrap/keys/0/principal)
               |
             5 |     - {label: a, principal: alcie}
               |                             ^^^^^
              help: did you mean "alice"?

            error: there are two keys "a"
              --> portcullis.yaml:6:15 (/bootstrap/keys/1/label)
               |
             6 |     - {label: a, principal: alice, roles: [x], secondary: b}
               |               ^

            error: the principal "alice" does not have the role "x"
              --> portcullis.yaml:6:44 (/bootstrap/keys/1/roles/0)
               |
             6 |     - {label: a, principal: alice, roles: [x], secondary: b}
               |                                            ^
              help: it has admn

            error: a secret stands in the configuration itself
              --> portcullis.yaml:6:59 (/bootstrap/keys/1/secondary)
               |
             6 |     - {label: a, principal: alice, roles: [x], secondary: b}
               |                                                           ^
              help: write ${NAME}, { file: PATH } or { exec: [PROGRAM, ARGUMENT] }

            error: a second secret needs a first one
              --> portcullis.yaml:6:59 (/bootstrap/keys/1/secondary)
               |
             6 |     - {label: a, principal: alice, roles: [x], secondary: b}
               |                                                           ^
              help: add `secret`

            portcullis.yaml: 6 problems
        "#]],
    );
}

#[test]
fn a_fault_of_one_step_does_not_hide_what_the_next_one_finds() {
    check(
        "principals: {alice: {kind: human, roles: [admn]}}\nroles: {admin: {allow: [5]}}\nlog:\n  level: ${NONE}\naudit: {checkpoint_seconds: 0}\n",
        expect![[r#"
            error: there is no role "admn"
              --> portcullis.yaml:1:43 (/principals/alice/roles/0)
               |
             1 | principals: {alice: {kind: human, roles: [admn]}}
               |                                           ^^^^
              help: did you mean "admin"?

            error: expected text or a mapping with `tools`, found 5
              --> portcullis.yaml:2:25 (/roles/admin/allow/0)
               |
             2 | roles: {admin: {allow: [5]}}
               |                         ^

            error: the environment variable NONE is not set; set it, or write `${NONE:-default}`
              --> portcullis.yaml:4:10 (/log/level)
               |
             4 |   level: ${NONE}
               |          ^^^^^^^

            error: 0 is out of range; expected 1 to 86400
              --> portcullis.yaml:5:29 (/audit/checkpoint_seconds)
               |
             5 | audit: {checkpoint_seconds: 0}
               |                             ^

            portcullis.yaml: 4 problems
        "#]],
    );
}

#[test]
fn what_only_follows_from_another_fault_is_not_said() {
    check(
        "principals: {alice: {kind: human, roles: [admin]}}\nroles: {admin: 5}\n",
        expect![[r#"
        error: expected a mapping, found 5
          --> portcullis.yaml:2:16 (/roles/admin)
           |
         2 | roles: {admin: 5}
           |                ^

        portcullis.yaml: 1 problem
    "#]],
    );
    check(
        "principals: {alice: {kind: human, roles: [admin]}}\nroles: ${NONE}\n",
        expect![[r#"
        error: the environment variable NONE is not set; set it, or write `${NONE:-default}`
          --> portcullis.yaml:2:8 (/roles)
           |
         2 | roles: ${NONE}
           |        ^^^^^^^

        portcullis.yaml: 1 problem
    "#]],
    );
    check(
        "sql:\n  databases: {shop: {sqlit: x.db}}\n  tools: {t: {database: shop, description: x, statement: SELECT 1}}\n",
        expect![[r#"
            error: the key "sqlite" is missing
              --> portcullis.yaml:2:15 (/sql/databases/shop)
               |
             2 |   databases: {shop: {sqlit: x.db}}
               |               ^^^^
              help: sqlite: The SQLite file; a relative path starts at the folder of the configuration file

            error: unknown key "sqlit"
              --> portcullis.yaml:2:22 (/sql/databases/shop/sqlit)
               |
             2 |   databases: {shop: {sqlit: x.db}}
               |                      ^^^^^
              help: did you mean "sqlite"?

            portcullis.yaml: 2 problems
        "#]],
    );
    check(
        "bootstrap: {keys: [{label: a, principal: p}]}\nprincipals: {p: {kind: robot, roles: []}}\n",
        expect![[r#"
            error: expected human, agent or machine, found "robot"
              --> portcullis.yaml:2:24 (/principals/p/kind)
               |
             2 | principals: {p: {kind: robot, roles: []}}
               |                        ^^^^^

            portcullis.yaml: 1 problem
        "#]],
    );
}

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

#[test]
fn the_schema_is_one_that_editors_take() {
    let schema = super::schema();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["additionalProperties"], false);
    assert!(schema["properties"]["bootstrap"].is_object());
}

#[test]
fn an_address_that_is_none_has_its_place_and_hides_nothing() {
    let text = "server: { listen: \"127.0.0.1:99999\", metrics_listen: localhost:9464, nme: x }\nlab:\n  shop_api: { listen: 8098 }\nlog: { level: loud }\n";
    check(
        text,
        expect![[r#"
        error: "127.0.0.1:99999" is not an IP address with a port
          --> portcullis.yaml:1:19 (/server/listen)
           |
         1 | server: { listen: "127.0.0.1:99999", metrics_listen: localhost:9464, nme: x }
           |                   ^^^^^^^^^^^^^^^^^
          help: write it as 127.0.0.1:8000 or [::1]:8000; a port is at most 65535

        error: "localhost:9464" is not an IP address with a port
          --> portcullis.yaml:1:54 (/server/metrics_listen)
           |
         1 | server: { listen: "127.0.0.1:99999", metrics_listen: localhost:9464, nme: x }
           |                                                      ^^^^^^^^^^^^^^
          help: write it as 127.0.0.1:9464 or [::1]:9464; a port is at most 65535

        error: unknown key "nme"
          --> portcullis.yaml:1:70 (/server/nme)
           |
         1 | server: { listen: "127.0.0.1:99999", metrics_listen: localhost:9464, nme: x }
           |                                                                      ^^^
          help: did you mean "name"?

        error: 8098 is not an IP address with a port
          --> portcullis.yaml:3:23 (/lab/shop_api/listen)
           |
         3 |   shop_api: { listen: 8098 }
           |                       ^^^^
          help: write it as 127.0.0.1:8098 or [::1]:8098; a port is at most 65535

        error: expected debug, info, warning or error, found "loud"
          --> portcullis.yaml:4:15 (/log/level)
           |
         4 | log: { level: loud }
           |               ^^^^

        portcullis.yaml: 5 problems
    "#]],
    );
    check(
        "server:\n  listen: :8000\n",
        expect![[r#"
        error: ":8000" is not an IP address with a port
          --> portcullis.yaml:2:11 (/server/listen)
           |
         2 |   listen: :8000
           |           ^^^^^
          help: write it as 127.0.0.1:8000 or [::1]:8000; a port is at most 65535

        portcullis.yaml: 1 problem
    "#]],
    );
    check(
        "server:\n  listen: \"8000\"\n",
        expect![[r#"
        error: "8000" is not an IP address with a port
          --> portcullis.yaml:2:11 (/server/listen)
           |
         2 |   listen: "8000"
           |           ^^^^^^
          help: write it as 127.0.0.1:8000 or [::1]:8000; a port is at most 65535

        portcullis.yaml: 1 problem
    "#]],
    );
    check(
        "server:\n  listen: ${WORD}\n",
        expect![[r#"
        error: the value from the environment (not shown) is not an IP address with a port
          --> portcullis.yaml:2:11 (/server/listen)
           |
         2 |   listen: ${WORD}
           |           ^^^^^^^
          help: write it as 127.0.0.1:8000 or [::1]:8000; a port is at most 65535

        portcullis.yaml: 1 problem
    "#]],
    );
    check(
        "server:\n  listen: a.example:443\n",
        expect![[r#"
        error: "a.example:443" is not an IP address with a port
          --> portcullis.yaml:2:11 (/server/listen)
           |
         2 |   listen: a.example:443
           |           ^^^^^^^^^^^^^
          help: write it as 127.0.0.1:8000 or [::1]:8000; a port is at most 65535

        portcullis.yaml: 1 problem
    "#]],
    );
    check(
        "server:\n  listen: ${PORT}\n",
        expect![[r#"
        error: the value from the environment (not shown) is not an IP address with a port
          --> portcullis.yaml:2:11 (/server/listen)
           |
         2 |   listen: ${PORT}
           |           ^^^^^^^
          help: write it as 127.0.0.1:8000 or [::1]:8000; a port is at most 65535

        portcullis.yaml: 1 problem
    "#]],
    );
    check(
        "server: { listen: \"[::1]:8000\", metrics_listen: null }\n",
        expect![[r#"
        ok
    "#]],
    );
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

#[test]
fn a_key_that_stands_twice_hides_nothing() {
    let text =
        "log:\n  level: loud\n  level: info\n  format: text\n  format: json\nserver: { nme: x }\nlog: {}\n";
    check(
        text,
        expect![[r#"
        error: expected debug, info, warning or error, found "loud"
          --> portcullis.yaml:2:10 (/log/level)
           |
         2 |   level: loud
           |          ^^^^

        error: the key "level" is here twice
          --> portcullis.yaml:3:3 (/log/level)
           |
         3 |   level: info
           |   ^^^^^
          help: keep one of them; the first one is in line 2

        error: the key "format" is here twice
          --> portcullis.yaml:5:3 (/log/format)
           |
         5 |   format: json
           |   ^^^^^^
          help: keep one of them; the first one is in line 4

        error: unknown key "nme"
          --> portcullis.yaml:6:11 (/server/nme)
           |
         6 | server: { nme: x }
           |           ^^^
          help: did you mean "name"?

        error: the key "log" is here twice
          --> portcullis.yaml:7:1 (/log)
           |
         7 | log: {}
           | ^^^
          help: keep one of them; the first one is in line 1

        portcullis.yaml: 5 problems
    "#]],
    );
}

#[test]
fn what_only_the_types_refuse_has_its_place_and_hides_nothing() {
    let text = "server:\n  drain_ms: 10.0\n  nme: x\nlab:\n  shop_database: shop.db\nsql:\n  databases:\n    shop: { sqlite: shop.db, readers: 2.0 }\nbootstrap:\n  keys: [{ label: a, principal: nobody, rate_per_minute: 5.0 }]\n";
    check(
        text,
        expect![[r#"
        error: does not fit: invalid type: floating point `10.0`, expected u64
          --> portcullis.yaml:2:13 (/server/drain_ms)
           |
         2 |   drain_ms: 10.0
           |             ^^^^

        error: unknown key "nme"
          --> portcullis.yaml:3:3 (/server/nme)
           |
         3 |   nme: x
           |   ^^^
          help: did you mean "name"?

        error: does not fit: invalid type: floating point `2.0`, expected u32
          --> portcullis.yaml:8:39 (/sql/databases/shop/readers)
           |
         8 |     shop: { sqlite: shop.db, readers: 2.0 }
           |                                       ^^^

        error: there is no principal "nobody"
          --> portcullis.yaml:10:33 (/bootstrap/keys/0/principal)
            |
         10 |   keys: [{ label: a, principal: nobody, rate_per_minute: 5.0 }]
            |                                 ^^^^^^
          help: declare it under `principals`

        error: does not fit: invalid type: floating point `5.0`, expected u32
          --> portcullis.yaml:10:58 (/bootstrap/keys/0/rate_per_minute)
            |
         10 |   keys: [{ label: a, principal: nobody, rate_per_minute: 5.0 }]
            |                                                          ^^^

        portcullis.yaml: 5 problems
    "#]],
    );
}

#[test]
fn a_tier_that_nobody_declared_is_a_fault() {
    check(
        "principals: {p: {kind: machine, roles: []}}\ntiers: {golden: {}}\n\
         bootstrap: {keys: [{label: a, principal: p, tier: goldn}, {label: b, principal: p, tier: premium}, \
         {label: c, principal: p, tier: lead}]}\n",
        expect![[r#"
            error: there is no tier "goldn"
              --> portcullis.yaml:3:51 (/bootstrap/keys/0/tier)
               |
             3 | bootstrap: {keys: [{label: a, principal: p, tier: goldn}, {label: b, principal: p, tier: premium}, {label: c, 
               |                                                   ^^^^^
              help: did you mean "golden"?

            error: there is no tier "lead"
              --> portcullis.yaml:3:131 (/bootstrap/keys/2/tier)
               |
             3 | pal: p, tier: premium}, {label: c, principal: p, tier: lead}]}
               |                                                        ^^^^
              help: declare it under `tiers`

            portcullis.yaml: 2 problems
        "#]],
    );
}
