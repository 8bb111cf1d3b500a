//! Limits, breaker, retries, keys: what holds when many ask, when somebody guesses, and when a source fails.

use state::{StateError, Swap, Usage, UsageCount};
use tool::Timestamp;

use crate::{BreakerConfig, breaker};

use super::{
    odd::{self, at_once, reading},
    *,
};

#[tokio::test]
async fn whoever_guesses_names_is_limited_like_everyone() {
    let house = House::with(|config| config.limits.rate_per_minute = 2).await;
    let mut lines = String::new();
    for name in ["a", "b", "echo", "c"] {
        let answer = house.call("sk_a", name, json!({})).await;
        lines += &format!("{} left: {}\n", answer.limit.as_ref().unwrap().remaining, shown(&answer));
    }
    expect![[r#"
        1 left: not_found: Tool not found: a
        0 left: not_found: Tool not found: b
        0 left: rate_limited: Rate limit exceeded
        0 left: rate_limited: Rate limit exceeded
    "#]]
    .assert_eq(&lines);
}

#[tokio::test]
async fn keys_of_a_tier_share_its_total_and_have_their_own_rate() {
    let tier = TierConfig { rate_per_minute: Some(2), total_per_minute: Some(3), concurrent_max: None };
    let house = House::with(|config| config.tiers = BTreeMap::from([("basic".to_owned(), tier)])).await;
    let mut lines = String::new();
    for secret in ["sk_a", "sk_a", "sk_a", "sk_b", "sk_b"] {
        let answer = house.call(secret, "echo", json!({})).await;
        let limit = answer.limit.unwrap();
        lines += &format!("{secret}: {} by {} of {}\n", answer.result.is_ok(), limit.policy, limit.limit);
    }
    expect![[r#"
        sk_a: true by key of 2
        sk_a: true by key of 2
        sk_a: false by key of 2
        sk_b: true by tier of 3
        sk_b: false by tier of 3
    "#]]
    .assert_eq(&lines);
}

#[tokio::test]
async fn a_refused_call_says_how_long_to_wait() {
    let house = House::with(|config| config.limits.rate_per_minute = 1).await;
    house.call("sk_a", "echo", json!({})).await;
    let fault = house.call("sk_a", "echo", json!({})).await.result.unwrap_err();
    let wait = fault.retry_after.unwrap();
    assert!(wait > Duration::from_secs(50) && wait <= Duration::from_secs(60), "{wait:?}");
    let details = fault.details.unwrap();
    assert_eq!((&details["limit"], &details["policy"]), (&json!(1), &json!("key")));
}

/// A call whose own attempts opened the breaker was told that its source "was not asked".
#[tokio::test]
async fn a_call_that_failed_says_why_and_counts_once_however_often_it_tried() {
    let again = Retry { again_max: 9, wait: Duration::from_millis(1), wait_max: Duration::from_millis(1) };
    let tool = Tool { retry: Some(again), time_max: Duration::from_secs(30), ..reading("retrying") };
    let runs = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&runs);
    let work = at_once(move |_| {
        seen.fetch_add(1, SeqCst);
        Err(Fault::new(Code::Upstream, "the source failed"))
    });
    let house = House::with_odd([tool], work).await;
    let mut lines = String::new();
    for _ in 0..6 {
        let answer = house.call("sk_a", "retrying", json!({})).await;
        lines +=
            &format!("{} runs, {}, open: {:?}\n", runs.load(SeqCst), shown(&answer), house.open_breakers());
    }
    expect![[r#"
        10 runs, upstream: the source failed, open: ""
        20 runs, upstream: the source failed, open: ""
        30 runs, upstream: the source failed, open: ""
        40 runs, upstream: the source failed, open: ""
        50 runs, upstream: the source failed, open: "odd"
        50 runs, unavailable: odd has failed repeatedly and is left alone for now, open: "odd"
    "#]]
    .assert_eq(&lines);
}

#[tokio::test]
async fn a_breaker_that_others_opened_does_not_replace_what_a_call_was_told() {
    let again = Retry { again_max: 9, wait: Duration::from_millis(1), wait_max: Duration::from_millis(1) };
    let retrying = Tool { retry: Some(again), time_max: Duration::from_secs(30), ..reading("retrying") };
    let gate: Arc<std::sync::OnceLock<Arc<Gate>>> = Arc::default();
    let theirs = Arc::clone(&gate);
    let work = at_once(move |_| {
        let (gate, config) = (theirs.get().unwrap(), BreakerConfig::default());
        for _ in 0..config.failures_max {
            let now = tokio::time::Instant::now();
            gate.breakers.learn(&"odd".into(), breaker::Health::Bad, &config, now);
        }
        Err(Fault::new(Code::Upstream, "the source failed"))
    });
    let house = House::with_odd([retrying], work).await;
    let _ = gate.set(Arc::clone(&house.gate));
    let answer = house.call("sk_a", "retrying", json!({})).await;
    assert_eq!(shown(&answer), "upstream: the source failed");
}

/// A change that ended with a fault left its key "begun" for a day.
#[tokio::test]
async fn an_idempotency_key_of_a_change_that_failed_is_told_the_same_again() {
    let failing = |name: &str| Tool { effect: Effect::Changes, repeats: Repeats::Counts, ..reading(name) };
    let runs = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&runs);
    let work = at_once(move |permit| {
        seen.fetch_add(1, SeqCst);
        let code = match permit.tool().name.as_str() {
            "refused" => Code::BadArguments,
            "unknown" => Code::OutcomeUnknown,
            _ => Code::Upstream,
        };
        let mut fault = Fault::new(code, "the source failed").with_details(json!({ "n": 1 }));
        fault.pointer = Some("/x".to_owned());
        fault.status = Some("odd".into());
        fault.no_effect = permit.tool().name.as_str() == "unsent";
        Err(fault.retry_after(Duration::from_millis(1_500)))
    });
    let house = House::with_odd(["refused", "unknown", "sent", "unsent"].map(failing), work).await;
    let mut lines = String::new();
    for tool in ["sent", "sent", "unknown", "unknown", "refused", "refused", "unsent", "unsent"] {
        let mut call = Call::new(Kind::tool(tool, raw(&json!({}))), Face::Rest, RequestId::ours("r"));
        call.idempotency_key = Some("k".into());
        let fault = house.send("sk_a", call).await.result.unwrap_err();
        let details = fault.details.as_ref().map(ToString::to_string).unwrap_or_default();
        let told = (fault.code.row().name, &fault.text, &fault.pointer, fault.retry_after, fault.status());
        lines += &format!("{tool}: {told:?} {details}, {} runs\n", runs.load(SeqCst));
    }
    expect![[r#"
        sent: ("upstream", "the source failed", Some("/x"), Some(1.5s), "odd") {"n":1}, 1 runs
        sent: ("upstream", "the source failed", Some("/x"), Some(1.5s), "odd") {"n":1}, 1 runs
        unknown: ("outcome_unknown", "the source failed", Some("/x"), Some(1.5s), "odd") {"n":1,"outcome":"unknown"}, 2 runs
        unknown: ("outcome_unknown", "the source failed", Some("/x"), Some(1.5s), "odd") {"n":1,"outcome":"unknown"}, 2 runs
        refused: ("bad_arguments", "the source failed", Some("/x"), Some(1.5s), "odd") {"n":1}, 3 runs
        refused: ("bad_arguments", "the source failed", Some("/x"), Some(1.5s), "odd") {"n":1}, 4 runs
        unsent: ("upstream", "the source failed", Some("/x"), Some(1.5s), "odd") {"n":1}, 5 runs
        unsent: ("upstream", "the source failed", Some("/x"), Some(1.5s), "odd") {"n":1}, 6 runs
    "#]].assert_eq(&lines);
}

#[tokio::test]
async fn a_caller_in_a_hurry_does_not_open_the_breaker_for_all() {
    let house = House::open().await;
    for _ in 0..6 {
        let kind = Kind::tool("hang", raw(&json!({})));
        let mut call = Call::new(kind, Face::Rest, RequestId::ours("r"));
        call.time_max = Some(Duration::from_millis(1));
        house.send("sk_a", call).await;
    }
    assert!(house.gate.open_breakers().is_empty());
}

#[tokio::test]
async fn a_source_that_answers_with_an_error_of_its_own_is_there() {
    let work = at_once(|_| {
        let mut fault = Fault::new(Code::Upstream, "it answered with an error");
        fault.as_sent = Some(raw(&json!({ "code": -32603, "message": "no" })));
        Err(fault)
    });
    let house = House::with_odd([reading("answering")], work).await;
    for _ in 0..10 {
        house.call("sk_a", "answering", json!({})).await;
    }
    assert_eq!(house.open_breakers(), "");
}

#[tokio::test]
async fn a_panic_of_ours_is_no_sign_of_health() {
    let house = House::open().await;
    for _ in 0..4 {
        house.call("sk_a", "fails", json!({})).await;
    }
    house.call("sk_a", "panic", json!({})).await;
    house.call("sk_a", "fails", json!({})).await;
    assert_eq!(house.open_breakers(), "shaky");
}

#[tokio::test]
async fn only_what_repeats_safely_is_tried_again() {
    let again = Retry { again_max: 3, wait: Duration::from_millis(1), wait_max: Duration::from_millis(1) };
    let counting =
        Tool { effect: Effect::Changes, repeats: Repeats::Counts, retry: Some(again), ..reading("counting") };
    let runs = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&runs);
    let work = at_once(move |_| {
        seen.fetch_add(1, SeqCst);
        Err(Fault::new(Code::Upstream, "the source failed"))
    });
    let house = House::with_odd([counting], work).await;
    house.call("sk_a", "counting", json!({})).await;
    assert_eq!(runs.load(SeqCst), 1);
}

#[tokio::test]
async fn an_idempotency_key_belongs_to_one_principal_and_is_free_again_where_nothing_happened() {
    let house = House::open().await;
    let send = |secret: &'static str, tool: &str| {
        let mut call = Call::new(Kind::tool(tool, raw(&json!({}))), Face::Rest, RequestId::ours("r"));
        call.idempotency_key = Some("k".into());
        house.send(secret, call)
    };
    let first = shown(&send("sk_a", "count").await);
    assert_ne!(first, shown(&send("sk_b", "count").await));
    // A write whose outcome nobody knows keeps its key, and its answer once it came.
    assert_eq!(send("sk_a", "slow_write").await.result.unwrap_err().code, Code::OutcomeUnknown);
    expect!["conflict: a call with this idempotency key has begun and its outcome is not known yet; look before you ask again"]
        .assert_eq(&shown(&send("sk_a", "slow_write").await));
    house.gate.tasks.close();
    house.gate.tasks.wait().await;
    assert_eq!(shown(&send("sk_a", "slow_write").await), "{}");
    assert_eq!(house.shaky.runs.load(SeqCst), 3);
}

#[tokio::test]
async fn a_client_that_left_does_not_wait_for_somebody_elses_answer() {
    let tool = Tool {
        caching: Caching::For(Duration::from_secs(60)),
        time_max: Duration::from_millis(600),
        ..reading("cached_slow")
    };
    let work: odd::Work = Arc::new(|_, _| Box::pin(std::future::pending()));
    let house = House::with_odd([tool], work).await;
    let fetching = house.call("sk_a", "cached_slow", json!({}));
    let leaving =
        tokio::time::timeout(Duration::from_millis(50), house.call("sk_a", "cached_slow", json!({})));
    let (_, left) = futures_util::future::join(fetching, leaving).await;
    assert!(left.is_err());
    expect![[r#"
        call.outcome cached_slow cancelled
        call.outcome cached_slow timed_out
    "#]]
    .assert_eq(&house.trail().await);
}

#[tokio::test]
async fn an_argument_that_may_be_a_secret_is_not_written_down() {
    let mut tool = reading("login");
    tool.input = Arc::new(
        json!({ "type": "object", "properties": { "password": { "type": "string", "maxLength": 3, "enum": ["x"] } } }),
    );
    let house = House::with_odd([tool], at_once(|_| Ok(Reply::value(json!({}))))).await;
    let answer = shown(&house.call("sk_a", "login", json!({ "password": "hunter2" })).await);
    assert!(answer.starts_with("bad_arguments: ") && !answer.contains("hunter2"), "{answer}");
    house.audit.close().await.unwrap();
    let folder = house.folder.path().join("audit");
    for file in std::fs::read_dir(folder).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("hunter2"));
    }
}

/// Keys whose reading can be held up in the middle.
struct SlowKeys {
    inner: Arc<SqliteStore>,
    reads: tokio::sync::Semaphore,
    read: tokio::sync::Semaphore,
}

#[async_trait]
impl state::Keys for SlowKeys {
    async fn by_hash(&self, hash: &str) -> Result<Option<Key>, StateError> {
        let key = self.inner.by_hash(hash).await;
        self.read.add_permits(1);
        self.reads.acquire().await.unwrap().forget();
        key
    }
    async fn get(&self, id_or_label: &str) -> Result<Option<Key>, StateError> {
        self.inner.get(id_or_label).await
    }
    async fn list(&self) -> Result<Vec<Key>, StateError> {
        self.inner.list().await
    }
    async fn insert(&self, key: &Key) -> Result<Swap, StateError> {
        self.inner.insert(key).await
    }
    async fn swap(&self, key: &Key) -> Result<Swap, StateError> {
        self.inner.swap(key).await
    }
    async fn touch(&self, used: &[(String, Timestamp)]) -> Result<(), StateError> {
        self.inner.touch(used).await
    }
}

#[tokio::test]
async fn a_key_revoked_while_it_is_read_is_not_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("state.db")).await.unwrap();
    let now = ManualClock::new().now();
    store.insert(&key("sk_a", "alice", now)).await.unwrap();
    let (reads, read) = (tokio::sync::Semaphore::new(0), tokio::sync::Semaphore::new(0));
    let slow = Arc::new(SlowKeys { inner: store.clone(), reads, read });
    let ring = KeyRing::new(slow.clone(), store.clone());
    let revoke = async {
        slow.read.acquire().await.unwrap().forget();
        let mut key = ring.get("alice").await.unwrap().unwrap();
        key.revoked_at = Some(now);
        ring.swap(&key).await.unwrap();
        slow.reads.add_permits(2);
    };
    let (before, ()) = tokio::join!(ring.find("sk_a"), revoke);
    assert!(before.unwrap().is_some());
    assert!(ring.find("sk_a").await.unwrap().is_none());
}

/// Usage that cannot be written for a while.
#[derive(Default)]
struct Broken(std::sync::atomic::AtomicBool, AtomicU32);

#[async_trait]
impl Usage for Broken {
    async fn add(&self, counts: &[UsageCount]) -> Result<(), StateError> {
        if self.0.load(SeqCst) {
            return Err(StateError::new("count calls", "the disk is full"));
        }
        self.1.fetch_add(u32::try_from(counts[0].calls).unwrap(), SeqCst);
        Ok(())
    }
    async fn read(&self, _key: &str, _now: Timestamp) -> Result<(u64, u64), StateError> {
        Ok((0, 0))
    }
}

#[tokio::test]
async fn counts_that_cannot_be_written_are_written_later() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("state.db")).await.unwrap();
    let usage = Arc::new(Broken::default());
    let ring = KeyRing::new(store, usage.clone());
    let now = ManualClock::new().now();
    usage.0.store(true, SeqCst);
    ring.used("k", now);
    assert!(ring.flush().await.is_err());
    ring.used("k", now);
    usage.0.store(false, SeqCst);
    ring.flush().await.unwrap();
    assert_eq!(usage.1.load(SeqCst), 2);
}

