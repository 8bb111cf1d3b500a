//! The road, walked: every way a call can end, what comes back and what is written down.

use std::{collections::BTreeMap, path::Path, sync::atomic::AtomicU32, sync::atomic::Ordering::SeqCst};

use async_trait::async_trait;
use expect_test::{Expect, expect};
use state::{Key, KeySecret, Keys as _, Slot};
use store::{MemoryCache, SqliteStore};
use testkit::ManualClock;
use tool::{
    Approval, Body, Breaks, Caching, Code, Deaf, Effect, Face, Kind, Permit, Plan, Provider, Rate, Repeats,
    Retry, Risk, Secret, Standing, Talk, ToolName, json::raw,
};

use super::*;

mod answers;
mod bounds;
mod changes;
mod elsewhere;
mod inside;
mod odd;

/// A house of one room, on a fresh folder.
struct House {
    gate: Arc<Gate>,
    shaky: Arc<Shaky>,
    clock: Arc<ManualClock>,
    audit: Audit,
    folder: tempfile::TempDir,
}

impl House {
    async fn open() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualClock::new();
        let store = SqliteStore::open(&folder.path().join("state.db")).await.unwrap();
        for (secret, principal) in [("sk_a", "alice"), ("sk_b", "bot"), ("sk_w", "wanda")] {
            store.insert(&key(secret, principal, clock.now())).await.unwrap();
        }
        let audit =
            Audit::open(&folder.path().join("audit"), &audit::Config::default(), clock.clone()).unwrap();
        let shaky = Shaky::new();
        let mut config = config();
        change(&mut config);
        let snapshot = Snapshot::build(config, vec![shaky.clone()]).unwrap_or_else(|e| panic!("{e:?}"));
        let parts = Parts {
            seal: Seal::Lent(testkit::seal()),
            clock: clock.clone(),
            ring: KeyRing::new(store.clone(), store.clone()),
            key_hash: Arc::new(str::to_owned),
            cache: MemoryCache::new(1 << 20),
            ledger: store.clone(),
            artefacts: store.clone(),
            desk: Desk::new(store.clone(), clock.clone(), change::Config::default()),
            audit: audit.clone(),
            metrics: Metrics::new(),
            tracer: Arc::new(tool::Untraced),
        };
        Self { gate: Gate::new(parts, snapshot), shaky, clock, audit, folder }
    }

    async fn call(&self, secret: &str, tool: &str, arguments: Value) -> Answer {
        self.send(secret, Call::new(Kind::tool(tool, raw(&arguments)), Face::Rest, RequestId::ours("r1")))
            .await
    }

    async fn send(&self, secret: &str, call: Call) -> Answer {
        let credentials = match secret {
            "" => Credentials::None { from: None },
            secret => Credentials::bearer(Secret::new(secret.to_owned())),
        };
        self.gate.call(Request { credentials, call, line: Arc::new(Deaf) }).await
    }

    /// What is left alone; what is no source in brackets.
    fn open_breakers(&self) -> String {
        let shown = |b: OpenBreaker| if b.is_source { b.name.to_string() } else { format!("({})", b.name) };
        self.gate.open_breakers().into_iter().map(shown).collect::<Vec<_>>().join(" ")
    }

    /// What was written down of the calls, oldest first: `event tool outcome`.
    async fn trail(&self) -> String {
        self.audit.close().await.unwrap();
        let folder: &Path = &self.folder.path().join("audit");
        assert!(audit::verify(folder).unwrap().problem.is_none());
        let query = audit::TailQuery { count: 1000, ..audit::TailQuery::default() };
        let word = |record: &Value, name: &str| record[name].as_str().unwrap_or("-").to_owned();
        let records = audit::tail(folder, &query).unwrap();
        let lines = records.iter().filter(|r| !word(r, "event").starts_with("checkpoint"));
        lines.map(|r| format!("{} {} {}\n", word(r, "event"), word(r, "tool"), word(r, "outcome"))).collect()
    }
}

