use std::{
    collections::HashMap,
    fmt::Write as _,
    net::{SocketAddr, TcpListener as StdListener},
    sync::Mutex,
};

use axum::{
    Router,
    body::Bytes,
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::post,
};
use expect_test::{Expect, expect};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
    },
    common::v1::{KeyValue, any_value::Value},
};
use prost::Message as _;
use testkit::PlainSecrets;
use tokio::{sync::mpsc, task::JoinSet};
use tool::{Call, Code, Face, Fault, Kind, RequestId, SecretRef, TraceSpan};

use super::*;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

/// A collector: it decodes what it gets and answers as it is told, from the last answer to the first, and then
/// with 200.
struct Collector {
    address: SocketAddr,
    got: mpsc::UnboundedReceiver<Got>,
    _server: JoinSet<()>,
}

struct Got {
    headers: HeaderMap,
    spans: ExportTraceServiceRequest,
}

impl Collector {
    async fn start(answers: Vec<Response>) -> Self {
        let (tell, got) = mpsc::unbounded_channel();
        let answers = Arc::new(Mutex::new(answers));
        let take = move |headers: HeaderMap, body: Bytes| async move {
            let spans = ExportTraceServiceRequest::decode(body).unwrap();
            tell.send(Got { headers, spans }).unwrap();
            answers.lock().unwrap().pop().unwrap_or_else(|| StatusCode::OK.into_response())
        };
        let app = Router::new().route("/v1/traces", post(take));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, got, _server: server }
    }

    /// Everything that came so far.
    fn got(&mut self) -> Vec<Got> {
        std::iter::from_fn(|| self.got.try_recv().ok()).collect()
    }
}

/// A configuration that sends nothing before the close, unless a batch is full.
fn otlp(address: SocketAddr) -> Otlp {
    let endpoint = format!("http://{address}");
    Otlp { endpoint, export_interval_ms: 300_000, flush_timeout_ms: 60_000, ..Otlp::default() }
}

fn start(otlp: Otlp) -> Telemetry {
    open(&Config { otlp: Some(otlp) }, &PlainSecrets, "1.2.3").unwrap_or_else(|faults| panic!("{faults:?}"))
}

fn call(face: Face, traceparent: Option<&str>) -> Call {
    let kind = Kind::tool("as_sent", tool::json::raw(&serde_json::json!({})));
    let mut call = Call::new(kind, face, RequestId::ours("req-1"));
    call.traceparent = traceparent.map(Into::into);
    call
}

fn facts(tool: &str) -> Vec<(&'static str, String)> {
    vec![("mcp.method.name", "tools/call".to_owned()), ("gen_ai.tool.name", tool.to_owned())]
}

fn end_one(telemetry: &Telemetry, tool: &str) {
    telemetry.tracer.begin(&call(Face::Rest, None)).end(&facts(tool), None);
}

/// The spans of requests as text; ids by the names given here, others as `new`.
fn shown(got: &[Got], ids: &HashMap<String, &str>) -> String {
    let hex = |id: &[u8]| id.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let named = |id: &[u8]| match hex(id) {
        none if none.is_empty() => "none".to_owned(),
        id => ids.get(&id).map_or("new", |name| name).to_owned(),
    };
    let mut text = String::new();
    for resource in got.iter().flat_map(|got| &got.spans.resource_spans) {
        let about = resource.resource.as_ref().unwrap();
        writeln!(text, "resource {}", attributes(&about.attributes)).unwrap();
        for scope in &resource.scope_spans {
            let about = scope.scope.as_ref().unwrap();
            writeln!(text, "scope {} {}", about.name, about.version).unwrap();
            for span in &scope.spans {
                assert!(
                    0 < span.start_time_unix_nano && span.start_time_unix_nano <= span.end_time_unix_nano
                );
                let (kind, trace, id) =
                    (span.kind().as_str_name(), named(&span.trace_id), named(&span.span_id));
                writeln!(text, "{} {kind} {trace}/{id} in {}", span.name, named(&span.parent_span_id))
                    .unwrap();
                writeln!(text, "  {}", attributes(&span.attributes)).unwrap();
                let status = span.status.clone().unwrap_or_default();
                writeln!(text, "  {} {:?}", status.code().as_str_name(), status.message).unwrap();
            }
        }
    }
    text
}

