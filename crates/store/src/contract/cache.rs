use std::{sync::Arc, time::Duration};

use state::{Cache, CacheKey, Cached};

use super::{HARD_TEXTS, race};

const MINUTE: Duration = Duration::from_secs(60);

/// What every [`Cache`] must do that has room for a few entries.
///
/// Panics: where it does not.
pub async fn cache(store: &Arc<dyn Cache>) {
    gives_the_latest_answer_again(store.as_ref()).await;
    keeps_answers_apart(store.as_ref()).await;
    lets_go_of_what_is_too_old(store.as_ref()).await;
    gives_a_whole_answer_in_a_race(store).await;
}

fn key(text: &str) -> CacheKey {
    CacheKey(text.into())
}

async fn put(store: &dyn Cache, name: &str, json: &str, keep: Duration) {
    store.put(key(name), Cached { json: json.into() }, keep).await.expect("puts");
}

async fn get(store: &dyn Cache, name: &str) -> Option<String> {
    store.get(&key(name)).await.expect("gets").map(|answer| answer.json.to_string())
}

async fn gives_the_latest_answer_again(store: &dyn Cache) {
    assert_eq!(get(store, "b3:1").await, None);
    for json in ["{}", "[1]", ""] {
        put(store, "b3:1", json, MINUTE).await;
        assert_eq!(get(store, "b3:1").await.as_deref(), Some(json));
    }
    put(store, "b3:1", "for ever", Duration::MAX).await;
    assert_eq!(get(store, "b3:1").await.as_deref(), Some("for ever"));
}

async fn keeps_answers_apart(store: &dyn Cache) {
    for text in HARD_TEXTS {
        put(store, text, text, MINUTE).await;
    }
    for text in HARD_TEXTS {
        assert_eq!(get(store, text).await.as_deref(), Some(text));
    }
}

async fn lets_go_of_what_is_too_old(store: &dyn Cache) {
    put(store, "b3:old", "kept", MINUTE).await;
    put(store, "b3:old", "not kept", Duration::ZERO).await;
    assert_eq!(get(store, "b3:old").await, None, "the older answer is out of date too");
    put(store, "b3:old", "kept", MINUTE).await;
    put(store, "b3:old", "for a moment", Duration::from_millis(1)).await;
    let gone = async {
        while get(store, "b3:old").await.is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(MINUTE, gone).await.expect("it goes");
}

async fn gives_a_whole_answer_in_a_race(store: &Arc<dyn Cache>) {
    let answers = race(50, |racer| {
        let store = Arc::clone(store);
        async move {
            put(store.as_ref(), "b3:raced", &racer.to_string().repeat(100), MINUTE).await;
            get(store.as_ref(), "b3:raced").await.expect("it was put")
        }
    })
    .await;
    for answer in answers {
        assert!((0..50).any(|racer: usize| racer.to_string().repeat(100) == answer), "{answer}");
    }
}
