//! Which devices answer, looked at from time to time: a device that is asked every few seconds fills its own log.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream};

use crate::{Room, inventory::Device};

/// Names of devices.
type Names = Arc<BTreeSet<Arc<str>>>;

/// What was last seen.
pub(crate) struct Watch {
    every: Duration,
    seen: Mutex<Option<(Instant, Names)>>,
}

impl Watch {
    pub(crate) fn new(every: Duration) -> Self {
        Self { every, seen: Mutex::default() }
    }

    /// The devices that do not answer, as last seen; looked at anew where that is too long ago.
    pub(crate) async fn unreachable(&self, room: &Room) -> Names {
        let seen = || self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, unreachable)) = &*seen()
            && at.elapsed() < self.every
        {
            return Arc::clone(unreachable);
        }
        let all: Vec<Arc<Device>> = room.inventory.all().cloned().collect();
        let ask = |device: Arc<Device>| async move {
            let answers = room.pool.answers(&device).await;
            (!answers).then(|| Arc::clone(&device.name))
        };
        let asked = stream::iter(all).map(ask).buffer_unordered(room.devices_at_once_max);
        let unreachable: Names = Arc::new(asked.filter_map(std::future::ready).collect().await);
        *seen() = Some((Instant::now(), Arc::clone(&unreachable)));
        unreachable
    }
}
