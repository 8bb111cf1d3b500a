use expect_test::{Expect, expect};
use serde_json::{Value, json};
use tool::{Completing, Purpose};

use super::{check, check_faults, complete, get, prompts, tool};
use crate::prompts::Config;

fn review() -> Value {
    json!({
        "review": {
            "title": "Review an order",
            "description": "Looks at an order as a clerk would.",
            "arguments": {
                "order": { "description": "The order's id.", "required": true, "chars_max": 8 },
                "tone": { "enum": ["kind", "kind of blunt", "Blunt"] },
                "customer": {
                    "complete": {
                        "tool": "list_customers",
                        "arguments": { "limit": 10 },
                        "pointer": "/customers/*/name"
                    }
                },
                "note": {}
            },
            "messages": [
                { "role": "user", "text": "Review order {order} of {customer}. {note}" },
                { "role": "assistant", "text": "As {{\"tone\": \"{tone}\"}}:" }
            ]
        },
        "hello": { "messages": [{ "role": "user", "text": "Hello" }] }
    })
}

#[tokio::test]
async fn a_prompt_is_filled_in() {
    let room = prompts(review());
    check(
        get(&*room, "review", json!({ "order": "7", "tone": "Blunt", "customer": "Acme" })).await,
        expect![[
            r#"{"description":"Looks at an order as a clerk would.","messages":[{"role":"user","content":{"type":"text","text":"Review order 7 of Acme. "}},{"role":"assistant","content":{"type":"text","text":"As {\"tone\": \"Blunt\"}:"}}]}"#
        ]],
    );
    check(
        get(&*room, "hello", json!({})).await,
        expect![[r#"{"messages":[{"role":"user","content":{"type":"text","text":"Hello"}}]}"#]],
    );
}

#[tokio::test]
async fn what_is_given_is_never_read_for_gaps() {
    let room = prompts(review());
    check(
        get(&*room, "review", json!({ "order": "{note}", "note": "{order}{{\n\"" })).await,
        expect![[
            r#"{"description":"Looks at an order as a clerk would.","messages":[{"role":"user","content":{"type":"text","text":"Review order {note} of . {order}{{\n\""}},{"role":"assistant","content":{"type":"text","text":"As {\"tone\": \"\"}:"}}]}"#
        ]],
    );
}

#[tokio::test]
async fn a_prompt_that_would_be_too_large_is_refused() {
    let text = "{x}".repeat(1_000);
    let room = prompts(json!({
        "many": { "arguments": { "x": {} }, "messages": [{ "role": "user", "text": text }] },
    }));
    // 1 MiB is the usual bound of a tool; the whole answer counts.
    let fits = get(&*room, "many", json!({ "x": "y".repeat(1_048) })).await.unwrap();
    assert_eq!(fits["messages"][0]["content"]["text"].as_str().unwrap().len(), 1_048_000);
    check(
        get(&*room, "many", json!({ "x": "y".repeat(1_049) })).await,
        expect![[
            r#"BadArguments at "": the answer would be larger than 1048576 bytes, and half of it would mislead; ask for less, or let an operator raise `bytes_max`"#
        ]],
    );
    // Its text would fit, its JSON does not.
    check(
        get(&*room, "many", json!({ "x": "\"".repeat(525) })).await,
        expect![[
            r#"BadArguments at "": the answer would be larger than 1048576 bytes, and half of it would mislead; ask for less, or let an operator raise `bytes_max`"#
        ]],
    );
}

#[tokio::test]
async fn what_is_typed_is_completed() {
    let room = prompts(review());
    let of = || Completing::Prompt("review".into());
    let check = async |name: &str, typed: &str, expected: Expect| {
        check(complete(&*room, of(), name, typed).await, expected);
    };
    check(
        "tone",
        "",
        expect![[r#"{"completion":{"values":["kind","kind of blunt","Blunt"],"total":3,"hasMore":false}}"#]],
    )
    .await;
    check(
        "tone",
        "KIND",
        expect![[r#"{"completion":{"values":["kind","kind of blunt"],"total":2,"hasMore":false}}"#]],
    )
    .await;
    check("tone", "kinder", expect![[r#"{"completion":{"values":[],"total":0,"hasMore":false}}"#]]).await;
    check("note", "", expect![[r#"{"completion":{"values":[],"total":0,"hasMore":false}}"#]]).await;
    check(
        "customer",
        "ac",
        expect![[r#"{"completion":{"values":["Acme Corp","acme labs"],"total":2,"hasMore":false}}"#]],
    )
    .await;
    check(
        "ordr",
        "",
        expect![[r#"BadArguments at "/argument/name": there is no argument "ordr"; did you mean "order"?"#]],
    )
    .await;
    check(
        "zzz",
        "",
        expect![[
            r#"BadArguments at "/argument/name": there is no argument "zzz"; it takes order, tone, customer, note"#
        ]],
    )
    .await;
}

#[tokio::test]
async fn at_most_a_hundred_values_are_offered() {
    let offered = async |count: usize| {
        let values: Vec<_> = (0..count).map(|i| format!("v{i}")).collect();
        let room = prompts(json!({
            "p": { "arguments": { "a": { "enum": values } }, "messages": [{ "role": "user", "text": "{a}" }] },
        }));
        let answer = complete(&*room, Completing::Prompt("p".into()), "a", "v").await.unwrap();
        let completion = &answer["completion"];
        let shown = completion["values"].as_array().unwrap().len();
        (shown, completion["total"].as_u64().unwrap(), completion["hasMore"].as_bool().unwrap())
    };
    assert_eq!(offered(100).await, (100, 100, false));
    assert_eq!(offered(101).await, (100, 101, true));
}

#[tokio::test]
async fn a_tool_that_cannot_be_asked_offers_nothing_or_says_why() {
    let ask = async |tool: &str, pointer: &str, expected: Expect| {
        let room = prompts(json!({
            "p": {
                "arguments": { "a": { "complete": { "tool": tool, "pointer": pointer } } },
                "messages": [{ "role": "user", "text": "{a}" }],
            },
        }));
        check(complete(&*room, Completing::Prompt("p".into()), "a", "").await, expected);
    };
    ask("hidden", "/x", expect![[r#"{"completion":{"values":[],"total":0,"hasMore":false}}"#]]).await;
    ask("denied", "/x", expect![[r#"{"completion":{"values":[],"total":0,"hasMore":false}}"#]]).await;
    ask("down", "/x", expect!["Unavailable: the shop is down"]).await;
    ask(
        "list_customers",
        "/customer/*/name",
        expect![[r#"Upstream: the values of "a" cannot be found; ask an operator"#]],
    )
    .await;
}

#[test]
fn each_prompt_has_a_tool_and_stands_in_the_list() {
    let room = prompts(review());
    let governing = tool(&*room, "prompt_review");
    assert_eq!(governing.purpose, Purpose::Prompt);
    expect![[r#"{"type":"object","properties":{"order":{"type":"string","maxLength":8,"description":"The order's id."},"tone":{"type":"string","maxLength":16384,"enum":["kind","kind of blunt","Blunt"]},"customer":{"type":"string","maxLength":16384},"note":{"type":"string","maxLength":16384}},"required":["order"],"additionalProperties":false}"#]].assert_eq(&governing.input.to_string());
    let mut arguments = json!({ "order": "7" });
    assert_eq!(room.target(&governing, &mut arguments).unwrap(), "prompt:review");
    let listed = room.prompts();
    let names: Vec<_> = listed.iter().map(|prompt| &*prompt.name).collect();
    assert_eq!(names, ["hello", "review"]);
    let arguments: Vec<_> = listed[1].arguments.iter().map(|one| (&*one.name, one.required)).collect();
    let in_order = [("order", true), ("tone", false), ("customer", false), ("note", false)];
    assert_eq!(arguments, in_order, "as the configuration has them");
}

#[test]
fn everything_that_is_wrong_is_said() {
    let config: Config = serde_json::from_value(json!({
        "no good": { "messages": [{ "role": "user", "text": "x" }] },
        "": { "messages": [{ "role": "user", "text": "x" }] },
        ("x".repeat(58)): { "messages": [{ "role": "user", "text": "x" }] },
        "p": {
            "arguments": {
                "order": { "enum": ["a", "b", "a"] },
                "an arg": {},
                "both": { "enum": ["a"], "complete": { "tool": "t", "pointer": "/x" } },
                "asks": { "complete": { "tool": "t", "pointer": "rows" } },
            },
            "messages": [
                { "role": "user", "text": "{ordr} and {zzz}" },
                { "role": "user", "text": "{order" },
                { "role": "user", "text": "{if order}" },
            ],
        },
        "none": { "messages": [{ "role": "user", "text": "{x}" }] },
    }))
    .unwrap();
    check_faults(
        config.check(),
        expect![[r#"
        /prompts/: "" is no name of a prompt (use 1 to 57 letters, digits, `_` or `-`)
        /prompts/no good: "no good" is no name of a prompt (use 1 to 57 letters, digits, `_` or `-`)
        /prompts/none/messages/0/text: there is no argument "x" (no argument is declared)
        /prompts/p/arguments/order/enum/2: "a" stands here twice
        /prompts/p/arguments/an arg: "an arg" is no name of an argument (use 1 to 64 letters, digits, `_`, `.` or `-`)
        /prompts/p/arguments/both/complete: the values are named already (keep `enum` or `complete`)
        /prompts/p/arguments/asks/complete/pointer: a JSON pointer begins with `/` (such as /customers/*/name)
        /prompts/p/messages/0/text: there is no argument "ordr" (did you mean "order"?)
        /prompts/p/messages/0/text: there is no argument "zzz" (there is order, an arg, both, asks)
        /prompts/p/messages/1/text: a `{` stands alone on line 1; write `{{` for the character itself
        /prompts/p/messages/2/text: {if order} is no gap; write the name of an argument in it, or `{{` for the character itself
        /prompts/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx: "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" is no name of a prompt (use 1 to 57 letters, digits, `_` or `-`)"#]],
    );
    let asked: Vec<_> = config.completions().map(|one| format!("{} {}", one.pointer, one.tool)).collect();
    assert_eq!(
        asked,
        ["/prompts/p/arguments/both/complete/tool t", "/prompts/p/arguments/asks/complete/tool t"]
    );
}

#[test]
fn the_longest_name_is_taken() {
    let config: Config = serde_json::from_value(json!({
        ("x".repeat(57)): { "messages": [{ "role": "user", "text": "x" }] },
    }))
    .unwrap();
    check_faults(config.check(), expect![""]);
}
