//! How much: rates and places. A call is admitted before anything is allocated for it, and the work owns its
//! places until it has really ended.

use std::{
    iter::once,
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::Duration,
};

use foldhash::HashMap;
use serde_json::json;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tool::{Code, Fault, Identity, Rate, Timestamp, Tool, ToolName};

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
    places: Mutex<Places>,
}

type ByName<T> = HashMap<Arc<str>, T>;

/// The windows of what calls are counted for.
#[derive(Default)]
struct Windows {
    keys: ByName<Window>,
    tiers: ByName<Window>,
    tools: ByName<Window>,
    sweep_at: usize,
}

/// What counted calls are limited by: `key`, `tier` or `tool`. Every answer shows one.
static POLICIES: LazyLock<[Arc<str>; 3]> = LazyLock::new(|| ["key", "tier", "tool"].map(Arc::from));

/// A window that a call counts in.
struct Counted<'a> {
    /// Which of [`POLICIES`].
    policy: usize,
    rate: Rate,
    window: &'a mut Window,
    /// How it stood before this call.
    before: Standing,
}

/// The places of what takes running calls.
#[derive(Default)]
struct Places {
    house: Option<Crowd>,
    keys: ByName<Crowd>,
    sources: ByName<Crowd>,
    tools: ByName<Crowd>,
}

/// How many places there are, and who has them.
type Crowd = (u32, Arc<Semaphore>);

/// What running calls take a place of.
#[derive(Clone, Copy, Debug)]
enum Place<'a> {
    House,
    Key(&'a Arc<str>),
    Source(&'a Arc<str>),
    Tool(&'a ToolName),
}

/// The most places that one call takes.
const PLACES_MAX: usize = 4;

/// The places a call wants, in the order that it takes them, and how many calls each is for.
type Wanted<'a> = [Option<(Place<'a>, u32)>; PLACES_MAX];

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
    _places: [Option<OwnedSemaphorePermit>; PLACES_MAX],
}

impl Limits {
    /// Counts one call against its key, its tier and its tool (`None` where there is no such tool): against all of
    /// them, or where one is used up against none.
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
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        windows.sweep(now);
        let (mut own, mut shared) = windows.counting(caller, tool, config, tier);
        for one in once(&mut own).chain(shared.iter_mut().flatten()) {
            one.before = one.window.look(one.rate, now);
            let wait = one.before.wait;
            if !wait.is_zero() {
                let state = one.state(Standing { remaining: 0, reset_in: wait, wait }, wall);
                let fault = limited(&state, wait);
                return (state, Err(fault));
            }
        }
        // The key's own limit is the one a caller plans by, unless another has less left.
        let mut scarcest = own.pass(now);
        let mut by = &own;
        for one in shared.iter_mut().flatten() {
            let standing = one.pass(now);
            if standing.remaining < scarcest.remaining {
                (scarcest, by) = (standing, &*one);
            }
        }
        (by.state(scarcest, wall), Ok(()))
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
        let wanted = [
            Some((Place::Key(&caller.credential), per_key)),
            tool.concurrent_max.map(|max| (Place::Tool(&tool.name), max)),
            Some((Place::Source(&tool.source), source_max(tool, config))),
            Some((Place::House, config.concurrent_max)),
        ];
        self.take(wanted, Duration::from_millis(config.queue_wait_ms)).await
    }

    /// Takes the places that a call made by a call needs beside its parent's: with the tool and the source,
    /// where they are free at once. Waiting here could wait for its own parent.
    pub(crate) async fn admit_inside(&self, tool: &Tool, config: &LimitsConfig) -> Result<Slot, Fault> {
        let wanted = [
            Some((Place::Source(&tool.source), source_max(tool, config))),
            tool.concurrent_max.map(|max| (Place::Tool(&tool.name), max)),
            None,
            None,
        ];
        self.take(wanted, Duration::ZERO).await
    }

    async fn take(&self, wanted: Wanted<'_>, wait: Duration) -> Result<Slot, Fault> {
        let mut taken = [const { None }; PLACES_MAX];
        let from = self.take_free(&wanted, &mut taken);
        if from < PLACES_MAX {
            self.take_others(&wanted, &mut taken, from, Instant::now() + wait).await?;
        }
        Ok(Slot { _places: taken })
    }

    /// Takes places up to the first that is full; says which that is.
    fn take_free(
        &self,
        wanted: &Wanted<'_>,
        taken: &mut [Option<OwnedSemaphorePermit>; PLACES_MAX],
    ) -> usize {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        for (i, (wanted, taken)) in wanted.iter().zip(taken).enumerate() {
            let Some((place, max)) = *wanted else { continue };
            match Arc::clone(places.of(place, max)).try_acquire_owned() {
                Ok(permit) => *taken = Some(permit),
                Err(_) => return i,
            }
        }
        PLACES_MAX
    }

    /// Takes places from one on, waiting for each.
    async fn take_others(
        &self,
        wanted: &Wanted<'_>,
        taken: &mut [Option<OwnedSemaphorePermit>; PLACES_MAX],
        from: usize,
        until: Instant,
    ) -> Result<(), Fault> {
        for (wanted, taken) in wanted.iter().zip(taken).skip(from) {
            let Some((place, max)) = *wanted else { continue };
            let semaphore =
                Arc::clone(self.places.lock().unwrap_or_else(PoisonError::into_inner).of(place, max));
            // The limit's semaphores are never closed, so acquiring one fails only by the clock.
            *taken = match Arc::clone(&semaphore).try_acquire_owned() {
                Ok(permit) => Some(permit),
                Err(_) => match tokio::time::timeout_at(until, semaphore.acquire_owned()).await {
                    Ok(Ok(permit)) => Some(permit),
                    Ok(Err(_)) | Err(_) => return Err(busy(place, max)),
                },
            };
        }
        Ok(())
    }
}

