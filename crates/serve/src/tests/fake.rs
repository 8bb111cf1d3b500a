//! A road without a gate: three keys, a handful of tools, and one way of ending for each.

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use serde_json::{Value, json};
use tool::{
    Caller, Code, Cut, Deprecation, Fault, Notice, Outcome, PrincipalKind, Probe, ProbeState, Prompt,
    Question, Reply, Resource, TaskId, Timestamp, Tool, ToolName,
};

use crate::headers::Ids;
use crate::road::{
    Answer, CacheUse, Credentials, LimitState, OpenBreaker, Request, Road, Stats, SystemSample,
};

/// Counts, calls and switches of one fake.
pub(super) struct FakeRoad {
    pub(super) notices: tokio::sync::broadcast::Sender<Notice>,
    pub(super) open_connections: AtomicI64,
    pub(super) http: Mutex<HashMap<(String, u16), u32>>,
    pub(super) calls: Mutex<Vec<String>>,
    pub(super) is_draining: AtomicBool,
    pub(super) probes: Mutex<Arc<Vec<Probe>>>,
    pub(super) open_breakers: Mutex<Vec<OpenBreaker>>,
    pub(super) is_audit_broken: AtomicBool,
    /// Told when a call of `hangs` is dropped.
    pub(super) dropped: Arc<tokio::sync::Notify>,
    /// Told when a call of `hangs` has begun.
    pub(super) begun: Arc<tokio::sync::Notify>,
}

impl Default for FakeRoad {
    fn default() -> Self {
        Self {
            notices: tokio::sync::broadcast::channel(16).0,
            open_connections: Default::default(),
            http: Default::default(),
            calls: Default::default(),
            is_draining: Default::default(),
            probes: Default::default(),
            open_breakers: Default::default(),
            is_audit_broken: Default::default(),
            dropped: Default::default(),
            begun: Default::default(),
        }
    }
}

/// What the protocol server remembers, in a store of its own.
pub(super) async fn mcp_state(folder: &Path) -> crate::McpState {
    let store = store::SqliteStore::open(&folder.join("mcp.db")).await.unwrap();
    crate::McpState { sessions: store.clone(), tasks: store }
}

pub(super) fn tools() -> Arc<[Arc<Tool>]> {
    let tool = |name: &str, about: &str, input: Value| {
        Tool::reading(ToolName::parse(name).unwrap(), "test", about, input)
    };
    let mut echo = tool(
        "echo",
        "Answers its arguments.",
        json!({ "type": "object", "properties": { "n": { "type": "integer" } }, "required": ["n"] }),
    );
    echo.output = Some(Arc::new(json!({ "type": "object" })));
    echo.examples = vec![json!({ "n": 1 })];
    echo.title = Some("Echo".into());
    let mut old = tool("old", "Answers as it used to.", json!({ "type": "object" }));
    old.deprecation = Some(Deprecation {
        since: Some("2025-01-01".into()),
        removal: "2026-06-30".into(),
        instead: Some("echo".into()),
    });
    old.version = Some("1".into());
    let mut tree = tool(
        "fs_tree",
        "Takes a tree.",
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": { "root": { "$ref": "#/$defs/Node" } },
            "$defs": { "Node": { "type": "object", "properties": { "kids": { "type": "array", "items": { "$ref": "#/$defs/Node" } } } } },
        }),
    );
    tree.aliases = vec!["fs.tree".into()];
    let mut all: Vec<Tool> = [
        "asks",
        "breaks",
        "conflicts",
        "cut",
        "denied",
        "down",
        "hangs",
        "limited",
        "missing",
        "panics",
        "starts",
    ]
    .map(|name| tool(name, "Ends in its own way.", json!({ "type": "object" })))
    .into();
    all.extend([echo, old, tree]);
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all.into_iter().map(Arc::new).collect()
}

#[async_trait]
impl Road for FakeRoad {
    async fn call(&self, request: Request) -> Answer {
        let call = request.call;
        let (name, arguments) = (call.kind.subject().to_owned(), call.kind.arguments().get().to_owned());
        let mut answer = Answer {
            request_id: call.request_id.clone(),
            caller: None,
            tool: None,
            result: Err(Fault::internal("nothing")),
            limit: None,
            cache: CacheUse::None,
            elapsed: Duration::from_micros(1_500),
        };
        let caller = match who(&request.credentials) {
            Ok(caller) => caller,
            Err(fault) => {
                answer.result = Err(fault);
                return answer;
            }
        };
        self.calls.lock().unwrap().push(format!(
            "{} {name} {arguments} face={} label={} key={} trace={}",
            caller.principal,
            call.face.as_str(),
            call.label.as_deref().unwrap_or("-"),
            call.idempotency_key.as_deref().unwrap_or("-"),
            call.traceparent.is_some(),
        ));
        let tools = self.visible(&caller);
        let names =
            |tool: &&Arc<Tool>| tool.name.as_str() == name || tool.aliases.iter().any(|a| **a == *name);
        let Some(tool) = tools.iter().find(names) else {
            answer.result = Err(Fault::not_found(format!("Tool not found: {name}")));
            return answer;
        };
        answer.tool = Some(Arc::clone(tool));
        answer.limit = Some(LimitState {
            policy: "key".into(),
            limit: 100,
            remaining: 99,
            window: Duration::from_secs(60),
            reset_at: Timestamp::from_unix_ms(1_767_225_660_000),
        });
        answer.result = self.end(&name, &arguments).await;
        answer
    }

    async fn identify(&self, credentials: &Credentials, _ids: &Ids) -> Result<Arc<Caller>, Fault> {
        who(credentials)
    }

    async fn usage(&self, _caller: &Caller) -> Result<(u64, u64), Fault> {
        Ok((3, 5))
    }

