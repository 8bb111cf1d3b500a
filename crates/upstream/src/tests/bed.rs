//! A room that is open on a server, and a caller who remembers what was said to it.

use std::{
    collections::HashMap,
    ffi::OsString,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use serde_json::{Value, json, value::RawValue};
use state::{Grants, Pin, Pins, StateError};
use tool::{
    Audience, Call, Completing, Face, Fault, Kind, Line, LogLevel, McpOperation, Meter, Notice, Outcome,
    PrincipalKind, Probe, Progress, Provider, Question, Reply, RequestId, Secret, Stop, Talk, Tool,
    cannot_ask,
};

use crate::Config;

/// What was told besides answers.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) notices: Mutex<Vec<Notice>>,
    pub(crate) meter: Mutex<Vec<String>>,
}

impl Meter for Told {
    fn db_query(&self, _query_name: &str, _took: Duration) {}

    fn api_error(&self, source: &str, status_code: &str) {
        self.meter.lock().unwrap().push(format!("{source} {status_code}"));
    }

    fn mcp_client(&self, operation: &McpOperation<'_>, _took: Duration) {
        let McpOperation { method, tool, error_type, transport } = operation;
        self.meter.lock().unwrap().push(format!("{method} {tool} {error_type} {transport}"));
    }
}

/// What was taken, for as long as the test runs.
#[derive(Default)]
pub(crate) struct MemoryPins(Mutex<Vec<Pin>>);

#[async_trait]
impl Pins for MemoryPins {
    async fn pinned(&self, server: &str) -> Result<Vec<Pin>, StateError> {
        let pins = self.0.lock().unwrap();
        Ok(pins.iter().filter(|pin| pin.server == server).cloned().collect())
    }

    async fn pin(&self, new: &[Pin]) -> Result<(), StateError> {
        let mut pins = self.0.lock().unwrap();
        pins.retain(|old| !new.iter().any(|pin| (&pin.server, &pin.tool) == (&old.server, &old.tool)));
        pins.extend_from_slice(new);
        Ok(())
    }
}

/// What was granted, for as long as the test runs.
#[derive(Default)]
pub(crate) struct MemoryGrants(Mutex<HashMap<String, Secret>>);

#[async_trait]
impl Grants for MemoryGrants {
    async fn granted(&self, server: &str) -> Result<Option<Secret>, StateError> {
        Ok(self.0.lock().unwrap().get(server).cloned())
    }

    async fn grant(&self, server: &str, given: Option<&Secret>) -> Result<(), StateError> {
        let mut all = self.0.lock().unwrap();
        match given {
            Some(given) => all.insert(server.to_owned(), given.clone()),
            None => all.remove(server),
        };
        Ok(())
    }
}

/// An open room.
pub(crate) struct Room {
    pub(crate) provider: Arc<dyn Provider>,
    pub(crate) told: Arc<Told>,
}

impl Room {
    /// Opens the section.
    pub(crate) async fn open(section: Value) -> Self {
        Self::try_open(section).await.unwrap()
    }

    pub(crate) async fn try_open(section: Value) -> Result<Self, String> {
        Self::try_open_with(section, Arc::new(MemoryPins::default())).await
    }

    /// The same, with what was granted before.
    pub(crate) async fn open_granted(section: Value, grants: &Arc<dyn Grants>) -> Self {
        Self::try_open_all(section, Arc::new(MemoryPins::default()), Arc::clone(grants)).await.unwrap()
    }

    /// The same, with what was taken before.
    pub(crate) async fn try_open_with(section: Value, pins: Arc<dyn Pins>) -> Result<Self, String> {
        Self::try_open_all(section, pins, Arc::new(MemoryGrants::default())).await
    }

    async fn try_open_all(
        section: Value,
        pins: Arc<dyn Pins>,
        grants: Arc<dyn Grants>,
    ) -> Result<Self, String> {
        let config: Config = serde_json::from_value(section).map_err(|e| e.to_string())?;
        let told = Arc::new(Told::default());
        let mut parts = testkit::parts(std::path::Path::new("/"));
        parts.meter = Arc::clone(&told) as Arc<dyn Meter>;
        let sink = Arc::clone(&told);
        parts.keeper = Arc::from(keeper());
        parts.notify = Arc::new(move |notice| sink.notices.lock().unwrap().push(notice));
        let opened =
            tokio::task::spawn_blocking(move || crate::open(&config, &parts, &pins, &grants)).await.unwrap();
        let provider = opened.map_err(|faults| format!("{faults:?}"))?;
        Ok(Self { provider, told })
    }

