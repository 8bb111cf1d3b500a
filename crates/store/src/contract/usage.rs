use std::sync::Arc;

use state::{Usage, UsageCount};
use tool::Timestamp;

use super::{HARD_TEXTS, race};

/// What every [`Usage`] must do.
///
/// Panics: where it does not.
pub async fn usage(store: &Arc<dyn Usage>) {
    adds_up_by_day_and_month(store.as_ref()).await;
    adds_all_or_none(store.as_ref()).await;
    counts_each_key_alone(store.as_ref()).await;
    loses_no_count_in_a_race(store).await;
}

fn counts(key: &str, days: &[(&str, u64)]) -> Vec<UsageCount> {
    let count = |(day, calls): &(&str, u64)| UsageCount {
        key: key.to_owned(),
        day: (*day).to_owned(),
        calls: *calls,
    };
    days.iter().map(count).collect()
}

async fn read(store: &dyn Usage, key: &str, now: &str) -> (u64, u64) {
    let now: Timestamp = now.parse().expect("the contract's times are well-formed");
    store.read(key, now).await.expect("reads")
}

async fn adds_up_by_day_and_month(store: &dyn Usage) {
    store.add(&[]).await.expect("adds nothing");
    assert_eq!(read(store, "key_a", "2026-11-21T12:00:00Z").await, (0, 0));
    let days = [
        ("2025-11-21", 1_000_000),
        ("2026-10-31", 100_000),
        ("2026-11-01", 10_000),
        ("2026-11-30", 1_000),
        ("2026-12-01", 100),
        ("2027-01-01", 10),
    ];
    store.add(&counts("key_a", &days)).await.expect("adds");
    store
        .add(&counts("key_a", &[("2026-11-30", 1), ("2026-11-30", 1)]))
        .await
        .expect("adds to what is there");
    for (now, expected) in [
        ("2026-10-31T23:59:59.999Z", (100_000, 100_000)),
        ("2026-11-01T00:00:00Z", (10_000, 11_002)),
        ("2026-11-15T00:00:00Z", (0, 11_002)),
        ("2026-11-30T23:59:59.999Z", (1_002, 11_002)),
        ("2026-12-01T00:00:00Z", (100, 100)),
        ("2026-12-01T00:30:00+01:00", (1_002, 11_002)),
        ("2026-12-31T23:59:59.999Z", (0, 100)),
        ("2027-01-01T00:00:00Z", (10, 10)),
        ("2025-11-21T00:00:00Z", (1_000_000, 1_000_000)),
    ] {
        assert_eq!(read(store, "key_a", now).await, expected, "{now}");
    }
}

async fn adds_all_or_none(store: &dyn Usage) {
    let mut some = counts("key_half", &[("2026-11-21", 5)]);
    some.extend(counts("key_half", &[("2026-11-21", u64::MAX)]));
    store.add(&some).await.expect_err("so much cannot be counted");
    assert_eq!(read(store, "key_half", "2026-11-21T00:00:00Z").await, (0, 0));
    store.add(&counts("key_half", &[("2026-11-21", i64::MAX as u64)])).await.expect("the most that can be");
    store.add(&counts("key_half", &[("2026-11-21", 1)])).await.expect_err("one more");
    assert_eq!(read(store, "key_half", "2026-11-21T00:00:00Z").await, (i64::MAX as u64, i64::MAX as u64));
}

async fn counts_each_key_alone(store: &dyn Usage) {
    for (calls, key) in (1..).zip(HARD_TEXTS) {
        store.add(&counts(key, &[("2026-11-21", calls)])).await.expect("adds");
    }
    for (calls, key) in (1..).zip(HARD_TEXTS) {
        assert_eq!(read(store, key, "2026-11-21T00:00:00Z").await, (calls, calls), "{key:?}");
    }
}

async fn loses_no_count_in_a_race(store: &Arc<dyn Usage>) {
    race(50, |_| {
        let store = Arc::clone(store);
        async move {
            store.add(&counts("key_raced", &[("2026-11-21", 3), ("2026-11-22", 2)])).await.expect("adds");
        }
    })
    .await;
    assert_eq!(read(store.as_ref(), "key_raced", "2026-11-22T00:00:00Z").await, (100, 250));
}
