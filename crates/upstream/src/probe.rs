//! Trying a server out, with the client that calls of tools go through: what it speaks, what it offers, what its tools
//! answer, and what is wrong where something is. Nothing is pinned, and nobody else is behind it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use serde::Serialize;
use serde_json::{Value, json, value::RawValue};
use state::{Grants, Pin, Pins, StateError};
use tokio::time::{Instant, timeout};
use tool::{
    Calls, Code, ConfigFault, Fault, Line, LogLevel, Outcome, Parts, Progress, Purpose, Question, Secret,
    Stop, Talk, Tool,
};

use crate::{
    config::{Config, PinMode, UpstreamConfig},
    error::{UpstreamError, with_causes},
    news::Changes,
    open, sample,
    upstream::Upstream,
};

/// What the server is called here.
const NAME: &str = "probe";

/// Which of its tools are called.
#[derive(Clone, Debug, PartialEq)]
pub enum Trial {
    /// None.
    Nothing,
    /// Those that say they only look.
    Looking,
    /// All of them.
    Everything,
    /// These, with these arguments; made up from the schema where there are none.
    These(Vec<(String, Option<Value>)>),
}

/// What was found out.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The revision that is spoken.
    pub protocol_version: Option<&'static str>,
    /// How many tools it offers.
    pub tools: usize,
    /// How many prompts.
    pub prompts: usize,
    /// How many resources.
    pub resources: usize,
    /// How many templates of resources.
    pub templates: usize,
    /// How many of all these do not fit and would be left out.
    pub left_out: usize,
    /// Tools that say something meant for a model, and what.
    pub suspicious: BTreeMap<String, Vec<&'static str>>,
    /// What keeps its program in, where it is one.
    pub sandbox: Option<child::Held>,
    /// What its tools answered.
    pub calls: Vec<Tried>,
    /// Why it cannot be used, where it cannot.
    pub problem: Option<String>,
    /// What may help.
    pub hint: Option<String>,
    /// What its program said last on standard error.
    pub stderr: Vec<String>,
}

/// What a call came to.
#[derive(Debug, Serialize)]
pub struct Tried {
    /// The tool, by its name there.
    pub tool: String,
    /// What it was called with.
    pub arguments: Value,
    /// True where it answered, and not with a failure.
    pub ok: bool,
    /// How long it took.
    pub elapsed_ms: u64,
    /// What it answered.
    pub result: Option<Value>,
    /// Why it did not.
    pub error: Option<String>,
    /// What it asked its caller on the way.
    pub asked: Vec<String>,
    /// Reports of progress.
    pub progress: usize,
    /// Lines of log.
    pub log: usize,
}

impl Report {
    /// True where it can be used, and every call was answered with something other than an error.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.problem.is_none() && self.calls.iter().all(|tried| tried.ok)
    }
}

/// Tries a server out.
///
/// Error: the configuration is wrong; what is wrong with the server is in the report.
pub async fn probe(
    mut config: UpstreamConfig,
    parts: &Parts,
    trial: &Trial,
    mut tell: impl FnMut(&Tried),
) -> Result<Report, Vec<ConfigFault>> {
    config.pin = PinMode::Off;
    config.prefix = Some(String::new());
    let section = Config([(NAME.to_owned(), config)].into());
    let faults = section.check();
    if !faults.is_empty() {
        return Err(faults);
    }
    let grants = Arc::new(Nothing) as Arc<dyn Grants>;
    let access = open::Access { grants: &grants, is_trial: true };
    let settings = open::settings(NAME, &section.0[NAME], parts, &access).map_err(|fault| vec![fault])?;
    let upstream = Upstream::new(settings, parts, Arc::new(Nothing));
    let mut report = Report::default();
    match timeout(upstream.settings.times.connect, upstream.peer())
        .await
        .unwrap_or(Err(UpstreamError::Timeout))
    {
        Ok(peer) => {
            report.protocol_version = Some(peer.version.as_str());
            report.sandbox = peer.held().cloned();
            upstream.relist(Changes::ALL, &peer).await;
            drop(peer);
            report.count(&upstream);
            for (tool, arguments) in chosen(&upstream, trial) {
                let tried = call(&upstream, &tool, arguments).await;
                tell(&tried);
                report.calls.push(tried);
            }
        }
        Err(error) => {
            report.problem = Some(said(&error));
            report.hint = hint(&error).map(str::to_owned);
        }
    }
    report.stderr = upstream.complaints();
    upstream.close().await;
    Ok(report)
}

