use std::sync::Arc;

use state::{SessionRecord, Sessions};

use super::{HARD_TEXTS, at, race};

/// What every [`Sessions`] must do.
///
/// Panics: where it does not.
pub async fn sessions(store: &Arc<dyn Sessions>) {
    keeps_every_member(store.as_ref()).await;
    puts_one_in_place_of_another(store.as_ref()).await;
    never_sets_a_time_back(store.as_ref()).await;
    removes_once(store.as_ref()).await;
    counts_each_principal_alone(store.as_ref()).await;
    forgets_what_was_not_used_since(store.as_ref()).await;
    the_latest_use_of_many_stays(store).await;
}

fn session(id_hash: &str) -> SessionRecord {
    SessionRecord {
        id_hash: id_hash.to_owned(),
        principal: "billing-bot".to_owned(),
        credential: "key_1".to_owned(),
        protocol: "2025-11-25".to_owned(),
        initialize: "{\"capabilities\":{}}".to_owned(),
        created_at: at(0),
        used_at: at(0),
    }
}

async fn put(store: &dyn Sessions, session: &SessionRecord) {
    store.put(session).await.expect("keeps it");
}

async fn get(store: &dyn Sessions, id_hash: &str) -> Option<SessionRecord> {
    store.get(id_hash).await.expect("gets")
}

async fn used_ms(store: &dyn Sessions, id_hash: &str) -> Option<i64> {
    get(store, id_hash).await.map(|session| session.used_at.unix_ms() - at(0).unix_ms())
}

async fn touch(store: &dyn Sessions, uses: &[(&str, i64)]) {
    let uses: Vec<_> = uses.iter().map(|(id_hash, ms)| ((*id_hash).to_owned(), at(*ms))).collect();
    store.touch(&uses).await.expect("remembers");
}

async fn keeps_every_member(store: &dyn Sessions) {
    let text = HARD_TEXTS.concat();
    let full = SessionRecord {
        principal: text.clone(),
        credential: text.clone(),
        protocol: text.clone(),
        // It comes back byte for byte, unknown members and all.
        initialize: format!("{{ \"n\" : 18446744073709551616, \"x\":{:?} }}", "y".repeat(300_000)),
        created_at: at(-1),
        used_at: at(1),
        ..session("full")
    };
    put(store, &full).await;
    assert_eq!(get(store, "full").await, Some(full));
    for id_hash in HARD_TEXTS {
        put(store, &session(id_hash)).await;
        assert_eq!(get(store, id_hash).await, Some(session(id_hash)), "{id_hash:?}");
    }
    assert_eq!(get(store, "FULL").await, None);
    assert_eq!(get(store, "none").await, None);
}

async fn puts_one_in_place_of_another(store: &dyn Sessions) {
    put(store, &session("twice")).await;
    let second = SessionRecord { principal: "alice".to_owned(), used_at: at(-5), ..session("twice") };
    put(store, &second).await;
    assert_eq!(get(store, "twice").await, Some(second));
}

async fn never_sets_a_time_back(store: &dyn Sessions) {
    for id_hash in ["one", "O'Brien", "other"] {
        put(store, &session(id_hash)).await;
    }
    touch(store, &[]).await;
    touch(store, &[("one", 7), ("one", 9), ("one", 8), ("O'Brien", 3), ("nobody's", 3)]).await;
    assert_eq!(used_ms(store, "one").await, Some(9), "of several uses the latest counts");
    assert_eq!(used_ms(store, "O'Brien").await, Some(3));
    assert_eq!(used_ms(store, "other").await, Some(0), "what was not used is as it was");
    assert_eq!(used_ms(store, "nobody's").await, None, "a use makes no session");
    touch(store, &[("one", 5)]).await;
    assert_eq!(used_ms(store, "one").await, Some(9));
    let expected = SessionRecord { used_at: at(9), ..session("one") };
    assert_eq!(get(store, "one").await, Some(expected), "nothing else has changed");
}

async fn removes_once(store: &dyn Sessions) {
    put(store, &session("removed")).await;
    assert!(store.remove("removed").await.expect("removes"));
    assert!(!store.remove("removed").await.expect("answers"));
    assert_eq!(get(store, "removed").await, None);
    touch(store, &[("removed", 1)]).await;
    assert_eq!(get(store, "removed").await, None, "a late use brings nothing back");
}

async fn counts_each_principal_alone(store: &dyn Sessions) {
    for (id_hash, principal) in [("c1", "O'Brien"), ("c2", "O'Brien"), ("c3", "o'brien")] {
        put(store, &SessionRecord { principal: principal.to_owned(), ..session(id_hash) }).await;
    }
    for (principal, expected) in [("O'Brien", 2), ("o'brien", 1), ("O", 0), ("", 0)] {
        assert_eq!(store.count(principal).await.expect("counts"), expected, "{principal:?}");
    }
    assert!(store.remove("c1").await.expect("removes"));
    assert_eq!(store.count("O'Brien").await.expect("counts"), 1);
}

async fn forgets_what_was_not_used_since(store: &dyn Sessions) {
    for (id_hash, used_ms) in [("older", -1_001), ("as old", -1_000), ("younger", -999)] {
        put(store, &SessionRecord { used_at: at(used_ms), ..session(id_hash) }).await;
    }
    assert_eq!(store.prune(at(-1_000)).await.expect("prunes"), 1);
    assert_eq!(store.prune(at(-1_000)).await.expect("prunes"), 0);
    for (id_hash, stays) in [("older", false), ("as old", true), ("younger", true), ("one", true)] {
        assert_eq!(get(store, id_hash).await.is_some(), stays, "{id_hash}");
    }
}

async fn the_latest_use_of_many_stays(store: &Arc<dyn Sessions>) {
    put(store.as_ref(), &session("raced")).await;
    race(50, |racer| {
        let store = Arc::clone(store);
        async move { touch(store.as_ref(), &[("raced", i64::try_from(racer).expect("few race"))]).await }
    })
    .await;
    assert_eq!(used_ms(store.as_ref(), "raced").await, Some(49));
}