fn key(secret: &str, principal: &str, now: tool::Timestamp) -> Key {
    Key {
        id: format!("key_{principal}"),
        label: principal.to_owned(),
        principal: principal.to_owned(),
        user_id: principal.to_owned(),
        tier: "basic".to_owned(),
        roles: vec![principal.to_owned()],
        rate_per_minute: None,
        enabled: true,
        created_at: now,
        expires_at: None,
        revoked_at: None,
        last_used_at: None,
        secrets: vec![KeySecret {
            slot: Slot::Primary,
            hash: secret.to_owned(),
            prefix: secret.to_owned(),
            expires_at: None,
        }],
        version: 1,
    }
}

fn config() -> Config {
    let principal = |kind: &str, role: &str| json!({ "kind": kind, "roles": [role] });
    Config {
        principals: serde_json::from_value(json!({
            "alice": principal("human", "alice"), "bot": principal("agent", "bot"), "wanda": principal("human", "wanda"),
        }))
        .unwrap(),
        roles: serde_json::from_value(json!({
            "alice": { "allow": ["*"] },
            "bot": {
                "allow": ["echo", "write", "count", { "tools": ["limited"], "when": "arguments.n < 5" }],
                "deny": [{ "tools": ["echo"], "targets": ["shaky:secret"] }],
            },
            "wanda": { "allow": ["echo"] },
        }))
        .unwrap(),
        tiers: BTreeMap::new(),
        limits: LimitsConfig { cancel_grace_ms: 50, queue_wait_ms: 100, ..LimitsConfig::default() },
        ..Config::default()
    }
}

/// A room where everything goes wrong that can.
struct Shaky {
    tools: Arc<[Arc<Tool>]>,
    runs: AtomicU32,
    stopped: AtomicU32,
    state: Mutex<String>,
}

impl Shaky {
    fn new() -> Arc<Self> {
        let reading = |name: &str| {
            let schema = json!({ "type": "object", "properties": { "n": { "type": "integer", "default": 1 }, "text": { "type": "string" } }, "additionalProperties": false });
            let mut tool = Tool::reading(ToolName::parse(name).unwrap(), "shaky", "", schema);
            tool.time_max = Duration::from_millis(300);
            tool
        };
        let mut tools: Vec<Tool> =
            ["echo", "limited", "panic", "hang", "deaf", "fails", "wrong", "large"].map(reading).into();
        let mut cached = reading("cached");
        cached.caching = Caching::For(Duration::from_secs(60));
        let mut flaky = reading("flaky");
        flaky.retry =
            Some(Retry { again_max: 3, wait: Duration::from_millis(1), wait_max: Duration::from_millis(5) });
        let mut rare = reading("rare");
        rare.rate = Some(Rate::per_minute(1));
        let mut single = reading("single");
        single.concurrent_max = Some(1);
        single.time_max = Duration::from_secs(5);
        let mut count = reading("count");
        let mut slow_write = reading("slow_write");
        let mut write = reading("write");
        for tool in [&mut count, &mut slow_write, &mut write] {
            (tool.effect, tool.repeats) = (Effect::Changes, Repeats::Counts);
        }
        write.approval = Approval::Needed;
        let (mut fails_free, mut fails_there) = (reading("fails_free"), reading("fails_there"));
        (fails_free.breaks, fails_there.breaks) = (Breaks::Never, Breaks::ByTarget);
        tools.extend([cached, flaky, rare, single, count, slow_write, write, fails_free, fails_there]);
        tools.iter_mut().find(|t| t.name.as_str() == "wrong").unwrap().output =
            Some(Arc::new(json!({ "type": "string" })));
        tools.iter_mut().find(|t| t.name.as_str() == "large").unwrap().bytes_max = 100;
        let tools = tools.into_iter().map(Arc::new).collect();
        Arc::new(Self {
            tools,
            runs: AtomicU32::new(0),
            stopped: AtomicU32::new(0),
            state: Mutex::new("old".into()),
        })
    }

    fn now(&self) -> String {
        self.state.lock().unwrap().clone()
    }
}

#[async_trait]
impl Provider for Shaky {
    fn name(&self) -> &str {
        "shaky"
    }

    fn tools(&self) -> Arc<[Arc<Tool>]> {
        Arc::clone(&self.tools)
    }

