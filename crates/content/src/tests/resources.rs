use std::path::Path;

use expect_test::{Expect, expect};
use serde_json::{Value, json};
use tool::{Completing, Purpose};

use super::{check, check_faults, complete, read, resources, tool};
use crate::resources::Config;

fn docs() -> Value {
    json!({
        "docs:///hours": { "name": "hours", "title": "Hours", "text": "We {open} at 9.\n", "mime_type": "text/markdown" },
        "docs:///greet/{who}": { "name": "greet", "description": "Greets.", "text": "Hello, {who}! {{}}" },
        "docs:///tier/{tier}/limit": {
            "name": "limit",
            "text": "The limit of {tier}.",
            "variables": { "tier": { "enum": ["basic", "Premium", "a/b"] } },
        },
        "docs:///customer/{name}": {
            "name": "customer",
            "text": "{name}",
            "variables": {
                "name": { "complete": { "tool": "list_customers", "pointer": "/customers/*/name" } },
            },
        },
        "docs:///any/{+rest}": { "name": "any", "text": "<{rest}>" },
    })
}

#[tokio::test]
async fn texts_are_read() {
    let room = resources(Path::new("."), docs());
    let check = async |uri: &str, expected: Expect| check(read(&*room, uri).await, expected);
    check(
        "docs:///hours",
        expect![[
            r#"{"contents":[{"uri":"docs:///hours","mimeType":"text/markdown","text":"We {open} at 9.\n"}]}"#
        ]],
    )
    .await;
    check(
        "docs:///greet/Bob",
        expect![[
            r#"{"contents":[{"uri":"docs:///greet/Bob","mimeType":"text/plain","text":"Hello, Bob! {}"}]}"#
        ]],
    )
    .await;
    check(
        "docs:///greet/%7Bwho%7D%20%C3%A9",
        expect![[
            r#"{"contents":[{"uri":"docs:///greet/%7Bwho%7D%20%C3%A9","mimeType":"text/plain","text":"Hello, {who} é! {}"}]}"#
        ]],
    )
    .await;
    check(
        "docs:///tier/a%2Fb/limit",
        expect![[
            r#"{"contents":[{"uri":"docs:///tier/a%2Fb/limit","mimeType":"text/plain","text":"The limit of a/b."}]}"#
        ]],
    )
    .await;
    check(
        "docs:///any/a/b%20c?d",
        expect![[
            r#"{"contents":[{"uri":"docs:///any/a/b%20c?d","mimeType":"text/plain","text":"<a/b%20c?d>"}]}"#
        ]],
    )
    .await;
    for uri in [
        "docs:///",
        "docs:///Hours",
        "docs:///hours/",
        "docs:///greet/",
        "docs:///greet/a/b",
        "docs:///greet/%ff",
        "docs:///tier/premium/limit",
        "docs:///tier/gold/limit",
    ] {
        check(uri, expect!["NotFound: nobody reads it"]).await;
    }
    // A template itself can be completed, and there is nothing to read.
    check("docs:///greet/{who}", expect!["NotFound: Resource not found: docs:///greet/{who}"]).await;
}

#[test]
fn two_spellings_of_a_uri_are_one_target() {
    let room = resources(Path::new("."), docs());
    let target = |name: &str, mut arguments: Value| {
        let target = room.target(&tool(&*room, name), &mut arguments).unwrap();
        format!("{target} {arguments}")
    };
    let spelled = r#"docs:///greet/Bob%2FA {"uri":"docs:///greet/Bob%2FA"}"#;
    for uri in ["docs:///greet/Bob%2FA", "docs:///greet/%42ob%2fA", "docs:///greet/%42%6f%62%2F%41"] {
        assert_eq!(target("resource_greet", json!({ "uri": uri })), spelled);
    }
    assert_eq!(
        target("resource_hours", json!({ "uri": "docs:///hours" })),
        r#"docs:///hours {"uri":"docs:///hours"}"#
    );
    // A completion that names a URI beside what it completes is still one.
    let completing = json!({ "ref": {}, "argument": {}, "uri": "docs:///greet/Bob" });
    assert!(target("resource_greet", completing).starts_with("docs:///greet/{who} "));
}