impl Report {
    fn count(&mut self, upstream: &Upstream) {
        let catalogue = upstream.catalogue();
        self.tools = catalogue.tools.iter().filter(|tool| tool.purpose == Purpose::Call).count();
        self.prompts = catalogue.prompts.len();
        self.resources = catalogue.resources.len();
        self.templates = catalogue.templates.len();
        self.left_out = catalogue.left_out;
        self.suspicious.clone_from(&catalogue.suspicious);
    }
}

/// The tools that are to be called, by their names there, and with what. One that is not there is called all the same: its
/// server says what it thinks of that.
fn chosen(upstream: &Upstream, trial: &Trial) -> Vec<(String, Value)> {
    let catalogue = upstream.catalogue();
    let tools = catalogue.tools.iter().filter(|tool| tool.purpose == Purpose::Call);
    let named = |tool: &Tool| tool.origin.as_deref().unwrap_or_default().to_owned();
    // Arguments are an object, whatever the schema says.
    let sample = |tool: &Arc<Tool>| match sample::of(&tool.input) {
        made @ Value::Object(_) => made,
        _ => json!({}),
    };
    let made = |tool: &Arc<Tool>| (named(tool), sample(tool));
    match trial {
        Trial::Nothing => Vec::new(),
        Trial::Looking => tools.filter(|tool| says_it_looks(tool)).map(made).collect(),
        Trial::Everything => tools.map(made).collect(),
        Trial::These(these) => {
            let known: BTreeMap<String, &Arc<Tool>> = tools.map(|tool| (named(tool), tool)).collect();
            let with = |(name, given): &(String, Option<Value>)| {
                let made = || known.get(name).map_or_else(|| json!({}), |tool| sample(tool));
                (name.clone(), given.clone().unwrap_or_else(made))
            };
            these.iter().map(with).collect()
        }
    }
}

/// Whether a tool says of itself that it only looks. To try it, that is enough.
fn says_it_looks(tool: &Tool) -> bool {
    let sent: Option<Value> = tool.as_sent.as_ref().and_then(|sent| serde_json::from_str(sent.get()).ok());
    sent.is_some_and(|sent| sent["annotations"]["readOnlyHint"] == true)
}

async fn call(upstream: &Arc<Upstream>, tool: &str, arguments: Value) -> Tried {
    let person = Arc::new(Person::default());
    let talk = Talk::new(Arc::clone(&person) as Arc<dyn Line>, Stop::never(), Arc::new(Nothing));
    let began = Instant::now();
    let answer = upstream.try_tool(tool, &arguments, &talk).await;
    let elapsed_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let heard = std::mem::take(&mut *person.heard());
    let (result, error) = match answer {
        Ok(outcome) => (Some(outcome), None),
        Err(error) => (None, Some(said(&error))),
    };
    Tried {
        tool: tool.to_owned(),
        arguments,
        ok: result.as_ref().is_some_and(|outcome| !outcome.failed),
        elapsed_ms,
        result: result.as_ref().map(Outcome::to_value),
        error,
        asked: heard.asked,
        progress: heard.progress,
        log: heard.log,
    }
}

/// Whoever is asked: fills in forms with what stands there, and answers everything else with as little as can be.
#[derive(Default)]
struct Person(Mutex<Heard>);

#[derive(Default)]
struct Heard {
    asked: Vec<String>,
    progress: usize,
    log: usize,
}

