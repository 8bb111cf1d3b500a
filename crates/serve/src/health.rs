//! The health and metrics doors. They look at what was probed in the background, and never ask a source themselves.

use std::collections::HashSet;

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde_json::{Map, Value, json};
use tool::{Code, Fault, Probe, ProbeState};

use crate::{
    conn::Body,
    doors::{Inside, Visit},
    headers,
    problem::Refusal,
    road::OpenBreaker,
};

/// The kind of source without which no call is taken.
const DATABASE: &str = "database";
const API: &str = "external_api";
const DEVICES: &str = "device_connectivity";

/// `GET /health`: 503 where a source is unhealthy, the audit log cannot be written or the server is stopping.
pub(crate) fn health(inside: &Inside) -> Response<Body> {
    let probes = inside.road.health();
    let state = overall(inside, &probes);
    let mut body = summary(inside, state);
    let words = |kind, words: [&str; 3]| match worst(&probes, kind) {
        None => "not configured".to_owned(),
        Some(ProbeState::Healthy) => words[0].to_owned(),
        Some(ProbeState::Degraded) => words[1].to_owned(),
        Some(ProbeState::Unhealthy) => words[2].to_owned(),
    };
    body.insert("database".to_owned(), words(DATABASE, ["connected", "degraded", "disconnected"]).into());
    body.insert("upstream_api".to_owned(), words(API, ["responding", "degraded", "not responding"]).into());
    body.insert("audit".to_owned(), if inside.road.is_audit_broken() { "broken" } else { "writable" }.into());
    let memory = inside.sample.load().memory_percent;
    body.insert("memory_usage_percent".to_owned(), tenth(memory));
    body.insert("servers".to_owned(), inside.road.sources().into());
    told(body, state)
}

/// `GET /health/detailed`
pub(crate) fn detailed(inside: &Inside) -> Response<Body> {
    let probes = inside.road.health();
    let state = overall(inside, &probes);
    let mut checks = Map::new();
    for kind in [DATABASE, API, DEVICES] {
        if let Some(check) = check_of(&probes, kind) {
            checks.insert(kind.to_owned(), check);
        }
    }
    let (hits, misses) = inside.road.cache_counts();
    let asked = hits + misses;
    let ratio = if asked == 0 { 0.0 } else { hits as f64 / asked as f64 };
    checks.insert("cache".to_owned(), json!({ "hits": hits, "misses": misses, "hit_ratio": ratio }));
    checks.insert("audit".to_owned(), json!({ "status": audit_state(inside) }));
    let open = inside.road.open_breakers();
    let names: Vec<_> = open.iter().map(|breaker| &breaker.name).collect();
    checks.insert("breakers".to_owned(), json!({ "status": breaker_state(&open), "open": names }));
    let sources: Map<String, Value> =
        probes.iter().map(|probe| (probe.source.to_string(), one_check(probe))).collect();
    checks.insert("sources".to_owned(), Value::Object(sources));
    let sample = inside.sample.load();
    let mut body = summary(inside, state);
    body.insert("checks".to_owned(), Value::Object(checks));
    body.insert(
        "metrics".to_owned(),
        json!({
            "cpu_percent": tenth(sample.cpu_percent),
            "memory_percent": tenth(sample.memory_percent),
            "disk_percent": tenth(sample.disk_percent),
            "process_count": sample.process_count,
        }),
    );
    told(body, state)
}

