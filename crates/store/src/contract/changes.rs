use std::sync::Arc;

use serde_json::json;
use state::{ChangeFilter, ChangeRecord, ChangeState, Changes, Decision, JournalEntry, Swap};
use tool::{Plan, Risk};

use super::{HARD_TEXTS, at, count, race};

/// Every state a change can be in.
const STATES: [ChangeState; 10] = [
    ChangeState::Pending,
    ChangeState::Approved,
    ChangeState::Denied,
    ChangeState::Expired,
    ChangeState::Withdrawn,
    ChangeState::Applying,
    ChangeState::Applied,
    ChangeState::Failed,
    ChangeState::Drifted,
    ChangeState::NeedsOperator,
];

/// What every [`Changes`] must do.
///
/// Panics: where it does not.
pub async fn changes(store: &Arc<dyn Changes>) {
    lists_as_filtered(store.as_ref()).await;
    lists_as_many_as_asked_for(store.as_ref()).await;
    keeps_every_member(store.as_ref()).await;
    keeps_every_state_and_risk(store.as_ref()).await;
    keeps_the_digests_true(store.as_ref()).await;
    refuses_a_taken_id(store.as_ref()).await;
    swaps_only_what_is_as_expected(store.as_ref()).await;
    keeps_the_journal_in_order(store.as_ref()).await;
    one_of_many_swaps_wins(store).await;
}

fn change(id: &str) -> ChangeRecord {
    ChangeRecord {
        id: id.to_owned(),
        state: ChangeState::Pending,
        tool: "fs_write_text".to_owned(),
        requester: "billing-bot".to_owned(),
        requester_owner: None,
        arguments: json!({ "path": "todo.txt" }),
        arguments_digest: "b3:arguments".to_owned(),
        plan: Plan {
            target: "files:todo.txt".to_owned(),
            summary: "writes todo.txt".to_owned(),
            diff: "+buy milk\n".to_owned(),
            risk: Risk::Low,
            before: "b3:before".to_owned(),
            after: "b3:after".to_owned(),
            payload: json!(null),
        },
        plan_digest: "b3:plan".to_owned(),
        rules_hash: "b3:rules".to_owned(),
        four_eyes: false,
        created_at: at(0),
        expires_at: at(60_000),
        decision: None,
        ended_at: None,
        outcome: None,
        request_id: "req-1".to_owned(),
        version: 1,
    }
}

fn line(event: &str, ms: i64) -> JournalEntry {
    JournalEntry { at: at(ms), event: event.to_owned(), detail: format!("{event} in detail") }
}

async fn insert(store: &dyn Changes, change: &ChangeRecord) {
    store.insert(change, &line("planned", 0)).await.expect("inserts");
}

async fn swap(store: &dyn Changes, change: &ChangeRecord, event: &str) -> Swap {
    store.swap(change, &line(event, 1)).await.expect("answers")
}

async fn get(store: &dyn Changes, id: &str) -> Option<ChangeRecord> {
    store.get(id).await.expect("gets")
}

async fn events(store: &dyn Changes, id: &str) -> Vec<String> {
    store.journal(id).await.expect("reads").into_iter().map(|entry| entry.event).collect()
}

async fn lists_as_filtered(store: &dyn Changes) {
    // In another order than made; the last two of the same moment.
    for (id, state, requester, created_ms) in [
        ("c", ChangeState::Applied, "alice", 3),
        ("a", ChangeState::Pending, "alice", 1),
        ("b", ChangeState::Pending, "bob", 2),
        ("d", ChangeState::Pending, "alice", 4),
        ("e", ChangeState::Denied, "O'Brien", 4),
    ] {
        let requester = requester.to_owned();
        insert(store, &ChangeRecord { state, requester, created_at: at(created_ms), ..change(id) }).await;
    }
    for (state, requester, limit, expected) in [
        (None, None, 0, "edcba"),
        (None, None, 2, "ed"),
        (Some(ChangeState::Pending), None, 0, "dba"),
        (Some(ChangeState::Pending), None, 1, "d"),
        (Some(ChangeState::Drifted), None, 0, ""),
        (None, Some("alice"), 0, "dca"),
        (None, Some("alice"), u32::MAX, "dca"),
        (None, Some("O'Brien"), 0, "e"),
        (None, Some("Alice"), 0, ""),
        (None, Some(""), 0, ""),
        (Some(ChangeState::Pending), Some("alice"), 0, "da"),
        (Some(ChangeState::Pending), Some("alice"), 1, "d"),
        (Some(ChangeState::Denied), Some("alice"), 0, ""),
    ] {
        let filter = ChangeFilter { state, requester: requester.map(str::to_owned), limit };
        let listed = store.list(&filter).await.expect("lists");
        let ids: String = listed.iter().map(|change| change.id.as_str()).collect();
        assert_eq!(ids, expected, "{filter:?}");
    }
}

async fn lists_as_many_as_asked_for(store: &dyn Changes) {
    for number in 0..101 {
        insert(store, &ChangeRecord { requester: "many".to_owned(), ..change(&format!("many{number}")) })
            .await;
    }
    for (limit, expected) in [(0, 100), (1, 1), (100, 100), (101, 101), (102, 101)] {
        let filter = ChangeFilter { requester: Some("many".to_owned()), limit, state: None };
        assert_eq!(store.list(&filter).await.expect("lists").len(), expected, "at most {limit}");
    }
}

