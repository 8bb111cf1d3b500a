use std::collections::BTreeMap;

use http::{HeaderName, header};
use schemars::JsonSchema;
use serde::Deserialize;
use tool::{ConfigFault, SecretRef};
use url::Url;

/// Headers in the configuration, at most.
const HEADERS_MAX: usize = 32;
/// Bytes of a service name, at most.
const SERVICE_NAME_BYTES_MAX: usize = 255;
/// The exporter writes these itself.
const OWN_HEADERS: [HeaderName; 6] = [
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::HOST,
];

/// The `telemetry:` section: traces of calls, for a collector.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The collector that takes the traces, by OTLP over HTTP. Default: none, nothing is traced.
    pub otlp: Option<Otlp>,
}

/// The `telemetry.otlp:` section: where traces go, and how many.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Otlp {
    /// The collector's base URL, `http` or `https`; `/v1/traces` is added to it. Default: a collector on this
    /// host.
    pub endpoint: String,
    /// Headers sent with every batch, such as a vendor's API key. At most 32.
    pub headers: BTreeMap<String, SecretRef>,
    /// The share of traces that is kept, from 0.0 (none) to 1.0 (all), for calls that come without a
    /// `traceparent`; the others are kept where its `sampled` flag says so.
    pub sample_ratio: f64,
    /// The most spans that wait to be sent; what ends while so many wait is dropped and counted.
    pub queue_max: u32,
    /// The most spans in one request. At most `queue_max`.
    pub batch_max: u32,
    /// How long spans wait at most for their batch to fill up, in milliseconds.
    pub export_interval_ms: u64,
    /// How long one request may take, and how long after its first try a batch may be tried again, in
    /// milliseconds.
    pub timeout_ms: u64,
    /// How long a stop of the server waits at most for the last spans to be sent, in milliseconds.
    pub flush_timeout_ms: u64,
    /// The server's name in traces: `service.name`.
    pub service_name: String,
}

impl Default for Otlp {
    fn default() -> Self {
        Self {
            endpoint: "http://127.0.0.1:4318".to_owned(),
            headers: BTreeMap::new(),
            sample_ratio: 1.0,
            queue_max: 2_048,
            batch_max: 512,
            export_interval_ms: 5_000,
            timeout_ms: 10_000,
            flush_timeout_ms: 5_000,
            service_name: "portcullis".to_owned(),
        }
    }
}

impl Config {
    /// What the schema cannot say: an endpoint that is a base URL, headers that can be sent, every bound within
    /// its limits. No IO.
    #[must_use]
    pub fn check(&self) -> Vec<ConfigFault> {
        let Some(otlp) = &self.otlp else { return Vec::new() };
        let mut faults = Vec::new();
        faults.extend(otlp.check_endpoint());
        otlp.check_headers(&mut faults);
        otlp.check_bounds(&mut faults);
        faults
    }
}

impl Otlp {
    /// Where the spans go: the endpoint and `/v1/traces`.
    pub(crate) fn traces_url(&self) -> String {
        format!("{}/v1/traces", self.endpoint.trim_end_matches('/'))
    }

