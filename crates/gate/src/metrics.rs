//! What is counted and measured, under the names that the seeds' dashboards and the conventions use.

mod end;
mod kept;

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use tokio::time::Instant;
use tool::{Call, Face, McpOperation, Meter, ToolServer};

pub(crate) use end::End;

use end::Status;
use kept::{Ends, Kept, Operations};

/// Buckets in seconds, for calls and requests: from half a millisecond to half a minute.
const SECONDS: [f64; 16] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Buckets of the MCP conventions of OpenTelemetry.
const CONVENTION: [f64; 14] =
    [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];

/// The label of calls of what is not there, or not there for their caller.
pub(crate) const UNKNOWN_TOOL: &str = "unknown";

type Gauge64 = Gauge<f64, AtomicU64>;
type Counter64 = Counter<f64, AtomicU64>;

/// Every metric of the house, in one registry.
pub struct Metrics {
    registry: Registry,
    /// Name, help and type of each, for the ones that have no series yet.
    described: Vec<(&'static str, &'static str, &'static str)>,
    started: Instant,
    calls_done: AtomicU64,
    recent: Mutex<Recent>,
    /// The series of what ends with every call, by tool; of requests, by door and status; of queries, by name.
    ends: Kept<Arc<str>, Ends>,
    client_operations: Kept<Arc<str>, Operations>,
    requests: Kept<(&'static str, u16), (Counter, Histogram)>,
    queries: Kept<Box<str>, Histogram>,
    cache_hit: OnceLock<Counter>,
    cache_miss: OnceLock<Counter>,
    tool_calls: Family<ToolStatus, Counter>,
    tool_duration: Family<ToolName, Histogram>,
    mcp_invocations: Family<McpStatus, Counter>,
    mcp_duration: Family<McpTool, Histogram>,
    mcp_server_operations: Family<Operation, Histogram>,
    mcp_client_operations: Family<Operation, Histogram>,
    http_requests: Family<HttpStatus, Counter>,
    http_errors: Counter,
    http_duration: Family<Endpoint, Histogram>,
    upstream_up: Family<Server, Gauge>,
    upstream_quarantined: Family<Server, Gauge>,
    upstream_tools: Family<ServerTools, Gauge>,
    upstream_restarts: Family<Server, Counter>,
    upstream_suspicious: Family<ServerSuspicion, Counter>,
    api_errors: Family<ApiError, Counter>,
    breaker_open: Family<BreakerOf, Gauge>,
    db_queries: Family<Query, Histogram>,
    limit_hits: Family<Client, Counter>,
    cache: Family<CacheResult, Counter>,
    connections: Gauge,
    in_flight: Gauge,
    uptime: Gauge64,
    cpu: Gauge64,
    memory: Gauge64,
    disk: Gauge64,
    process_cpu: Counter64,
    process_cpu_seen: Mutex<f64>,
    process_resident: Gauge64,
    process_fds: Gauge64,
    process_start: Gauge64,
}

/// A look at the machine and this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemSample {
    /// Of all processors, 0 to 100.
    pub cpu_percent: f64,
    /// Of all memory, 0 to 100.
    pub memory_percent: f64,
    /// Of the disk that holds the data folder, 0 to 100.
    pub disk_percent: f64,
    /// Processor time of this process since its start.
    pub process_cpu_seconds: f64,
    /// Memory of this process.
    pub process_resident_bytes: u64,
    /// Open file descriptors of this process.
    pub process_open_fds: u64,
    /// When this process started, in seconds since the Unix epoch.
    pub process_start_unix: f64,
    /// Processes on this machine.
    pub process_count: u64,
}

/// How much was done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stats {
    /// Since the start.
    pub uptime: Duration,
    /// Calls that ended, however they ended.
    pub total_operations: u64,
    /// Calls in the last 60 seconds.
    pub operations_per_minute: f64,
}

macro_rules! labels {
    ($($name:ident { $($label:ident: $type:ty),+ })+) => {
        $(#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
        struct $name { $($label: $type),+ })+
    };
}