    fn target(&self, _tool: &Tool, arguments: &mut Value) -> Result<String, Fault> {
        Ok(format!("shaky:{}", arguments["text"].as_str().unwrap_or_default()))
    }

    async fn run(&self, permit: Permit, talk: Talk) -> Result<Reply, Fault> {
        let run = self.runs.fetch_add(1, SeqCst) + 1;
        let arguments = permit.arguments().clone();
        match permit.tool().name.as_str() {
            "panic" => panic!("as it should"),
            "hang" => {
                talk.stop().asked().await;
                self.stopped.fetch_add(1, SeqCst);
                Err(Fault::new(Code::Cancelled, "stopped"))
            }
            "deaf" => std::future::pending().await,
            "single" => {
                tokio::time::sleep(Duration::from_millis(200)).await;
                Ok(Reply::value(json!({})))
            }
            "slow_write" => {
                tokio::time::sleep(Duration::from_millis(600)).await;
                *self.state.lock().unwrap() = "written late".into();
                Ok(Reply::value(json!({})))
            }
            "fails" | "fails_free" | "fails_there" => Err(Fault::new(Code::Upstream, "the source failed")),
            "flaky" if run < 3 => Err(Fault::new(Code::Upstream, "not yet")),
            "wrong" => Ok(Reply::value(json!({ "not": "a string" }))),
            "large" => Ok(Reply::value(json!({ "text": "0123456789".repeat(100) }))),
            "limited" if arguments["n"] == 4 => {
                Ok(Reply::Done(talk.calls().call("echo", json!({ "text": "inner" })).await?))
            }
            _ => Ok(Reply::value(json!({ "run": run, "arguments": arguments }))),
        }
    }

    async fn plan(&self, permit: Permit, _talk: Talk) -> Result<Plan, Fault> {
        let wanted = permit.arguments()["text"].as_str().unwrap_or_default().to_owned();
        let now = self.now();
        Ok(Plan {
            target: "shaky:state".into(),
            summary: format!("write {wanted:?}"),
            diff: format!("-{now}\n+{wanted}"),
            risk: Risk::Low,
            before: now,
            after: wanted.clone(),
            payload: json!({ "text": wanted }),
        })
    }

    async fn apply(&self, _permit: Permit, plan: Plan, _talk: Talk) -> Result<Reply, Fault> {
        let mut state = self.state.lock().unwrap();
        if *state != plan.before {
            return Err(Fault::new(Code::Drifted, "it changed since the plan was made"));
        }
        if plan.after == "breaks" {
            return Err(Fault::internal("the disk is on fire"));
        }
        state.clone_from(&plan.after);
        Ok(Reply::value(json!({ "written": plan.after })))
    }

    async fn look(&self, plan: &Plan) -> Result<Standing, Fault> {
        let now = self.now();
        Ok(match now {
            now if now == plan.before => Standing::Before,
            now if now == plan.after => Standing::After,
            other => Standing::Elsewhere(other),
        })
    }
}

/// How an answer reads.
fn shown(answer: &Answer) -> String {
    match &answer.result {
        Ok(Reply::Done(outcome)) => outcome.to_json(),
        Ok(other) => format!("{other:?}"),
        Err(fault) => format!("{}: {fault}", fault.code.row().name),
    }
}

async fn check(secret: &str, tool: &str, arguments: Value, answer: Expect, trail: Expect) {
    let house = House::open().await;
    answer.assert_eq(&shown(&house.call(secret, tool, arguments).await));
    trail.assert_eq(&house.trail().await);
}