    fn check_endpoint(&self) -> Option<ConfigFault> {
        let fault = |text: &str| Some(ConfigFault::new("/telemetry/otlp/endpoint", text));
        let Ok(url) = Url::parse(&self.endpoint) else {
            let fault = ConfigFault::new("/telemetry/otlp/endpoint", "not a URL");
            return Some(fault.hint("a collector on this host is `http://127.0.0.1:4318`"));
        };
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return fault("expected a URL with `http` or `https` and a host");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return fault("credentials do not belong into the URL; give them as `headers`");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return fault("expected a base URL, without query and fragment");
        }
        if url.path().trim_end_matches('/').ends_with("/v1/traces") {
            return fault("expected a base URL; leave out `/v1/traces`, it is added");
        }
        if self.traces_url().parse::<http::Uri>().is_err() {
            return fault("holds characters that must be percent-encoded");
        }
        None
    }

    fn check_headers(&self, faults: &mut Vec<ConfigFault>) {
        if self.headers.len() > HEADERS_MAX {
            let text = format!("{} headers; at most {HEADERS_MAX} are sent", self.headers.len());
            faults.push(ConfigFault::new("/telemetry/otlp/headers", text));
        }
        let mut seen = Vec::new();
        for name in self.headers.keys() {
            let text = match HeaderName::from_bytes(name.as_bytes()) {
                Err(_) => "not a header name",
                Ok(name) if OWN_HEADERS.contains(&name) => "this header is set by the exporter itself",
                Ok(name) if seen.contains(&name) => "this header is given twice, in different spellings",
                Ok(name) => {
                    seen.push(name);
                    continue;
                }
            };
            faults.push(ConfigFault::new(header_at(name), text));
        }
    }

    fn check_bounds(&self, faults: &mut Vec<ConfigFault>) {
        let mut fault = |name: &str, text: String| {
            faults.push(ConfigFault::new(format!("/telemetry/otlp/{name}"), text));
        };
        if !(0.0..=1.0).contains(&self.sample_ratio) {
            fault("sample_ratio", format!("{} is out of range; expected 0.0 to 1.0", self.sample_ratio));
        }
        let bounds = [
            ("queue_max", self.queue_max.into(), 1, 100_000),
            ("batch_max", self.batch_max.into(), 1, 10_000),
            ("export_interval_ms", self.export_interval_ms, 10, 300_000),
            ("timeout_ms", self.timeout_ms, 10, 60_000),
            ("flush_timeout_ms", self.flush_timeout_ms, 10, 60_000),
        ];
        for (name, value, least, most) in bounds {
            if !(least..=most).contains(&value) {
                fault(name, format!("{value} is out of range; expected {least} to {most}"));
            }
        }
        if self.batch_max > self.queue_max {
            let text = format!("{} is more than `queue_max`, which is {}", self.batch_max, self.queue_max);
            fault("batch_max", text);
        }
        let name = &self.service_name;
        if !(1..=SERVICE_NAME_BYTES_MAX).contains(&name.len()) || name.chars().any(char::is_control) {
            let text = format!("expected 1 to {SERVICE_NAME_BYTES_MAX} bytes without control characters");
            fault("service_name", text);
        }
    }
}