labels! {
    ToolStatus { tool_name: Arc<str>, status: &'static str }
    ToolName { tool_name: Arc<str> }
    McpStatus { tool: Arc<str>, status: &'static str }
    McpTool { tool: Arc<str> }
    Operation { mcp_method_name: &'static str, gen_ai_tool_name: Arc<str>, error_type: &'static str, network_transport: &'static str }
    HttpStatus { endpoint: &'static str, status_code: u16 }
    Endpoint { endpoint: &'static str }
    ApiError { source: String, status_code: String }
    Query { query_name: String }
    Client { client_id: String }
    CacheResult { result: &'static str }
    Server { server: Arc<str> }
    BreakerOf { source: Arc<str> }
    ServerTools { server: Arc<str>, state: &'static str }
    ServerSuspicion { server: Arc<str>, kind: &'static str }
}

impl Metrics {
    /// Registers everything.
    #[must_use]
    pub fn new() -> Arc<Self> {
        let seconds = || Histogram::new(SECONDS);
        let mut metrics = Self {
            registry: Registry::default(),
            described: Vec::new(),
            started: Instant::now(),
            calls_done: AtomicU64::new(0),
            recent: Mutex::default(),
            ends: Kept::default(),
            client_operations: Kept::default(),
            requests: Kept::default(),
            queries: Kept::default(),
            cache_hit: OnceLock::new(),
            cache_miss: OnceLock::new(),
            tool_calls: Family::default(),
            tool_duration: Family::new_with_constructor(seconds),
            mcp_invocations: Family::default(),
            mcp_duration: Family::new_with_constructor(seconds),
            mcp_server_operations: Family::new_with_constructor(|| Histogram::new(CONVENTION)),
            mcp_client_operations: Family::new_with_constructor(|| Histogram::new(CONVENTION)),
            http_requests: Family::default(),
            http_errors: Counter::default(),
            http_duration: Family::new_with_constructor(seconds),
            upstream_up: Family::default(),
            upstream_quarantined: Family::default(),
            breaker_open: Family::default(),
            upstream_tools: Family::default(),
            upstream_restarts: Family::default(),
            upstream_suspicious: Family::default(),
            api_errors: Family::default(),
            db_queries: Family::new_with_constructor(seconds),
            limit_hits: Family::default(),
            cache: Family::default(),
            connections: Gauge::default(),
            in_flight: Gauge::default(),
            uptime: Gauge64::default(),
            cpu: Gauge64::default(),
            memory: Gauge64::default(),
            disk: Gauge64::default(),
            process_cpu: Counter64::default(),
            process_cpu_seen: Mutex::new(0.0),
            process_resident: Gauge64::default(),
            process_fds: Gauge64::default(),
            process_start: Gauge64::default(),
        };
        metrics.register();
        Arc::new(metrics)
    }

    fn register(&mut self) {
        self.add("tool_calls", "Calls by tool and how they ended", "counter", self.tool_calls.clone());
        self.add(
            "tool_duration_seconds",
            "How long calls took, by tool",
            "histogram",
            self.tool_duration.clone(),
        );
        self.add(
            "mcp_tool_invocations",
            "Calls by tool and how they ended",
            "counter",
            self.mcp_invocations.clone(),
        );
        self.add(
            "mcp_tool_duration_seconds",
            "How long calls took, by tool",
            "histogram",
            self.mcp_duration.clone(),
        );
        self.add(
            "mcp_server_operation_duration_seconds",
            "How long operations took, by the OpenTelemetry conventions for MCP",
            "histogram",
            self.mcp_server_operations.clone(),
        );
        self.add(
            "mcp_client_operation_duration_seconds",
            "How long operations of tool servers behind us took, by the same conventions",
            "histogram",
            self.mcp_client_operations.clone(),
        );
        self.register_tool_servers();
        self.add("http_requests", "Requests by door and status", "counter", self.http_requests.clone());
        self.add("http_requests_errors", "Requests answered with 5xx", "counter", self.http_errors.clone());
        self.add(
            "http_server_request_duration_seconds",
            "How long requests took, by door",
            "histogram",
            self.http_duration.clone(),
        );
        self.add("api_errors", "Errors of sources by status", "counter", self.api_errors.clone());
        self.add(
            "source_breaker_open",
            "Whether a source is left alone for now, since it kept failing",
            "gauge",
            self.breaker_open.clone(),
        );
        self.add(
            "db_query_duration_seconds",
            "How long queries took, by name",
            "histogram",
            self.db_queries.clone(),
        );
        self.add(
            "rate_limit_hits",
            "Calls refused by a rate limit, by key id",
            "counter",
            self.limit_hits.clone(),
        );
        self.add("cache_requests", "Look-ups in the answer cache", "counter", self.cache.clone());
        self.add("mcp_active_connections", "Open client connections", "gauge", self.connections.clone());
        self.add("calls_in_flight", "Calls running now", "gauge", self.in_flight.clone());
        self.add("service_uptime_seconds", "Time since the start", "gauge", self.uptime.clone());
        self.add("system_cpu_percent", "Processor use of the machine", "gauge", self.cpu.clone());
        self.add("system_memory_percent", "Memory use of the machine", "gauge", self.memory.clone());
        self.add(
            "system_disk_percent",
            "Use of the disk that holds the data folder",
            "gauge",
            self.disk.clone(),
        );
        self.add(
            "process_cpu_seconds",
            "Processor time of this process",
            "counter",
            self.process_cpu.clone(),
        );
        self.add(
            "process_resident_memory_bytes",
            "Memory of this process",
            "gauge",
            self.process_resident.clone(),
        );
        self.add(
            "process_open_fds",
            "Open file descriptors of this process",
            "gauge",
            self.process_fds.clone(),
        );
        self.add(
            "process_start_time_seconds",
            "Start of this process since the Unix epoch",
            "gauge",
            self.process_start.clone(),
        );
    }

    fn register_tool_servers(&mut self) {
        self.add(
            "mcp_upstream_up",
            "Whether a tool server behind us is connected",
            "gauge",
            self.upstream_up.clone(),
        );
        self.add(
            "mcp_upstream_quarantined",
            "Whether a tool server kept ending and waits for an operator",
            "gauge",
            self.upstream_quarantined.clone(),
        );
        self.add(
            "mcp_upstream_tools",
            "Tools of tool servers: offered, held back, left out, suspicious",
            "gauge",
            self.upstream_tools.clone(),
        );
        self.add(
            "mcp_upstream_restarts",
            "How often programs of tool servers were started again",
            "counter",
            self.upstream_restarts.clone(),
        );
        self.add(
            "mcp_upstream_suspicious",
            "Results of tool servers that say something meant for a model, by kind",
            "counter",
            self.upstream_suspicious.clone(),
        );
    }

    fn add(
        &mut self,
        name: &'static str,
        help: &'static str,
        kind: &'static str,
        metric: impl prometheus_client::registry::Metric,
    ) {
        self.registry.register(name, help, metric);
        self.described.push((name, help, kind));
    }

    /// A request was answered. `endpoint` is the door's template, never the path as sent.
    pub fn http_request(&self, endpoint: &'static str, status: u16, took: Duration) {
        if status >= 500 {
            self.http_errors.inc();
        }
        let make = || {
            let count = self.http_requests.get_or_create_owned(&HttpStatus { endpoint, status_code: status });
            ((endpoint, status), (count, self.http_duration.get_or_create_owned(&Endpoint { endpoint })))
        };
        self.requests.with(&(endpoint, status), make, |(count, duration)| {
            count.inc();
            duration.observe(took.as_secs_f64());
        });
    }

    /// A client connected.
    pub fn connection_opened(&self) {
        self.connections.inc();
    }

    /// A client went.
    pub fn connection_closed(&self) {
        self.connections.dec();
    }

    /// Takes a look at the machine.
    pub fn set_system(&self, sample: SystemSample) {
        self.cpu.set(sample.cpu_percent);
        self.memory.set(sample.memory_percent);
        self.disk.set(sample.disk_percent);
        #[expect(clippy::cast_precision_loss, reason = "a gauge; 2^53 bytes are far away")]
        {
            self.process_resident.set(sample.process_resident_bytes as f64);
            self.process_fds.set(sample.process_open_fds as f64);
        }
        self.process_start.set(sample.process_start_unix);
        let mut seen = self.process_cpu_seen.lock().unwrap_or_else(PoisonError::into_inner);
        if sample.process_cpu_seconds > *seen {
            self.process_cpu.inc_by(sample.process_cpu_seconds - *seen);
            *seen = sample.process_cpu_seconds;
        }
    }

    /// Which of these sources are left alone at this moment.
    pub(crate) fn set_breakers<'a>(&self, sources: impl Iterator<Item = (&'a str, bool)>) {
        self.breaker_open.clear();
        for (source, is_open) in sources {
            self.breaker_open.get_or_create(&BreakerOf { source: source.into() }).set(is_open.into());
        }
    }

    /// Everything, as OpenMetrics text.
    #[must_use]
    pub fn encode(&self) -> String {
        self.uptime.set(self.started.elapsed().as_secs_f64());
        let mut text = String::new();
        // Writing into a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        let end = text.len() - text.strip_suffix("# EOF\n").map_or(0, |_| "# EOF\n".len());
        let mut rest = String::new();
        for (name, help, kind) in &self.described {
            // A family without a series is not encoded; its name is there all the same.
            if !text.contains(&format!("# HELP {name} ")) {
                rest += &format!("# HELP {name} {help}.\n# TYPE {name} {kind}\n");
            }
        }
        text.insert_str(end, &rest);
        text
    }

    /// How much was done.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner).total(self.second());
        #[expect(clippy::cast_precision_loss, reason = "calls in a minute")]
        Stats {
            uptime: self.started.elapsed(),
            total_operations: self.calls_done.load(Ordering::Relaxed),
            operations_per_minute: recent as f64,
        }
    }

    /// A call began.
    pub(crate) fn call_began(&self) {
        self.in_flight.inc();
    }

    /// A call ended.
    pub(crate) fn call_ended(&self, tool: &Arc<str>, call: &Call, end: End<'_>, took: Duration) {
        self.calls_done.fetch_add(1, Ordering::Relaxed);
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).add(self.second());
        self.login_refused(tool, call, end, took);
    }

    /// A call ended before anybody was identified: it is measured as a call, but is none of the operations.
    pub(crate) fn login_refused(&self, tool: &Arc<str>, call: &Call, end: End<'_>, took: Duration) {
        self.in_flight.dec();
        let (status, seconds) = (Status::of(end, tool), took.as_secs_f64());
        self.ends.with(
            &**tool,
            || (Arc::clone(tool), self.ends_of(tool)),
            |ends| {
                let (tool_calls, mcp_invocations) =
                    ends.counts[status as usize].get_or_init(|| self.counts_of(tool, status));
                tool_calls.inc();
                mcp_invocations.inc();
                ends.duration.observe(seconds);
                ends.mcp_duration.observe(seconds);
                if matches!(call.face, Face::Mcp | Face::Stdio) {
                    let error_type = if matches!(end, End::Success) { "" } else { "tool_error" };
                    let transport = if call.face == Face::Mcp { "tcp" } else { "pipe" };
                    let labels = [call.kind.method(), error_type, transport];
                    ends.operations.observe(labels, seconds, || {
                        self.mcp_server_operations.get_or_create_owned(&operation(labels, tool))
                    });
                }
            },
        );
    }

    /// The series of a tool's calls that are there as soon as one has ended.
    fn ends_of(&self, tool: &Arc<str>) -> Ends {
        Ends {
            duration: self.tool_duration.get_or_create_owned(&ToolName { tool_name: Arc::clone(tool) }),
            mcp_duration: self.mcp_duration.get_or_create_owned(&McpTool { tool: Arc::clone(tool) }),
            counts: Default::default(),
            operations: Operations::default(),
        }
    }

    /// The series of a tool's calls that ended so.
    fn counts_of(&self, tool: &Arc<str>, status: Status) -> (Counter, Counter) {
        let (name, status) = (|| Arc::clone(tool), status.as_str());
        let tool_calls = self.tool_calls.get_or_create_owned(&ToolStatus { tool_name: name(), status });
        (tool_calls, self.mcp_invocations.get_or_create_owned(&McpStatus { tool: name(), status }))
    }

    /// A rate limit said no.
    pub(crate) fn limit_hit(&self, credential: &str) {
        self.limit_hits.get_or_create(&Client { client_id: credential.to_owned() }).inc();
    }

    /// The answer cache was asked.
    pub(crate) fn cache_asked(&self, hit: bool) {
        let (kept, result) = if hit { (&self.cache_hit, "hit") } else { (&self.cache_miss, "miss") };
        kept.get_or_init(|| self.cache.get_or_create_owned(&CacheResult { result })).inc();
    }

    /// Hits and misses of the answer cache.
    #[must_use]
    pub fn cache_counts(&self) -> (u64, u64) {
        let count = |result| self.cache.get_or_create(&CacheResult { result }).get();
        (count("hit"), count("miss"))
    }

    fn second(&self) -> u64 {
        self.started.elapsed().as_secs()
    }
}

impl Meter for Metrics {
    fn db_query(&self, query_name: &str, took: Duration) {
        let make = || {
            let labels = Query { query_name: query_name.to_owned() };
            (query_name.into(), self.db_queries.get_or_create_owned(&labels))
        };
        self.queries.with(query_name, make, |query| query.observe(took.as_secs_f64()));
    }

    fn api_error(&self, source: &str, status_code: &str) {
        let labels = ApiError { source: source.to_owned(), status_code: status_code.to_owned() };
        self.api_errors.get_or_create(&labels).inc();
    }

    fn mcp_client(&self, operation: &McpOperation<'_>, took: Duration) {
        let McpOperation { method, tool, error_type, transport } = *operation;
        let labels = [method, error_type, transport];
        let make = || (tool.into(), Operations::default());
        self.client_operations.with(tool, make, |operations| {
            operations.observe(labels, took.as_secs_f64(), || {
                self.mcp_client_operations.get_or_create_owned(&self::operation(labels, &tool.into()))
            });
        });
    }

    fn tool_server(&self, server: &str, stands: ToolServer) {
        let server: Arc<str> = server.into();
        let one = Server { server: Arc::clone(&server) };
        self.upstream_up.get_or_create(&one).set(stands.up.into());
        self.upstream_quarantined.get_or_create(&one).set(stands.quarantined.into());
        let ToolServer { offered, held, left_out, suspicious, .. } = stands;
        for (state, count) in
            [("offered", offered), ("held", held), ("left_out", left_out), ("suspicious", suspicious)]
        {
            let labels = ServerTools { server: Arc::clone(&server), state };
            self.upstream_tools.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    fn tool_server_restarted(&self, server: &str) {
        self.upstream_restarts.get_or_create(&Server { server: server.into() }).inc();
    }

    fn suspicious(&self, server: &str, kind: &'static str) {
        self.upstream_suspicious.get_or_create(&ServerSuspicion { server: server.into(), kind }).inc();
    }
}

/// The labels of an operation at a tool: of its method, its kind of error and its transport.
fn operation(
    [mcp_method_name, error_type, network_transport]: [&'static str; 3],
    tool: &Arc<str>,
) -> Operation {
    Operation { mcp_method_name, gen_ai_tool_name: Arc::clone(tool), error_type, network_transport }
}

/// Calls in each of the last 60 seconds.
#[derive(Debug)]
struct Recent {
    counts: [u64; 60],
    last: u64,
}

impl Default for Recent {
    fn default() -> Self {
        Self { counts: [0; 60], last: 0 }
    }
}

impl Recent {
    fn add(&mut self, second: u64) {
        self.roll(second);
        self.counts[(second % 60) as usize] += 1;
    }

    fn total(&mut self, second: u64) -> u64 {
        self.roll(second);
        self.counts.iter().sum()
    }

    fn roll(&mut self, second: u64) {
        for passed in (self.last + 1..=second).take(60) {
            self.counts[(passed % 60) as usize] = 0;
        }
        self.last = self.last.max(second);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_minute_forgets_what_is_older() {
        let mut recent = Recent::default();
        recent.add(0);
        recent.add(59);
        assert_eq!((recent.total(59), recent.total(60), recent.total(500)), (2, 1, 0));
    }

    #[test]
    fn every_name_is_there_before_anything_happened() {
        let text = Metrics::new().encode();
        for name in [
            "tool_calls",
            "tool_duration_seconds",
            "http_requests",
            "http_requests_errors",
            "api_errors",
            "db_query_duration_seconds",
            "rate_limit_hits",
            "mcp_tool_invocations",
            "mcp_tool_duration_seconds",
            "mcp_active_connections",
            "service_uptime_seconds",
            "system_cpu_percent",
            "system_memory_percent",
            "system_disk_percent",
            "process_cpu_seconds",
            "process_resident_memory_bytes",
            "mcp_server_operation_duration_seconds",
            "mcp_client_operation_duration_seconds",
            "http_server_request_duration_seconds",
        ] {
            assert!(text.contains(&format!("# HELP {name} ")), "{name}");
        }
    }

    #[test]
    fn a_series_is_there_once_it_is_counted_and_goes_on_being_the_same() {
        let metrics = Metrics::new();
        let count = |name: &str| metrics.encode().lines().filter(|line| line.contains(name)).count();
        let operation =
            |error_type| McpOperation { method: "tools/call", tool: "a", error_type, transport: "tcp" };
        for _ in 0..3 {
            metrics.http_request("/mcp", 200, Duration::from_millis(1));
            metrics.mcp_client(&operation(""), Duration::from_millis(1));
            metrics.db_query("q", Duration::from_millis(1));
            metrics.cache_asked(true);
        }
        metrics.http_request("/mcp", 503, Duration::from_millis(1));
        metrics.mcp_client(&operation("timeout"), Duration::from_millis(1));
        assert_eq!(count("cache_requests_total{"), 1, "nothing has missed");
        let text = metrics.encode();
        for line in [
            "http_requests_total{endpoint=\"/mcp\",status_code=\"200\"} 3",
            "http_requests_total{endpoint=\"/mcp\",status_code=\"503\"} 1",
            "http_requests_errors_total 1",
            "http_server_request_duration_seconds_count{endpoint=\"/mcp\"} 4",
            "db_query_duration_seconds_count{query_name=\"q\"} 3",
            "cache_requests_total{result=\"hit\"} 3",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert_eq!(count("mcp_client_operation_duration_seconds_count{"), 2);
        assert_eq!(metrics.cache_counts(), (3, 0));
    }
}
