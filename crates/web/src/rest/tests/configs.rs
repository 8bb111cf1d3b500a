//! The section: what is refused, and what tools it makes.

use super::*;

#[test]
fn the_section_is_checked() {
    let config: Config = serde_json::from_value(json!({
        "apis": {
            "shop": {
                "base_url": "http://127.0.0.1:8098", "allow_private": ["127.0.0.1:8099", "10.0.0.1"],
                "headers": { "Host": "x", "a b": "c", "x-ok": "line\nend" },
                "auth": { "basic": { "user": "a:b", "password": "p" } },
                "retry_wait_ms": 5000, "health_path": "/h/{x}"
            },
            "local": { "base_url": "http://localhost:8098", "auth": { "header": { "name": "Host", "value": "v" } } },
            "good": {
                "base_url": "http://localhost:8098/v1/", "allow_private": ["localhost:8098"], "health_path": "/health"
            },
            "user": { "base_url": "https://u:p@api.test/" },
            "query": { "base_url": "https://api.test/?a=b", "health_path": "health" },
            "ftp": { "base_url": "ftp://api.test" }
        },
        "tools": {
            "bad.name": { "api": "shap", "method": "GET", "path": "x", "description": " " },
            "a": {
                "api": "good", "method": "GET", "path": "/{customer_ib}", "description": "d",
                "parameters": {
                    "customer_id": { "in": "path", "type": "array", "name": "n", "required": false },
                    "b": { "in": "body", "type": "string" },
                    "h": { "in": "header", "type": "string", "name": "Authorization" },
                    "q": { "in": "query", "type": "object" },
                    "q2": { "in": "query", "type": "string", "name": "Q" }
                },
                "response": { "pointer": "data", "fields": { "id": "id" }, "body": "text" },
                "errors": [
                    { "status": 200, "error": "e" },
                    { "status": "6xx", "error": "e" },
                    { "status": "timeout", "error": "" }
                ],
                "output": [], "examples": [1],
                "deprecated": { "removal": "2026-13-01", "since": "soon" }
            },
            "b": {
                "api": "good", "method": "POST", "path": "/x", "description": "d", "body": "ordr",
                "parameters": {
                    "order": { "in": "body", "type": "object", "name": "/a//b" },
                    "query": { "in": "query", "type": "string" }
                }
            },
            "c": {
                "api": "good", "method": "POST", "path": "/x", "description": "d", "body": "order",
                "parameters": {
                    "order": { "in": "body", "type": "object" }, "other": { "in": "body", "type": "string" }
                }
            }
        }
    }))
    .unwrap();
    let faults: Vec<_> = config.check().iter().map(ToString::to_string).collect();
    expect![[r#"
        /rest/apis/ftp/base_url: the scheme "ftp" is not taken; use http or https (such as https://api.example.com/v2)
        /rest/apis/local/base_url: localhost:8098 is a loopback address and would be refused (add "localhost:8098" to allow_private)
        /rest/apis/local/auth/header/name: the header "Host" is set by the client itself
        /rest/apis/query/base_url: it must not hold a query or a fragment (such as https://api.example.com/v2)
        /rest/apis/query/health_path: "health" does not begin with `/`
        /rest/apis/shop/base_url: 127.0.0.1:8098 is a loopback address and would be refused (add "127.0.0.1:8098" to allow_private)
        /rest/apis/shop/allow_private/1: "10.0.0.1" names no port; write host:port (such as 127.0.0.1:8098)
        /rest/apis/shop/headers/Host: the header "Host" is set by the client itself
        /rest/apis/shop/headers/a b: "a b" is not the name of a header
        /rest/apis/shop/headers/x-ok: the value holds a character that no header may hold
        /rest/apis/shop/auth/basic/user: the user of basic credentials holds no `:`
        /rest/apis/shop/health_path: it takes no parameters
        /rest/apis/shop/retry_wait_ms: it is longer than retry_wait_ms_max
        /rest/apis/user/base_url: the URL must not hold a user name or password (such as https://api.example.com/v2)
        /rest/tools/a/path: there is no parameter `in: path` "customer_ib" (did you mean "customer_id"?)
        /rest/tools/a/parameters/customer_id/in: the path has no place {customer_id} for it
        /rest/tools/a/parameters/customer_id/type: a list goes into a query or a body, an object into a body alone
        /rest/tools/a/parameters/customer_id/name: a parameter of the path is named by its place in braces
        /rest/tools/a/parameters/customer_id/required: a parameter of the path is required or has a default
        /rest/tools/a/parameters/b/in: a request of this method has no body
        /rest/tools/a/parameters/h/name: the header "Authorization" is set by the client itself
        /rest/tools/a/parameters/q/type: a list goes into a query or a body, an object into a body alone
        /rest/tools/a/parameters/q2: another parameter is sent under the same name
        /rest/tools/a/response/pointer: "data" is not a pointer (such as /data)
        /rest/tools/a/response/fields/id: "id" is not a pointer (such as /id)
        /rest/tools/a/response/body: only JSON can be taken apart
        /rest/tools/a/errors/0/status: expected a status from 400 to 599, or one of 4xx, 5xx, timeout, connect
        /rest/tools/a/errors/1/status: expected a status from 400 to 599, or one of 4xx, 5xx, timeout, connect
        /rest/tools/a/errors/2/error: the sentence is empty
        /rest/tools/a/output: expected a JSON Schema, which is an object
        /rest/tools/a/examples/0: expected arguments, which are an object
        /rest/tools/a/deprecated/removal: expected a day as YYYY-MM-DD
        /rest/tools/a/deprecated/since: expected a day as YYYY-MM-DD
        /rest/tools/b/parameters/order/name: "/a//b" is not a pointer to a member
        /rest/tools/b/body: there is no parameter "ordr" (did you mean "order"?)
        /rest/tools/b/parameters/order/in: "ordr" is the whole body; there is no room for it
        /rest/tools/bad.name: "bad.name" is not a tool name: use 1 to 64 letters, digits, '_' or '-'
        /rest/tools/bad.name/api: there is no api "shap" (did you mean "shop"?)
        /rest/tools/bad.name/description: it says nothing; models choose tools by their description
        /rest/tools/bad.name/path: "x" does not begin with `/` (such as /customers/{customer_id})
        /rest/tools/c/parameters/other/in: "order" is the whole body; there is no room for it"#]].assert_eq(&faults.join("\n"));
}

#[test]
fn unknown_names_are_errors() {
    for text in [
        json!({ "api": {} }),
        json!({ "apis": { "a": { "base_url": "http://a.test", "time_out": 1 } } }),
        json!({ "apis": { "a": { "base_url": "http://a.test", "auth": { "digest": "x" } } } }),
        json!({ "tools": { "t": { "api": "a", "method": "get", "path": "/", "description": "d" } } }),
    ] {
        assert!(serde_json::from_value::<Config>(text.clone()).is_err(), "{text}");
    }
}

#[test]
fn a_secret_that_cannot_be_had_is_a_fault_of_the_configuration() {
    let parts = testkit::parts(std::path::Path::new("."));
    for auth in [json!({ "bearer": { "file": "/none" } }), json!({ "bearer": "line\nend-t0p" })] {
        let config: Config = serde_json::from_value(
            json!({ "apis": { "a": { "base_url": "https://a.test", "auth": auth } } }),
        )
        .unwrap();
        let faults = open(&config, &parts).err().unwrap();
        assert_eq!((faults.len(), faults[0].pointer.as_str()), (1, "/rest/apis/a/auth"), "{faults:?}");
        assert!(!faults[0].to_string().contains("t0p"));
    }
}

#[test]
fn a_trusted_url_may_be_private() {
    assert_eq!(ApiConfig::at("http://localhost:9000/v1", true).allow_private, ["localhost:9000"]);
    assert_eq!(ApiConfig::at("https://10.0.0.7", true).allow_private, ["10.0.0.7:443"]);
    assert!(ApiConfig::at("http://localhost:9000", false).allow_private.is_empty());
    let mut config = Config::default();
    config.apis.insert("api".into(), ApiConfig::at("http://[::1]:9000", true));
    assert_eq!(config.check(), []);
}

#[test]
fn tools_say_what_they_do() {
    let tool = |method: &str, more: Value| {
        let mut tool = json!({ "api": "a", "method": method, "path": "/", "description": "d" });
        tool.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        tool
    };
    let config: Config = serde_json::from_value(json!({
        "apis": { "a": { "base_url": "https://a.test", "timeout_ms": 4000, "retries": 3 } },
        "tools": {
            "delete": tool("DELETE", json!({})),
            "get": tool("GET", json!({ "cache_seconds": 60, "timeout_ms": 500 })),
            "patch": tool("PATCH", json!({ "idempotent": true })),
            "post": tool("POST", json!({})),
            "put": tool("PUT", json!({ "idempotent": false })),
            "search": tool("POST", json!({ "effect": "reads", "cache_seconds": 0 }))
        }
    }))
    .unwrap();
    let (provider, _) = opened(&config);
    let shown: Vec<_> = provider
        .tools()
        .iter()
        .map(|tool| {
            let again = tool.retry.map_or(0, |retry| retry.again_max);
            format!(
                "{}: {:?}, {:?}, again {again}, {:?} at most, cached {:?}",
                tool.name, tool.effect, tool.repeats, tool.time_max, tool.caching
            )
        })
        .collect();
    expect![[r#"
        delete: Destroys, Safe, again 3, 23s at most, cached Off
        get: Reads, Safe, again 3, 9s at most, cached For(60s)
        patch: Changes, Safe, again 3, 23s at most, cached Off
        post: Changes, Counts, again 0, 5s at most, cached Off
        put: Changes, Counts, again 0, 5s at most, cached Off
        search: Reads, Safe, again 3, 23s at most, cached Off"#]]
    .assert_eq(&shown.join("\n"));
}

#[test]
fn a_whole_tool_is_described() {
    let config: Config = serde_json::from_value(json!({
        "apis": { "a": { "base_url": "https://a.test" } },
        "tools": { "get_orders": {
            "api": "a", "method": "GET", "path": "/customers/{customer_id}/orders",
            "description": "Fetches the orders of a customer.", "title": "Orders", "version": "2",
            "aliases": ["orders.get"], "labels": ["pii"], "rate_per_minute": 30, "concurrent_max": 4,
            "bytes_max": 1000, "examples": [{ "customer_id": 42 }],
            "parameters": {
                "customer_id": { "in": "path", "type": "integer", "exclusiveMinimum": 0, "description": "Customer ID" },
                "status": {
                    "in": "query", "type": "string", "default": "all", "enum": ["all", "completed"], "maxLength": 20
                },
                "ids": { "in": "query", "type": "array", "items": { "type": "integer" }, "maxItems": 5, "required": false }
            },
            "deprecated": { "removal": "2027-01-31", "instead": "get_orders_v2" }
        } }
    }))
    .unwrap();
    let (provider, _) = opened(&config);
    let tool = &provider.tools()[0];
    expect![[r#"
        {
          "type": "object",
          "properties": {
            "customer_id": {
              "type": "integer",
              "description": "Customer ID",
              "exclusiveMinimum": 0
            },
            "status": {
              "type": "string",
              "default": "all",
              "enum": [
                "all",
                "completed"
              ],
              "maxLength": 20
            },
            "ids": {
              "type": "array",
              "items": {
                "type": "integer"
              },
              "maxItems": 5
            }
          },
          "additionalProperties": false,
          "required": [
            "customer_id"
          ]
        }
        Some(Deprecation { since: None, removal: "2027-01-31", instead: Some("get_orders_v2") })"#]]
    .assert_eq(&format!("{:#}\n{:?}", tool.input, tool.deprecation));
    let mut arguments = json!({ "customer_id": 42, "status": "all" });
    assert_eq!(provider.target(tool, &mut arguments).unwrap(), "rest:a/customers/42/orders");
    let shown = (tool.labels.len(), tool.rate.map(|rate| rate.calls), tool.concurrent_max, tool.bytes_max);
    assert_eq!(shown, (1, Some(30), Some(4), 1000));
}
