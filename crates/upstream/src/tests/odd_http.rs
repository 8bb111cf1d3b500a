//! Servers on the network that do what a test says.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request,
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::any,
    serve::ListenerExt as _,
};
use expect_test::expect;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::AbortHandle};
use tool::{Code, Effect, Fault, Notice, ProbeState, StopSource};

use super::bed::{Ear, MemoryPins, Room, said};

mod older;
mod pinned;

/// What came in.
#[derive(Clone)]
struct Asked {
    verb: Method,
    headers: HeaderMap,
    /// The body as it came.
    text: String,
    body: Value,
}

impl Asked {
    fn method(&self) -> &str {
        self.body["method"].as_str().unwrap_or_default()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("-", |value| value.to_str().unwrap())
    }

    /// An answer with this result, as text.
    fn result(&self, result: &str) -> String {
        format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, self.body["id"])
    }

    fn error(&self, error: &str) -> String {
        format!(r#"{{"jsonrpc":"2.0","id":{},"error":{error}}}"#, self.body["id"])
    }
}

type Script = Arc<dyn Fn(&Asked) -> Response + Send + Sync>;

/// A server that stops with the test, and what it was asked.
struct Odd {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: AbortHandle,
}

impl Drop for Odd {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Odd {
    async fn serve(script: impl Fn(&Asked) -> Response + Send + Sync + 'static) -> Self {
        let (script, asked): (Script, Arc<Mutex<Vec<Asked>>>) = (Arc::new(script), Arc::default());
        let seen = Arc::clone(&asked);
        let handler = move |request: Request| {
            let (script, seen) = (Arc::clone(&script), Arc::clone(&seen));
            async move {
                let (head, body) = request.into_parts();
                let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
                let text = String::from_utf8(body.to_vec()).unwrap();
                let body = serde_json::from_str(&text).unwrap_or_default();
                let asked = Asked { verb: head.method, headers: head.headers, text, body };
                seen.lock().unwrap().push(asked.clone());
                script(&asked)
            }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let listener = listener.tap_io(|socket| socket.set_nodelay(true).unwrap());
        let router = Router::new().route("/mcp", any(handler));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }).abort_handle();
        Self { address, asked, task }
    }

    /// A modern server with these tools; `call` answers what is not asked while it is opened.
    async fn modern(tools: &'static str, call: impl Fn(&Asked) -> Response + Send + Sync + 'static) -> Self {
        Self::serve(move |asked| match asked.method() {
            "server/discover" => discovered(asked),
            "tools/list" => {
                json_answer(asked.result(&format!(r#"{{"resultType":"complete","tools":{tools}}}"#)))
            }
            _ => call(asked),
        })
        .await
    }

    fn section(&self, more: Value) -> Value {
        let mut one = json!({
            "url": format!("http://{}/mcp", self.address),
            "allow_private": [self.address.to_string()],
            "timeout_ms": 1_000,
            "probe_timeout_ms": 500,
            "reads": ["read*"],
        });
        one.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "odd": one })
    }

    async fn open(&self) -> Room {
        Room::open(self.section(json!({}))).await
    }

    /// What was asked with this method.
    fn asked(&self, method: &str) -> Vec<Asked> {
        self.asked.lock().unwrap().iter().filter(|asked| asked.method() == method).cloned().collect()
    }
}

fn json_answer(text: impl Into<String>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text.into()).into_response()
}

fn status(status: u16, content_type: &'static str, text: impl Into<String>) -> Response {
    let status = StatusCode::from_u16(status).unwrap();
    (status, [(header::CONTENT_TYPE, content_type)], text.into()).into_response()
}

/// Events, each a piece of its own; then the end, or nothing more for ever.
fn events(pieces: Vec<String>, is_open: bool) -> Response {
    let pieces = futures_util::stream::iter(pieces).map(|piece| Ok::<_, Infallible>(Bytes::from(piece)));
    let body = match is_open {
        true => Body::from_stream(pieces.chain(futures_util::stream::pending())),
        false => Body::from_stream(pieces),
    };
    ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
}