impl Person {
    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Line for Person {
    fn progress(&self, _progress: Progress) {
        self.heard().progress += 1;
    }

    fn log(&self, _level: LogLevel, _data: Value) {
        self.heard().log += 1;
    }

    fn can_ask(&self, _question: &Question) -> Result<(), Fault> {
        Ok(())
    }

    fn takes_tasks(&self) -> bool {
        true
    }

    async fn ask(&self, questions: Vec<Question>) -> Result<Vec<Box<RawValue>>, Fault> {
        let mut heard = self.heard();
        let answers = questions.iter().map(|question| {
            heard.asked.push(question.method().to_owned());
            tool::json::raw(&answer(question))
        });
        Ok(answers.collect())
    }
}

fn answer(question: &Question) -> Value {
    let params: Value = serde_json::from_str(question.params().get()).unwrap_or_default();
    match question.method() {
        "elicitation/create" if params["mode"] == "url" => json!({ "action": "accept" }),
        "elicitation/create" => {
            json!({ "action": "accept", "content": sample::of(&params["requestedSchema"]) })
        }
        "sampling/createMessage" => json!({
            "role": "assistant", "content": { "type": "text", "text": "This is a trial; there is no model." },
            "model": "portcullis-probe", "stopReason": "endTurn",
        }),
        _ => json!({ "roots": [] }),
    }
}

/// What went wrong, and what was behind it.
fn said(error: &UpstreamError) -> String {
    match error {
        UpstreamError::Answered(raw) => format!("it answered with the error {raw}"),
        error => format!("it {}", with_causes(error)),
    }
}

/// What may help where a server cannot be used.
fn hint(error: &UpstreamError) -> Option<&'static str> {
    Some(match error {
        UpstreamError::Status { status: 401, .. } => {
            "it wants credentials: --bearer-env names the variable that holds a token"
        }
        UpstreamError::Authorization(_) => {
            "--bearer-env names a variable with a token; --client-id says who we are to its authorization server"
        }
        UpstreamError::Status { status: 403, .. } => "these credentials are not enough for it",
        UpstreamError::Status { status: 404 | 405, .. } => {
            "there is no MCP endpoint at this URL; most are at /mcp"
        }
        UpstreamError::NoHost(_) => "is the name spelled right, and known here?",
        UpstreamError::Connect(_) => {
            "is it running, and is that its port? over TLS: is its certificate one that this system trusts?"
        }
        UpstreamError::Start(_) => "is the program installed, and in the PATH?",
        UpstreamError::Broken(_) => "it ended; standard error below may say why",
        UpstreamError::Timeout => {
            "it said nothing in time: does it speak MCP over standard input and output?"
        }
        UpstreamError::Protocol(_) => "something answers there that does not speak MCP as it should",
        _ => return None,
    })
}

/// Remembers nothing, and calls nothing.
struct Nothing;

#[async_trait]
impl Pins for Nothing {
    async fn pinned(&self, _server: &str) -> Result<Vec<Pin>, StateError> {
        Ok(Vec::new())
    }

    async fn pin(&self, _new: &[Pin]) -> Result<(), StateError> {
        Ok(())
    }
}

#[async_trait]
impl Grants for Nothing {
    async fn granted(&self, _server: &str) -> Result<Option<Secret>, StateError> {
        Ok(None)
    }

    async fn grant(&self, _server: &str, _given: Option<&Secret>) -> Result<(), StateError> {
        Ok(())
    }
}

#[async_trait]
impl Calls for Nothing {
    async fn call(&self, tool: &str, _arguments: Value) -> Result<Outcome, Fault> {
        Err(Fault::new(Code::NotFound, format!("there is no tool {tool:?} in a trial")))
    }

    async fn apply(&self, change: &str) -> Result<Outcome, Fault> {
        Err(Fault::new(Code::NotFound, format!("there is no change {change:?} in a trial")))
    }

    fn may_reach(&self, _tool: &str, _target: &str) -> Option<bool> {
        None
    }
}