async fn keeps_every_member(store: &dyn Changes) {
    let text = HARD_TEXTS.concat();
    let full = ChangeRecord {
        requester_owner: Some(text.clone()),
        arguments: json!({ "z": 1, "a": [true, null, { "": text }], "max": u64::MAX, "min": i64::MIN, "f": 0.1 }),
        plan: Plan {
            summary: text.clone(),
            diff: "+x\n".repeat(400_000),
            payload: json!([[[[{ "deep": [HARD_TEXTS] }]]]]),
            ..change("full").plan
        },
        four_eyes: true,
        decision: Some(Decision { by: text.clone(), at: at(7), reason: Some(text.clone()) }),
        ended_at: Some(at(9)),
        outcome: Some(text),
        version: 41,
        ..change("full")
    };
    insert(store, &full).await;
    assert_eq!(get(store, "full").await, Some(full));
    insert(store, &change("plain")).await;
    assert_eq!(get(store, "plain").await, Some(change("plain")));
    assert_eq!(get(store, "PLAIN").await, None);
    assert_eq!(get(store, "").await, None);
}

async fn keeps_every_state_and_risk(store: &dyn Changes) {
    let risks = [Risk::Low, Risk::Medium, Risk::High];
    for (state, risk) in STATES.into_iter().zip(risks.into_iter().cycle()) {
        let id = format!("state {}", state.as_str());
        let change = ChangeRecord { state, plan: Plan { risk, ..change("").plan }, ..change(&id) };
        insert(store, &change).await;
        assert_eq!(get(store, &id).await, Some(change));
    }
}

/// An approval binds to digests: what is read back must have the same ones.
async fn keeps_the_digests_true(store: &dyn Changes) {
    let mut odd = change("digests");
    let floats = [0.1, -0.0, 1e300, 5e-324, 100.0, 907.303_832_202_868_9, f64::MAX, f64::MIN_POSITIVE];
    odd.arguments = json!({ "floats": floats, "text": HARD_TEXTS });
    odd.plan.payload = odd.arguments.clone();
    odd.arguments_digest = tool::json::digest(&odd.arguments);
    odd.plan_digest = odd.plan.digest();
    insert(store, &odd).await;
    let back = get(store, "digests").await.expect("it is there");
    assert_eq!(tool::json::digest(&back.arguments), odd.arguments_digest);
    assert_eq!(back.plan.digest(), odd.plan_digest);
}

async fn refuses_a_taken_id(store: &dyn Changes) {
    insert(store, &change("taken")).await;
    let twin = ChangeRecord { requester: "mallory".to_owned(), ..change("taken") };
    store.insert(&twin, &line("planned again", 1)).await.expect_err("the id is taken");
    assert_eq!(get(store, "taken").await, Some(change("taken")), "it is as it was");
    assert_eq!(events(store, "taken").await, ["planned"], "and so is its journal");
}

async fn swaps_only_what_is_as_expected(store: &dyn Changes) {
    let pending = change("swapped");
    insert(store, &pending).await;
    let approved = ChangeRecord {
        state: ChangeState::Approved,
        decision: Some(Decision { by: "alice".to_owned(), at: at(1), reason: None }),
        ..pending.clone()
    };
    assert_eq!(swap(store, &approved, "approved").await, Swap::Done);
    let now = ChangeRecord { version: 2, ..approved.clone() };
    assert_eq!(get(store, "swapped").await.as_ref(), Some(&now));
    for stale in [pending, approved, ChangeRecord { version: 3, ..now.clone() }, change("never inserted")] {
        assert_eq!(swap(store, &stale, "must not be there").await, Swap::Stale, "{}", stale.version);
    }
    assert_eq!(get(store, "swapped").await.as_ref(), Some(&now), "a refused swap changes nothing");
    let applying = ChangeRecord { state: ChangeState::Applying, decision: None, ..now };
    assert_eq!(swap(store, &applying, "intent").await, Swap::Done);
    assert_eq!(get(store, "swapped").await, Some(ChangeRecord { version: 3, ..applying }));
    assert_eq!(events(store, "swapped").await, ["planned", "approved", "intent"]);
    assert_eq!(events(store, "never inserted").await, [""; 0]);
}

async fn keeps_the_journal_in_order(store: &dyn Changes) {
    let first = JournalEntry { at: at(5), event: "planned".to_owned(), detail: HARD_TEXTS.concat() };
    store.insert(&change("journal"), &first).await.expect("inserts");
    // Clocks are set back: the order is that of writing, not of the times.
    let mut expected = vec![first];
    for version in 1..=20 {
        let entry = line(&format!("looked {version}"), 100 - version);
        let change = ChangeRecord { version, ..change("journal") };
        assert_eq!(store.swap(&change, &entry).await.expect("swaps"), Swap::Done);
        expected.push(entry);
    }
    assert_eq!(store.journal("journal").await.expect("reads"), expected);
}

async fn one_of_many_swaps_wins(store: &Arc<dyn Changes>) {
    let approved = ChangeRecord { state: ChangeState::Approved, ..change("raced") };
    insert(store.as_ref(), &approved).await;
    let swaps = race(50, |racer| {
        let store = Arc::clone(store);
        let applying = ChangeRecord { state: ChangeState::Applying, ..approved.clone() };
        async move { swap(store.as_ref(), &applying, &format!("intent of {racer}")).await }
    })
    .await;
    assert_eq!((count(&swaps, &Swap::Done), count(&swaps, &Swap::Stale)), (1, 49));
    assert_eq!(get(store.as_ref(), "raced").await.map(|change| change.version), Some(2));
    assert_eq!(events(store.as_ref(), "raced").await.len(), 2, "the winner's line and no other");
}
