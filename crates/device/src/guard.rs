//! What keeps logins from doing harm: a login that was refused is left alone, and devices are not stormed.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{error::DeviceError, inventory::Device};

/// The window that logins are counted in.
const WINDOW: Duration = Duration::from_secs(60);

/// Watches over logins.
pub(crate) struct Guard {
    pause: Duration,
    logins_max: usize,
    standings: Arc<Standings>,
}

/// How logins stand, and how many there were: what is known of them beyond a reload.
#[derive(Default)]
pub(crate) struct Standings {
    credentials: Mutex<HashMap<String, Standing>>,
    logins: Mutex<HashMap<Arc<str>, VecDeque<Instant>>>,
}

/// Which of the logins with one name: the configuration's, or one that came with a request.
type Proof = Option<u64>;

/// How a credential stands.
#[derive(Default)]
struct Standing {
    /// Which of this name some device took, where one did.
    proven: Option<Proof>,
    /// While it is not proven, one tries at a time.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Where it was refused: everywhere while it was not proven, else on the device that refused it.
    refused: HashMap<Option<Arc<str>>, (Instant, String)>,
}

/// The right to try a login now.
pub(crate) struct Attempt<'a> {
    guard: &'a Guard,
    device: &'a Device,
    /// Held while the credential is not proven.
    _turn: Option<tokio::sync::OwnedMutexGuard<()>>,
}

impl Guard {
    pub(crate) fn new(pause: Duration, logins_max: usize, standings: Arc<Standings>) -> Self {
        Self { pause, logins_max, standings }
    }

    /// Waits until a login on this device may be tried.
    ///
    /// Error: `LoginStopped` where the credential was refused, `TooManyLogins` where the device had enough of them.
    pub(crate) async fn attempt<'a>(&'a self, device: &'a Device) -> Result<Attempt<'a>, DeviceError> {
        self.check(device)?;
        let turn = self.turn(device);
        let turn = match turn {
            None => None,
            Some(turn) => {
                let held = turn.lock_owned().await;
                self.check(device)?;
                // Whoever went first may have proven it: then all may go at once.
                self.turn(device).map(|_| held)
            }
        };
        self.count(device)?;
        Ok(Attempt { guard: self, device, _turn: turn })
    }

    /// Notes an error of a login or of a session: where it is a refusal, the credential is left alone for a while.
    pub(crate) fn note(&self, device: &Device, error: &DeviceError) {
        if error.is_refusal() {
            let mut credentials = self.standing();
            let standing = credentials.entry(device.credential.name.clone()).or_default();
            let scope =
                (standing.proven == Some(device.credential.carried)).then(|| Arc::clone(&device.name));
            standing.refused.insert(scope, (Instant::now() + self.pause, error.to_string()));
        }
    }

    /// Forgets what holds no more, of logins that are no longer tried.
    pub(crate) fn prune(&self) {
        let now = Instant::now();
        self.standing().retain(|_, standing| {
            standing.refused.retain(|_, (until, _)| *until > now);
            let stays = matches!(standing.proven, Some(None));
            stays || !standing.refused.is_empty() || Arc::strong_count(&standing.turn) > 1
        });
        let mut logins = self.standings.logins.lock().unwrap_or_else(PoisonError::into_inner);
        logins.retain(|_, of_device| of_device.back().is_some_and(|at| now.duration_since(*at) < WINDOW));
    }

    fn standing(&self) -> MutexGuard<'_, HashMap<String, Standing>> {
        self.standings.credentials.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lock of a credential that is not proven.
    fn turn(&self, device: &Device) -> Option<Arc<tokio::sync::Mutex<()>>> {
        let mut credentials = self.standing();
        let standing = credentials.entry(device.credential.name.clone()).or_default();
        (standing.proven != Some(device.credential.carried)).then(|| Arc::clone(&standing.turn))
    }

    fn check(&self, device: &Device) -> Result<(), DeviceError> {
        let now = Instant::now();
        let mut credentials = self.standing();
        let standing = credentials.entry(device.credential.name.clone()).or_default();
        standing.refused.retain(|_, (until, _)| *until > now);
        let refused = [None, Some(Arc::clone(&device.name))];
        match refused.iter().find_map(|scope| standing.refused.get(scope)) {
            None => Ok(()),
            Some((until, why)) => Err(DeviceError::LoginStopped {
                device: device.name.to_string(),
                login: device.credential.name.clone(),
                wait_s: until.duration_since(now).as_secs().max(1),
                why: why.clone(),
            }),
        }
    }

    /// Counts a login on a device.
    fn count(&self, device: &Device) -> Result<(), DeviceError> {
        let now = Instant::now();
        let mut logins = self.standings.logins.lock().unwrap_or_else(PoisonError::into_inner);
        let of_device = logins.entry(Arc::clone(&device.name)).or_default();
        while of_device.front().is_some_and(|at| now.duration_since(*at) >= WINDOW) {
            of_device.pop_front();
        }
        if let Some(first) = of_device.front().filter(|_| of_device.len() >= self.logins_max) {
            let wait = WINDOW.saturating_sub(now.duration_since(*first));
            return Err(DeviceError::TooManyLogins {
                device: device.name.to_string(),
                max: self.logins_max,
                wait_s: wait.as_secs().max(1),
            });
        }
        of_device.push_back(now);
        Ok(())
    }
}

impl Attempt<'_> {
    /// Notes what came of it.
    pub(crate) fn came_to<T>(self, result: &Result<T, DeviceError>) {
        match result {
            Ok(_) => {
                let mut credentials = self.guard.standing();
                let carried = self.device.credential.carried;
                credentials.entry(self.device.credential.name.clone()).or_default().proven = Some(carried);
            }
            Err(error) => self.guard.note(self.device, error),
        }
    }
}
