//! Taking a changed configuration while the house is open: everything new is built first, then it is swapped as a
//! whole; where anything is wrong the old one stays. Calls that run keep the one they began with.

use std::{
    sync::{Arc, PoisonError, Weak},
    time::Duration,
};

use gate::Snapshot;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tool::Provider;

use super::{Core, parts, rooms::Kit, signers, snapshot};
use crate::{
    apart,
    config::{self, Problems},
    data,
};

/// Sections that only a new start takes.
const FIXED: &[&str] = &["server", "data_dir", "audit", "changes", "cache", "lab", "telemetry", "upkeep"];

/// How long rooms that are gone stay open for calls that still use them.
const CLOSE_AFTER_MAX: Duration = Duration::from_secs(60 * 60);

impl Core {
    /// Takes the configuration anew.
    ///
    /// Returns a sentence about what changed. Error: everything that is wrong; the old configuration stays.
    pub(crate) async fn reload(self: &Arc<Self>) -> Result<String, Problems> {
        let _one_at_a_time = self.reloading.lock().await;
        match self.take_anew().await {
            Ok(text) => {
                tracing::info!(config_hash = &*self.gate.snapshot().hash, "{text}");
                let body = json!({ "config_hash": &*self.gate.snapshot().hash, "note": text });
                if let Err(error) = self.record("config.reloaded", body).await {
                    tracing::error!(?error, "the reload cannot be recorded");
                }
                Ok(text)
            }
            Err(problems) => {
                for line in problems.lines() {
                    tracing::error!(problem = line, "the configuration is not taken");
                }
                let body = json!({ "problems": problems.list.len() });
                if let Err(error) = self.record("config.refused", body).await {
                    tracing::error!(?error, "the refusal cannot be recorded");
                }
                Err(problems)
            }
        }
    }

    async fn take_anew(self: &Arc<Self>) -> Result<String, Problems> {
        let before = self.loaded();
        let loaded = match &before.file {
            Some(file) => config::load(file, &data::environment)?,
            None => config::from_environment(&data::environment, &before.base_dir)?,
        };
        let changed = changed_sections(&before.value, &loaded.value);
        let parts = parts(&loaded, &self.metrics, &self.clock, &self.notices);
        let devices = self.devices.clone();
        let kit = Kit { parts, pins: self.store.clone(), grants: self.store.clone(), devices };
        let place = |faults| config::locate_faults(&loaded, faults, &data::environment);
        let faults = apart::check(&loaded, &self.folder.dir);
        if !faults.is_empty() {
            return Err(place(faults));
        }
        let old = self.lock_rooms().clone();
        let rooms = old.renewed(&before, &loaded, &kit).await.map_err(place)?;
        let gone = old.gone(&rooms);
        let built = signers(&loaded).and_then(|signers| snapshot(&loaded, &rooms, signers));
        let snapshot = match built {
            Ok(snapshot) => snapshot,
            Err(faults) => {
                let problems = place(faults);
                close_all(rooms.gone(&old)).await;
                return Err(problems);
            }
        };
        let last = Arc::downgrade(&self.gate.snapshot());
        self.gate.swap(snapshot);
        *self.lock_rooms() = rooms;
        if let Some(live) = self.live.get() {
            live.server.set_operations(loaded.config.operations.clone());
            live.log.set_level(loaded.config.log.level);
        }
        *self.loaded.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(loaded);
        self.tasks.spawn(close_when_unused(last, gone, self.ending.clone()));
        match self.bootstrap().await {
            Ok(made) if !made.is_empty() => {
                tracing::warn!(
                    "new bootstrap keys were made; make keys with `portcullis keys create` to see their secrets"
                );
            }
            Ok(_) => {}
            Err(error) => tracing::error!(?error, "the bootstrap keys cannot be made"),
        }
        Ok(sentence(&changed))
    }
}

/// The sections that differ.
fn changed_sections(before: &Value, after: &Value) -> Vec<String> {
    let names = |value: &Value| value.as_object().map(|map| map.keys().cloned().collect::<Vec<_>>());
    let mut all: Vec<String> = [before, after].into_iter().filter_map(names).flatten().collect();
    all.sort();
    all.dedup();
    all.retain(|name| before.get(name) != after.get(name));
    all
}

fn sentence(changed: &[String]) -> String {
    if changed.is_empty() {
        return "the configuration was taken anew; nothing in it changed".to_owned();
    }
    let waits: Vec<&str> = changed.iter().map(String::as_str).filter(|name| FIXED.contains(name)).collect();
    let mut text = format!("the configuration was taken anew; changed: {}", changed.join(", "));
    if changed.iter().any(|name| name == "bootstrap") {
        text.push_str(
            "; of keys that exist it changes the secrets alone, keys_update and `portcullis keys` the rest",
        );
    }
    if !waits.is_empty() {
        text.push_str(&format!("; only the next start takes: {}", waits.join(", ")));
    }
    text
}

/// Closes rooms once no call holds the snapshot they were in, or the house ends.
async fn close_when_unused(last: Weak<Snapshot>, gone: Vec<Arc<dyn Provider>>, ending: CancellationToken) {
    if gone.is_empty() {
        return;
    }
    let unused = async {
        while last.strong_count() > 0 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::select! {
        () = ending.cancelled() => {}
        ended = tokio::time::timeout(CLOSE_AFTER_MAX, unused) => {
            if ended.is_err() {
                tracing::warn!("a room is closed although a call of the old configuration still holds it");
            }
        }
    }
    close_all(gone).await;
}

async fn close_all(providers: Vec<Arc<dyn Provider>>) {
    for provider in providers {
        provider.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_said_and_what_must_wait() {
        let before = json!({ "a": 1, "server": { "listen": "x" }, "gone": 1 });
        let after = json!({ "a": 1, "server": { "listen": "y" }, "new": 1 });
        let changed = changed_sections(&before, &after);
        assert_eq!(changed, ["gone", "new", "server"]);
        let text =
            "the configuration was taken anew; changed: gone, new, server; only the next start takes: server";
        assert_eq!(sentence(&changed), text);
        let text = "the configuration was taken anew; changed: bootstrap; of keys that exist it changes the secrets \
                    alone, keys_update and `portcullis keys` the rest";
        assert_eq!(sentence(&["bootstrap".to_owned()]), text);
        assert_eq!(sentence(&[]), "the configuration was taken anew; nothing in it changed");
    }
}
