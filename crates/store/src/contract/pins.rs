use std::sync::Arc;

use state::{Pin, Pins};

use super::{HARD_TEXTS, at};

/// What every [`Pins`] must do.
///
/// Panics: where it does not.
pub async fn pins(store: &Arc<dyn Pins>) {
    keeps_every_member(store.as_ref()).await;
    puts_one_in_place_of_another(store.as_ref()).await;
    keeps_servers_apart(store.as_ref()).await;
}

fn pin(server: &str, tool: &str, digest: &str) -> Pin {
    Pin {
        server: server.to_owned(),
        tool: tool.to_owned(),
        digest: digest.to_owned(),
        definition: format!("{{\"name\":\"{tool}\"}}"),
        pinned_at: at(0),
        pinned_by: "first use".to_owned(),
    }
}

async fn keep(store: &dyn Pins, pins: &[Pin]) {
    store.pin(pins).await.expect("keeps them");
}

async fn pinned(store: &dyn Pins, server: &str) -> Vec<Pin> {
    store.pinned(server).await.expect("reads them")
}

async fn keeps_every_member(store: &dyn Pins) {
    for (i, text) in HARD_TEXTS.iter().enumerate() {
        let server = format!("every member {i}");
        let hard = Pin {
            server: server.clone(),
            tool: (*text).to_owned(),
            digest: (*text).to_owned(),
            definition: (*text).to_owned(),
            pinned_at: at(1),
            pinned_by: (*text).to_owned(),
        };
        keep(store, std::slice::from_ref(&hard)).await;
        assert_eq!(pinned(store, &server).await, [hard]);
    }
}

async fn puts_one_in_place_of_another(store: &dyn Pins) {
    keep(store, &[pin("replaced", "b", "1"), pin("replaced", "a", "1")]).await;
    let newer = Pin { pinned_at: at(5), pinned_by: "alice".to_owned(), ..pin("replaced", "a", "2") };
    keep(store, std::slice::from_ref(&newer)).await;
    keep(store, &[]).await;
    assert_eq!(pinned(store, "replaced").await, [newer, pin("replaced", "b", "1")]);
}

async fn keeps_servers_apart(store: &dyn Pins) {
    keep(store, &[pin("one", "x", "1"), pin("two", "x", "2")]).await;
    assert_eq!(pinned(store, "one").await, [pin("one", "x", "1")]);
    assert_eq!(pinned(store, "nobody").await, []);
}
