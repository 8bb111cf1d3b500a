//! What one fault means for the others: nothing is hidden, and nothing said that only follows.

use super::*;

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
