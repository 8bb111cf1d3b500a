//! What administration can do with the house itself.

use std::sync::{Arc, OnceLock, Weak};

use admin::Principal;
use async_trait::async_trait;
use serde_json::Value;
use tool::{Code, Fault};

use super::Core;

/// The house, as the tools of administration see it. It is made before the house and attached to it after.
pub(super) struct AppHouse(OnceLock<Weak<Core>>);

impl AppHouse {
    /// A house that is not there yet.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(OnceLock::new()))
    }

    /// Lets it be this one.
    pub(super) fn attach(&self, core: &Arc<Core>) {
        // Attached once, right after the house is made.
        let _ = self.0.set(Arc::downgrade(core));
    }

    fn core(&self) -> Option<Arc<Core>> {
        self.0.get()?.upgrade()
    }
}

fn closing() -> Fault {
    Fault::new(Code::Busy, "the server is starting or stopping; ask again in a moment")
}

#[async_trait]
impl admin::House for AppHouse {
    fn principals(&self) -> Vec<Principal> {
        let Some(core) = self.core() else { return Vec::new() };
        let loaded = core.loaded();
        let declared = loaded.config.principals.iter();
        declared
            .map(|(name, p)| Principal { name: name.clone(), kind: p.kind, roles: p.roles.clone() })
            .collect()
    }

    fn tiers(&self) -> Vec<String> {
        self.core().map(|core| core.loaded().config.tiers.keys().cloned().collect()).unwrap_or_default()
    }

    fn secret_from(&self, label: &str) -> Option<String> {
        let loaded = self.core()?.loaded();
        let keys = loaded.config.bootstrap.keys.iter();
        let (i, _) = keys.enumerate().find(|(_, key)| key.label == label && key.secret.is_some())?;
        Some(match &loaded.file {
            Some(file) => format!("`bootstrap.keys[{i}].secret` of {}", file.display()),
            None => "API_KEY_PRIMARY".to_owned(),
        })
    }

    async fn reload(&self) -> Result<String, Vec<String>> {
        let core = self.core().ok_or_else(|| vec![closing().text])?;
        // In a task of its own: a caller that goes away must not leave it half-way.
        let theirs = Arc::clone(&core);
        let reloading = core.tasks.spawn(async move {
            let done = theirs.reload().await;
            done.map(|_| theirs.gate.snapshot().hash.to_string()).map_err(|problems| problems.lines())
        });
        reloading.await.unwrap_or_else(|error| Err(vec![format!("the reload broke: {error}")]))
    }

    async fn audit_tail(&self, query: Value) -> Result<Vec<Value>, Fault> {
        let folder = self.core().ok_or_else(closing)?.audit_dir.clone();
        let text = |name: &str| query[name].as_str().map(str::to_owned);
        let query = audit::TailQuery {
            count: query["count"].as_u64().and_then(|count| usize::try_from(count).ok()).unwrap_or(20),
            event: text("event"),
            principal: text("principal"),
            tool: text("tool"),
            request_id: text("request_id"),
            since_seq: query["since_seq"].as_u64(),
        };
        let records = tokio::task::spawn_blocking(move || audit::tail(&folder, &query)).await;
        records.map_err(Fault::internal)?.map_err(Fault::from)
    }

    async fn audit_verify(&self) -> Result<Value, Fault> {
        let folder = self.core().ok_or_else(closing)?.audit_dir.clone();
        let report = tokio::task::spawn_blocking(move || audit::verify(&folder)).await;
        let report = report.map_err(Fault::internal)?.map_err(Fault::from)?;
        serde_json::to_value(&report).map_err(Fault::internal)
    }
}
