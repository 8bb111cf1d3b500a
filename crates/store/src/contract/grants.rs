use std::sync::Arc;

use state::Grants;
use tool::Secret;

use super::HARD_TEXTS;

/// What every [`Grants`] must do.
///
/// Panics: where it does not.
pub async fn grants(store: &Arc<dyn Grants>) {
    for (i, text) in HARD_TEXTS.iter().enumerate() {
        let server = format!("server {i}");
        assert!(granted(store, &server).await.is_none());
        for given in [text, "newer", text] {
            let given = Secret::new((*given).to_owned());
            store.grant(&server, Some(&given)).await.expect("keeps it");
            assert_eq!(granted(store, &server).await.as_deref(), Some(given.expose()));
        }
    }
    store.grant("server 0", None).await.expect("forgets it");
    store.grant("nobody", None).await.expect("has nothing to forget");
    assert!(granted(store, "server 0").await.is_none());
    assert!(granted(store, "server 1").await.is_some());
}

async fn granted(store: &Arc<dyn Grants>, server: &str) -> Option<String> {
    store.granted(server).await.expect("reads it").map(|given| given.expose().to_owned())
}
