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

/// How a credential stands.
#[derive(Default)]
struct Standing {
    /// Which login of this name some device took, where one did.
    proven: Option<u64>,
    /// Logins of this name come with requests.
    is_carried: bool,
    /// While it is not proven, one tries at a time.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Where it was refused: everywhere while it was not proven, else on the device that refused it.
    refused: HashMap<Option<Arc<str>>, Refusal>,
}

/// A login that was refused.
struct Refusal {
    until: Instant,
    why: String,
    /// Which one it was: where the configuration has another one since, that one may be tried.
    proof: u64,
}

impl Standing {
    /// Leaves the login of a device alone for a while: there, or everywhere.
    fn leave_alone(&mut self, scope: Option<Arc<str>>, device: &Device, pause: Duration, why: String) {
        let proof = device.credential.proof;
        self.refused.insert(scope, Refusal { until: Instant::now() + pause, why, proof });
    }
}

/// The right to try a login now. Dropped before it came to anything, it counts as refused on its device: what was sent
/// may have been wrong.
pub(crate) struct Attempt<'a> {
    guard: &'a Guard,
    device: &'a Device,
    is_answered: bool,
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
        Ok(Attempt { guard: self, device, is_answered: false, _turn: turn })
    }

    /// Notes an error of a login or of a session: where it is a refusal, the credential is left alone for a while.
    pub(crate) fn note(&self, device: &Device, error: &DeviceError) {
        if error.is_refusal() {
            self.refuse(device, error.to_string());
        }
    }

    /// Leaves a credential alone: on the device that refused it, or everywhere while none has taken it. One that was taken
    /// and is refused now has to prove itself again.
    fn refuse(&self, device: &Device, why: String) {
        let mut credentials = self.standing();
        let standing = credentials.entry(device.credential.name.clone()).or_default();
        let scope = (standing.proven == Some(device.credential.proof)).then(|| Arc::clone(&device.name));
        standing.proven = None;
        standing.leave_alone(scope, device, self.pause, why);
    }

    /// Forgets what holds no more, of logins that are no longer tried.
    pub(crate) fn prune(&self) {
        let now = Instant::now();
        self.standing().retain(|_, standing| {
            standing.refused.retain(|_, refusal| refusal.until > now);
            !standing.is_carried || !standing.refused.is_empty() || Arc::strong_count(&standing.turn) > 1
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
        standing.is_carried = device.credential.is_carried;
        (standing.proven != Some(device.credential.proof)).then(|| Arc::clone(&standing.turn))
    }

    fn check(&self, device: &Device) -> Result<(), DeviceError> {
        let now = Instant::now();
        let mut credentials = self.standing();
        let standing = credentials.entry(device.credential.name.clone()).or_default();
        // What came with a request is left alone by its name; a password of the configuration that was changed is another.
        let counts =
            |refusal: &Refusal| device.credential.is_carried || refusal.proof == device.credential.proof;
        standing.refused.retain(|_, refusal| refusal.until > now && counts(refusal));
        let refused = [None, Some(Arc::clone(&device.name))];
        match refused.iter().find_map(|scope| standing.refused.get(scope)) {
            None => Ok(()),
            Some(Refusal { until, why, .. }) => Err(DeviceError::LoginStopped {
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
    /// Notes what came of it. A device that hangs up on a login that none has taken has refused it, too.
    pub(crate) fn came_to<T>(mut self, result: &Result<T, DeviceError>) {
        self.is_answered = true;
        match result {
            Ok(_) => {
                let credential = &self.device.credential;
                let mut credentials = self.guard.standing();
                credentials.entry(credential.name.clone()).or_default().proven = Some(credential.proof);
            }
            Err(error) if error.is_stale() && self.guard.turn(self.device).is_some() => {
                self.guard.refuse(self.device, error.to_string());
            }
            Err(error) => self.guard.note(self.device, error),
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.is_answered || self.guard.turn(self.device).is_none() {
            return;
        }
        let mut credentials = self.guard.standing();
        let standing = credentials.entry(self.device.credential.name.clone()).or_default();
        let why = "the login was given up before the device had answered it".to_owned();
        standing.leave_alone(Some(Arc::clone(&self.device.name)), self.device, self.guard.pause, why);
    }
}
