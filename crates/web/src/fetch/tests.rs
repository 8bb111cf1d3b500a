use std::io::Write as _;

use axum::{
    Router,
    http::{Method as Verb, header::CONTENT_TYPE},
    response::Html,
    routing::get,
};
use expect_test::{Expect, expect};

use super::*;
use crate::beds::{Bed, Counting, FakeLookup, answer};

fn opened(config: &Config) -> (Arc<dyn Provider>, Arc<Counting>) {
    let meter = Arc::new(Counting::default());
    let mut parts = testkit::parts(std::path::Path::new("."));
    parts.meter = Arc::clone(&meter) as Arc<dyn Meter>;
    let lookup = FakeLookup::new(&["page.test=127.0.0.1", "private.test=10.0.0.7"]);
    (open_with(config, &parts, lookup).unwrap(), meter)
}

fn config(bed: &Bed) -> Config {
    let port = bed.port();
    Config {
        allow: vec![format!("127.0.0.1:{port}"), format!("*.test:{port}")],
        allow_private: vec![format!("127.0.0.1:{port}")],
        ..Config::default()
    }
}

async fn fetch(provider: &dyn Provider, mut arguments: Value) -> Result<Outcome, Fault> {
    for (name, default) in [("method", "GET"), ("format", "text")] {
        arguments.as_object_mut().unwrap().entry(name).or_insert(default.into());
    }
    let permit = testkit::permit_of(provider, "http_fetch", arguments)?;
    match provider.run(permit, testkit::talk()).await? {
        Reply::Done(outcome) => Ok(outcome),
        other => panic!("{other:?}"),
    }
}

async fn check(bed: &Bed, config: &Config, arguments: Value, expected: Expect) {
    let (provider, meter) = opened(config);
    let mut shown = match fetch(&*provider, arguments).await {
        Ok(outcome) => {
            let cut = outcome.cut.as_ref().map_or(String::new(), |cut| format!("\ncut by {}", cut.bound));
            format!("{:#}{cut}", outcome.to_value())
        }
        Err(fault) => format!("{:?} {}", fault.code, fault.text),
    };
    for counted in meter.0.lock().unwrap().iter() {
        shown.push_str(&format!("\ncounted {counted}"));
    }
    expected.assert_eq(&shown.replace(&bed.port().to_string(), "PORT"));
}

