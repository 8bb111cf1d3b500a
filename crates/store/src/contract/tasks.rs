use std::sync::Arc;

use state::{Swap, TaskRecord, TaskStatus, Tasks};

use super::{HARD_TEXTS, at, count, race};

/// What every [`Tasks`] must do.
///
/// Panics: where it does not.
pub async fn tasks(store: &Arc<dyn Tasks>) {
    lists_the_unfinished_oldest_first(store.as_ref()).await;
    keeps_every_member(store.as_ref()).await;
    keeps_every_status(store.as_ref()).await;
    refuses_a_taken_id(store.as_ref()).await;
    swaps_only_what_is_as_expected(store.as_ref()).await;
    counts_each_principal_alone(store.as_ref()).await;
    forgets_at_the_moment_of_expiry(store.as_ref()).await;
    one_of_many_swaps_wins(store).await;
}

fn task(id: &str) -> TaskRecord {
    TaskRecord {
        id: id.to_owned(),
        principal: "billing-bot".to_owned(),
        tool: "backup_run".to_owned(),
        status: TaskStatus::Working,
        message: None,
        created_at: at(0),
        updated_at: at(0),
        expires_at: None,
        poll_ms: None,
        result: None,
        error: None,
        change: None,
        version: 1,
    }
}

async fn insert(store: &dyn Tasks, task: &TaskRecord) {
    store.insert(task).await.expect("inserts");
}

async fn swap(store: &dyn Tasks, task: &TaskRecord) -> Swap {
    store.swap(task).await.expect("answers")
}

async fn get(store: &dyn Tasks, id: &str) -> Option<TaskRecord> {
    store.get(id).await.expect("gets")
}

async fn unfinished(store: &dyn Tasks) -> Vec<String> {
    store.unfinished().await.expect("lists").into_iter().map(|task| task.id).collect()
}

async fn lists_the_unfinished_oldest_first(store: &dyn Tasks) {
    assert_eq!(unfinished(store).await, [""; 0]);
    // In another order than begun; the last two at the same moment.
    for (id, status, created_ms) in [
        ("c", TaskStatus::Working, 3),
        ("done", TaskStatus::Completed, 0),
        ("a", TaskStatus::Working, 1),
        ("failed", TaskStatus::Failed, 2),
        ("b", TaskStatus::InputRequired, 2),
        ("cancelled", TaskStatus::Cancelled, 9),
        ("d", TaskStatus::InputRequired, 4),
        ("e", TaskStatus::Working, 4),
    ] {
        insert(store, &TaskRecord { status, created_at: at(created_ms), ..task(id) }).await;
    }
    assert_eq!(unfinished(store).await, ["a", "b", "c", "d", "e"]);
    for (id, status) in [("b", TaskStatus::Failed), ("d", TaskStatus::Working), ("e", TaskStatus::Cancelled)]
    {
        let before = get(store, id).await.expect("it is there");
        assert_eq!(swap(store, &TaskRecord { status, ..before }).await, Swap::Done);
    }
    assert_eq!(unfinished(store).await, ["a", "c", "d"]);
    for id in ["a", "c", "d"] {
        let before = get(store, id).await.expect("it is there");
        let failed = TaskRecord { status: TaskStatus::Failed, ..before };
        assert_eq!(swap(store, &failed).await, Swap::Done);
    }
    assert_eq!(unfinished(store).await, [""; 0]);
}

async fn keeps_every_member(store: &dyn Tasks) {
    let text = HARD_TEXTS.concat();
    let full = TaskRecord {
        principal: text.clone(),
        tool: text.clone(),
        status: TaskStatus::Completed,
        message: Some(text.clone()),
        created_at: at(-1),
        updated_at: at(1),
        expires_at: Some(at(i64::from(u32::MAX))),
        poll_ms: Some(i64::MAX.unsigned_abs()),
        // A result of its source's own comes back byte for byte.
        result: Some(format!("{{\"n\": 18446744073709551616, \"text\":{:?}}}", "x".repeat(1024 * 1024))),
        error: Some("{\"code\":-32000}".to_owned()),
        change: Some("chg_k3Jd0aPqVn2xW8b0".to_owned()),
        version: i64::MAX.unsigned_abs(),
        ..task("full")
    };
    insert(store, &full).await;
    assert_eq!(get(store, "full").await, Some(full));
    insert(store, &task("plain")).await;
    assert_eq!(get(store, "plain").await, Some(task("plain")));
    let empty = TaskRecord { message: Some(String::new()), poll_ms: Some(0), version: 0, ..task("empty") };
    insert(store, &empty).await;
    assert_eq!(get(store, "empty").await, Some(empty), "what is empty is not what is missing");
    for id in HARD_TEXTS {
        insert(store, &task(id)).await;
        assert_eq!(get(store, id).await, Some(task(id)), "{id:?}");
    }
    assert_eq!(get(store, "PLAIN").await, None);
    assert_eq!(get(store, "none").await, None);
}

