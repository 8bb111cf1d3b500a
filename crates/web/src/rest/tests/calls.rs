//! What is sent, and what comes back.

use super::*;

/// Calls a tool and shows what the server saw and what the caller got.
async fn check(api: Value, tool: Value, calls: &[Value], expected: Expect) {
    let (bed, seen) = echo().await;
    let (provider, _) = opened(&section(&bed, api, json!({ "it": tool })));
    let mut shown = String::new();
    for arguments in calls {
        let result = call(&*provider, "it", arguments.clone()).await;
        for request in seen.lock().unwrap().drain(..) {
            shown.push_str(&format!("{request}\n"));
        }
        shown.push_str(&format!("-> {}\n", show(&result)));
    }
    expected.assert_eq(&shown);
}

#[tokio::test]
async fn arguments_go_where_they_are_declared() {
    check(
        json!({ "headers": { "x-version": "3" }, "propagate_trace": false }),
        json!({
            "api": "shop", "method": "GET", "description": "d", "path": "/customers/{id}/orders",
            "parameters": {
                "id": { "in": "path", "type": "integer" },
                "status": { "in": "query", "type": "string", "name": "state", "required": false },
                "tags": { "in": "query", "type": "array", "required": false },
                "lang": { "in": "header", "type": "string", "name": "Accept-Language", "required": false }
            }
        }),
        &[
            json!({ "id": 42 }),
            json!({ "id": 42, "status": "a&b=c d#\u{e4}", "tags": ["x", 1, true, "y&z"], "lang": "de" }),
            json!({ "id": 42, "tags": [] }),
            json!({ "id": 42, "tags": [{}] }),
            json!({ "id": 42, "lang": "de\r\nx-evil: 1" }),
            json!({ "id": 42, "lang": "d\u{e9}" }),
            json!({ "id": 42, "lang": " de" }),
            json!({ "id": "../admin" }),
        ],
        expect![[r#"
            GET /v1/customers/42/orders
              x-version: 3
            -> raw {"ok":true}
            GET /v1/customers/42/orders?state=a%26b%3Dc+d%23%C3%A4&tags=x&tags=1&tags=true&tags=y%26z
              x-version: 3
              accept-language: de
            -> raw {"ok":true}
            GET /v1/customers/42/orders
              x-version: 3
            -> raw {"ok":true}
            -> BadArguments (invalid) expected texts, numbers or booleans at /tags
            -> BadArguments (invalid) a header holds printable ASCII without spaces at either end at /lang
            -> BadArguments (invalid) a header holds printable ASCII without spaces at either end at /lang
            -> BadArguments (invalid) a header holds printable ASCII without spaces at either end at /lang
            -> BadArguments (invalid) "../admin" holds a separator or a control character and cannot go into a path at /id
        "#]],
    )
    .await;
}

#[tokio::test]
async fn bodies_are_made_of_members_or_are_one_argument() {
    check(
        json!({ "propagate_trace": false }),
        json!({
            "api": "shop", "method": "POST", "description": "d", "path": "/orders",
            "parameters": {
                "total": { "in": "body", "type": "integer" },
                "email": { "in": "body", "type": "string", "name": "/customer/email", "required": false },
                "note": { "in": "body", "type": "string", "name": "/customer/a~1b", "required": false }
            }
        }),
        &[json!({ "total": 5 }), json!({ "total": 5, "email": "a@b", "note": "n" }), json!({})],
        expect![[r#"
            POST /v1/orders
              content-type: application/json
              {"total":5}
            -> raw {"ok":true}
            POST /v1/orders
              content-type: application/json
              {"total":5,"customer":{"email":"a@b","a/b":"n"}}
            -> raw {"ok":true}
            POST /v1/orders
              content-type: application/json
              {}
            -> raw {"ok":true}
        "#]],
    )
    .await;
    check(
        json!({ "propagate_trace": false }),
        json!({
            "api": "shop", "method": "PUT", "description": "d", "path": "/orders/{id}", "body": "order",
            "parameters": { "id": { "in": "path", "type": "string" }, "order": { "in": "body", "type": "array" } }
        }),
        &[json!({ "id": "a b", "order": [1, { "x": null }] })],
        expect![[r#"
            PUT /v1/orders/a%20b
              content-type: application/json
              [1,{"x":null}]
            -> raw {"ok":true}
        "#]],
    )
    .await;
}

#[tokio::test]
async fn credentials_and_the_trace_go_along() {
    let tool = json!({ "api": "shop", "method": "DELETE", "description": "d", "path": "/" });
    for (auth, expected) in [
        (
            json!({ "bearer": "t0p" }),
            expect![[r#"
            DELETE /v1/
              authorization: Bearer t0p
              x-request-id: req-test
            -> raw {"ok":true}
        "#]],
        ),
        (
            json!({ "header": { "name": "X-API-Key", "value": "t0p" } }),
            expect![[r#"
            DELETE /v1/
              x-api-key: t0p
              x-request-id: req-test
            -> raw {"ok":true}
        "#]],
        ),
        (
            json!({ "basic": { "user": "u", "password": "t0p" } }),
            expect![[r#"
            DELETE /v1/
              authorization: Basic dTp0MHA=
              x-request-id: req-test
            -> raw {"ok":true}
        "#]],
        ),
    ] {
        check(json!({ "auth": auth }), tool.clone(), &[json!({})], expected).await;
    }
}

#[tokio::test]
async fn a_trace_is_passed_on() {
    let (bed, seen) = echo().await;
    let config = section(
        &bed,
        json!({}),
        json!({ "it": { "api": "shop", "method": "GET", "description": "d", "path": "/" } }),
    );
    let (provider, _) = opened(&config);
    let tool = Arc::clone(&provider.tools()[0]);
    let mut call = tool::Call::new(
        tool::Kind::tool("it", tool::json::raw(&json!({}))),
        tool::Face::Rest,
        tool::RequestId::ours("req-1"),
    );
    call.traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into());
    let caller = testkit::caller("tester", tool::PrincipalKind::Human);
    let good_for = std::time::Duration::from_secs(30);
    let permit = testkit::permit_for_call(call, caller, &tool, json!({}), good_for);
    provider.run(permit, testkit::talk()).await.unwrap();
    expect![[r#"
        GET /v1/
          x-request-id: req-1
          traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"#]]
    .assert_eq(&seen.lock().unwrap().join("\n"));
}

#[tokio::test]
async fn answers_are_taken_apart() {
    const LIST: &[u8] =
        br#"{"data": [{"id": 1, "n": {"a/b": "x"}}, {"id": 18446744073709551615}], "more": 1.50}"#;
    let get = |more: Value| {
        let mut tool = json!({ "api": "shop", "method": "GET", "description": "d", "path": "/" });
        tool.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        tool
    };
    let bed = always(200, "application/json", LIST).await;
    let tools = json!({
        "whole": get(json!({})),
        "typed": get(json!({ "output": { "type": "object" } })),
        "part": get(json!({ "response": { "pointer": "/data/0" } })),
        "root": get(json!({ "response": { "fields": { "count": "/more", "first": "/data/0/id", "none": "/x" } } })),
        "list": get(json!({ "response": { "pointer": "/data", "fields": { "id": "/id", "name": "/n/a~1b" } } })),
        "missing": get(json!({ "response": { "pointer": "/rows" } })),
        "scalar": get(json!({ "response": { "pointer": "/more", "fields": { "x": "/x" } } })),
        "text": get(json!({ "response": { "body": "text" } })),
        "none": get(json!({ "response": { "body": "none" } }))
    });
    let (provider, meter) = opened(&section(&bed, json!({}), tools));
    let mut shown = String::new();
    for tool in provider.tools().iter() {
        let result = call(&*provider, tool.name.as_str(), json!({})).await;
        shown.push_str(&format!("{}: {}\n", tool.name, show(&result)));
    }
    expect![[r#"
        list: [{"id":1,"name":"x"},{"id":18446744073709551615,"name":null}]
        missing: Upstream (retry) shop answered without "/rows", where the result should be
        none: {"status":200}
        part: {"id":1,"n":{"a/b":"x"}}
        root: {"count":1.5,"first":1,"none":null}
        scalar: Upstream (retry) shop answered with a plain value where an object should be
        text: {"text":"{\"data\": [{\"id\": 1, \"n\": {\"a/b\": \"x\"}}, {\"id\": 18446744073709551615}], \"more\": 1.50}"}
        typed: {"data":[{"id":1,"n":{"a/b":"x"}},{"id":18446744073709551615}],"more":1.5}
        whole: raw {"data": [{"id": 1, "n": {"a/b": "x"}}, {"id": 18446744073709551615}], "more": 1.50}
    "#]].assert_eq(&shown);
    assert_eq!(*meter.0.lock().unwrap(), ["rest:shop protocol", "rest:shop protocol"]);
}

#[tokio::test]
async fn the_seeds_example_gives_the_seeds_answer() {
    let stop = tool::StopSource::new();
    let api = lab::ShopApi::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = api.local_addr();
    let running = tokio::spawn(api.run(stop.1));
    let config = serde_json::from_value(json!({
        "apis": { "shop": {
            "base_url": format!("http://{address}"), "allow_private": [address], "health_path": "/health"
        } },
        "tools": {
            "get_customer": {
                "api": "shop", "method": "GET", "path": "/customers/{customer_id}", "description": "Gets a customer.",
                "parameters": { "customer_id": { "in": "path", "type": "integer", "minimum": 1 } },
                "response": { "fields": { "id": "/id", "name": "/name", "email": "/email" } },
                "errors": [{ "status": 404, "error": "Customer not found", "code": "not_found" }]
            },
            "get_orders": {
                "api": "shop", "method": "GET", "path": "/customers/{customer_id}/orders", "description": "Gets orders.",
                "parameters": {
                    "customer_id": { "in": "path", "type": "integer", "exclusiveMinimum": 0 },
                    "status": { "in": "query", "type": "string", "default": "all" }
                },
                "response": { "pointer": "/orders", "fields": { "id": "/id", "total": "/total" } }
            },
            "wait": {
                "api": "shop", "method": "GET", "path": "/slow", "description": "Waits.", "timeout_ms": 100,
                "parameters": { "ms": { "in": "query", "type": "integer" } },
                "errors": [{ "status": "timeout", "error": "API timeout", "code": "retry" }]
            }
        }
    }));
    let (provider, _) = opened(&config.unwrap());
    let mut shown = String::new();
    for (name, arguments) in [
        ("get_customer", json!({ "customer_id": 42 })),
        ("get_customer", json!({ "customer_id": 999 })),
        ("get_orders", json!({ "customer_id": 42, "status": "completed" })),
        ("wait", json!({ "ms": 60_000 })),
    ] {
        shown.push_str(&format!("{name}: {}\n", show(&call(&*provider, name, arguments).await)));
    }
    expect![[r#"
        get_customer: {"id":42,"name":"Acme Corp","email":"contact@acme.com"}
        get_customer: NotFound (not_found) Customer not found
        get_orders: [{"id":420,"total":40000},{"id":424,"total":15000},{"id":425,"total":5000}]
        wait: TimedOut (retry) API timeout
    "#]]
    .assert_eq(&shown);
    assert_eq!(provider.probe().await[0].state, ProbeState::Healthy);
    stop.0.ask();
    running.await.unwrap().unwrap();
}