fn event(json: &str) -> String {
    format!("data: {json}\n\n")
}

fn discovered(asked: &Asked) -> Response {
    json_answer(asked.result(
        r#"{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":0,"cacheScope":"public"}"#,
    ))
}

const ONE_TOOL: &str =
    r#"[{"name":"do","inputSchema":{"type":"object"}},{"name":"read","inputSchema":{"type":"object"}}]"#;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_between_the_two_sides() {
    const TOOLS: &str = r#"[{ "name":"do","vendor" : {"big":12345678901234567890123} ,"inputSchema":{"type":"object","x-odd":1.0},"execution":{"taskSupport":"optional"}}]"#;
    const RESULT: &str = r#"{"resultType":"complete","content":[{"type":"video","n":12345678901234567890123,"x" : 1.0}],"vendor":{"a":[ ]},"structuredContent":[1]}"#;
    let odd = Odd::modern(TOOLS, |asked| match asked.method() {
        "tools/call" if asked.text.contains("fail") => json_answer(
            asked.error(r#"{"code":-32603, "message":"no","data":{"n":12345678901234567890123},"vendor":1}"#),
        ),
        "tools/call" => json_answer(asked.result(RESULT)),
        _ => status(404, "text/plain", ""),
    })
    .await;
    let room = Room::open(odd.section(json!({ "prefix": "" }))).await;
    let same = r#"{ "name":"do","vendor" : {"big":12345678901234567890123} ,"inputSchema":{"type":"object","x-odd":1.0},"execution":{"taskSupport":"optional"}}"#;
    assert_eq!(room.tool("do").as_sent.as_ref().unwrap().get(), same);
    let arguments = r#"{ "n" : 12345678901234567890123,"x":[ 1.0 ]}"#;
    assert_eq!(room.plain("do", arguments).await.unwrap(), RESULT);
    assert!(odd.asked("tools/call")[0].text.contains(&format!(r#""arguments":{arguments}"#)));
    let fault = room.plain("do", r#"{"fail":1}"#).await.unwrap_err();
    assert_eq!(
        fault.as_sent.unwrap().get(),
        r#"{"code":-32603, "message":"no","data":{"n":12345678901234567890123},"vendor":1}"#
    );
    room.provider.close().await;

    let room = odd.open().await;
    let renamed = r#"{"name":"odd_do","vendor" : {"big":12345678901234567890123},"inputSchema":{"type":"object","x-odd":1.0},"execution":{"taskSupport":"optional"}}"#;
    assert_eq!(room.tool("odd_do").as_sent.as_ref().unwrap().get(), renamed);
    room.provider.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_tool_spoils_no_list() {
    const TOOLS: &str = r#"[
        {"name":"good","inputSchema":{"type":"object"},"annotations":{"readOnlyHint":true}},
        {"name":"no schema"},
        {"name":"odd schema","inputSchema":7},
        {"name":"twice","inputSchema":{"type":"object","type":"object"}},
        {"name":"header","inputSchema":{"type":"object","properties":{"a":{"type":"object","x-mcp-header":"A"}}}},
        {"inputSchema":{}},
        {"name":"","inputSchema":{}},
        {"name":7,"inputSchema":{}},
        "tool", null,
        {"name":"good","inputSchema":{"type":"object"}},
        {"name":"wipe","inputSchema":{"type":"object"},"annotations":{"destructiveHint":true}},
        {"name":"read it","inputSchema":{"type":"object"},"annotations":{"destructiveHint":true}},
        {"name":"denied","inputSchema":{"type":"object"}}
    ]"#;
    let odd = Odd::modern(TOOLS, |_| status(404, "text/plain", "")).await;
    let room = Room::open(odd.section(json!({ "deny": ["den*"] }))).await;
    let shown: Vec<String> =
        room.offered().iter().map(|tool| format!("{} {:?}", tool.name, tool.effect)).collect();
    assert_eq!(shown, ["odd_good Changes", "odd_wipe Destroys", "odd_read_it Reads"]);
    assert_eq!(room.tool("odd_read_it").effect, Effect::Reads);
    let probe = room.probe().await;
    assert_eq!((&probe.details["left_out"], &probe.details["tools"]), (&json!(10), &json!(3)));
    assert!(room.provider.may_offer("odd_later") && !room.provider.may_offer("other"));
    room.provider.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_on_a_stream_are_passed_over() {
    let odd = Odd::modern(ONE_TOOL, |asked| {
        let id = asked.body["id"].as_i64().unwrap();
        let progress = |token: Value, done: f64| {
            let params = json!({ "progressToken": token, "progress": done, "total": 3 });
            event(
                &json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params })
                    .to_string(),
            )
        };
        let mine = event(&asked.result(r#"{"content":[{"type":"text","text":"mine"}]}"#));
        events(
            vec![
                ": a comment\n\n".to_owned(),
                "event: other\ndata: {}\n\n".to_owned(),
                event("no json"),
                event("[]"),
                event(&format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{}}}}"#, id - 1)),
                event(&format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{}}}}"#, id + 99)),
                event(r#"{"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":{}}"#),
                progress(json!(id), 1.0),
                progress(json!(id + 1), 2.0),
                progress(json!("x"), 2.0),
                progress(json!(id), 1.0),
                progress(json!(id), 2.5),
                mine.clone(),
                mine,
                event(&asked.result(r#"{"content":[{"type":"text","text":"again"}]}"#)),
            ],
            false,
        )
    })
    .await;
    let room = odd.open().await;
    let ear = Arc::new(Ear::open());
    assert_eq!(said(&room.call("odd_do", "{}", &ear).await.unwrap()), "mine");
    assert_eq!(ear.heard(), ["progress 1 of Some(3.0) ", "progress 2.5 of Some(3.0) "]);
    room.provider.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_answer_is_a_fault_of_its_kind_in_time() {
    let odd = Odd::modern(ONE_TOOL, |asked| {
        let how = asked.body["params"]["arguments"]["how"].as_str().unwrap_or_default();
        match how {
            "silent" => events(vec![": nothing\n\n".to_owned()], true),
            "ends" => events(vec![": nothing\n\n".to_owned()], false),
            "500" => status(500, "text/html", "<p>broken</p>"),
            "503" => (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "7")]).into_response(),
            "401" => status(401, "application/json", r#"{"error":"who"}"#),
            "302" => (StatusCode::FOUND, [(header::LOCATION, "http://127.0.0.1:1/")]).into_response(),
            "html" => status(200, "text/html", "<p>hello</p>"),
            "empty" => status(202, "text/plain", ""),
            "garbage" => json_answer("{"),
            "batch" => json_answer(format!("[{}]", asked.result("{}"))),
            "other" => json_answer(r#"{"jsonrpc":"2.0","id":"x","result":{}}"#),
            "list" => json_answer(asked.result("[]")),
            "kind" => json_answer(asked.result(r#"{"resultType":"riddle"}"#)),
            "task" => json_answer(asked.result(r#"{"resultType":"task","taskId":"t","status":"working"}"#)),
            "large" => json_answer(asked.result(&json!({ "x": "x".repeat(300_000) }).to_string())),
            "event" => events(vec![event(&"x".repeat(300_000))], true),
            "invalid" => {
                status(400, "application/json", asked.error(r#"{"code":-32602,"message":"no such"}"#))
            }
            _ => json_answer(asked.result("{}")),
        }
    })
    .await;
    let room = Room::open(odd.section(json!({ "message_bytes_max": 200_000 }))).await;
    let mut table = String::new();
    for how in [
        "silent", "ends", "500", "503", "401", "302", "html", "empty", "garbage", "batch", "other", "list",
        "kind", "task", "large", "event", "invalid",
    ] {
        let began = Instant::now();
        let arguments = json!({ "how": how }).to_string();
        let reads = room.plain("odd_read", &arguments).await.unwrap_err();
        let changes = room.plain("odd_do", &arguments).await.unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(5), "{how}");
        table += &format!("{how}: {} {} {}\n", reads.code.row().name, changes.code.row().name, reads.text);
    }
    expect![[r#"
        silent: timed_out outcome_unknown the tool server "odd" did not answer in time
        ends: upstream outcome_unknown the tool server "odd" broke off before it had answered
        500: upstream outcome_unknown the tool server "odd" answered with the status 500
        503: unavailable unavailable the tool server "odd" answered with the status 503
        401: upstream upstream the tool server "odd" answered with the status 401
        302: upstream upstream the tool server "odd" answered with the status 302
        html: upstream outcome_unknown the tool server "odd" does not speak the protocol as it should: status 200 OK without JSON and without events
        empty: upstream outcome_unknown the tool server "odd" does not speak the protocol as it should: status 202 Accepted without JSON and without events
        garbage: upstream outcome_unknown the tool server "odd" does not speak the protocol as it should: not valid JSON: EOF while parsing an object at line 1 column 1
        batch: upstream outcome_unknown the tool server "odd" does not speak the protocol as it should: several messages in one array are not taken; send each by itself
        other: upstream outcome_unknown the tool server "odd" broke off before it had answered
        list: upstream outcome_unknown the tool server "odd" does not speak the protocol as it should: "result" must be an object
        kind: upstream outcome_unknown the tool server "odd" does not speak the protocol as it should: a result of the kind "riddle" was not asked for
        task: upstream outcome_unknown the tool server "odd" does not speak the protocol as it should: a result of the kind "task" was not asked for
        large: upstream outcome_unknown the tool server "odd" answered with more than 200000 bytes
        event: upstream outcome_unknown the tool server "odd" answered with more than 200000 bytes
        invalid: bad_arguments bad_arguments the tool server "odd" answered with an error: "no such"
    "#]].assert_eq(&table);
    assert_eq!(room.plain("odd_do", "{}").await.unwrap(), "{}", "it is still there");
    room.provider.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_gives_to_carry_goes_back_as_it_came() {
    let odd = Odd::modern(ONE_TOOL, |asked| {
        let params = &asked.body["params"];
        match params["requestState"].as_str() {
            None => json_answer(asked.result(
                r#"{"resultType":"input_required","requestState":"\u0041 \/é","inputRequests":{"b":{"method":"roots/list"},"a \"":{"method":"elicitation/create","params":{"mode":"form","message":"?","requestedSchema":{ }}}}}"#,
            )),
            Some("A /é") => json_answer(asked.result(r#"{"resultType":"input_required","requestState":"second"}"#)),
            Some(_) => json_answer(asked.result(r#"{"resultType":"complete","content":[{"type":"text","text":"done"}]}"#)),
        }
    })
    .await;
    let room = odd.open().await;
    let ear = Arc::new(Ear::open());
    assert_eq!(said(&room.call("odd_do", r#"{"a" : 1}"#, &ear).await.unwrap()), "done");
    let rounds = odd.asked("tools/call");
    let ids: Vec<&Value> = rounds.iter().map(|round| &round.body["id"]).collect();
    assert_eq!(rounds.len(), 3);
    assert!(ids[0] != ids[1] && ids[1] != ids[2]);
    assert!(rounds[1].text.contains(r#""requestState":"\u0041 \/é""#), "{}", rounds[1].text);
    assert!(
        rounds[1]
            .text
            .contains(r#""inputResponses":{"b":{"roots":[{"uri":"file:///a"}]},"a \"":{"action":"accept""#),
        "{}",
        rounds[1].text
    );
    assert!(rounds.iter().all(|round| round.text.contains(r#""arguments":{"a" : 1}"#)));
    assert!(
        !rounds[2].text.contains("inputResponses") && rounds[2].text.contains(r#""requestState":"second""#)
    );
    let declared = &rounds[0].body["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"];
    assert_eq!(
        *declared,
        json!({ "elicitation": { "form": {}, "url": {} }, "sampling": { "tools": {} }, "roots": {} })
    );
    let trace = &rounds[0].body["params"]["_meta"]["traceparent"];
    assert!(trace.as_str().unwrap().starts_with("00-0af7"));

    let deaf = Arc::new(Ear::default());
    let fault = room.call("odd_do", "{}", &deaf).await.unwrap_err();
    assert_eq!(fault.code, Code::CannotAsk);
    let last = odd.asked("tools/call").pop().unwrap();
    assert_eq!(last.body["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"], json!({}));
    room.provider.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rounds_and_questions_are_bounded() {
    let odd = Odd::modern(ONE_TOOL, |asked| {
        let many: serde_json::Map<String, Value> =
            (0..33).map(|i| (i.to_string(), json!({ "method": "roots/list" }))).collect();
        let result = match asked.body["params"]["arguments"]["how"].as_str() {
            Some("many") => json!({ "resultType": "input_required", "inputRequests": many }),
            Some("none") => json!({ "resultType": "input_required" }),
            Some("odd") => {
                json!({ "resultType": "input_required", "inputRequests": { "a": { "method": "ping" } } })
            }
            _ => json!({ "resultType": "input_required", "requestState": "again" }),
        };
        json_answer(asked.result(&result.to_string()))
    })
    .await;
    let room = Room::open(odd.section(json!({ "rounds_max": 3 }))).await;
    let mut shown = String::new();
    for how in ["again", "many", "none", "odd"] {
        let fault = room.call("odd_read", &json!({ "how": how }).to_string(), &Arc::new(Ear::open())).await;
        shown += &format!("{}\n", fault.unwrap_err().text);
    }
    expect![[r#"
        the tool server "odd" does not speak the protocol as it should: it asked its caller more than 3 times in one call
        the tool server "odd" does not speak the protocol as it should: its inputRequests are more than 32
        the tool server "odd" does not speak the protocol as it should: it wants input and says neither what nor why
        the tool server "odd" does not speak the protocol as it should: its inputRequests ask for "ping"
    "#]].assert_eq(&shown);
    assert_eq!(odd.asked("tools/call").len(), 4 + 3);
    room.provider.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_repeat_the_servers_names_and_are_mended_once() {
    let lists = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&lists);
    let odd = Odd::serve(move |asked| match asked.method() {
        "server/discover" => discovered(asked),
        "tools/list" => {
            // The first list does not say yet what is to be repeated.
            let header = if count.fetch_add(1, Ordering::SeqCst) == 0 { "" } else { r#","x-mcp-header":"Region""# };
            let tools = format!(
                r#"[{{"name":"a.b","inputSchema":{{"type":"object","properties":{{"region":{{"type":"string"{header}}}}}}}}}]"#
            );
            json_answer(asked.result(&format!(r#"{{"tools":{tools}}}"#)))
        }
        "tools/call" if asked.header("mcp-param-region") == "-" => {
            status(400, "application/json", asked.error(r#"{"code":-32020,"message":"Mcp-Param-Region is missing"}"#))
        }
        _ => json_answer(asked.result("{}")),
    })
    .await;
    let room = odd.open().await;
    assert_eq!(room.plain("odd_a_b", r#"{"region":"süd"}"#).await.unwrap(), "{}");
    assert_eq!(lists.load(Ordering::SeqCst), 2);
    let calls = odd.asked("tools/call");
    assert_eq!(calls.len(), 2);
    let last = &calls[1];
    let headers: Vec<&str> =
        ["mcp-name", "mcp-method", "mcp-protocol-version", "mcp-param-region", "accept", "content-type"]
            .map(|name| last.header(name))
            .to_vec();
    expect![[r#"
        a.b
        tools/call
        2026-07-28
        =?base64?c8O8ZA==?=
        application/json, text/event-stream
        application/json"#]]
    .assert_eq(&headers.join("\n"));
    assert_eq!(last.body["params"]["name"], "a.b");
    room.provider.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_looked_at_as_often_as_it_says_and_cancelled_when_nobody_waits() {
    let looks = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&looks);
    let odd = Odd::modern(ONE_TOOL, move |asked| {
        let how = asked.body["params"]["arguments"]["how"].as_str().unwrap_or_default().to_owned();
        let task = |status: &str, more: &str| {
            let id = asked.body["params"]["taskId"].as_str().map_or(how.clone(), str::to_owned);
            json_answer(asked.result(&format!(
                r#"{{"resultType":"{}","taskId":"{id}","status":"{status}","ttlMs":null,"pollIntervalMs":60,"requestState":"s\u0041"{more}}}"#,
                if asked.method() == "tools/call" { "task" } else { "complete" },
            )))
        };
        match (asked.method(), asked.body["params"]["taskId"].as_str()) {
            ("tools/call", _) if how == "done" => task("completed", ""),
            ("tools/call", _) => task("working", ""),
            ("tasks/get", Some("done")) => task("completed", r#","result":{"n":12345678901234567890123}"#),
            ("tasks/get", Some("withdrawn")) => task("cancelled", ""),
            ("tasks/get", Some("shaky")) => match count.fetch_add(1, Ordering::SeqCst) {
                0 => status(503, "text/plain", ""),
                1 => task("input_required", r#","inputRequests":{"a":{"method":"roots/list"}}"#),
                // What was answered is still listed for a while.
                2 => task("input_required", r#","inputRequests":{"a":{"method":"roots/list"}}"#),
                _ => task("completed", r#","result":{"content":[{"type":"text","text":"in the end"}]}"#),
            },
            ("tasks/get", Some("odd")) => task("sleeping", ""),
            ("tasks/get", _) => task("working", ""),
            _ => json_answer(asked.result(r#"{"resultType":"complete"}"#)),
        }
    })
    .await;
    let room = odd.open().await;
    let ear = Arc::new(Ear::open().with_tasks());
    let done = room.call("odd_do", r#"{"how":"done"}"#, &ear).await.unwrap();
    assert_eq!(done.to_json(), r#"{"n":12345678901234567890123}"#);
    let look = odd.asked("tasks/get").pop().unwrap();
    assert_eq!((look.header("mcp-name"), look.header("mcp-method")), ("done", "tasks/get"));
    assert!(look.text.contains(r#""requestState":"s\u0041""#), "{}", look.text);
    let shaky = room.call("odd_do", r#"{"how":"shaky"}"#, &ear).await.unwrap();
    assert_eq!(said(&shaky), "in the end");
    assert_eq!(odd.asked("tasks/update").len(), 1);
    let update = &odd.asked("tasks/update")[0].body["params"]["inputResponses"];
    assert_eq!(*update, json!({ "a": { "roots": [{ "uri": "file:///a" }] } }));
    for (how, code) in [("withdrawn", Code::OutcomeUnknown), ("odd", Code::OutcomeUnknown)] {
        let fault = room.call("odd_do", &json!({ "how": how }).to_string(), &ear).await.unwrap_err();
        assert_eq!(fault.code, code, "{how} {}", fault.text);
    }
    assert!(odd.asked("tasks/cancel").is_empty());
    let (source, stop) = StopSource::new();
    let call = room.stoppable("odd_do", r#"{"how":"endless"}"#, &ear, stop);
    let stopping = async {
        let is_looked_at = |asked: &Asked| asked.body["params"]["taskId"] == "endless";
        room.until("it is looked at", |_| {
            odd.asked("tasks/get").iter().filter(|one| is_looked_at(one)).count() > 2
        })
        .await;
        source.ask();
    };
    let (ended, ()) = tokio::join!(call, stopping);
    assert_eq!(ended.unwrap_err().code, Code::Cancelled);
    assert_eq!(odd.asked("tasks/cancel")[0].body["params"]["taskId"], "endless");
    room.provider.close().await;
}

/// Says when it is dropped.
struct Guarded(Arc<AtomicUsize>);

impl Drop for Guarded {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_a_call_closes_its_stream() {
    let closed = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&closed);
    let odd = Odd::modern(ONE_TOOL, move |_| {
        let guard = Guarded(Arc::clone(&count));
        let first = futures_util::stream::iter([Ok::<_, Infallible>(Bytes::from(": \n\n"))]);
        let pending = futures_util::stream::pending().map(move |()| {
            let _held = &guard;
            Ok(Bytes::new())
        });
        let body = Body::from_stream(first.chain(pending));
        ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
    })
    .await;
    let room = odd.open().await;
    let (source, stop) = StopSource::new();
    let ear = Arc::new(Ear::default());
    let call = room.stoppable("odd_do", "{}", &ear, stop);
    let stopping = async {
        room.until("it is called", |_| !odd.asked("tools/call").is_empty()).await;
        source.ask();
    };
    let (ended, ()) = tokio::join!(call, stopping);
    assert_eq!(ended.unwrap_err().code, Code::Cancelled);
    room.until("the server sees it", |_| closed.load(Ordering::SeqCst) == 1).await;
    assert!(odd.asked("notifications/cancelled").is_empty(), "the newer era has no such message over HTTP");
    room.provider.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_have_pages_and_an_end() {
    let odd = Odd::serve(|asked| match asked.method() {
        "server/discover" => discovered(asked),
        _ => {
            let page =
                asked.body["params"]["cursor"].as_str().map_or(0, |cursor| cursor.parse::<usize>().unwrap());
            let tools = format!(r#"[{{"name":"t{page}","inputSchema":{{"type":"object"}}}}]"#);
            json_answer(asked.result(&format!(r#"{{"tools":{tools},"nextCursor":"{}"}}"#, page + 1)))
        }
    })
    .await;
    let pages = Room::open(odd.section(json!({ "pages_max": 5 }))).await;
    assert_eq!(pages.names().len(), 5);
    pages.provider.close().await;
    let items = Room::open(odd.section(json!({ "items_max": 3 }))).await;
    assert_eq!(items.names(), ["odd_t0", "odd_t1", "odd_t2"]);
    items.provider.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_later_is_found() {
    let is_up = Arc::new(AtomicUsize::new(0));
    let up = Arc::clone(&is_up);
    let odd = Odd::modern(ONE_TOOL, |asked| json_answer(asked.result("{}"))).await;
    let (target, _kept) = (odd.address, &odd);
    // A door in front of it that is shut at first.
    let door = Odd::serve(move |asked| match up.load(Ordering::SeqCst) {
        0 => status(503, "text/plain", ""),
        _ => match asked.method() {
            "server/discover" => discovered(asked),
            "tools/list" => json_answer(asked.result(&format!(r#"{{"tools":{ONE_TOOL}}}"#))),
            _ => json_answer(asked.result("{}")),
        },
    })
    .await;
    assert_ne!(target, door.address);
    let room = door.open().await;
    assert!(room.names().is_empty());
    assert_eq!(room.probe().await.state, ProbeState::Unhealthy);
    is_up.store(1, Ordering::SeqCst);
    for _ in 0..100 {
        if room.probe().await.state == ProbeState::Healthy {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    room.until("its tools are listed", |room| room.names().len() == 2).await;
    room.until("its callers are told", |room| room.has_heard(&Notice::Tools)).await;
    room.provider.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_network_is_reached_only_where_it_is_listed() {
    let odd = Odd::modern(ONE_TOOL, |asked| json_answer(asked.result("{}"))).await;
    let port = odd.address.port();
    let refused = Room::try_open(json!({ "a": { "url": format!("http://127.0.0.1:{port}/mcp") } })).await;
    assert!(refused.err().unwrap().contains("would be refused"));
    // A name that turns out to lead to loopback.
    let url = format!("http://localhost.localdomain.:{port}/mcp");
    let room = Room::open(json!({ "a": { "url": url, "connect_timeout_ms": 2_000 } })).await;
    assert_eq!(room.probe().await.state, ProbeState::Unhealthy);
    assert!(odd.asked.lock().unwrap().is_empty());
    room.provider.close().await;
}