impl Places {
    fn of(&mut self, place: Place<'_>, max: u32) -> &Arc<Semaphore> {
        if self.len() >= SWEEP_EVERY && !self.has(place) {
            // Nobody holds or waits for a place of these: they are made again when they are wanted.
            for places in [&mut self.keys, &mut self.sources, &mut self.tools] {
                places.retain(|_, (_, semaphore)| Arc::strong_count(semaphore) > 1);
            }
        }
        let fresh = || (max, Arc::new(Semaphore::new(max as usize)));
        let crowd = match place {
            Place::House => self.house.get_or_insert_with(fresh),
            Place::Key(name) => self.keys.entry(Arc::clone(name)).or_insert_with(fresh),
            Place::Source(name) => self.sources.entry(Arc::clone(name)).or_insert_with(fresh),
            Place::Tool(name) => self.tools.entry(name.shared()).or_insert_with(fresh),
        };
        if crowd.0 != max {
            // After a reload: calls that run keep their old places, new ones go by the new limit.
            *crowd = fresh();
        }
        &crowd.1
    }

    fn len(&self) -> usize {
        self.keys.len() + self.sources.len() + self.tools.len()
    }

    fn has(&self, place: Place<'_>) -> bool {
        match place {
            Place::House => self.house.is_some(),
            Place::Key(name) => self.keys.contains_key(name),
            Place::Source(name) => self.sources.contains_key(name),
            Place::Tool(name) => self.tools.contains_key(name.as_str()),
        }
    }
}

/// How many calls the source of a tool takes at once.
fn source_max(tool: &Tool, config: &LimitsConfig) -> u32 {
    tool.source_concurrent_max.unwrap_or(config.concurrent_per_source_max)
}

impl Windows {
    /// What a call counts against, its key first.
    fn counting(
        &mut self,
        caller: &Identity,
        tool: Option<&Tool>,
        config: &LimitsConfig,
        tier: Option<&TierConfig>,
    ) -> (Counted<'_>, [Option<Counted<'_>>; 2]) {
        let Self { keys, tiers, tools, .. } = self;
        let own = Counted::new(0, own_rate(caller, config, tier), keys, Arc::clone(&caller.credential));
        let total = tier.and_then(|tier| tier.total_per_minute).map(Rate::per_minute);
        let total = total.map(|rate| Counted::new(1, rate, tiers, Arc::clone(&caller.tier)));
        let tool = tool.and_then(|tool| Some((tool.rate?, tool.name.shared())));
        let tool = tool.map(|(rate, name)| Counted::new(2, rate, tools, name));
        (own, [total, tool])
    }

    fn len(&self) -> usize {
        self.keys.len() + self.tiers.len() + self.tools.len()
    }

    /// Forgets windows that nobody used for an hour, every so often.
    fn sweep(&mut self, now: Instant) {
        if self.len() >= self.sweep_at.max(SWEEP_EVERY) {
            for windows in [&mut self.keys, &mut self.tiers, &mut self.tools] {
                windows.retain(|_, window| !window.is_idle(Duration::from_secs(3600), now));
            }
            self.sweep_at = self.len() + SWEEP_EVERY;
        }
    }
}

impl<'a> Counted<'a> {
    fn new(policy: usize, rate: Rate, windows: &'a mut ByName<Window>, name: Arc<str>) -> Self {
        Self { policy, rate, window: windows.entry(name).or_default(), before: Standing::default() }
    }

    /// Counts the call, and says how the limit stands then.
    fn pass(&mut self, now: Instant) -> Standing {
        self.window.pass(self.rate, self.before, now)
    }

    fn state(&self, standing: Standing, wall: Timestamp) -> LimitState {
        LimitState {
            policy: Arc::clone(&POLICIES[self.policy]),
            limit: self.rate.calls,
            remaining: standing.remaining,
            window: self.rate.window,
            reset_at: wall.after(standing.reset_in),
        }
    }
}

/// The rate of a caller itself: its key's, else its tier's, else everybody's.
pub(crate) fn own_rate(caller: &Identity, config: &LimitsConfig, tier: Option<&TierConfig>) -> Rate {
    let of_tier = tier.and_then(|tier| tier.rate_per_minute).map(Rate::per_minute);
    caller.rate.or(of_tier).unwrap_or_else(|| Rate::per_minute(config.rate_per_minute))
}

fn limited(state: &LimitState, wait: Duration) -> Fault {
    Fault::new(Code::RateLimited, "Rate limit exceeded")
        .retry_after(wait)
        .with_details(json!({ "limit": state.limit, "reset_at": state.reset_at, "policy": state.policy }))
}

fn busy(place: Place<'_>, max: u32) -> Fault {
    let whose = match place {
        Place::House => "this server".to_owned(),
        Place::Key(_) => "this key".to_owned(),
        Place::Source(source) => format!("{source:?}"),
        Place::Tool(tool) => format!("{:?}", tool.as_str()),
    };
    let text =
        format!("{max} calls of {whose} are running already, which is the most; ask again in a moment");
    Fault::new(Code::Busy, text).retry_after(Duration::from_secs(1))
}
