//! What rooms say of changes in what they offer, on its way to the gate.

use std::sync::{Arc, OnceLock, Weak};

use gate::Gate;
use tool::Notify;

/// The way to the gate. It is made before the gate, since rooms are opened before it, and attached to it after.
#[derive(Clone, Default)]
pub(super) struct Notices(Arc<OnceLock<Weak<Gate>>>);

impl Notices {
    /// The way to a gate that is there.
    pub(super) fn to(gate: &Arc<Gate>) -> Self {
        let notices = Self::default();
        notices.attach(gate);
        notices
    }

    /// Lets it lead to this gate.
    pub(super) fn attach(&self, gate: &Arc<Gate>) {
        // Attached once, right after the gate is made.
        let _ = self.0.set(Arc::downgrade(gate));
    }

    /// What a room is given. What it says before there is a gate is about a list that the gate has not seen yet.
    pub(super) fn notify(&self) -> Notify {
        let way = Arc::clone(&self.0);
        Arc::new(move |notice| {
            if let Some(gate) = way.get().and_then(Weak::upgrade) {
                gate.notify(notice);
            }
        })
    }
}
