//! Fakes for tests: callers, permits, talks, a clock that stands still, and a room with everything that the MCP
//! conformance suite asks for. Nothing here is linked into the binary.

mod scripted;
pub mod suite;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use serde_json::Value;
use tool::{
    Call, Caller, Calls, Clock, Code, Deaf, Face, Fault, GateSeal, Identity, Kind, Meter, Outcome, Parts,
    Permit, PrincipalKind, Provider, RequestId, SecretRef, Secrets, Stop, StopSource, Talk, Timestamp, Tool,
};

pub use scripted::Scripted;

/// The seal of this test process.
#[expect(clippy::disallowed_methods, reason = "the one place where a test process mints its seal")]
pub fn seal() -> &'static GateSeal {
    static SEAL: LazyLock<GateSeal> =
        LazyLock::new(|| GateSeal::mint().expect("no test mints a seal but through here"));
    &SEAL
}

/// A caller of this name and kind, with one role of the same name.
pub fn caller(principal: &str, kind: PrincipalKind) -> Arc<Caller> {
    let name: Arc<str> = principal.into();
    let identity = Identity {
        principal: Arc::clone(&name),
        kind,
        owner: None,
        user_id: Arc::clone(&name),
        tier: "basic".into(),
        roles: Arc::from([Arc::clone(&name)]),
        credential: format!("key_{principal}").into(),
        rate: None,
        toolset: None,
    };
    Arc::new(Caller::vouch(seal(), identity))
}

/// A permit for a tool with these arguments as they are, good for 30 s, for the human `tester`.
pub fn permit(tool: &Arc<Tool>, arguments: Value) -> Permit {
    permit_for(caller("tester", PrincipalKind::Human), tool, arguments, Duration::from_secs(30))
}

/// A permit for this caller, good for so long.
pub fn permit_for(caller: Arc<Caller>, tool: &Arc<Tool>, arguments: Value, good_for: Duration) -> Permit {
    let kind = Kind::tool(tool.name.as_str(), tool::json::raw(&arguments));
    let call = Call::new(kind, Face::Rest, RequestId::ours("req-test"));
    permit_for_call(call, caller, tool, arguments, good_for)
}

/// A permit for this very call.
pub fn permit_for_call(
    call: Call,
    caller: Arc<Caller>,
    tool: &Arc<Tool>,
    arguments: Value,
    good_for: Duration,
) -> Permit {
    let deadline = Instant::now() + good_for;
    Permit::grant(seal(), caller, Arc::clone(tool), Arc::new(call), Arc::new(arguments), deadline)
}

/// A permit for one of a provider's tools, after the provider has brought the arguments into normal form.
pub fn permit_of(provider: &dyn Provider, name: &str, mut arguments: Value) -> Result<Permit, Fault> {
    let tools = provider.tools();
    let tool = tools.iter().find(|tool| tool.name.as_str() == name).unwrap_or_else(|| panic!("no {name}"));
    provider.target(tool, &mut arguments)?;
    Ok(permit(tool, arguments))
}

/// A talk with a caller who does not listen, and nobody to stop it.
pub fn talk() -> Talk {
    Talk::new(Arc::new(Deaf), Stop::never(), Arc::new(NoCalls))
}

/// A talk, and the source that can ask it to stop.
pub fn talk_that_stops() -> (StopSource, Talk) {
    let (source, stop) = StopSource::new();
    (source, Talk::new(Arc::new(Deaf), stop, Arc::new(NoCalls)))
}

/// Refuses further calls.
#[derive(Debug)]
pub struct NoCalls;

#[async_trait]
impl Calls for NoCalls {
    async fn call(&self, tool: &str, _arguments: Value) -> Result<Outcome, Fault> {
        Err(Fault::new(Code::NotFound, format!("Tool not found: {tool}")))
    }

    async fn apply(&self, change: &str) -> Result<Outcome, Fault> {
        Err(Fault::new(Code::NotFound, format!("no change {change:?}")))
    }

    fn may_reach(&self, _tool: &str, _target: &str) -> Option<bool> {
        None
    }
}

/// A clock that is set by hand.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// Starts at 2026-01-01T00:00:00Z.
    pub fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(1_767_225_600_000)))
    }

    /// Moves on.
    pub fn pass(&self, time: Duration) {
        let ms = i64::try_from(time.as_millis()).expect("a test does not last for ages");
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.0.load(Ordering::SeqCst))
    }
}

/// A file or a folder of the corpora that others collected, which do not travel with the project: beside it, or where
/// `PORTCULLIS_CORPUS` says. `None` where there is none, and then it says that a test is skipped for that.
#[expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "tests look at the environment, and say so"
)]
pub fn corpus(path: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus");
    let folder = std::env::var_os("PORTCULLIS_CORPUS").map_or(beside, PathBuf::from);
    let found = folder.join(path);
    if !found.exists() {
        eprintln!("skipped: there is no {}; PORTCULLIS_CORPUS names the folder", found.display());
        return None;
    }
    Some(found)
}

/// Takes texts as they are and refuses every other reference.
#[derive(Debug)]
pub struct PlainSecrets;

impl Secrets for PlainSecrets {
    fn resolve(&self, reference: &SecretRef) -> Result<tool::Secret, String> {
        match reference {
            SecretRef::Text(text) => Ok(tool::Secret::new(text.clone())),
            other => Err(format!("{other:?} cannot be followed in this test")),
        }
    }
}

/// Measures nothing.
#[derive(Debug)]
pub struct NoMeter;

impl Meter for NoMeter {
    fn db_query(&self, _query_name: &str, _took: Duration) {}

    fn api_error(&self, _source: &str, _status_code: &str) {}
}

/// What a room is opened with in a test: plain secrets, no meter, a clock that stands still.
pub fn parts(base_dir: &Path) -> Parts {
    Parts {
        secrets: Arc::new(PlainSecrets),
        meter: Arc::new(NoMeter),
        clock: ManualClock::new(),
        base_dir: base_dir.to_owned(),
        notify: Arc::new(|_| {}),
        child_env: Arc::from([("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned())]),
        keeper: Arc::from([]),
    }
}
