use std::sync::Arc;

use state::{Key, KeySecret, Keys, Slot, Swap};

use super::{HARD_TEXTS, at, count, race};

/// What every [`Keys`] must do.
///
/// Panics: where it does not.
pub async fn keys(store: &Arc<dyn Keys>) {
    keeps_every_member(store.as_ref()).await;
    finds_by_hash_what_is_not_revoked(store.as_ref()).await;
    finds_by_id_before_label(store.as_ref()).await;
    refuses_what_is_taken(store.as_ref()).await;
    swaps_only_what_is_as_expected(store.as_ref()).await;
    lists_by_label(store.as_ref()).await;
    never_sets_a_last_use_back(store.as_ref()).await;
    one_of_many_swaps_wins(store).await;
    one_of_many_inserts_wins(store).await;
}

fn key(name: &str) -> Key {
    Key {
        id: format!("key_{name}"),
        label: name.to_owned(),
        principal: format!("{name}-bot"),
        user_id: format!("user {name}"),
        tier: "basic".to_owned(),
        roles: Vec::new(),
        rate_per_minute: None,
        enabled: true,
        created_at: at(0),
        expires_at: None,
        revoked_at: None,
        last_used_at: None,
        secrets: vec![secret(Slot::Primary, &format!("hash of {name}"))],
        version: 1,
    }
}

fn secret(slot: Slot, hash: &str) -> KeySecret {
    KeySecret { slot, hash: hash.to_owned(), prefix: "sk_x7Qp".to_owned(), expires_at: None }
}

async fn insert(store: &dyn Keys, key: &Key) {
    assert_eq!(store.insert(key).await.expect("inserts"), Swap::Done, "{}", key.id);
}

async fn get(store: &dyn Keys, id_or_label: &str) -> Option<Key> {
    store.get(id_or_label).await.expect("gets")
}

async fn by_hash(store: &dyn Keys, hash: &str) -> Option<Key> {
    store.by_hash(hash).await.expect("looks up")
}

async fn keeps_every_member(store: &dyn Keys) {
    assert_eq!(store.list().await.expect("lists"), [], "the contract starts with an empty store");
    let full = Key {
        roles: HARD_TEXTS.map(str::to_owned).into(),
        rate_per_minute: Some(u32::MAX),
        enabled: false,
        expires_at: Some(at(-1)),
        last_used_at: Some(at(i64::from(i32::MAX))),
        secrets: vec![
            secret(Slot::Primary, "full 1"),
            KeySecret { expires_at: Some(at(1)), ..secret(Slot::Secondary, "full 2") },
        ],
        version: 7,
        ..key("full")
    };
    insert(store, &full).await;
    assert_eq!(get(store, "key_full").await, Some(full));
    for (number, text) in HARD_TEXTS.iter().enumerate() {
        let hard = Key {
            label: format!("hard {text}"),
            principal: (*text).to_owned(),
            user_id: (*text).to_owned(),
            tier: (*text).to_owned(),
            ..key(&format!("hard{number}"))
        };
        insert(store, &hard).await;
        assert_eq!(get(store, &hard.label).await, Some(hard));
    }
}

async fn finds_by_hash_what_is_not_revoked(store: &dyn Keys) {
    let disabled = Key { enabled: false, ..key("disabled") };
    let expired = Key { expires_at: Some(at(0)), ..key("expired") };
    let mut revoked = key("revoked");
    for key in [&disabled, &expired, &revoked] {
        insert(store, key).await;
    }
    assert_eq!(by_hash(store, "hash of disabled").await, Some(disabled));
    assert_eq!(by_hash(store, "hash of expired").await, Some(expired));
    assert_eq!(by_hash(store, "hash of revoked").await.as_ref(), Some(&revoked));
    assert_eq!(by_hash(store, "hash of nobody").await, None);
    assert_eq!(by_hash(store, "").await, None);
    revoked.revoked_at = Some(at(5));
    assert_eq!(store.swap(&revoked).await.expect("swaps"), Swap::Done);
    assert_eq!(by_hash(store, "hash of revoked").await, None);
    revoked.version += 1;
    assert_eq!(get(store, "revoked").await, Some(revoked), "for the records it is still there");
}

async fn finds_by_id_before_label(store: &dyn Keys) {
    let first = key("named");
    let second = Key { label: first.id.clone(), ..key("borrower") };
    insert(store, &first).await;
    insert(store, &second).await;
    assert_eq!(get(store, &first.id).await, Some(first.clone()));
    assert_eq!(get(store, "named").await, Some(first));
    assert_eq!(get(store, "key_borrower").await, Some(second));
    assert_eq!(get(store, "NAMED").await, None, "labels differ by case");
    assert_eq!(get(store, "").await, None);
}