/// The RFC 6901 pointer to a header.
pub(crate) fn header_at(name: &str) -> String {
    format!("/telemetry/otlp/headers/{}", name.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(json: &str, expected: Expect) {
        let shown = match serde_json::from_str::<Config>(json) {
            Ok(config) => config.check().iter().map(|fault| format!("{fault}\n")).collect(),
            Err(error) => format!("{error}\n"),
        };
        expected.assert_eq(&shown);
    }

    fn check_endpoint(endpoint: &str, expected: Expect) {
        check(&serde_json::json!({ "otlp": { "endpoint": endpoint } }).to_string(), expected);
    }

    #[test]
    fn bounds_hold_at_their_edges() {
        check("{}", expect![]);
        check(r#"{"otlp":{}}"#, expect![]);
        check(
            r#"{"otlp":{"sample_ratio":0,"queue_max":1,"batch_max":1,"export_interval_ms":10,"timeout_ms":10,"flush_timeout_ms":10,"service_name":"a"}}"#,
            expect![],
        );
        check(
            r#"{"otlp":{"sample_ratio":1,"queue_max":100000,"batch_max":10000,"export_interval_ms":300000,"timeout_ms":60000,"flush_timeout_ms":60000}}"#,
            expect![],
        );
        check(
            r#"{"otlp":{"sample_ratio":1.001,"queue_max":0,"batch_max":0,"export_interval_ms":9,"timeout_ms":9,"flush_timeout_ms":9,"service_name":""}}"#,
            expect![[r#"
                /telemetry/otlp/sample_ratio: 1.001 is out of range; expected 0.0 to 1.0
                /telemetry/otlp/queue_max: 0 is out of range; expected 1 to 100000
                /telemetry/otlp/batch_max: 0 is out of range; expected 1 to 10000
                /telemetry/otlp/export_interval_ms: 9 is out of range; expected 10 to 300000
                /telemetry/otlp/timeout_ms: 9 is out of range; expected 10 to 60000
                /telemetry/otlp/flush_timeout_ms: 9 is out of range; expected 10 to 60000
                /telemetry/otlp/service_name: expected 1 to 255 bytes without control characters
            "#]],
        );
        check(
            r#"{"otlp":{"sample_ratio":-0.001,"queue_max":100001,"batch_max":10001,"export_interval_ms":300001,"timeout_ms":60001,"flush_timeout_ms":60001,"service_name":"a\nb"}}"#,
            expect![[r#"
                /telemetry/otlp/sample_ratio: -0.001 is out of range; expected 0.0 to 1.0
                /telemetry/otlp/queue_max: 100001 is out of range; expected 1 to 100000
                /telemetry/otlp/batch_max: 10001 is out of range; expected 1 to 10000
                /telemetry/otlp/export_interval_ms: 300001 is out of range; expected 10 to 300000
                /telemetry/otlp/timeout_ms: 60001 is out of range; expected 10 to 60000
                /telemetry/otlp/flush_timeout_ms: 60001 is out of range; expected 10 to 60000
                /telemetry/otlp/service_name: expected 1 to 255 bytes without control characters
            "#]],
        );
        check(
            r#"{"otlp":{"queue_max":511}}"#,
            expect![[r#"
            /telemetry/otlp/batch_max: 512 is more than `queue_max`, which is 511
        "#]],
        );
        for (bytes, faults) in [(255, 0), (256, 1)] {
            let otlp = Otlp { service_name: "n".repeat(bytes), ..Otlp::default() };
            assert_eq!(Config { otlp: Some(otlp) }.check().len(), faults, "{bytes}");
        }
        let otlp = Otlp { sample_ratio: f64::NAN, ..Otlp::default() };
        assert_eq!(Config { otlp: Some(otlp) }.check().len(), 1);
    }

    #[test]
    fn unknown_keys_are_errors() {
        check(
            r#"{"otel":{}}"#,
            expect![[r#"
            unknown field `otel`, expected `otlp` at line 1 column 7
        "#]],
        );
        check(
            r#"{"otlp":{"url":"http://a"}}"#,
            expect![[r#"
            unknown field `url`, expected one of `endpoint`, `headers`, `sample_ratio`, `queue_max`, `batch_max`, `export_interval_ms`, `timeout_ms`, `flush_timeout_ms`, `service_name` at line 1 column 14
        "#]],
        );
    }

    #[test]
    fn endpoints_are_base_urls() {
        for good in
            ["http://127.0.0.1:4318", "https://otlp.example/", "http://[::1]:4318/otlp", "http://a/v1"]
        {
            check_endpoint(good, expect![]);
        }
        check_endpoint(
            "",
            expect![[r#"
            /telemetry/otlp/endpoint: not a URL (a collector on this host is `http://127.0.0.1:4318`)
        "#]],
        );
        check_endpoint(
            "127.0.0.1:4318",
            expect![[r#"
            /telemetry/otlp/endpoint: not a URL (a collector on this host is `http://127.0.0.1:4318`)
        "#]],
        );
        check_endpoint(
            "grpc://127.0.0.1:4317",
            expect![[r#"
            /telemetry/otlp/endpoint: expected a URL with `http` or `https` and a host
        "#]],
        );
        check_endpoint(
            "file:///etc/passwd",
            expect![[r#"
            /telemetry/otlp/endpoint: expected a URL with `http` or `https` and a host
        "#]],
        );
        check_endpoint(
            "https://user:word@otlp.example",
            expect![[r#"
            /telemetry/otlp/endpoint: credentials do not belong into the URL; give them as `headers`
        "#]],
        );
        check_endpoint(
            "https://otlp.example/?key=1",
            expect![[r#"
            /telemetry/otlp/endpoint: expected a base URL, without query and fragment
        "#]],
        );
        check_endpoint(
            "https://otlp.example/v1/traces/",
            expect![[r#"
            /telemetry/otlp/endpoint: expected a base URL; leave out `/v1/traces`, it is added
        "#]],
        );
        check_endpoint(
            "https://otlp.example/a b",
            expect![[r#"
            /telemetry/otlp/endpoint: holds characters that must be percent-encoded
        "#]],
        );
    }

    #[test]
    fn headers_can_be_sent() {
        check(r#"{"otlp":{"headers":{"x-api-key":"word","authorization":{"file":"/run/key"}}}}"#, expect![]);
        check(
            r#"{"otlp":{"headers":{"a b":"word","Content-Type":"text/html","x":"1","X":"2","a/~":"3","":"4"}}}"#,
            expect![[r#"
                /telemetry/otlp/headers/: not a header name
                /telemetry/otlp/headers/Content-Type: this header is set by the exporter itself
                /telemetry/otlp/headers/a b: not a header name
                /telemetry/otlp/headers/a~1~0: not a header name
                /telemetry/otlp/headers/x: this header is given twice, in different spellings
            "#]],
        );
        for (count, faults) in [(HEADERS_MAX, 0), (HEADERS_MAX + 1, 1)] {
            let headers = (0..count).map(|i| (format!("x-{i}"), SecretRef::Text(String::new()))).collect();
            let otlp = Otlp { headers, ..Otlp::default() };
            assert_eq!(Config { otlp: Some(otlp) }.check().len(), faults, "{count}");
        }
    }

    #[test]
    fn the_path_is_added_once() {
        for (endpoint, url) in [
            ("http://a:4318", "http://a:4318/v1/traces"),
            ("http://a/", "http://a/v1/traces"),
            ("http://a/otlp/", "http://a/otlp/v1/traces"),
        ] {
            let otlp = Otlp { endpoint: endpoint.to_owned(), ..Otlp::default() };
            assert_eq!(otlp.traces_url(), url);
        }
    }
}
