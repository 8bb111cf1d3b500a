//! How much: rates and places. A call is admitted before anything is allocated for it, and the work owns its
//! places until it has really ended.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde_json::json;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tool::{Code, Fault, Identity, Rate, Timestamp, Tool};

use crate::{
    config::{LimitsConfig, TierConfig},
    window::{Standing, Window},
};

/// How many idle windows or places may pile up before they are swept.
const SWEEP_EVERY: usize = 1024;

/// All rates and places. Lives as long as the process: a reload changes the limits, not what was used.
#[derive(Default)]
pub(crate) struct Limits {
    windows: Mutex<Windows>,
    places: Mutex<HashMap<Place, (u32, Arc<Semaphore>)>>,
}

#[derive(Default)]
struct Windows {
    by_scope: HashMap<Scope, Window>,
    sweep_at: usize,
}

/// What a rate is counted for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Scope {
    Key(Arc<str>),
    Tier(Arc<str>),
    Tool(Arc<str>),
}

/// What running calls take a place of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Place {
    House,
    Key(Arc<str>),
    Source(Arc<str>),
    Tool(Arc<str>),
}

/// How the limit that matters most stands after this call.
#[derive(Clone, Debug, PartialEq)]
pub struct LimitState {
    /// What is limited: `key`, `tier` or `tool`.
    pub policy: Arc<str>,
    /// Calls in any window.
    pub limit: u32,
    /// Calls left right now.
    pub remaining: u32,
    /// The window.
    pub window: Duration,
    /// When there will be more left than now.
    pub reset_at: Timestamp,
}

/// The places a running call holds.
#[derive(Debug)]
pub(crate) struct Slot {
    _places: Vec<OwnedSemaphorePermit>,
}

impl Limits {
    /// Counts one call against its key, its tier and its tool (`None` where there is no such tool): against all of them, or where one is used up
    /// against none.
    ///
    /// Fault: `RateLimited`, with the wait and the limit that was met.
    pub(crate) fn count(
        &self,
        caller: &Identity,
        tool: Option<&Tool>,
        config: &LimitsConfig,
        tier: Option<&TierConfig>,
        now: Instant,
        wall: Timestamp,
    ) -> (LimitState, Result<(), Fault>) {
        let scopes = scopes(caller, tool, config, tier);
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        windows.sweep(now);
        for (scope, rate) in &scopes {
            let standing = windows.of(scope).look(*rate, now);
            if !standing.wait.is_zero() {
                let state =
                    state(scope, *rate, Standing { remaining: 0, reset_in: standing.wait, ..standing }, wall);
                let fault = limited(&state, standing.wait);
                return (state, Err(fault));
            }
        }
        let mut states = Vec::with_capacity(scopes.len());
        for (scope, rate) in &scopes {
            let window = windows.of(scope);
            window.take(*rate, now);
            states.push(state(scope, *rate, window.look(*rate, now), wall));
        }
        // The key's own limit is the one a caller plans by, unless another has less left.
        let scarcest = states.into_iter().min_by_key(|state| state.remaining);
        let state = scarcest.expect("a call always counts against its key");
        (state, Ok(()))
    }

    /// Takes a place in the house, with the key, the source and the tool; waits a while where one is full.
    ///
    /// Fault: `Busy` where no place came free in time.
    pub(crate) async fn admit(
        &self,
        caller: &Identity,
        tool: &Tool,
        config: &LimitsConfig,
        tier: Option<&TierConfig>,
    ) -> Result<Slot, Fault> {
        let per_key = tier.and_then(|tier| tier.concurrent_max).unwrap_or(config.concurrent_per_key_max);
        let mut wanted = vec![
            (Place::Key(Arc::clone(&caller.credential)), per_key),
            (Place::Source(Arc::clone(&tool.source)), source_max(tool, config)),
            (Place::House, config.concurrent_max),
        ];
        if let Some(max) = tool.concurrent_max {
            wanted.insert(1, (Place::Tool(tool.name.shared()), max));
        }
        self.take(wanted, Instant::now() + Duration::from_millis(config.queue_wait_ms)).await
    }

    async fn take(&self, wanted: Vec<(Place, u32)>, until: Instant) -> Result<Slot, Fault> {
        let mut places = Vec::with_capacity(wanted.len());
        for (place, max) in wanted {
            let semaphore = self.semaphore(&place, max);
            // The limit's semaphores are never closed, so acquiring one fails only by the clock.
            let taken = match Arc::clone(&semaphore).try_acquire_owned() {
                Ok(taken) => taken,
                Err(_) => match tokio::time::timeout_at(until, semaphore.acquire_owned()).await {
                    Ok(Ok(taken)) => taken,
                    Ok(Err(_)) | Err(_) => return Err(busy(&place, max)),
                },
            };
            places.push(taken);
        }
        Ok(Slot { _places: places })
    }

