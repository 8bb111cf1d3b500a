//! What rooms say of changes in what they offer, on its way to the gate.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
};

use gate::Gate;
use tokio::sync::Notify as Bell;
use tool::{Notice, Notify};

/// The way to the gate. It is made before the gate, since rooms are opened before it, and attached to it after. Rooms
/// that a reload opens are given the same one.
#[derive(Clone, Default)]
pub(super) struct Notices(Arc<Way>);

#[derive(Default)]
struct Way {
    gate: OnceLock<Weak<Gate>>,
    /// The lists that are said to have changed, each once.
    lists: Mutex<Vec<Notice>>,
    /// Rung with each of them.
    bell: Bell,
}

impl Notices {
    /// Lets it lead to this gate.
    pub(super) fn attach(&self, gate: &Arc<Gate>) {
        // Attached once, right after the gate is made.
        let _ = self.0.gate.set(Arc::downgrade(gate));
    }

    /// What a room is given. What a resource holds is told at once; of a list that changed clients hear once the gate
    /// goes by the new one. What is said before there is a gate is about a list that it has not seen yet.
    pub(super) fn notify(&self) -> Notify {
        let way = Arc::clone(&self.0);
        Arc::new(move |notice| match notice {
            Notice::Tools | Notice::Prompts | Notice::Resources => {
                let mut lists = way.lists();
                if !lists.contains(&notice) {
                    lists.push(notice);
                }
                way.bell.notify_one();
            }
            Notice::Resource(_) => {
                if let Some(gate) = way.gate.get().and_then(Weak::upgrade) {
                    gate.notify(notice);
                }
            }
        })
    }

    /// Waits until lists are said to have changed.
    pub(super) async fn lists_changed(&self) {
        self.0.bell.notified().await;
    }

    /// Which ones, since the last time.
    pub(super) fn changed_lists(&self) -> Vec<Notice> {
        mem::take(&mut *self.0.lists())
    }
}

impl Way {
    fn lists(&self) -> MutexGuard<'_, Vec<Notice>> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