async fn refuses_what_is_taken(store: &dyn Keys) {
    insert(store, &key("taken")).await;
    let twins = [
        Key { id: "key_taken".to_owned(), ..key("by_id") },
        Key { label: "taken".to_owned(), ..key("by_label") },
        Key { secrets: key("taken").secrets, ..key("by_hash") },
        Key {
            secrets: vec![secret(Slot::Primary, "fresh"), secret(Slot::Secondary, "hash of taken")],
            ..key("by_second_hash")
        },
    ];
    for twin in twins {
        assert_eq!(store.insert(&twin).await.expect("answers"), Swap::Stale, "{}", twin.id);
    }
    assert_eq!(get(store, "taken").await, Some(key("taken")), "it is as it was");
    assert_eq!(get(store, "key_by_second_hash").await, None, "nothing of a refused key stays");
    assert_eq!(by_hash(store, "fresh").await, None);
}

async fn swaps_only_what_is_as_expected(store: &dyn Keys) {
    let old = key("swapped");
    insert(store, &old).await;
    let rotated = Key {
        tier: "premium".to_owned(),
        secrets: vec![secret(Slot::Primary, "rotated"), secret(Slot::Secondary, "hash of swapped")],
        ..old.clone()
    };
    assert_eq!(store.swap(&rotated).await.expect("swaps"), Swap::Done);
    let now = Key { version: 2, ..rotated.clone() };
    assert_eq!(by_hash(store, "rotated").await.as_ref(), Some(&now));
    assert_eq!(by_hash(store, "hash of swapped").await.as_ref(), Some(&now), "both are good for a while");
    for stale in [old, rotated, Key { version: 3, ..now.clone() }, key("never inserted")] {
        assert_eq!(store.swap(&stale).await.expect("answers"), Swap::Stale, "{stale:?}");
    }
    let clash = Key { label: "taken".to_owned(), ..now.clone() };
    assert_eq!(store.swap(&clash).await.expect("answers"), Swap::Stale, "the label is another key's");
    assert_eq!(get(store, "swapped").await.as_ref(), Some(&now), "a refused swap changes nothing");
    let without = Key { secrets: Vec::new(), ..now };
    assert_eq!(store.swap(&without).await.expect("swaps"), Swap::Done);
    assert_eq!(by_hash(store, "rotated").await, None);
    assert_eq!(get(store, "swapped").await, Some(Key { version: 3, ..without }));
}

async fn lists_by_label(store: &dyn Keys) {
    let keys = store.list().await.expect("lists");
    let labels: Vec<_> = keys.iter().map(|key| key.label.as_str()).collect();
    assert!(labels.is_sorted() && labels.contains(&"revoked") && labels.contains(&"swapped"), "{labels:?}");
    let full = keys.iter().find(|key| key.label == "full").expect("it is there");
    assert_eq!(full.secrets.len(), 2);
}

async fn never_sets_a_last_use_back(store: &dyn Keys) {
    for name in ["used", "unused"] {
        insert(store, &key(name)).await;
    }
    let touches: [&[(&str, i64)]; 5] = [
        &[],
        &[("key_used", 5_000)],
        &[("key_used", 4_000)],
        &[("key_nobody", 9_000)],
        &[("key_used", 7_000), ("key_used", 6_000)],
    ];
    for (touch, last_ms) in touches.iter().zip([None, Some(5_000), Some(5_000), Some(5_000), Some(7_000)]) {
        let used: Vec<_> = touch.iter().map(|(id, ms)| ((*id).to_owned(), at(*ms))).collect();
        store.touch(&used).await.expect("touches");
        let used = get(store, "used").await.expect("it is there");
        assert_eq!((used.last_used_at, used.version), (last_ms.map(at), 1), "after {touch:?}");
    }
    for last_used_at in [None, Some(at(1_000))] {
        let current = get(store, "used").await.expect("it is there");
        let swapped = store.swap(&Key { last_used_at, ..current }).await.expect("swaps");
        assert_eq!(swapped, Swap::Done);
        let after = get(store, "used").await.expect("it is there");
        assert_eq!(after.last_used_at, Some(at(7_000)), "a swap that read before a touch keeps it");
    }
    assert_eq!(get(store, "unused").await, Some(key("unused")));
}

async fn one_of_many_swaps_wins(store: &Arc<dyn Keys>) {
    insert(store.as_ref(), &key("raced")).await;
    let swaps = race(50, |racer| {
        let (store, tier) = (Arc::clone(store), racer.to_string());
        async move { store.swap(&Key { tier, ..key("raced") }).await.expect("answers") }
    })
    .await;
    assert_eq!((count(&swaps, &Swap::Done), count(&swaps, &Swap::Stale)), (1, 49));
    assert_eq!(get(store.as_ref(), "raced").await.map(|key| key.version), Some(2));
}

async fn one_of_many_inserts_wins(store: &Arc<dyn Keys>) {
    let inserts = race(50, |racer| {
        let (store, id) = (Arc::clone(store), format!("key_twin{racer}"));
        async move { store.insert(&Key { id, ..key("twin") }).await.expect("answers") }
    })
    .await;
    assert_eq!((count(&inserts, &Swap::Done), count(&inserts, &Swap::Stale)), (1, 49));
}
