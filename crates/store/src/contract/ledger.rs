use std::sync::Arc;

use state::{Claim, Ledger, LedgerKey};

use super::{HARD_TEXTS, at, count, race};

/// What every [`Ledger`] must do.
///
/// Panics: where it does not.
pub async fn ledger(store: &Arc<dyn Ledger>) {
    goes_from_fresh_to_done(store.as_ref()).await;
    gives_back_only_what_had_no_effect(store.as_ref()).await;
    keeps_keys_apart(store.as_ref()).await;
    forgets_at_the_moment_of_expiry(store.as_ref()).await;
    forgets_old_entries_beside_new_ones(store.as_ref()).await;
    one_of_many_claims_is_fresh(store).await;
    one_of_many_takes_over_what_expired(store).await;
}

fn key(text: &str) -> LedgerKey {
    LedgerKey { principal: "billing-bot".to_owned(), tool: "orders_add".to_owned(), key: text.to_owned() }
}

/// Claims at a moment, good for 1,000 ms.
async fn claim(store: &dyn Ledger, key: &LedgerKey, digest: &str, now_ms: i64) -> Claim {
    store.claim(key, digest, at(now_ms), at(now_ms + 1_000)).await.expect("claims")
}

async fn goes_from_fresh_to_done(store: &dyn Ledger) {
    let order = key("order 1");
    assert_eq!(claim(store, &order, "b3:a", 0).await, Claim::Fresh);
    assert_eq!(claim(store, &order, "b3:a", 0).await, Claim::Open);
    assert_eq!(claim(store, &order, "b3:b", 0).await, Claim::Clash, "while it is open");
    let answer = format!("{{\"order\":{:?}}}", HARD_TEXTS.concat());
    store.settle(&order, &answer).await.expect("settles");
    assert_eq!(claim(store, &order, "b3:a", 999).await, Claim::Done(answer.clone()));
    assert_eq!(claim(store, &order, "b3:b", 999).await, Claim::Clash, "when it is done");
    store.settle(&order, "another").await.expect("answers");
    assert_eq!(claim(store, &order, "b3:a", 999).await, Claim::Done(answer), "the first answer stays");
    store.settle(&key("never claimed"), "{}").await.expect_err("there is nothing to settle");
    let large = key("a large answer");
    assert_eq!(claim(store, &large, "b3:a", 0).await, Claim::Fresh);
    let answer = "x".repeat(1024 * 1024);
    store.settle(&large, &answer).await.expect("settles");
    assert_eq!(claim(store, &large, "b3:a", 0).await, Claim::Done(answer));
}

async fn gives_back_only_what_had_no_effect(store: &dyn Ledger) {
    let order = key("order 2");
    store.release(&order).await.expect("there is nothing to give back, and that is fine");
    assert_eq!(claim(store, &order, "b3:a", 0).await, Claim::Fresh);
    store.release(&order).await.expect("releases");
    assert_eq!(claim(store, &order, "b3:b", 0).await, Claim::Fresh, "with other arguments too");
    store.settle(&order, "").await.expect("settles");
    store.release(&order).await.expect("answers");
    assert_eq!(claim(store, &order, "b3:b", 0).await, Claim::Done(String::new()), "what is done stays done");
}

async fn keeps_keys_apart(store: &dyn Ledger) {
    let same = key("order 3");
    let other_principal = LedgerKey { principal: "alice".to_owned(), ..same.clone() };
    let other_tool = LedgerKey { tool: "orders_remove".to_owned(), ..same.clone() };
    for key in [&same, &other_principal, &other_tool] {
        assert_eq!(claim(store, key, "b3:a", 0).await, Claim::Fresh, "{key:?}");
    }
    for text in HARD_TEXTS {
        assert_eq!(claim(store, &key(text), "b3:a", 0).await, Claim::Fresh, "{text:?}");
        assert_eq!(claim(store, &key(text), "b3:a", 0).await, Claim::Open, "{text:?}");
    }
}

async fn forgets_at_the_moment_of_expiry(store: &dyn Ledger) {
    let order = key("order 4");
    assert_eq!(claim(store, &order, "b3:a", 0).await, Claim::Fresh);
    assert_eq!(claim(store, &order, "b3:a", 999).await, Claim::Open);
    assert_eq!(claim(store, &order, "b3:b", 1_000).await, Claim::Fresh, "an open one");
    store.settle(&order, "{}").await.expect("settles");
    assert_eq!(claim(store, &order, "b3:b", 1_999).await, Claim::Done("{}".to_owned()));
    assert_eq!(claim(store, &order, "b3:c", 2_000).await, Claim::Fresh, "a settled one");
    assert_eq!(claim(store, &order, "b3:c", 2_999).await, Claim::Open, "its answer went with it");
}

async fn forgets_old_entries_beside_new_ones(store: &dyn Ledger) {
    for number in 0..40 {
        assert_eq!(claim(store, &key(&format!("old {number}")), "b3:a", 10_000).await, Claim::Fresh);
    }
    assert_eq!(claim(store, &key("new"), "b3:a", 11_500).await, Claim::Fresh);
    assert_eq!(claim(store, &key("new"), "b3:a", 12_499).await, Claim::Open, "what is alive stays");
    for number in 0..40 {
        let forgotten = claim(store, &key(&format!("old {number}")), "b3:b", 11_500).await;
        assert_eq!(forgotten, Claim::Fresh, "{number}");
    }
}

async fn one_of_many_claims_is_fresh(store: &Arc<dyn Ledger>) {
    let claims = race(100, |_| {
        let store = Arc::clone(store);
        async move { claim(store.as_ref(), &key("raced"), "b3:a", 20_000).await }
    })
    .await;
    assert_eq!((count(&claims, &Claim::Fresh), count(&claims, &Claim::Open)), (1, 99));
}

async fn one_of_many_takes_over_what_expired(store: &Arc<dyn Ledger>) {
    let claims = race(100, |racer| {
        let store = Arc::clone(store);
        async move { claim(store.as_ref(), &key("raced"), &format!("b3:{racer}"), 21_000).await }
    })
    .await;
    assert_eq!((count(&claims, &Claim::Fresh), count(&claims, &Claim::Clash)), (1, 99));
}