#[tokio::test]
async fn refused_logins_that_were_held_back_are_summed_up_at_the_end() {
    let house = House::open().await;
    for _ in 0..=REFUSALS_PER_MINUTE {
        house.call("sk_x", "echo", json!({})).await;
    }
    house.gate.drain(Duration::from_secs(1)).await;
    assert!(house.trail().await.ends_with("auth.refused.more - -\n"));
}

#[tokio::test]
async fn a_record_says_what_was_asked_for_also_where_it_was_refused() {
    let house = House::open().await;
    house.call("sk_a", "echo", json!({ "text": 1, "password": "hunter2" })).await;
    house.call("sk_a", "nothing", json!({})).await;
    house.call("sk_x", "echo", json!({})).await;
    house.trail().await;
    let query = audit::TailQuery { count: 1000, ..audit::TailQuery::default() };
    let records = audit::tail(&house.folder.path().join("audit"), &query).unwrap();
    let lines: Vec<_> = records
        .iter()
        .filter(|r| r["event"] != "checkpoint")
        .map(|r| format!("{} {} {} {}", r["event"], r["request_id"], r["tool"], r["params"]))
        .collect();
    expect![[r#"
        "call.outcome" "r1" "echo" {"text":1,"password":"[redacted]"}
        "call.outcome" "r1" "nothing" null
        "auth.refused" "r1" null null"#]]
    .assert_eq(&lines.join("\n"));
}

#[tokio::test]
async fn a_refused_login_without_a_cause_has_none_in_its_record() {
    let house = House::open().await;
    house.call("", "echo", json!({})).await;
    house.call("sk_x", "echo", json!({})).await;
    house.trail().await;
    let event = Some("auth.refused".to_owned());
    let query = audit::TailQuery { count: 10, event, ..audit::TailQuery::default() };
    let records = audit::tail(&house.folder.path().join("audit"), &query).unwrap();
    let causes: Vec<_> = records.iter().map(|record| (&record["error"], record.get("cause"))).collect();
    expect![[r#"[(String("missing API key; send `Authorization: Bearer <key>`"), None), (String("Invalid API key"), Some(String("no such key")))]"#]].assert_eq(&format!("{causes:?}"));
}

#[tokio::test]
async fn a_rule_that_names_no_tool_is_refused_before_it_denies_nothing() {
    let aliased = Tool { aliases: vec!["odd.read".into()], ..reading("odd_read") };
    let odd = odd::Odd::new([aliased], at_once(|_| Ok(Reply::value(json!({})))));
    let mut config = config();
    let deny = json!(["odd_raed", "odd.read", "odd_read", "nothing_*"]);
    config.roles.get_mut("alice").unwrap().deny = serde_json::from_value(deny).unwrap();
    let house = House::open().await;
    let faults = Snapshot::build(config, vec![house.shaky.clone(), odd]).err().unwrap();
    let lines: Vec<_> = faults.iter().map(ToString::to_string).collect();
    expect![[r#"
        /roles/alice/deny/0: there is no tool "odd_raed" (did you mean "odd_read"?)
        /roles/alice/deny/1: there is no tool "odd.read" (it is another name of "odd_read"; rules go by that)"#]].assert_eq(&lines.join("\n"));
}

#[tokio::test]
async fn what_a_tool_did_not_find_is_an_error_and_no_denial() {
    let house =
        House::with_odd([reading("find")], at_once(|_| Err(Fault::not_found("no such customer")))).await;
    house.call("sk_a", "find", json!({})).await;
    house.call("sk_a", "guess", json!({})).await;
    let text = house.gate.metrics().encode();
    for line in [
        r#"tool_calls_total{tool_name="find",status="error"} 1"#,
        r#"tool_calls_total{tool_name="unknown",status="denied"} 1"#,
    ] {
        assert!(text.contains(line), "{line}");
    }
}

/// 500 of them were 560 lines of log, and counted as work that was done.
#[tokio::test]
async fn refused_logins_are_no_operations() {
    let house = House::open().await;
    for secret in ["sk_x", "", "sk_a"] {
        house.call(secret, "echo", json!({})).await;
    }
    assert_eq!(house.gate.stats().total_operations, 1);
}