async fn site() -> Bed {
    let page = "<title>A page</title><p>Read <a href=/b>this</a>.<script>x()</script>";
    Bed::app(
        Router::new()
            .route("/", get(async move || Html(page)))
            .route("/json", get(async || ([(CONTENT_TYPE, "application/json")], r#"{"a":1}"#)))
            .route("/png", get(async || ([(CONTENT_TYPE, "image/png")], "\u{89}PNG")))
            .route(
                "/latin",
                get(async || ([(CONTENT_TYPE, "text/plain; charset=latin1")], b"na\xefve".to_vec())),
            )
            .route("/verb", get(async |verb: Verb| verb.to_string())),
    )
    .await
}

#[tokio::test]
async fn a_page_is_fetched_as_text_with_links_or_raw() {
    let bed = site().await;
    let config = config(&bed);
    let url = format!("http://0x7f.1:{}/#top", bed.port());
    check(
        &bed,
        &config,
        json!({ "url": url }),
        expect![[r#"
        {
          "url": "http://127.0.0.1:PORT/",
          "status": 200,
          "content_type": "text/html; charset=utf-8",
          "title": "A page",
          "text": "Read this.",
          "truncated": false
        }"#]],
    )
    .await;
    check(
        &bed,
        &config,
        json!({ "url": url, "format": "links" }),
        expect![[r#"
        {
          "url": "http://127.0.0.1:PORT/",
          "status": 200,
          "content_type": "text/html; charset=utf-8",
          "title": "A page",
          "text": "Read this (http://127.0.0.1:PORT/b).",
          "truncated": false
        }"#]],
    )
    .await;
    check(
        &bed,
        &config,
        json!({ "url": url, "format": "raw" }),
        expect![[r#"
        {
          "url": "http://127.0.0.1:PORT/",
          "status": 200,
          "content_type": "text/html; charset=utf-8",
          "text": "<title>A page</title><p>Read <a href=/b>this</a>.<script>x()</script>",
          "truncated": false
        }"#]],
    )
    .await;
    check(
        &bed,
        &config,
        json!({ "url": url, "method": "HEAD" }),
        expect![[r#"
        {
          "url": "http://127.0.0.1:PORT/",
          "status": 200,
          "content_type": "text/html; charset=utf-8",
          "text": "",
          "truncated": false
        }"#]],
    )
    .await;
}

#[tokio::test]
async fn other_content_is_text_or_refused_by_its_type() {
    let bed = site().await;
    let config = config(&bed);
    let url = |path: &str| json!({ "url": format!("http://page.test:{}/{path}", bed.port()) });
    check(
        &bed,
        &config,
        url("json"),
        expect![[r#"
        {
          "url": "http://page.test:PORT/json",
          "status": 200,
          "content_type": "application/json",
          "text": "{\"a\":1}",
          "truncated": false
        }"#]],
    )
    .await;
    check(
        &bed,
        &config,
        url("latin"),
        expect![[r#"
        {
          "url": "http://page.test:PORT/latin",
          "status": 200,
          "content_type": "text/plain; charset=latin1",
          "text": "naïve",
          "truncated": false
        }"#]],
    )
    .await;
    check(&bed, &config, url("png"), expect!["Denied page.test:PORT answered with image/png, which is not returned as text; `fetch.content_types` lists what is"]).await;
    check(
        &bed,
        &config,
        url("verb"),
        expect![[r#"
        {
          "url": "http://page.test:PORT/verb",
          "status": 200,
          "content_type": "text/plain; charset=utf-8",
          "text": "GET",
          "truncated": false
        }"#]],
    )
    .await;
    check(
        &bed,
        &config,
        url("nothing"),
        expect![[r#"
        {
          "url": "http://page.test:PORT/nothing",
          "status": 404,
          "content_type": "text/plain",
          "text": "",
          "truncated": false
        }
        counted fetch 404"#]],
    )
    .await;
    let (untyped, _) = Bed::bytes(answer("200 OK", b"\0\x01binary"), false).await;
    let at = json!({ "url": format!("http://{}/", untyped.address) });
    check(&untyped, &self::config(&untyped), at, expect!["Denied 127.0.0.1:PORT answered with application/octet-stream, which is not returned as text; `fetch.content_types` lists what is"]).await;
}

#[tokio::test]
async fn what_is_not_listed_is_not_asked() {
    let bed = site().await;
    let config = config(&bed);
    let port = bed.port();
    for (url, expected) in [
        (
            format!("http://127.0.0.1:{port}@evil.test/"),
            expect!["BadArguments the URL must not hold a user name or password"],
        ),
        (
            "http://127.0.0.1/".to_owned(),
            expect![
                "Denied 127.0.0.1 is not among the hosts that may be fetched; an operator can add it to `fetch.allow`"
            ],
        ),
        (
            format!("http://[::1]:{port}/"),
            expect![
                "Denied [::1]:PORT is not among the hosts that may be fetched; an operator can add it to `fetch.allow`"
            ],
        ),
        (
            "http://169.254.169.254/latest/".to_owned(),
            expect![
                "Denied 169.254.169.254 is not among the hosts that may be fetched; an operator can add it to `fetch.allow`"
            ],
        ),
        (
            format!("http://private.test:{port}/"),
            expect![
                "Denied private.test:PORT is or leads to an address of a private network and is not reached from here; an operator can allow the host and port in `fetch.allow_private`"
            ],
        ),
        (
            format!("http://unknown.test:{port}/"),
            expect![[r#"
            Upstream cannot find the host unknown.test:PORT
            counted fetch dns"#]],
        ),
        (
            "file:///etc/passwd".to_owned(),
            expect![[r#"BadArguments the scheme "file" is not taken; use http or https"#]],
        ),
        (
            "page.test".to_owned(),
            expect!["BadArguments this is not an absolute URL: relative URL without a base"],
        ),
    ] {
        check(&bed, &config, json!({ "url": url }), expected).await;
    }
    let closed = Config { allow: Vec::new(), ..config };
    check(&bed, &closed, json!({ "url": format!("http://page.test:{port}/") }), expect!["Denied page.test:PORT is not among the hosts that may be fetched; an operator can add it to `fetch.allow`"]).await;
}

#[tokio::test]
async fn the_target_is_the_host_in_its_one_spelling() {
    let bed = site().await;
    let (provider, _) = opened(&Config { allow: vec!["b\u{fc}cher.example".into()], ..config(&bed) });
    let tool = &provider.tools()[0];
    let mut arguments = json!({ "url": "HTTPS://B\u{dc}CHER.example.:443/a/%2e%2e/b#c" });
    assert_eq!(provider.target(tool, &mut arguments).unwrap(), "http:xn--bcher-kva.example");
    assert_eq!(arguments, json!({ "url": "https://xn--bcher-kva.example/b" }));
}

#[tokio::test]
async fn long_pages_are_cut_at_the_byte_and_slow_ones_given_up() {
    let (bed, _) = Bed::bytes(answer("200 OK\r\ncontent-type: text/plain", b"12345"), false).await;
    let url = json!({ "url": format!("http://{}/", bed.address) });
    for (bytes_max, expected) in [
        (
            5,
            expect![[r#"
        {
          "url": "http://127.0.0.1:PORT/",
          "status": 200,
          "content_type": "text/plain",
          "text": "12345",
          "truncated": false
        }"#]],
        ),
        (
            4,
            expect![[r#"
                {
                  "url": "http://127.0.0.1:PORT/",
                  "status": 200,
                  "content_type": "text/plain",
                  "text": "1234",
                  "truncated": true,
                  "next": {
                    "tool": "http_fetch",
                    "arguments": {
                      "url": "http://127.0.0.1:PORT/",
                      "format": "raw",
                      "offset": 4
                    }
                  }
                }
                cut by bytes"#]],
        ),
    ] {
        check(&bed, &Config { bytes_max, ..config(&bed) }, url.clone(), expected).await;
    }
    let slow = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\nfirst";
    let (bed, mut closed) = Bed::bytes(slow, true).await;
    let url = json!({ "url": format!("http://{}/", bed.address) });
    check(
        &bed,
        &Config { timeout_ms: 100, ..config(&bed) },
        url,
        expect![[r#"
        TimedOut 127.0.0.1:PORT did not answer in time
        counted fetch timeout"#]],
    )
    .await;
    closed.recv().await.unwrap();
}

#[tokio::test]
async fn a_page_that_was_cut_is_read_on_by_what_the_answer_says() {
    let page = "<p>one \u{1f600}\u{e9} two</p>".repeat(9);
    let (bed, _) =
        Bed::bytes(answer("200 OK\r\ncontent-type: text/html; charset=utf-8", page.as_bytes()), false).await;
    let (provider, _) = opened(&Config { bytes_max: 10, ..config(&bed) });
    let url = format!("http://{}/", bed.address);
    let first = fetch(&*provider, json!({ "url": url })).await.unwrap().to_value();
    assert_eq!(first["next"]["arguments"], json!({ "url": url, "format": "raw", "offset": 7 }));
    let (mut whole, mut next) = (String::new(), json!({ "url": url, "format": "raw" }));
    while next.is_object() {
        let outcome = fetch(&*provider, next).await.unwrap();
        let answer = outcome.to_value();
        assert_eq!(
            (&answer["truncated"], answer["next"].is_object()),
            (&json!(outcome.cut.is_some()), outcome.cut.is_some())
        );
        whole.push_str(answer["text"].as_str().unwrap());
        next = answer["next"]["arguments"].clone();
    }
    assert_eq!(whole, page);
    let refused = fetch(&*provider, json!({ "url": url, "offset": 10 })).await.unwrap_err();
    assert_eq!((refused.code, refused.pointer.as_deref()), (tool::Code::BadArguments, Some("/offset")));
}

#[tokio::test]
async fn a_packed_page_is_capped_as_it_unpacks() {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packer.write_all(&vec![b' '; 32 << 20]).unwrap();
    let packed = packer.finish().unwrap();
    let head = "200 OK\r\ncontent-type: text/html\r\ncontent-encoding: gzip";
    let (bed, _) = Bed::bytes(answer(head, &packed), false).await;
    check(
        &bed,
        &config(&bed),
        json!({ "url": format!("http://{}/", bed.address) }),
        expect![[r#"
            {
              "url": "http://127.0.0.1:PORT/",
              "status": 200,
              "content_type": "text/html",
              "text": "",
              "truncated": true,
              "next": {
                "tool": "http_fetch",
                "arguments": {
                  "url": "http://127.0.0.1:PORT/",
                  "format": "raw",
                  "offset": 1048576
                }
              }
            }
            cut by bytes"#]],
    )
    .await;
}

#[tokio::test]
async fn dropping_the_work_closes_the_connection() {
    let (bed, mut closed) = Bed::bytes("", true).await;
    let (provider, _) = opened(&config(&bed));
    let url = format!("http://{}/", bed.address);
    let permit = testkit::permit_of(
        &*provider,
        "http_fetch",
        json!({ "url": url, "method": "GET", "format": "text" }),
    );
    let work = provider.run(permit.unwrap(), testkit::talk());
    tokio::select! {
        _ = work => panic!("nothing ever answers"),
        () = async { while bed.connections() == 0 { tokio::task::yield_now().await } } => {}
    }
    closed.recv().await.unwrap();
}

#[test]
fn the_section_is_checked() {
    let config: Config = serde_json::from_value(json!({
        "allow": ["example.com", "http://example.com", "*", "127.0.0.1:80", "10.0.0.7", "u@h"],
        "allow_private": ["10.0.0.8:80", "10.0.0.9"],
        "methods": [],
        "content_types": ["text/*", "html", "*/*"],
        "user_agent": "line\nend"
    }))
    .unwrap();
    let faults: Vec<_> = config.check().iter().map(ToString::to_string).collect();
    expect![[r#"
        /fetch/allow_private/1: "10.0.0.9" names no port; write host:port (such as 127.0.0.1:8098)
        /fetch/allow/1: "http://example.com" is not a host; write host or host:port, without a scheme or a path (such as example.com or *.example.org)
        /fetch/allow/2: "*" is not a host; write host or host:port, without a scheme or a path (such as example.com or *.example.org)
        /fetch/allow/3: "127.0.0.1:80" is a loopback address and would be refused (add it to fetch.allow_private, with its port)
        /fetch/allow/4: "10.0.0.7" is an address of a private network and would be refused (add it to fetch.allow_private, with its port)
        /fetch/allow/5: "u@h" is not a host; write host or host:port, without a scheme or a path (such as example.com or *.example.org)
        /fetch/methods: no method is left to fetch with ([GET, HEAD])
        /fetch/content_types/1: "html" is not a content type with at most one `*`
        /fetch/content_types/2: "*/*" is not a content type with at most one `*`
        /fetch/user_agent: it holds a character that no header may hold"#]].assert_eq(&faults.join("\n"));
    assert_eq!(Config::default().check(), []);
    assert_eq!(
        Config::from_domains(" example.com, *.example.org ,,").allow,
        ["example.com", "*.example.org"]
    );
    assert!(Config::from_domains("").allow.is_empty());
    assert!(serde_json::from_str::<Config>(r#"{"alow": []}"#).is_err(), "unknown names are errors");
}

#[test]
fn the_tool_is_described() {
    let config = Config { allow: vec!["*.a.test".into(), "example.com".into()], ..Config::default() };
    let tool = describe(&config);
    let shown = json!({ "input": *tool.input, "output": tool.output, "examples": tool.examples });
    expect![[r##"
        {
          "input": {
            "type": "object",
            "properties": {
              "url": {
                "type": "string",
                "description": "an http or https URL on one of the allowed hosts",
                "minLength": 1,
                "maxLength": 8192
              },
              "method": {
                "type": "string",
                "enum": [
                  "GET",
                  "HEAD"
                ],
                "default": "GET"
              },
              "format": {
                "type": "string",
                "enum": [
                  "text",
                  "links",
                  "raw"
                ],
                "default": "text",
                "description": "text: HTML as plain text; links: the same with the URL behind each link; raw: as sent"
              },
              "offset": {
                "type": "integer",
                "minimum": 0,
                "maximum": 1073741824,
                "default": 0,
                "description": "The byte of the page to begin at, as in next of an answer that was cut; goes with the format raw."
              }
            },
            "required": [
              "url"
            ],
            "additionalProperties": false
          },
          "output": {
            "type": "object",
            "properties": {
              "url": {
                "type": "string",
                "description": "The address of the page, after redirects."
              },
              "status": {
                "type": "integer",
                "minimum": 0,
                "maximum": 65535,
                "description": "The HTTP status. A page that says 404 is a result, not a failure."
              },
              "content_type": {
                "type": "string",
                "description": "The content type, as sent."
              },
              "title": {
                "type": [
                  "string",
                  "null"
                ],
                "description": "The title of an HTML page."
              },
              "text": {
                "type": "string",
                "description": "The text."
              },
              "truncated": {
                "type": "boolean",
                "description": "True where the page was longer than is read at once."
              },
              "location": {
                "type": [
                  "string",
                  "null"
                ],
                "description": "Where the page has moved to, where that is on another host and was not followed."
              },
              "next": {
                "anyOf": [
                  {
                    "$ref": "#/$defs/Next"
                  },
                  {
                    "type": "null"
                  }
                ],
                "description": "The call that reads on, where the page was longer, or that goes where it has moved to."
              }
            },
            "required": [
              "url",
              "status",
              "content_type",
              "text",
              "truncated"
            ],
            "description": "What a fetch gives.",
            "title": "Fetched",
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$defs": {
              "Next": {
                "type": "object",
                "properties": {
                  "tool": {
                    "type": "string",
                    "description": "The tool."
                  },
                  "arguments": {
                    "$ref": "#/$defs/NextArguments",
                    "description": "Its arguments."
                  }
                },
                "required": [
                  "tool",
                  "arguments"
                ],
                "description": "The call that reads on where an answer was cut, or goes where it leads."
              },
              "NextArguments": {
                "type": "object",
                "properties": {
                  "url": {
                    "type": "string",
                    "description": "The page."
                  },
                  "method": {
                    "anyOf": [
                      {
                        "$ref": "#/$defs/FetchMethod"
                      },
                      {
                        "type": "null"
                      }
                    ],
                    "description": "The method, where it goes elsewhere."
                  },
                  "format": {
                    "$ref": "#/$defs/Format",
                    "description": "What becomes of the page; as sent, where it reads on."
                  },
                  "offset": {
                    "type": [
                      "integer",
                      "null"
                    ],
                    "minimum": 0,
                    "description": "The byte to begin at, where it reads on."
                  }
                },
                "required": [
                  "url",
                  "format"
                ],
                "description": "Only the page as sent can be begun anywhere: plain text of a page that begins within a tag would be nonsense."
              },
              "FetchMethod": {
                "oneOf": [
                  {
                    "type": "string",
                    "const": "GET",
                    "description": "The page."
                  },
                  {
                    "type": "string",
                    "const": "HEAD",
                    "description": "Its headers alone."
                  }
                ],
                "description": "A method that reads."
              },
              "Format": {
                "oneOf": [
                  {
                    "type": "string",
                    "const": "text",
                    "description": "HTML as plain text."
                  },
                  {
                    "type": "string",
                    "const": "links",
                    "description": "The same with the URL behind each link."
                  },
                  {
                    "type": "string",
                    "const": "raw",
                    "description": "As sent."
                  }
                ],
                "description": "What becomes of a page."
              }
            }
          },
          "examples": [
            {
              "url": "https://example.com/"
            }
          ]
        }"##]].assert_eq(&format!("{shown:#}"));
}

/// A rule that denies a host was got around by asking for a page of another one that redirects there.
#[tokio::test]
async fn a_redirect_to_another_host_walks_the_road_again() {
    let other = site().await;
    let away = format!("http://page.test:{}/json", other.port());
    let first = Bed::app(
        Router::new()
            .route("/away", get(async move || axum::response::Redirect::temporary(&away)))
            .route("/same", get(async || axum::response::Redirect::temporary("/here")))
            .route("/here", get(async || "stayed")),
    )
    .await;
    let (port, far) = (first.port(), other.port());
    let allow = vec![format!("127.0.0.1:{port}"), format!("page.test:{far}")];
    let config = Config { allow, ..config(&first) };
    let at = |path: &str| json!({ "url": format!("http://127.0.0.1:{port}/{path}"), "format": "links" });
    let (provider, _) = opened(&config);
    let told = fetch(&*provider, at("away")).await.unwrap().to_value();
    expect![[r#"
        {
          "url": "http://127.0.0.1:PORT/away",
          "status": 307,
          "content_type": "",
          "text": "",
          "truncated": false,
          "location": "http://page.test:FAR/json",
          "next": {
            "tool": "http_fetch",
            "arguments": {
              "url": "http://page.test:FAR/json",
              "method": "GET",
              "format": "links"
            }
          }
        }"#]]
    .assert_eq(&format!("{told:#}").replace(&far.to_string(), "FAR").replace(&port.to_string(), "PORT"));
    assert_eq!(other.connections(), 0);
    let mut next = told["next"]["arguments"].clone();
    assert_eq!(provider.target(&provider.tools()[0], &mut next).unwrap(), format!("http:page.test:{far}"));
    assert_eq!(fetch(&*provider, at("same")).await.unwrap().to_value()["text"], "stayed");
}
