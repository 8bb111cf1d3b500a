//! Calls that wait for their caller's next request: asked in an answer, they go on where they stood.
//!
//! A place is taken once, by who left it, for the same request, and within its time.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use ::mcp::WireError;
use tokio::time::Instant;

use super::job::Job;

/// The calls that wait.
pub(crate) struct Parked {
    max: usize,
    places: Mutex<HashMap<String, Place>>,
}

struct Place {
    job: Job,
    principal: Arc<str>,
    until: Instant,
}

impl Parked {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, places: Mutex::default() }
    }

    /// Lets a call wait, until somebody takes it or its time is up.
    ///
    /// Error: where too many wait; then the call is stopped.
    pub(crate) fn leave(
        &self,
        handle: String,
        job: Job,
        principal: Arc<str>,
        until: Instant,
    ) -> Result<(), WireError> {
        let mut overdue = Vec::new();
        {
            let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let late: Vec<String> =
                places.iter().filter(|(_, place)| place.until <= now).map(|(name, _)| name.clone()).collect();
            overdue.extend(late.iter().filter_map(|name| places.remove(name)));
            if places.len() >= self.max {
                let text =
                    format!("{} calls wait for their callers already; answer one, or ask later", self.max);
                return Err(WireError::internal(text));
            }
            places.insert(handle, Place { job, principal, until });
        }
        // Dropping a job stops it, which is nothing to do under a lock.
        drop(overdue);
        Ok(())
    }

    /// Takes a call that waits; it is nobody's else after that.
    ///
    /// Error: where there is none of this handle for this principal.
    pub(crate) fn take(&self, handle: &str, principal: &str) -> Result<Job, WireError> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let is_theirs = places
            .get(handle)
            .is_some_and(|place| &*place.principal == principal && place.until > Instant::now());
        let place = if is_theirs { places.remove(handle) } else { None };
        drop(places);
        place.map(|place| place.job).ok_or_else(|| {
            WireError::invalid_params(
                "the call that asked is no longer waiting (it was answered, given up or lost with a restart); call again without requestState",
            )
        })
    }

    /// Stops all that wait.
    pub(crate) fn clear(&self) {
        let places = std::mem::take(&mut *self.places.lock().unwrap_or_else(PoisonError::into_inner));
        drop(places);
    }
}