    fn rate(&self, _caller: &Caller) -> tool::Rate {
        tool::Rate::per_minute(100)
    }

    fn visible(&self, _caller: &Caller) -> Arc<[Arc<Tool>]> {
        tools()
    }

    fn toolset(&self, _name: &str) -> Option<Option<String>> {
        None
    }

    fn prompts(&self, _caller: &Caller) -> Vec<Arc<Prompt>> {
        Vec::new()
    }

    fn resources(&self, _caller: &Caller) -> Vec<Arc<Resource>> {
        Vec::new()
    }

    fn templates(&self, _caller: &Caller) -> Vec<Arc<Resource>> {
        Vec::new()
    }

    fn may_watch(&self, _caller: &Caller, _uri: &str) -> bool {
        false
    }

    fn notices(&self) -> tokio::sync::broadcast::Receiver<Notice> {
        self.notices.subscribe()
    }

    async fn change_state(&self, _caller: &Caller, change: &str) -> Result<&'static str, Fault> {
        Err(Fault::not_found(format!("Change not found: {change}")))
    }

    fn sources(&self) -> usize {
        1
    }

    fn health(&self) -> Arc<Vec<Probe>> {
        Arc::clone(&self.probes.lock().unwrap())
    }

    fn open_breakers(&self) -> Vec<OpenBreaker> {
        self.open_breakers.lock().unwrap().clone()
    }

    fn is_audit_broken(&self) -> bool {
        self.is_audit_broken.load(Ordering::SeqCst)
    }

    fn cache_counts(&self) -> (u64, u64) {
        (3, 1)
    }

    fn stats(&self) -> Stats {
        Stats { uptime: Duration::from_millis(2_500), total_operations: 7, operations_per_minute: 3.5 }
    }

    fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::SeqCst)
    }

    async fn drain(&self, _grace: Duration) -> usize {
        self.is_draining.store(true, Ordering::SeqCst);
        0
    }

    fn http_request(&self, endpoint: &str, status: u16, _took: Duration) {
        *self.http.lock().unwrap().entry((endpoint.to_owned(), status)).or_default() += 1;
    }

    fn connection_opened(&self) {
        self.open_connections.fetch_add(1, Ordering::SeqCst);
    }

    fn connection_closed(&self) {
        self.open_connections.fetch_sub(1, Ordering::SeqCst);
    }

    fn set_system(&self, _sample: SystemSample) {}

    fn metrics(&self) -> String {
        "# EOF\n".to_owned()
    }
}

impl FakeRoad {
    async fn end(&self, name: &str, arguments: &str) -> Result<Reply, Fault> {
        let fault = |code, text: &str| Err(Fault::new(code, text));
        match name {
            "asks" => Ok(Reply::NeedsInput(Question::form("which", "which one", json!({})))),
            "starts" => Ok(Reply::Task(TaskId("task-1".into()))),
            "breaks" => fault(Code::Internal, "something broke"),
            "conflicts" => fault(Code::Conflict, "it clashes"),
            "denied" => fault(Code::Denied, "tool not allowed"),
            "down" => Err(Fault::new(Code::Unavailable, "shop is down").retry_after(Duration::from_secs(5))),
            "missing" => Err(Fault::not_found("Customer not found")),
            "limited" => Err(Fault::new(Code::RateLimited, "over 100 calls")
                .retry_after(Duration::from_secs(30))
                .with_details(json!({ "limit": 100, "reset_at": "2026-01-01T00:01:00.000Z" }))),
            "cut" => {
                let mut outcome = Outcome::new(json!({ "rows": [] }));
                outcome.cut = Some(Cut { bound: "rows", artefact: Some("art-1".into()) });
                Ok(Reply::Done(outcome))
            }
            "panics" => panic!("as it should"),
            "hangs" => {
                struct Told(Arc<tokio::sync::Notify>);
                impl Drop for Told {
                    fn drop(&mut self) {
                        self.0.notify_one();
                    }
                }
                let _told = Told(Arc::clone(&self.dropped));
                self.begun.notify_one();
                std::future::pending().await
            }
            _ => Ok(Reply::value(serde_json::from_str(arguments).unwrap_or(Value::Null))),
        }
    }

    pub(super) fn probe(&self, kind: &'static str, state: ProbeState) {
        let mut probes = self.probes.lock().unwrap();
        let mut details = serde_json::Map::new();
        details.insert("connections".to_owned(), 2.into());
        let probe = Probe {
            source: format!("{kind}:x").into(),
            kind,
            state,
            latency: Duration::from_millis(3),
            details,
        };
        *probes = Arc::new(probes.iter().cloned().chain([probe]).collect());
    }
}

fn who(credentials: &Credentials) -> Result<Arc<Caller>, Fault> {
    match credentials {
        Credentials::Within { credentials, .. } => who(credentials),
        Credentials::None { .. } => {
            Err(Fault::new(Code::Unauthenticated, "missing API key; send it as a bearer token"))
        }
        Credentials::Local { .. } => Ok(testkit::caller("local", PrincipalKind::Human)),
        Credentials::Signed(signed) if &*signed.header == "good" => {
            Ok(testkit::caller("monitoring", PrincipalKind::Machine))
        }
        Credentials::Signed(_) => Err(Fault::new(Code::Unauthenticated, "Invalid signature")),
        Credentials::Bearer { secret, .. } => match secret.expose() {
            "good" => Ok(testkit::caller("alice", PrincipalKind::Human)),
            "metrics" => Ok(testkit::caller("metrics", PrincipalKind::Machine)),
            "off" => Err(Fault::new(Code::Disabled, "API key disabled")),
            _ => Err(Fault::new(Code::Unauthenticated, "Invalid API key")),
        },
    }
}