    /// The tools of the servers.
    pub(crate) fn offered(&self) -> Vec<Arc<Tool>> {
        let tools = self.provider.tools();
        tools.iter().filter(|tool| tool.audience == Audience::Callers).cloned().collect()
    }

    /// Their names.
    pub(crate) fn names(&self) -> Vec<String> {
        self.offered().iter().map(|tool| tool.name.to_string()).collect()
    }

    /// Calls a tool of operators as a principal of this kind.
    pub(crate) async fn operate(
        &self,
        kind: PrincipalKind,
        name: &str,
        arguments: Value,
    ) -> Result<Value, Fault> {
        let tool = self.tool(name);
        let call =
            Call::new(Kind::tool(name, tool::json::raw(&arguments)), Face::Cli, RequestId::ours("req-test"));
        let caller = testkit::caller("operator", kind);
        let permit = testkit::permit_for_call(call, caller, &tool, arguments, Duration::from_secs(30));
        let talk = Talk::new(Arc::new(Ear::default()), Stop::never(), Arc::new(testkit::NoCalls));
        match self.provider.run(permit, talk).await? {
            Reply::Done(outcome) => Ok(outcome.to_value()),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn tool(&self, name: &str) -> Arc<Tool> {
        let tools = self.provider.tools();
        let found = tools.iter().find(|tool| tool.name.as_str() == name);
        Arc::clone(found.unwrap_or_else(|| panic!("no {name} in {:?}", self.names())))
    }

    /// Calls a tool with arguments as text, for a caller on this line.
    pub(crate) async fn call(&self, name: &str, arguments: &str, line: &Arc<Ear>) -> Result<Outcome, Fault> {
        let tool = self.tool(name);
        self.ask(&tool, Kind::tool(name, raw(arguments)), line, Stop::never()).await
    }

    /// The same, for a caller who does not listen.
    pub(crate) async fn plain(&self, name: &str, arguments: &str) -> Result<String, Fault> {
        self.call(name, arguments, &Arc::new(Ear::default())).await.map(|outcome| outcome.to_json())
    }

    /// The same, and it can be asked to stop.
    pub(crate) async fn stoppable(
        &self,
        name: &str,
        arguments: &str,
        line: &Arc<Ear>,
        stop: Stop,
    ) -> Result<Outcome, Fault> {
        let tool = self.tool(name);
        self.ask(&tool, Kind::tool(name, raw(arguments)), line, stop).await
    }

    pub(crate) async fn read(&self, uri: &str) -> Result<Outcome, Fault> {
        let reader = self.provider.reads(uri).ok_or_else(|| Fault::not_found("nobody reads it"))?;
        let tool = self.tool(reader.as_str());
        self.ask(&tool, Kind::ReadResource { uri: uri.into() }, &Arc::new(Ear::default()), Stop::never())
            .await
    }

    pub(crate) async fn prompt(
        &self,
        name: &str,
        arguments: &str,
        line: &Arc<Ear>,
    ) -> Result<Outcome, Fault> {
        let tool = self.governing(name);
        let kind = Kind::GetPrompt { name: name.into(), arguments: raw(arguments) };
        self.ask(&tool, kind, line, Stop::never()).await
    }

    pub(crate) async fn complete(&self, of: Completing, sent: Value) -> Result<Outcome, Fault> {
        let tool = match &of {
            Completing::Prompt(name) => self.governing(name),
            Completing::Template(uri) => self.tool(self.provider.reads(uri).unwrap().as_str()),
        };
        let kind = Kind::Complete { of, arguments: tool::json::raw(&sent) };
        self.ask(&tool, kind, &Arc::new(Ear::default()), Stop::never()).await
    }

    pub(crate) async fn probe(&self) -> Probe {
        self.provider.probe().await.into_iter().next().unwrap()
    }

    /// Waits until something is so; the test fails where it does not come to be.
    pub(crate) async fn until(&self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        for _ in 0..500 {
            if is_so(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never: {what}");
    }

    pub(crate) fn has_heard(&self, notice: &Notice) -> bool {
        self.told.notices.lock().unwrap().contains(notice)
    }

    fn governing(&self, prompt: &str) -> Arc<Tool> {
        let prompts = self.provider.prompts();
        let found = prompts.iter().find(|one| &*one.name == prompt).unwrap_or_else(|| panic!("no {prompt}"));
        self.tool(found.tool.as_str())
    }

    pub(crate) async fn ask(
        &self,
        tool: &Arc<Tool>,
        kind: Kind,
        line: &Arc<Ear>,
        stop: Stop,
    ) -> Result<Outcome, Fault> {
        let caller = testkit::caller("tester", PrincipalKind::Human);
        let mut arguments: Value = serde_json::from_str(kind.sent().get()).unwrap_or_default();
        self.provider.target(tool, &mut arguments)?;
        let mut call = Call::new(kind, Face::Mcp, RequestId::ours("req-test"));
        call.traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01".into());
        let permit = testkit::permit_for_call(call, caller, tool, arguments, Duration::from_secs(30));
        let talk = Talk::new(Arc::clone(line) as Arc<dyn Line>, stop, Arc::new(testkit::NoCalls));
        match self.provider.run(permit, talk).await? {
            Reply::Done(outcome) => Ok(outcome),
            other => panic!("{other:?}"),
        }
    }
}

/// A line of a caller who hears, remembers, and answers as told.
#[derive(Default)]
pub(crate) struct Ear {
    pub(crate) heard: Mutex<Vec<String>>,
    /// The methods that it can be asked, and what it answers to each.
    pub(crate) answers: Vec<(&'static str, Value)>,
    pub(crate) takes_tasks: bool,
    /// Never answers.
    pub(crate) is_slow: bool,
}

impl Ear {
    /// A caller who can be asked everything.
    pub(crate) fn open() -> Self {
        let filled = json!({ "action": "accept", "content": {
            "name": "Ada", "username": "ada", "email": "ada@example.com", "ok": true, "color": "blue",
            "confirm": true, "context": "the sea",
        } });
        let said =
            json!({ "role": "assistant", "model": "m", "content": { "type": "text", "text": "Paris" } });
        Self {
            answers: vec![
                ("elicitation/create", filled),
                ("sampling/createMessage", said),
                ("roots/list", json!({ "roots": [{ "uri": "file:///a" }] })),
            ],
            ..Self::default()
        }
    }

    pub(crate) fn with_tasks(self) -> Self {
        Self { takes_tasks: true, ..self }
    }

    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    fn hears(&self, text: String) {
        self.heard.lock().unwrap().push(text);
    }
}

#[async_trait]
impl Line for Ear {
    fn progress(&self, progress: Progress) {
        let Progress { done, total, message } = progress;
        self.hears(format!("progress {done} of {total:?} {}", message.unwrap_or_default()));
    }

    fn log(&self, level: LogLevel, data: Value) {
        self.hears(format!("log {level:?} {data}"));
    }

    fn can_ask(&self, question: &Question) -> Result<(), Fault> {
        match self.answers.iter().any(|(method, _)| *method == question.method()) {
            true => Ok(()),
            false => Err(cannot_ask(question)),
        }
    }

    async fn ask(&self, questions: Vec<Question>) -> Result<Vec<Box<RawValue>>, Fault> {
        let keys: Vec<String> = questions.iter().map(|one| format!("{} {}", one.key, one.method())).collect();
        self.hears(format!("asked {}", keys.join(", ")));
        if self.is_slow {
            std::future::pending::<()>().await;
        }
        let answer = |question: &Question| {
            self.can_ask(question)?;
            let found = self.answers.iter().find(|(method, _)| *method == question.method());
            Ok(tool::json::raw(&found.unwrap().1))
        };
        questions.iter().map(answer).collect()
    }

    fn takes_tasks(&self) -> bool {
        self.takes_tasks
    }

    fn detach(&self) {
        self.hears("detached".to_owned());
    }
}

pub(crate) fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap()
}

/// The text of the first content of a result.
pub(crate) fn said(outcome: &Outcome) -> String {
    let value = outcome.to_value();
    assert_eq!(outcome.shape, tool::Shape::Content);
    value["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{value}")).to_owned()
}

/// The MCP server of known behaviour, which lies beside the tests where it was built; else the test skips and says so.
pub(crate) fn program() -> Option<PathBuf> {
    let tests = std::env::current_exe().unwrap();
    let program = tests.parent().unwrap().parent().unwrap().join("mcp-fixture");
    if program.is_file() {
        return Some(program);
    }
    assert!(std::env::var("PORTCULLIS_BEDS").is_err(), "there is no {}", program.display());
    eprintln!("skipped: there is no mcp-fixture; `cargo build -p fixture` builds it");
    None
}

/// The tests are keepers of programs themselves: libtest runs a single test on the main thread.
fn keeper() -> Vec<OsString> {
    let own = std::env::current_exe().unwrap();
    let arguments =
        ["tests::bed::is_a_keeper_where_it_is_told_so", "--exact", "--test-threads=1", "--nocapture"];
    [own.into_os_string()].into_iter().chain(arguments.map(Into::into)).collect()
}

#[test]
fn is_a_keeper_where_it_is_told_so() {
    if child::is_told() {
        // One whose program does not start ends as failed.
        let _ = child::main(&std::env::args_os().skip(1).collect::<Vec<_>>());
    }
}
