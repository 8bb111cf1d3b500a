//! Taking what rooms offer now: the list of a tool server has changed, or it was found late.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use gate::Snapshot;
use serde_json::json;
use tool::{Stop, Tool};

use super::{Core, snapshot};

/// How long changes are gathered before they are taken.
const GATHER: Duration = Duration::from_millis(100);

/// How long the next ones wait then, so that a server whose list never rests costs little.
const PAUSE: Duration = Duration::from_secs(1);

/// The most names that stand in one record, of each kind.
const NAMES_MAX: usize = 100;

impl Core {
    /// Takes lists that have changed, until asked to stop.
    pub(super) async fn take_lists(self: Arc<Self>, stop: Stop) {
        loop {
            tokio::select! {
                () = stop.asked() => return,
                () = self.notices.lists_changed() => tokio::time::sleep(GATHER).await,
            }
            self.relist().await;
            tokio::select! {
                () = stop.asked() => return,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    /// Lets calls go by what is offered now, under the configuration that holds, and tells those who listen. Where that
    /// does not fit together the old lists stay.
    async fn relist(self: &Arc<Self>) {
        let _one_at_a_time = self.reloading.lock().await;
        // Taken before it is looked: what changes from here on is looked at once more.
        let lists = self.notices.changed_lists();
        let (loaded, rooms) = (self.loaded(), self.lock_rooms().clone());
        // Schemas are compiled, which may take a while where there are many.
        let signers = self.gate.snapshot().signers().to_vec();
        let building = tokio::task::spawn_blocking(move || snapshot(&loaded, &rooms, signers));
        let new = match building.await {
            Ok(Ok(new)) => new,
            Ok(Err(faults)) => {
                for fault in faults {
                    tracing::error!(
                        at = fault.pointer,
                        problem = fault.text,
                        "what is offered now is not taken"
                    );
                }
                return;
            }
            Err(error) => return tracing::error!(%error, "what is offered now cannot be looked at"),
        };
        let old = self.gate.snapshot();
        if old.hash == new.hash {
            // A server that says that its list has changed is believed: its clients may know better than we do.
            lists.into_iter().for_each(|notice| self.gate.notify(notice));
            return;
        }
        let Difference { added, removed, changed } = Difference::between(&old, &new);
        let body = json!({
            "config_hash": &*new.hash,
            "added": shown(&added), "removed": shown(&removed), "changed": shown(&changed),
        });
        self.gate.swap(new);
        let (added, removed, changed) = (added.len(), removed.len(), changed.len());
        tracing::info!(added, removed, changed, "what is offered has changed, and is taken");
        if let Err(error) = self.record("catalogue.changed", body).await {
            tracing::error!(?error, "that what is offered has changed cannot be recorded");
        }
    }
}

/// Names of tools, as many as a record holds.
fn shown(names: &[Arc<str>]) -> Vec<&str> {
    let mut shown: Vec<&str> = names.iter().take(NAMES_MAX).map(AsRef::as_ref).collect();
    if names.len() > NAMES_MAX {
        shown.push("..");
    }
    shown
}

/// How the tools of two snapshots differ, by name.
#[derive(Debug, Default, PartialEq)]
struct Difference {
    added: Vec<Arc<str>>,
    removed: Vec<Arc<str>>,
    changed: Vec<Arc<str>>,
}

impl Difference {
    fn between(old: &Snapshot, new: &Snapshot) -> Self {
        Self::of(old.catalogue.tools(), new.catalogue.tools())
    }

    fn of(old: &[Arc<Tool>], new: &[Arc<Tool>]) -> Self {
        let by_name = |tools: &[Arc<Tool>]| {
            tools.iter().map(|tool| (tool.name.shared(), Arc::clone(tool))).collect::<BTreeMap<_, _>>()
        };
        let (old, new) = (by_name(old), by_name(new));
        let missing = |from: &BTreeMap<Arc<str>, Arc<Tool>>, in_: &BTreeMap<Arc<str>, Arc<Tool>>| {
            from.keys().filter(|name| !in_.contains_key(*name)).cloned().collect()
        };
        let changed = new.iter().filter(|(name, tool)| old.get(*name).is_some_and(|was| !is_same(was, tool)));
        Self {
            added: missing(&new, &old),
            removed: missing(&old, &new),
            changed: changed.map(|(name, _)| Arc::clone(name)).collect(),
        }
    }
}

fn is_same(one: &Tool, other: &Tool) -> bool {
    let sent = |tool: &Tool| tool.as_sent.as_ref().map(|raw| raw.get().to_owned());
    (&one.about, &one.input, &one.output, sent(one))
        == (&other.about, &other.input, &other.output, sent(other))
}

#[cfg(test)]
mod tests {
    use tool::ToolName;

    use super::*;

    fn tools(of: &[(&str, &str)]) -> Vec<Arc<Tool>> {
        let tool = |(name, about): &(&str, &str)| {
            Arc::new(Tool::reading(ToolName::parse(name).unwrap(), "test", about, json!({})))
        };
        of.iter().map(tool).collect()
    }

    #[test]
    fn what_differs_is_told_by_name() {
        let old = tools(&[("gone", "a"), ("same", "b"), ("other", "c")]);
        let new = tools(&[("same", "b"), ("other", "d"), ("new", "e")]);
        let names = |names: &[&str]| names.iter().map(|name| Arc::from(*name)).collect::<Vec<_>>();
        let expected =
            Difference { added: names(&["new"]), removed: names(&["gone"]), changed: names(&["other"]) };
        assert_eq!(Difference::of(&old, &new), expected);
        assert_eq!(Difference::of(&old, &old), Difference::default());
    }

    #[test]
    fn a_record_names_so_many_and_no_more() {
        let names: Vec<Arc<str>> = (0..150).map(|n| Arc::from(n.to_string())).collect();
        let shown = shown(&names);
        assert_eq!((shown.len(), shown.last()), (NAMES_MAX + 1, Some(&"..")));
    }
}