#[tokio::test]
async fn variables_are_completed() {
    let room = resources(Path::new("."), docs());
    let check = async |uri: &str, name: &str, typed: &str, expected: Expect| {
        check(complete(&*room, Completing::Template(uri.into()), name, typed).await, expected);
    };
    check(
        "docs:///tier/{tier}/limit",
        "tier",
        "p",
        expect![[r#"{"completion":{"values":["Premium"],"total":1,"hasMore":false}}"#]],
    )
    .await;
    check(
        "docs:///customer/{name}",
        "name",
        "BETA",
        expect![[r#"{"completion":{"values":["Beta Inc"],"total":1,"hasMore":false}}"#]],
    )
    .await;
    check(
        "docs:///greet/{who}",
        "who",
        "",
        expect![[r#"{"completion":{"values":[],"total":0,"hasMore":false}}"#]],
    )
    .await;
    check(
        "docs:///greet/{who}",
        "whom",
        "",
        expect![[r#"BadArguments at "/argument/name": there is no argument "whom"; did you mean "who"?"#]],
    )
    .await;
}

#[test]
fn each_resource_has_a_tool_and_stands_in_its_list() {
    let room = resources(Path::new("."), docs());
    let shown = |list: &[std::sync::Arc<tool::Resource>]| -> Vec<String> {
        let line =
            |r: &std::sync::Arc<tool::Resource>| format!("{} {} {:?} {:?}", r.uri, r.tool, r.mime, r.size);
        list.iter().map(line).collect()
    };
    expect![[r#"docs:///hours resource_hours Some("text/markdown") Some(16)"#]]
        .assert_eq(&shown(&room.resources()).join("\n"));
    expect![[r#"
        docs:///any/{+rest} resource_any None None
        docs:///customer/{name} resource_customer None None
        docs:///greet/{who} resource_greet None None
        docs:///tier/{tier}/limit resource_limit None None"#]]
    .assert_eq(&shown(&room.templates()).join("\n"));
    let tools = room.tools();
    assert_eq!(tools.len(), 5);
    assert!(tools.iter().all(|tool| tool.purpose == Purpose::Resource && !tool.has_effect()));
}

#[tokio::test]
async fn a_text_that_would_be_too_large_is_refused() {
    let room = resources(
        Path::new("."),
        json!({ "docs:///{x}": { "name": "x", "text": "{x}{x}", "bytes_max": 10 } }),
    );
    assert!(read(&*room, "docs:///12345").await.is_ok());
    check(
        read(&*room, "docs:///123456").await,
        expect![[
            r#"BadArguments at "/uri": the answer would be larger than 10 bytes, and half of it would mislead; ask for less, or let an operator raise `bytes_max`"#
        ]],
    );
}

#[test]
fn everything_that_is_wrong_is_said() {
    let config: Config = serde_json::from_value(json!({
        "no-scheme": { "name": "a", "text": "x" },
        "docs:///a b": { "name": "b", "text": "x" },
        "artefact:///x": { "name": "c", "text": "x" },
        "docs:///{": { "name": "d", "text": "x" },
        "docs:///{?q}": { "name": "d2", "text": "x" },
        "docs:///e": { "name": "b", "text": "x" },
        "docs:///f": { "name": "f" },
        "docs:///g": { "name": "g", "text": "x", "file": "x" },
        "docs:///h": { "name": "h", "text": "x", "variables": { "v": {} } },
        "docs:///i/{order}": { "name": "i", "text": "{ordr} {", "variables": { "ordre": {} } },
        "docs:///j/{order}": { "name": "j", "text": "{ordr}" },
        "docs:///k": { "name": "k", "text": "12345", "bytes_max": 4 },
        "docs:///l": { "name": "l", "file": "../x" },
        "docs:///m": { "name": "m", "file": "/etc/passwd" },
        "docs:///n": { "name": "n", "file": "" },
        "docs:///o/{x}": { "name": "o", "file": "a/{x}/../y" },
        "docs:///p": { "name": "no good", "text": "x" },
    }))
    .unwrap();
    check_faults(
        config.check(),
        expect![[r#"
        /resources/artefact:~1~1~1x: "artefact:///x" is where kept results are (take another scheme)
        /resources/docs:~1~1~1a b: "docs:///a b" is no URI (write other characters as %XX)
        /resources/docs:~1~1~1e/name: there are two resources named "b"; rename one
        /resources/docs:~1~1~1f: it has no content (add `text` or `file`)
        /resources/docs:~1~1~1g/file: it has a text already (keep `text` or `file`)
        /resources/docs:~1~1~1h/variables/v: there is no variable "v" (no variable is declared)
        /resources/docs:~1~1~1i~1{order}/variables/ordre: there is no variable "ordre" (did you mean "order"?)
        /resources/docs:~1~1~1i~1{order}/text: a `{` stands alone on line 1; write `{{` for the character itself
        /resources/docs:~1~1~1j~1{order}/text: there is no variable "ordr" (did you mean "order"?)
        /resources/docs:~1~1~1k/text: it has 5 bytes, and `bytes_max` is 4
        /resources/docs:~1~1~1l/file: `..` leads out of the folder of the configuration
        /resources/docs:~1~1~1m/file: a path starts at the folder of the configuration, not at the root
        /resources/docs:~1~1~1n/file: the file has no name
        /resources/docs:~1~1~1o~1{x}/file: `..` leads out of the folder of the configuration
        /resources/docs:~1~1~1p/name: "resource_no good" is not a tool name: use 1 to 64 letters, digits, '_' or '-'
        /resources/docs:~1~1~1{: a brace stands alone
        /resources/docs:~1~1~1{?q}: {?q} is neither {name} nor {+name}
        /resources/no-scheme: "no-scheme" is no URI (begin it with a scheme, such as docs:///runbook)"#]],
    );
}