async fn keeps_every_status(store: &dyn Tasks) {
    for status in TaskStatus::ALL {
        let task = TaskRecord { status, ..task(&format!("status {}", status.as_str())) };
        insert(store, &task).await;
        assert_eq!(get(store, &task.id).await.as_ref(), Some(&task));
    }
}

async fn refuses_a_taken_id(store: &dyn Tasks) {
    insert(store, &task("taken")).await;
    let twin = TaskRecord { principal: "mallory".to_owned(), ..task("taken") };
    store.insert(&twin).await.expect_err("the id is taken");
    assert_eq!(get(store, "taken").await, Some(task("taken")), "it is as it was");
}

async fn swaps_only_what_is_as_expected(store: &dyn Tasks) {
    let begun = task("swapped");
    insert(store, &begun).await;
    let asks = TaskRecord {
        status: TaskStatus::InputRequired,
        message: Some("waits for approval".to_owned()),
        change: Some("chg_1".to_owned()),
        updated_at: at(5),
        ..begun.clone()
    };
    assert_eq!(swap(store, &asks).await, Swap::Done);
    let now = TaskRecord { version: 2, ..asks.clone() };
    assert_eq!(get(store, "swapped").await.as_ref(), Some(&now));
    let ahead = TaskRecord { version: 3, ..now.clone() };
    let far_ahead = TaskRecord { version: u64::MAX, ..now.clone() };
    for stale in [begun, asks, ahead, far_ahead, task("never inserted")] {
        assert_eq!(swap(store, &stale).await, Swap::Stale, "{}", stale.version);
    }
    assert_eq!(get(store, "swapped").await.as_ref(), Some(&now), "a refused swap changes nothing");
    assert_eq!(get(store, "never inserted").await, None);
    let done = TaskRecord {
        status: TaskStatus::Completed,
        message: None,
        result: Some("{}".to_owned()),
        expires_at: Some(at(60_000)),
        change: None,
        ..now
    };
    assert_eq!(swap(store, &done).await, Swap::Done);
    assert_eq!(get(store, "swapped").await, Some(TaskRecord { version: 3, ..done }));
}

async fn counts_each_principal_alone(store: &dyn Tasks) {
    let of = |principal: &str, id: &str, status| TaskRecord {
        principal: principal.to_owned(),
        status,
        ..task(&format!("{principal} {id}"))
    };
    for id in ["1", "2"] {
        insert(store, &of("O'Brien", id, TaskStatus::Working)).await;
    }
    insert(store, &of("O'Brien", "3", TaskStatus::Cancelled)).await;
    insert(store, &of("o'brien", "1", TaskStatus::Working)).await;
    for (principal, expected) in [("O'Brien", 3), ("o'brien", 1), ("O", 0), ("", 0)] {
        assert_eq!(store.count(principal).await.expect("counts"), expected, "{principal:?}");
    }
}

async fn forgets_at_the_moment_of_expiry(store: &dyn Tasks) {
    let before = store.prune(at(-1_000_000)).await.expect("prunes");
    assert_eq!(before, 0, "nothing here is so old");
    for (id, status, expires_ms) in [
        ("early", TaskStatus::Completed, Some(999)),
        ("on time", TaskStatus::Working, Some(1_000)),
        ("late", TaskStatus::Completed, Some(1_001)),
        ("for ever", TaskStatus::Failed, None),
    ] {
        let expires_at = expires_ms.map(at);
        insert(store, &TaskRecord { status, expires_at, ..task(id) }).await;
    }
    assert_eq!(store.prune(at(1_000)).await.expect("prunes"), 2);
    for (id, stays) in [("early", false), ("on time", false), ("late", true), ("for ever", true)] {
        assert_eq!(get(store, id).await.is_some(), stays, "{id}");
    }
    let gone = TaskRecord { status: TaskStatus::Completed, ..task("on time") };
    assert_eq!(swap(store, &gone).await, Swap::Stale, "what is forgotten stays so");
    assert_eq!(store.prune(at(1_000)).await.expect("prunes"), 0);
}

async fn one_of_many_swaps_wins(store: &Arc<dyn Tasks>) {
    insert(store.as_ref(), &task("raced")).await;
    let swaps = race(50, |racer| {
        let store = Arc::clone(store);
        let ended =
            TaskRecord { status: TaskStatus::Cancelled, message: Some(racer.to_string()), ..task("raced") };
        async move { swap(store.as_ref(), &ended).await }
    })
    .await;
    assert_eq!((count(&swaps, &Swap::Done), count(&swaps, &Swap::Stale)), (1, 49));
    assert_eq!(get(store.as_ref(), "raced").await.map(|task| task.version), Some(2));
}