/// `GET /health/ready`: 503 while the server stops, and where a database does not answer or the audit log cannot be
/// written.
pub(crate) fn ready(inside: &Inside, visit: &Visit) -> Response<Body> {
    let why = if inside.road.is_draining() {
        Some("the server is stopping")
    } else if worst(&inside.road.health(), DATABASE) == Some(ProbeState::Unhealthy) {
        Some("database unhealthy")
    } else if inside.road.is_audit_broken() {
        Some("the audit log cannot be written")
    } else {
        None
    };
    match why {
        None => headers::json(r#"{"status":"ready"}"#),
        Some(why) => {
            let fault = Fault::new(Code::Unavailable, format!("Service not ready: {why}"));
            visit.refuse(&Refusal::from(fault))
        }
    }
}

/// `GET /health/live`
pub(crate) fn live() -> Response<Body> {
    headers::json(r#"{"status":"alive"}"#)
}

/// `GET /metrics`: OpenMetrics, or the text format of Prometheus for who takes only plain text.
pub(crate) fn metrics(inside: &Inside, asked: &HeaderMap) -> Response<Body> {
    let text = inside.road.metrics();
    let (text, content_type) = if wants_plain_text(asked) {
        (in_plain_text(&text), "text/plain; version=0.0.4; charset=utf-8")
    } else {
        (text, "application/openmetrics-text; version=1.0.0; charset=utf-8")
    };
    let mut response = headers::json(text);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    response
}

/// True where plain text is asked for and OpenMetrics is not.
fn wants_plain_text(asked: &HeaderMap) -> bool {
    let lines = asked.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let wanted: Vec<&str> = lines
        .flat_map(|line| line.split(','))
        .map(|kind| kind.split(';').next().unwrap_or_default().trim())
        .collect();
    let has = |name: &str| wanted.iter().any(|kind| kind.eq_ignore_ascii_case(name));
    has("text/plain") && !has("application/openmetrics-text")
}

/// OpenMetrics as the text format 0.0.4 of Prometheus: there the metadata of a counter carries the name of its samples,
/// with `_total`, and neither units nor an end are told.
fn in_plain_text(openmetrics: &str) -> String {
    let counters: HashSet<&str> = openmetrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let mut text = String::with_capacity(openmetrics.len());
    for line in openmetrics.lines() {
        let Some(comment) = line.strip_prefix("# ") else {
            text.extend([line, "\n"]);
            continue;
        };
        let mut words = comment.splitn(3, ' ');
        let (Some(keyword @ ("HELP" | "TYPE")), Some(name)) = (words.next(), words.next()) else { continue };
        let total = if counters.contains(name) { "_total" } else { "" };
        let rest = match words.next().unwrap_or_default() {
            "unknown" if keyword == "TYPE" => "untyped",
            rest => rest,
        };
        text.extend(["# ", keyword, " ", name, total, " ", rest, "\n"]);
    }
    text
}

/// The worst of all sources; at best `degraded` where memory runs out or a source is left alone, and `unhealthy`
/// where no call is taken.
fn overall(inside: &Inside, probes: &[Probe]) -> ProbeState {
    let sources = probes.iter().map(|probe| probe.state).max().unwrap_or(ProbeState::Healthy);
    let is_full = inside.sample.load().memory_percent > f64::from(inside.memory_percent_max);
    let machine = if is_full { ProbeState::Degraded } else { ProbeState::Healthy };
    let gate = if inside.road.is_draining() { ProbeState::Unhealthy } else { ProbeState::Healthy };
    let breakers = breaker_state(&inside.road.open_breakers());
    [machine, gate, breakers, audit_state(inside)].into_iter().fold(sources, ProbeState::max)
}

/// Unhealthy where nothing can be recorded, since then nothing is done.
fn audit_state(inside: &Inside) -> ProbeState {
    if inside.road.is_audit_broken() { ProbeState::Unhealthy } else { ProbeState::Healthy }
}

/// Degraded where a source is left alone. One host of the web that is down says nothing about this server.
fn breaker_state(open: &[OpenBreaker]) -> ProbeState {
    let has_source = open.iter().any(|breaker| breaker.is_source);
    if has_source { ProbeState::Degraded } else { ProbeState::Healthy }
}

fn worst(probes: &[Probe], kind: &str) -> Option<ProbeState> {
    probes.iter().filter(|probe| probe.kind == kind).map(|probe| probe.state).max()
}

/// What all sources of one kind are like: the members of the worst of them, the slowest first among equals.
fn check_of(probes: &[Probe], kind: &str) -> Option<Value> {
    let of_kind = probes.iter().filter(|probe| probe.kind == kind);
    of_kind.max_by_key(|probe| (probe.state, probe.latency)).map(one_check)
}

fn one_check(probe: &Probe) -> Value {
    let mut check = Map::new();
    check.insert("status".to_owned(), json!(probe.state));
    check.insert("latency_ms".to_owned(), json!((probe.latency.as_secs_f64() * 1e6).round() / 1e3));
    check.insert("source".to_owned(), json!(probe.source));
    for (name, value) in &probe.details {
        check.entry(name.clone()).or_insert_with(|| value.clone());
    }
    Value::Object(check)
}

fn summary(inside: &Inside, state: ProbeState) -> Map<String, Value> {
    let mut body = Map::new();
    body.insert("status".to_owned(), json!(state));
    body.insert("timestamp".to_owned(), json!(inside.clock.now()));
    body.insert("version".to_owned(), json!(inside.version));
    body.insert("uptime_seconds".to_owned(), json!(inside.road.stats().uptime.as_secs_f64()));
    body
}

fn told(body: Map<String, Value>, state: ProbeState) -> Response<Body> {
    let mut response = headers::json(Value::Object(body).to_string());
    if state == ProbeState::Unhealthy {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

fn tenth(percent: f64) -> Value {
    json!((percent * 10.0).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn who_takes_only_plain_text_gets_it() {
        for (accept, is_plain) in [
            ("text/plain", true),
            ("text/plain;version=0.0.4;q=0.5, */*;q=0.1", true),
            ("TEXT/PLAIN", true),
            (
                "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                false,
            ),
            ("*/*", false),
            ("text/html, */*", false),
        ] {
            let asked = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_str(accept).unwrap())]);
            assert_eq!(wants_plain_text(&asked), is_plain, "{accept}");
        }
        assert!(!wants_plain_text(&HeaderMap::new()));
    }

    #[test]
    fn counters_keep_their_type_in_plain_text() {
        let openmetrics = "# HELP calls Calls.\n# TYPE calls counter\ncalls_total{a=\"b\"} 1\n\
            # HELP took_seconds How long.\n# TYPE took_seconds histogram\n# UNIT took_seconds seconds\n\
            took_seconds_sum 0.5\n# TYPE odd unknown\nodd 1\n# EOF\n";
        expect![[r##"
            # HELP calls_total Calls.
            # TYPE calls_total counter
            calls_total{a="b"} 1
            # HELP took_seconds How long.
            # TYPE took_seconds histogram
            took_seconds_sum 0.5
            # TYPE odd untyped
            odd 1
        "##]]
        .assert_eq(&in_plain_text(openmetrics));
    }
}