#[tokio::test]
async fn every_way_a_call_can_end() {
    check(
        "sk_a",
        "echo",
        json!({ "n": "5" }),
        expect![[r#"{"run":1,"arguments":{"n":5}}"#]],
        expect![[r#"
        call.outcome echo success
    "#]],
    )
    .await;
    check(
        "",
        "echo",
        json!({}),
        expect!["unauthenticated: missing API key; send `Authorization: Bearer <key>`"],
        expect![[r#"
        auth.refused - -
    "#]],
    )
    .await;
    check(
        "sk_x",
        "echo",
        json!({}),
        expect!["unauthenticated: Invalid API key"],
        expect![[r#"
        auth.refused - -
    "#]],
    )
    .await;
    check(
        "sk_a",
        "nothing",
        json!({}),
        expect!["not_found: Tool not found: nothing"],
        expect![[r#"
        call.outcome nothing not_found
    "#]],
    )
    .await;
    check(
        "sk_w",
        "count",
        json!({}),
        expect!["not_found: Tool not found: count"],
        expect![[r#"
        call.outcome count not_found
    "#]],
    )
    .await;
    check(
        "sk_b",
        "echo",
        json!({ "text": "secret" }),
        expect!["denied: tool not allowed: echo may not be called with these arguments"],
        expect![[r#"
        call.outcome echo denied
    "#]],
    )
    .await;
    check(
        "sk_b",
        "limited",
        json!({ "n": 5 }),
        expect!["denied: tool not allowed: limited may not be called with these arguments"],
        expect![[r#"
        call.outcome limited denied
    "#]],
    )
    .await;
    check(
        "sk_b",
        "limited",
        json!({ "n": 4 }),
        expect![[r#"{"run":2,"arguments":{"text":"inner","n":1}}"#]],
        expect![[r#"
        call.outcome echo success
        call.outcome limited success
    "#]],
    )
    .await;
    check(
        "sk_a",
        "echo",
        json!({ "m": 1 }),
        expect![[r#"bad_arguments: there is no argument "m"; it takes n, text"#]],
        expect![[r#"
        call.outcome echo bad_arguments
    "#]],
    )
    .await;
    check(
        "sk_a",
        "panic",
        json!({}),
        expect!["internal: something broke on our side; the log has it under this request id"],
        expect![[r#"
        call.outcome panic internal
    "#]],
    )
    .await;
    check(
        "sk_a",
        "hang",
        json!({}),
        expect!["timed_out: hang took longer than it may (300 ms at most) and was stopped"],
        expect![[r#"
        call.outcome hang timed_out
    "#]],
    )
    .await;
    check(
        "sk_a",
        "deaf",
        json!({}),
        expect!["timed_out: deaf took longer than it may (300 ms at most) and was stopped"],
        expect![[r#"
        call.outcome deaf timed_out
    "#]],
    )
    .await;
    check(
        "sk_a",
        "fails",
        json!({}),
        expect!["upstream: the source failed"],
        expect![[r#"
        call.outcome fails upstream
    "#]],
    )
    .await;
    check(
        "sk_a",
        "flaky",
        json!({}),
        expect![[r#"{"run":3,"arguments":{"n":1}}"#]],
        expect![[r#"
        call.outcome flaky success
    "#]],
    )
    .await;
    check(
        "sk_a",
        "wrong",
        json!({}),
        expect!["internal: something broke on our side; the log has it under this request id"],
        expect![[r#"
        call.outcome wrong internal
    "#]],
    )
    .await;
    check(
        "sk_a",
        "count",
        json!({}),
        expect![[r#"{"run":1,"arguments":{"n":1}}"#]],
        expect![[r#"
        call.intent count -
        call.outcome count success
    "#]],
    )
    .await;
}

#[tokio::test]
async fn a_write_that_takes_too_long_is_unknown_and_runs_to_its_end() {
    let house = House::open().await;
    let answer = house.call("sk_a", "slow_write", json!({})).await;
    expect!["outcome_unknown: slow_write did not end in time, and it is not known whether it took effect; look before you ask again"].assert_eq(&shown(&answer));
    assert_eq!(house.shaky.now(), "old");
    assert_eq!(house.gate.drain(Duration::from_secs(5)).await, 0);
    assert_eq!(house.shaky.now(), "written late");
    expect![[r#"
        call.intent slow_write -
        call.outcome slow_write outcome_unknown
        call.late slow_write success
    "#]]
    .assert_eq(&house.trail().await);
}

#[tokio::test]
async fn a_caller_who_leaves_stops_what_reads_and_it_is_written_down() {
    let house = House::open().await;
    let call = house.call("sk_a", "hang", json!({}));
    assert!(tokio::time::timeout(Duration::from_millis(50), call).await.is_err());
    assert_eq!(house.gate.drain(Duration::from_millis(200)).await, 0);
    assert_eq!(house.shaky.stopped.load(SeqCst), 1);
    expect![[r#"
        call.outcome hang cancelled
    "#]]
    .assert_eq(&house.trail().await);
}

#[tokio::test]
async fn a_gate_that_drains_admits_no_more() {
    let house = House::open().await;
    house.gate.drain(Duration::ZERO).await;
    expect!["busy: the server is stopping; ask again in a moment"]
        .assert_eq(&shown(&house.call("sk_a", "echo", json!({})).await));
}

#[tokio::test]
async fn limits_are_exact_and_told() {
    let house = House::with(|config| config.limits.rate_per_minute = 2).await;
    let mut lines = String::new();
    for _ in 0..3 {
        let answer = house.call("sk_a", "echo", json!({})).await;
        let limit = answer.limit.clone().unwrap();
        lines += &format!("{} of {}: {}\n", limit.remaining, limit.limit, answer.result.is_ok());
    }
    expect![[r#"
        1 of 2: true
        0 of 2: true
        0 of 2: false
    "#]]
    .assert_eq(&lines);
    // Another key has a limit of its own; a tool's limit holds for everyone.
    assert!(house.call("sk_b", "echo", json!({})).await.result.is_ok());
    let house = House::open().await;
    assert!(house.call("sk_a", "rare", json!({})).await.result.is_ok());
    let refused = house.call("sk_a", "rare", json!({})).await;
    assert_eq!(refused.limit.unwrap().policy.as_ref(), "tool");
    assert_eq!(refused.result.unwrap_err().code, Code::RateLimited);
}

#[tokio::test]
async fn too_many_at_once_wait_a_moment_and_are_then_refused() {
    let house = Arc::new(House::open().await);
    let calls = (0..4).map(|_| house.call("sk_a", "single", json!({})));
    let answers = futures_util::future::join_all(calls).await;
    let busy = answers.iter().filter(|a| a.result.as_ref().is_err_and(|f| f.code == Code::Busy)).count();
    assert_eq!(busy, 3);
}

#[tokio::test]
async fn the_cache_answers_the_same_principal_once_for_many() {
    let house = House::open().await;
    let calls = (0..10).map(|_| house.call("sk_a", "cached", json!({})));
    let answers = futures_util::future::join_all(calls).await;
    assert_eq!(house.shaky.runs.load(SeqCst), 1);
    let hits = answers.iter().filter(|a| a.cache == CacheUse::Hit).count();
    assert_eq!((hits, house.gate.cache_counts()), (9, (9, 1)));
    house.call("sk_a", "cached", json!({ "n": 2 })).await;
    assert_eq!(house.shaky.runs.load(SeqCst), 2);
}

#[tokio::test]
async fn an_idempotency_key_has_one_effect() {
    let house = House::open().await;
    let send = |key: &str, n: u32| {
        let arguments = raw(&json!({ "n": n }));
        let mut call = Call::new(Kind::tool("count", arguments), Face::Rest, RequestId::ours("r"));
        call.idempotency_key = Some(key.into());
        house.send("sk_a", call)
    };
    let first = shown(&send("k", 1).await);
    assert_eq!(first, shown(&send("k", 1).await));
    assert_eq!(house.shaky.runs.load(SeqCst), 1);
    expect!["conflict: this idempotency key was used with other arguments; use a new key for another call"]
        .assert_eq(&shown(&send("k", 2).await));
    expect!["malformed: an idempotency key has 1 to 255 printable ASCII characters"]
        .assert_eq(&shown(&send("", 2).await));
    send("k2", 1).await;
    assert_eq!(house.shaky.runs.load(SeqCst), 2);
}

#[tokio::test]
async fn a_breaker_opens_and_spares_the_source() {
    let house = House::open().await;
    for _ in 0..5 {
        house.call("sk_a", "fails", json!({})).await;
    }
    let answer = house.call("sk_a", "echo", json!({})).await;
    assert_eq!(answer.result.unwrap_err().code, Code::Unavailable);
    assert_eq!(house.shaky.runs.load(SeqCst), 5);
    assert_eq!(house.open_breakers(), "shaky");
    let metrics = house.gate.encoded_metrics();
    assert!(metrics.contains("source_breaker_open{source=\"shaky\"} 1"), "{metrics}");
}

#[tokio::test]
async fn a_breaker_opens_for_what_its_tool_says() {
    let house = House::open().await;
    for _ in 0..6 {
        house.call("sk_a", "fails_free", json!({})).await;
        house.call("sk_a", "fails_there", json!({ "text": "down" })).await;
    }
    assert_eq!(house.open_breakers(), "(shaky:down)");
    assert!(house.call("sk_a", "echo", json!({})).await.result.is_ok());
    let elsewhere = house.call("sk_a", "fails_there", json!({ "text": "up" })).await;
    assert_eq!(elsewhere.result.unwrap_err().code, Code::Upstream);
}

#[tokio::test]
async fn a_large_result_is_cut_and_kept_behind_a_handle() {
    let house = House::open().await;
    let Ok(Reply::Done(outcome)) = house.call("sk_a", "large", json!({})).await.result else { panic!() };
    let cut = outcome.cut.clone().unwrap();
    let handle = cut.artefact.unwrap();
    let preview = outcome.to_value();
    assert_eq!((preview["truncated"].clone(), preview["bytes"].clone()), (json!(true), json!(1011)));
    assert!(matches!(outcome.body, Body::Raw(_)));
    let read = |principal| house.gate.artefacts.read(&handle, principal, 9, 4, house.clock.now());
    assert_eq!(read("alice").await.unwrap().unwrap().bytes, b"0123");
    assert!(read("bot").await.unwrap().is_none());
}

#[tokio::test]
async fn a_swapped_snapshot_holds_for_calls_that_begin_later() {
    let house = House::open().await;
    let before = house.gate.snapshot();
    let mut stricter = config();
    stricter.roles.get_mut("alice").unwrap().allow.clear();
    house.gate.swap(Snapshot::build(stricter, vec![house.shaky.clone()]).unwrap());
    assert_ne!(before.hash, house.gate.snapshot().hash);
    assert_eq!(house.call("sk_a", "echo", json!({})).await.result.unwrap_err().code, Code::NotFound);
}

#[tokio::test]
async fn keys_that_end_are_refused_at_once() {
    let house = House::open().await;
    assert!(house.call("sk_a", "echo", json!({})).await.result.is_ok());
    let change = |edit: fn(&mut Key, tool::Timestamp)| async move {
        let house = House::open().await;
        house.call("sk_a", "echo", json!({})).await;
        let mut key = house.gate.ring.get("alice").await.unwrap().unwrap();
        edit(&mut key, house.clock.now());
        house.gate.ring.swap(&key).await.unwrap();
        shown(&house.call("sk_a", "echo", json!({})).await)
    };
    expect!["disabled: API key disabled"].assert_eq(&change(|key, _| key.enabled = false).await);
    expect!["unauthenticated: Invalid API key"]
        .assert_eq(&change(|key, now| key.expires_at = Some(now)).await);
    expect!["unauthenticated: Invalid API key"]
        .assert_eq(&change(|key, now| key.revoked_at = Some(now)).await);
    expect!["unauthenticated: Invalid API key"]
        .assert_eq(&change(|key, now| key.secrets[0].expires_at = Some(now)).await);
    expect!["unauthenticated: Invalid API key"]
        .assert_eq(&change(|key, _| key.principal = "nobody".to_owned()).await);
}

#[tokio::test]
async fn what_was_used_is_counted() {
    let house = House::open().await;
    for _ in 0..3 {
        house.call("sk_a", "echo", json!({})).await;
    }
    let (credentials, id) = (Credentials::bearer(Secret::new("sk_a".into())), RequestId::ours("r1"));
    let alice = house.gate.identify(&credentials, &id, &id).await.unwrap();
    assert_eq!(house.gate.usage(&alice).await.unwrap(), (3, 3));
    let key = house.gate.ring.get("alice").await.unwrap().unwrap();
    assert_eq!(key.last_used_at, Some(house.clock.now()));
}
