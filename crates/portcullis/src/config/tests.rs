use std::path::PathBuf;

use expect_test::{Expect, expect};

use super::{Colours, examine_text, problem::Problems};

mod together;
mod values;

fn lookup(name: &str) -> Option<String> {
    match name {
        "PORT" => Some("8080".to_owned()),
        "WORD" => Some("hunter2".to_owned()),
        "YES" => Some("true".to_owned()),
        _ => None,
    }
}

fn load(text: &str) -> Result<super::Loaded, Problems> {
    examine_text("portcullis.yaml", text, PathBuf::from("/srv"), None, &lookup)?.whole()
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
fn the_schema_is_one_that_editors_take() {
    let schema = super::schema();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["additionalProperties"], false);
    assert!(schema["properties"]["bootstrap"].is_object());
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