fn attributes(attributes: &[KeyValue]) -> String {
    let mut shown: Vec<_> = attributes
        .iter()
        .map(|pair| match pair.value.as_ref().and_then(|value| value.value.as_ref()) {
            Some(Value::StringValue(text)) => format!("{}={text}", pair.key),
            other => format!("{}={other:?}", pair.key),
        })
        .collect();
    shown.sort();
    shown.join(", ")
}

/// The ids of a `traceparent`.
fn ids(span: &dyn TraceSpan) -> (String, String) {
    let text = span.traceparent().unwrap();
    assert_eq!(text.len(), 55, "{text}");
    (text[3..35].to_owned(), text[36..52].to_owned())
}

#[tokio::test]
async fn a_close_sends_what_waits_and_the_collector_sees_who_called_whom() {
    let mut collector = Collector::start(Vec::new()).await;
    let telemetry = start(otlp(collector.address));
    let outer = telemetry.tracer.begin(&call(Face::Mcp, Some(PARENT)));
    let inner = telemetry.tracer.begin(&call(Face::Inside, outer.traceparent().as_deref()));
    let named = HashMap::from([
        ("0af7651916cd43dd8448eb211c80319c".to_owned(), "trace"),
        ("b7ad6b7169203331".to_owned(), "parent"),
        (ids(outer.as_ref()).1, "outer"),
        (ids(inner.as_ref()).1, "inner"),
    ]);
    let fault = Fault::new(Code::TimedOut, "the sample shop took over 30 s; ask for less")
        .with_log("a secret of the log")
        .because("a secret of the cause");
    inner.end(&facts("get_orders"), Some(&fault));
    outer.end(&facts("summary"), None);
    telemetry
        .tracer
        .begin(&call(Face::Rest, None))
        .end(&[], Some(&Fault::not_found("Tool not found: as_sent")));
    assert!(collector.got().is_empty());
    assert_eq!(telemetry.close().await, Counts { exported: 3, failed: 0, dropped: 0 });
    let got = collector.got();
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].headers["content-type"], "application/x-protobuf");
    assert_eq!(got[0].headers["user-agent"], "portcullis/1.2.3");
    expect![[r#"
        resource service.name=portcullis, service.version=1.2.3, telemetry.sdk.language=rust, telemetry.sdk.name=opentelemetry, telemetry.sdk.version=0.33.1
        scope portcullis 1.2.3
        tools/call get_orders SPAN_KIND_INTERNAL trace/inner in outer
          error.type=timed_out, gen_ai.tool.name=get_orders, mcp.method.name=tools/call
          STATUS_CODE_ERROR "the sample shop took over 30 s; ask for less"
        tools/call summary SPAN_KIND_SERVER trace/outer in parent
          gen_ai.tool.name=summary, mcp.method.name=tools/call
          STATUS_CODE_UNSET ""
        tools/call SPAN_KIND_SERVER new/new in none
          error.type=not_found
          STATUS_CODE_ERROR "Tool not found: as_sent"
    "#]].assert_eq(&shown(&got, &named));
}

#[tokio::test]
async fn every_kind_of_call_has_the_name_of_its_method() {
    let mut collector = Collector::start(Vec::new()).await;
    let telemetry = start(otlp(collector.address));
    let no_arguments = || tool::json::raw(&serde_json::json!({}));
    for kind in [
        Kind::Apply { change: "chg_1".into() },
        Kind::ReadResource { uri: "file:///secret".into() },
        Kind::GetPrompt { name: "p".into(), arguments: no_arguments() },
        Kind::Complete { of: tool::Completing::Prompt("p".into()), arguments: no_arguments() },
    ] {
        for face in [Face::Rest, Face::Mcp, Face::Stdio, Face::Cli, Face::Webhook, Face::Inside] {
            let span = telemetry.tracer.begin(&Call::new(kind.clone(), face, RequestId::ours("req-1")));
            span.end(&[], None);
        }
    }
    telemetry.tracer.begin(&call(Face::Cli, None)).end(&[("gen_ai.prompt.name", "p".to_owned())], None);
    telemetry.tracer.begin(&call(Face::Cli, None)).end(&[("x", "ä".repeat(1_000))], None);
    telemetry.close().await;
    let got = collector.got();
    let spans = got.iter().flat_map(|got| &got.spans.resource_spans).flat_map(|r| &r.scope_spans);
    let lines: String = spans
        .flat_map(|scope| &scope.spans)
        .map(|span| {
            format!("{} {} {}\n", span.name, span.kind().as_str_name(), attributes(&span.attributes).len())
        })
        .collect();
    expect![[r#"
        tools/call SPAN_KIND_SERVER 0
        tools/call SPAN_KIND_SERVER 0
        tools/call SPAN_KIND_SERVER 0
        tools/call SPAN_KIND_SERVER 0
        tools/call SPAN_KIND_SERVER 0
        tools/call SPAN_KIND_INTERNAL 0
        resources/read SPAN_KIND_SERVER 0
        resources/read SPAN_KIND_SERVER 0
        resources/read SPAN_KIND_SERVER 0
        resources/read SPAN_KIND_SERVER 0
        resources/read SPAN_KIND_SERVER 0
        resources/read SPAN_KIND_INTERNAL 0
        prompts/get SPAN_KIND_SERVER 0
        prompts/get SPAN_KIND_SERVER 0
        prompts/get SPAN_KIND_SERVER 0
        prompts/get SPAN_KIND_SERVER 0
        prompts/get SPAN_KIND_SERVER 0
        prompts/get SPAN_KIND_INTERNAL 0
        completion/complete SPAN_KIND_SERVER 0
        completion/complete SPAN_KIND_SERVER 0
        completion/complete SPAN_KIND_SERVER 0
        completion/complete SPAN_KIND_SERVER 0
        completion/complete SPAN_KIND_SERVER 0
        completion/complete SPAN_KIND_INTERNAL 0
        tools/call p SPAN_KIND_SERVER 20
        tools/call SPAN_KIND_SERVER 1026
    "#]]
    .assert_eq(&lines);
}

#[tokio::test]
async fn the_parent_decides_what_is_kept_and_the_ratio_where_there_is_none() {
    for (sample_ratio, parent, is_kept) in [
        (1.0, None, true),
        (0.0, None, false),
        (1.0, Some(UNSAMPLED), false),
        (0.0, Some(PARENT), true),
        (1.0, Some("00-nonsense"), true),
        (0.0, Some("00-nonsense"), false),
    ] {
        let mut collector = Collector::start(Vec::new()).await;
        let telemetry = start(Otlp { sample_ratio, ..otlp(collector.address) });
        let span = telemetry.tracer.begin(&call(Face::Rest, parent));
        let out = span.traceparent().unwrap();
        assert_eq!(out.ends_with("-01"), is_kept, "{sample_ratio} {parent:?}: {out}");
        if let Some(parent) = parent.filter(|parent| parent.len() == 55) {
            assert_eq!(out[..36], parent[..36]);
            assert_ne!(out[36..52], parent[36..52]);
        }
        span.end(&facts("t"), None);
        assert_eq!(telemetry.close().await.exported, u64::from(is_kept), "{sample_ratio} {parent:?}");
        assert_eq!(collector.got().len(), usize::from(is_kept));
    }
}

#[tokio::test]
async fn a_full_batch_does_not_wait_for_the_interval() {
    let mut collector = Collector::start(Vec::new()).await;
    let telemetry = start(Otlp { batch_max: 2, ..otlp(collector.address) });
    end_one(&telemetry, "a");
    end_one(&telemetry, "b");
    let got = collector.got.recv().await.unwrap();
    assert_eq!(got.spans.resource_spans[0].scope_spans[0].spans.len(), 2);
    for tool in ["c", "d", "e"] {
        end_one(&telemetry, tool);
    }
    assert_eq!(telemetry.close().await.exported, 5);
    let most = collector.got().iter().map(|got| got.spans.resource_spans[0].scope_spans[0].spans.len()).max();
    assert_eq!(most, Some(2));
}

#[tokio::test]
async fn spans_do_not_wait_longer_than_the_interval() {
    let mut collector = Collector::start(Vec::new()).await;
    let telemetry = start(Otlp { export_interval_ms: 10, ..otlp(collector.address) });
    end_one(&telemetry, "a");
    assert!(collector.got.recv().await.is_some());
    telemetry.close().await;
}

/// The listener never answers, so that the first batch is still on its way when the last call ends.
#[tokio::test]
async fn a_collector_that_does_not_answer_holds_up_no_call_and_no_stop() {
    let silent = StdListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let (queue_max, timeout_ms) = (8, 60_000);
    let bounds = Otlp { queue_max, batch_max: 1, timeout_ms, flush_timeout_ms: 10, ..otlp(address) };
    let telemetry = start(bounds);
    for _ in 0..10_000 {
        end_one(&telemetry, "a");
    }
    let during = telemetry.counts();
    assert_eq!((during.exported, during.failed), (0, 0));
    // One batch is on its way, and the queue is full.
    assert!((9_991..=9_992).contains(&during.dropped), "{during:?}");
    let after = telemetry.close().await;
    assert_eq!(after, Counts { failed: 10_000 - during.dropped, ..during });
}

#[tokio::test]
async fn a_collector_that_is_not_there_loses_spans_and_nothing_else() {
    let address = StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let telemetry = start(Otlp { timeout_ms: 50, ..otlp(address) });
    end_one(&telemetry, "a");
    assert_eq!(telemetry.close().await, Counts { exported: 0, failed: 1, dropped: 0 });
}

#[tokio::test]
async fn answers_decide_what_is_sent_again_and_what_counts_as_lost() {
    let rejecting = |rejected_spans, error_message: &str| {
        let partial = ExportTracePartialSuccess { rejected_spans, error_message: error_message.to_owned() };
        ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec().into_response()
    };
    let moved = (StatusCode::TEMPORARY_REDIRECT, [("location", "/v1/traces")]).into_response();
    let unavailable = || StatusCode::SERVICE_UNAVAILABLE.into_response();
    for (what, answers, requests, exported) in [
        ("ok", vec![], 1, 2),
        ("nonsense", vec!["nonsense".into_response()], 1, 2),
        ("long", vec![vec![b'a'; 100_000].into_response()], 1, 2),
        ("rejecting one", vec![rejecting(1, "too old")], 1, 1),
        ("rejecting more than there are", vec![rejecting(9, "")], 1, 0),
        ("rejecting a negative number", vec![rejecting(-1, "")], 1, 2),
        ("warning", vec![rejecting(0, "slow down")], 1, 2),
        ("unavailable once", vec![unavailable()], 2, 2),
        ("unavailable", vec![unavailable(), unavailable(), unavailable(), unavailable()], 4, 0),
        ("bad request", vec![StatusCode::BAD_REQUEST.into_response()], 1, 0),
        ("unauthorized", vec![StatusCode::UNAUTHORIZED.into_response()], 1, 0),
        ("redirect", vec![moved], 1, 0),
    ] {
        let mut collector = Collector::start(answers).await;
        let telemetry = start(otlp(collector.address));
        end_one(&telemetry, "a");
        end_one(&telemetry, "b");
        let counts = telemetry.close().await;
        assert_eq!(counts, Counts { exported, failed: 2 - exported, dropped: 0 }, "{what}");
        assert_eq!(collector.got().len(), requests, "{what}");
    }
}

#[tokio::test]
async fn headers_are_sent_and_never_shown() {
    let mut collector = Collector::start(Vec::new()).await;
    let key = SecretRef::Text("the-secret-word".to_owned());
    let headers = [("X-Api-Key".to_owned(), key)].into();
    let config = otlp(collector.address);
    let resolved = resolve(&Otlp { headers, ..config.clone() }, &PlainSecrets).unwrap();
    let last = Arc::default();
    let client = client::Client::new(resolved, Duration::from_secs(1), "1", last).unwrap();
    assert!(!format!("{client:?}").contains("the-secret-word"));
    let headers = [("X-Api-Key".to_owned(), SecretRef::Text("the-secret-word".to_owned()))].into();
    let telemetry = start(Otlp { headers, ..config });
    end_one(&telemetry, "a");
    telemetry.close().await;
    assert_eq!(collector.got()[0].headers["x-api-key"], "the-secret-word");
}

#[test]
fn what_cannot_be_opened_says_where_and_why() {
    let check = |json: &str, expected: Expect| {
        let config: Config = serde_json::from_str(json).unwrap();
        let faults = open(&config, &PlainSecrets, "1.2.3").err().unwrap();
        expected.assert_eq(&faults.iter().map(|fault| format!("{fault}\n")).collect::<String>());
    };
    check(
        r#"{"otlp":{"endpoint":"nowhere","headers":{"a":{"file":"/x"}}}}"#,
        expect![[r#"
        /telemetry/otlp/endpoint: not a URL (a collector on this host is `http://127.0.0.1:4318`)
    "#]],
    );
    check(
        r#"{"otlp":{"headers":{"a":{"file":"/x"},"b~":{"file":"/y"},"c":"secret\nword","d":"good"}}}"#,
        expect![[r#"
            /telemetry/otlp/headers/a: file "/x" cannot be followed in this test
            /telemetry/otlp/headers/b~0: file "/y" cannot be followed in this test
            /telemetry/otlp/headers/c: the value cannot be a header: it holds control characters
        "#]],
    );
}

#[test]
fn without_a_collector_the_context_is_passed_on_as_it_came() {
    let telemetry = open(&Config::default(), &PlainSecrets, "1.2.3").unwrap_or_else(|_| panic!());
    for parent in [None, Some(PARENT), Some(UNSAMPLED)] {
        let span = telemetry.tracer.begin(&call(Face::Rest, parent));
        assert_eq!(span.traceparent().as_deref(), parent);
        span.end(&facts("t"), None);
    }
    assert_eq!(telemetry.counts(), Counts::default());
}

#[tokio::test]
async fn an_aborted_call_is_told_and_a_call_after_the_close_is_not() {
    let mut collector = Collector::start(Vec::new()).await;
    let telemetry = start(otlp(collector.address));
    let tracer = Arc::clone(&telemetry.tracer);
    drop(tracer.begin(&call(Face::Rest, None)));
    let late = tracer.begin(&call(Face::Rest, Some(PARENT)));
    telemetry.close().await;
    late.end(&facts("late"), None);
    let later = tracer.begin(&call(Face::Rest, Some(PARENT)));
    assert_eq!(later.traceparent().as_deref(), Some(PARENT));
    later.end(&facts("later"), None);
    expect![[r#"
        resource service.name=portcullis, service.version=1.2.3, telemetry.sdk.language=rust, telemetry.sdk.name=opentelemetry, telemetry.sdk.version=0.33.1
        scope portcullis 1.2.3
        tools/call SPAN_KIND_SERVER new/new in none
          error.type=cancelled
          STATUS_CODE_ERROR "the call was aborted before it ended"
    "#]].assert_eq(&shown(&collector.got(), &HashMap::new()));
}