    /// Takes the places that a call made by a call needs beside its parent's: with the tool and the source,
    /// where they are free at once. Waiting here could wait for its own parent.
    pub(crate) async fn admit_inside(&self, tool: &Tool, config: &LimitsConfig) -> Result<Slot, Fault> {
        let mut wanted = vec![(Place::Source(Arc::clone(&tool.source)), source_max(tool, config))];
        if let Some(max) = tool.concurrent_max {
            wanted.push((Place::Tool(tool.name.shared()), max));
        }
        self.take(wanted, Instant::now()).await
    }

    fn semaphore(&self, place: &Place, max: u32) -> Arc<Semaphore> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if places.len() >= SWEEP_EVERY && !places.contains_key(place) {
            // Nobody holds or waits for a place of these: they are made again when they are wanted.
            places.retain(|_, (_, semaphore)| Arc::strong_count(semaphore) > 1);
        }
        let fresh = || (max, Arc::new(Semaphore::new(max as usize)));
        let entry = places.entry(place.clone()).or_insert_with(fresh);
        if entry.0 != max {
            // After a reload: calls that run keep their old places, new ones go by the new limit.
            *entry = fresh();
        }
        Arc::clone(&entry.1)
    }
}

/// How many calls the source of a tool takes at once.
fn source_max(tool: &Tool, config: &LimitsConfig) -> u32 {
    tool.source_concurrent_max.unwrap_or(config.concurrent_per_source_max)
}

impl Windows {
    fn of(&mut self, scope: &Scope) -> &mut Window {
        self.by_scope.entry(scope.clone()).or_default()
    }

    /// Forgets windows that nobody used for an hour, every so often.
    fn sweep(&mut self, now: Instant) {
        if self.by_scope.len() >= self.sweep_at.max(SWEEP_EVERY) {
            self.by_scope.retain(|_, window| !window.is_idle(Duration::from_secs(3600), now));
            self.sweep_at = self.by_scope.len() + SWEEP_EVERY;
        }
    }
}

/// The rate of a caller itself: its key's, else its tier's, else everybody's.
pub(crate) fn own_rate(caller: &Identity, config: &LimitsConfig, tier: Option<&TierConfig>) -> Rate {
    let of_tier = tier.and_then(|tier| tier.rate_per_minute).map(Rate::per_minute);
    caller.rate.or(of_tier).unwrap_or_else(|| Rate::per_minute(config.rate_per_minute))
}

/// What a call counts against, the key first.
fn scopes(
    caller: &Identity,
    tool: Option<&Tool>,
    config: &LimitsConfig,
    tier: Option<&TierConfig>,
) -> Vec<(Scope, Rate)> {
    let key = own_rate(caller, config, tier);
    let mut scopes = vec![(Scope::Key(Arc::clone(&caller.credential)), key)];
    if let Some(total) = tier.and_then(|tier| tier.total_per_minute) {
        scopes.push((Scope::Tier(Arc::clone(&caller.tier)), Rate::per_minute(total)));
    }
    if let Some(tool) = tool
        && let Some(rate) = tool.rate
    {
        scopes.push((Scope::Tool(tool.name.shared()), rate));
    }
    scopes
}

fn state(scope: &Scope, rate: Rate, standing: Standing, wall: Timestamp) -> LimitState {
    let policy = match scope {
        Scope::Key(_) => "key",
        Scope::Tier(_) => "tier",
        Scope::Tool(_) => "tool",
    };
    LimitState {
        policy: policy.into(),
        limit: rate.calls,
        remaining: standing.remaining,
        window: rate.window,
        reset_at: wall.after(standing.reset_in),
    }
}

fn limited(state: &LimitState, wait: Duration) -> Fault {
    Fault::new(Code::RateLimited, "Rate limit exceeded")
        .retry_after(wait)
        .with_details(json!({ "limit": state.limit, "reset_at": state.reset_at, "policy": state.policy }))
}

fn busy(place: &Place, max: u32) -> Fault {
    let whose = match place {
        Place::House => "this server".to_owned(),
        Place::Key(_) => "this key".to_owned(),
        Place::Source(source) => format!("{source:?}"),
        Place::Tool(tool) => format!("{tool:?}"),
    };
    let text =
        format!("{max} calls of {whose} are running already, which is the most; ask again in a moment");
    Fault::new(Code::Busy, text).retry_after(Duration::from_secs(1))
}
