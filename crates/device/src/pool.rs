//! Sessions that are kept: a command on a device that was asked before takes one round trip.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use ssh::{Connection, HostKey, Options, SshError, reach};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    Config, Transport,
    error::DeviceError,
    guard::{Guard, Standings},
    inventory::{Device, Inventory},
    live::Live,
    platform::Channel,
    session::{Bounds, Output},
    tape::Tape,
};

/// A session that was idle for longer is asked whether it is still there before it is used.
const PROBE_AFTER: Duration = Duration::from_secs(30);
/// How long it may take to answer that.
const PROBE_MAX: Duration = Duration::from_secs(2);
/// How many devices are asked for that at once.
const PROBES_MAX: usize = 32;
/// How long idle sessions are left alone, at most, before they are looked at.
const SWEEP: Duration = Duration::from_secs(15);

/// All sessions.
pub(crate) struct Pool {
    inventory: Arc<Inventory>,
    options: Options,
    bounds: Bounds,
    idle_max: Duration,
    age_max: Duration,
    per_device: usize,
    guard: Guard,
    devices: Mutex<HashMap<Arc<str>, Arc<Slot>>>,
    /// How many sessions of each site may work at once, where that is bounded.
    sites: HashMap<String, Arc<Semaphore>>,
}

/// The sessions of one device.
struct Slot {
    places: Arc<Semaphore>,
    idle: Mutex<Vec<Live>>,
    /// The connection that others go through.
    bastion: tokio::sync::Mutex<Option<Arc<Connection>>>,
    /// Its commands are run in a shell, though the platform could do without one.
    takes_no_exec: AtomicBool,
}

/// The places that a session holds while it works.
struct Places {
    _of_device: OwnedSemaphorePermit,
    _of_site: Option<OwnedSemaphorePermit>,
}

/// A session that is in use. It goes back when it is given back; dropped, it is closed.
pub(crate) struct Taken {
    slot: Arc<Slot>,
    live: Live,
    bounds: Bounds,
    _places: Places,
    /// It was made for this.
    pub(crate) is_new: bool,
    /// Something was run on it since.
    is_used: bool,
    /// It is closed after this, and not given back.
    is_apart: bool,
}

impl Pool {
    pub(crate) fn new(config: &Config, inventory: Arc<Inventory>, standing: Arc<Standings>) -> Self {
        let ms = Duration::from_millis;
        let sites = config.sessions_per_site_max.into_iter().flat_map(|max| {
            let sites = inventory.all().filter_map(|device| device.labels.get("site"));
            sites.map(move |site| (site.clone(), Arc::new(Semaphore::new(max))))
        });
        Self {
            sites: sites.collect(),
            inventory,
            options: Options {
                connect_max: ms(config.connect_timeout_ms),
                login_max: ms(config.login_timeout_ms),
                ..Options::default()
            },
            bounds: Bounds {
                login_max: ms(config.login_timeout_ms),
                command_max: ms(config.command_timeout_ms),
                silence_max: ms(config.silence_timeout_ms),
                output_bytes_max: config.output_bytes_max,
            },
            idle_max: ms(config.idle_ms),
            age_max: ms(config.age_max_ms),
            per_device: config.sessions_per_device_max,
            guard: Guard::new(ms(config.refused_login_pause_ms), config.logins_per_minute_max, standing),
            devices: Mutex::default(),
        }
    }

    fn slot(&self, device: &Device) -> Arc<Slot> {
        let mut devices = lock(&self.devices);
        let slot = devices.entry(Arc::clone(&device.name)).or_insert_with(|| {
            Arc::new(Slot {
                places: Arc::new(Semaphore::new(self.per_device)),
                idle: Mutex::default(),
                bastion: tokio::sync::Mutex::default(),
                takes_no_exec: AtomicBool::default(),
            })
        });
        Arc::clone(slot)
    }

    /// A session on a device: one that is idle, or a new one.
    pub(crate) async fn take(&self, device: &Device, tape: &Arc<Tape>) -> Result<Taken, DeviceError> {
        let slot = self.slot(device);
        let places = self.place(device, &slot).await?;
        while let Some(mut live) = self.idle(&slot) {
            let fresh = live.checked().elapsed() < PROBE_AFTER && !live.is_lost();
            if fresh || live.is_alive(PROBE_MAX).await {
                live.tape = Arc::clone(tape);
                return Ok(Taken {
                    slot,
                    live,
                    bounds: self.bounds,
                    _places: places,
                    is_new: false,
                    is_used: false,
                    is_apart: false,
                });
            }
        }
        let live = self.open(device, &slot, tape, self.bounds).await?;
        Ok(Taken {
            slot,
            live,
            bounds: self.bounds,
            _places: places,
            is_new: true,
            is_used: false,
            is_apart: false,
        })
    }

    /// The bounds of sessions.
    pub(crate) fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// A session of its own that nobody uses after it, in a place of the device.
    pub(crate) async fn take_apart(
        &self,
        device: &Device,
        tape: &Arc<Tape>,
        bounds: Bounds,
    ) -> Result<Taken, DeviceError> {
        let slot = self.slot(device);
        let places = self.place(device, &slot).await?;
        // An idle one makes room: some devices have no more than one or two.
        let working = self.per_device.saturating_sub(slot.places.available_permits());
        {
            let mut idle = lock(&slot.idle);
            if working + idle.len() > self.per_device {
                idle.pop();
            }
        }
        let live = self.open(device, &slot, tape, bounds).await?;
        Ok(Taken { slot, live, bounds, _places: places, is_new: true, is_used: false, is_apart: true })
    }

    /// Waits for a place among the sessions of a device, and then for one among those of its site.
    async fn place(&self, device: &Device, slot: &Slot) -> Result<Places, DeviceError> {
        let taken = async |places: &Arc<Semaphore>| {
            let place = Arc::clone(places).acquire_owned().await;
            place
                .map_err(|_| DeviceError::NoSession { device: device.name.to_string(), max: self.per_device })
        };
        let of_device = taken(&slot.places).await?;
        let site = device.labels.get("site").and_then(|site| self.sites.get(site));
        let of_site = match site {
            Some(places) => Some(taken(places).await?),
            None => None,
        };
        Ok(Places { _of_device: of_device, _of_site: of_site })
    }

    /// Runs one command that only shows, once more on a new session where that is the session's fault: it died while it
    /// was idle, or the host takes no commands but in a shell.
    pub(crate) async fn run(
        &self,
        device: &Device,
        taken: &mut Taken,
        command: &str,
    ) -> Result<Output, DeviceError> {
        let was_idle = !taken.is_new && !taken.is_used;
        taken.is_used = true;
        let output = taken.live.run(device, command, &taken.bounds).await;
        let again = match &output {
            Err(error) if error.is_stale() => was_idle,
            Err(DeviceError::Ssh { source: SshError::Refused { .. }, .. }) => {
                device.platform.channel == Channel::Exec
                    && !taken.slot.takes_no_exec.swap(true, Ordering::Relaxed)
            }
            _ => false,
        };
        if !again {
            return output;
        }
        self.renew(device, taken).await?;
        taken.live.run(device, command, &taken.bounds).await
    }

    /// Puts a new session in the place of one that has died. What was idle for as long is closed.
    pub(crate) async fn renew(&self, device: &Device, taken: &mut Taken) -> Result<(), DeviceError> {
        if !taken.is_apart {
            lock(&taken.slot.idle).clear();
        }
        let tape = Arc::clone(&taken.live.tape);
        taken.live = self.open(device, &taken.slot, &tape, taken.bounds).await?;
        taken.is_new = true;
        Ok(())
    }

    /// Whether a device answers as SSH does, without a login and without a key exchange.
    pub(crate) async fn answers(&self, device: &Device) -> bool {
        let answered = async {
            let via = self.bastion(device).await.ok()?;
            if device.transport == Transport::Telnet {
                return ssh::telnet(&device.endpoint, &self.options, via.as_deref()).await.ok().map(drop);
            }
            ssh::version(&device.endpoint, &self.options, via.as_deref()).await.ok().map(drop)
        };
        answered.await.is_some()
    }

    /// The host key that a device shows now.
    pub(crate) async fn host_key(&self, device: &Device) -> Result<HostKey, DeviceError> {
        let via = self.bastion(device).await?;
        let options = self.options(device);
        let key = ssh::host_key(&device.endpoint, &options, via.as_deref()).await;
        key.map_err(|source| DeviceError::ssh(device, source))
    }

    /// How a device is reached.
    fn options(&self, device: &Device) -> Options {
        Options { algorithms: device.algorithms, ..self.options.clone() }
    }

    /// Takes an idle session that is neither too old nor too long idle; the others end here.
    fn idle(&self, slot: &Slot) -> Option<Live> {
        let mut idle = lock(&slot.idle);
        idle.retain(|live| self.may_stay(live));
        idle.pop()
    }

    fn may_stay(&self, live: &Live) -> bool {
        live.used.elapsed() < self.idle_max && live.opened.elapsed() < self.age_max && !live.is_lost()
    }

    /// Logs in and opens a session.
    async fn open(
        &self,
        device: &Device,
        slot: &Slot,
        tape: &Arc<Tape>,
        bounds: Bounds,
    ) -> Result<Live, DeviceError> {
        let tape = Arc::clone(tape);
        let via = self.bastion(device).await?;
        if device.transport == Transport::Telnet {
            let wire = ssh::telnet(&device.endpoint, &self.options, via.as_deref()).await;
            let wire = wire.map_err(|source| DeviceError::ssh(device, source))?;
            let attempt = self.guard.attempt(device).await?;
            let opened = Live::over_telnet(device, wire, bounds, tape).await;
            attempt.came_to(&opened);
            return opened;
        }
        let connection = Arc::new(self.connect(device, via).await?);
        let channel = match slot.takes_no_exec.load(Ordering::Relaxed) {
            true => Channel::Shell,
            false => device.platform.channel,
        };
        let opened = Live::open(device, connection, channel, bounds, tape).await;
        // Some ask for the login once more in the session.
        if let Err(error) = &opened {
            self.guard.note(device, error);
        }
        opened
    }

    /// Connects and logs in. A turn is waited for only before the login, so that a device that does not answer is in
    /// nobody's way.
    async fn connect(
        &self,
        device: &Device,
        via: Option<Arc<Connection>>,
    ) -> Result<Connection, DeviceError> {
        let options = self.options(device);
        let mut login = device.credential.login.clone();
        login.user.push_str(&device.platform.login_suffix);
        let of_ssh = |source| DeviceError::ssh(device, source);
        let reached = reach(&device.endpoint, &device.host_keys, &options, via).await.map_err(of_ssh)?;
        let attempt = self.guard.attempt(device).await?;
        let connected = reached.log_in(&login).await.map_err(of_ssh);
        attempt.came_to(&connected);
        connected
    }

    /// The connection that those to a device go through, shared by all of them.
    async fn bastion(&self, device: &Device) -> Result<Option<Arc<Connection>>, DeviceError> {
        let mut through = None;
        for hop in &device.via {
            let Some(hop) = self.inventory.find(hop) else {
                return Err(DeviceError::NotFound { asked: hop.clone() });
            };
            let slot = self.slot(hop);
            let mut bastion = slot.bastion.lock().await;
            let connection = match bastion.as_ref().filter(|connection| !connection.is_closed()) {
                Some(open) => Arc::clone(open),
                None => Arc::new(self.connect(hop, through).await?),
            };
            *bastion = Some(Arc::clone(&connection));
            through = Some(connection);
        }
        Ok(through)
    }

    /// Closes what has been idle for too long or has died. Asked again and again from the background.
    pub(crate) fn prune(&self) {
        let mut devices = lock(&self.devices);
        devices.values().for_each(|slot| lock(&slot.idle).retain(|live| self.may_stay(live)));
        // Of hosts outside the inventory nothing is kept.
        devices.retain(|name, slot| Arc::strong_count(slot) > 1 || self.inventory.has(name));
        drop(devices);
        self.guard.prune();
    }

    /// Asks every session that was idle for a while whether it is still there, and closes those that are not, so that
    /// nobody waits for a dead one.
    pub(crate) async fn probe(&self) {
        let slots: Vec<Arc<Slot>> = lock(&self.devices).values().cloned().collect();
        let probed = slots.iter().map(async |slot| {
            let is_due = |live: &mut Live| live.can_be_asked() && live.checked().elapsed() > PROBE_AFTER;
            // Each takes a place while it is asked, so that there are never more of them than there may be.
            while let Ok(_place) = Arc::clone(&slot.places).try_acquire_owned() {
                let Some(mut live) = lock(&slot.idle).extract_if(.., is_due).next() else { return };
                if live.is_alive(PROBE_MAX).await {
                    lock(&slot.idle).push(live);
                }
            }
        });
        stream::iter(probed).for_each_concurrent(PROBES_MAX, |probe| probe).await;
    }

    /// How often that is worth it.
    pub(crate) fn prune_every(&self) -> Duration {
        SWEEP.min(self.idle_max.max(Duration::from_millis(100)))
    }

    /// How many sessions are idle.
    pub(crate) fn idle_count(&self) -> usize {
        lock(&self.devices).values().map(|slot| lock(&slot.idle).len()).sum()
    }

    /// Closes everything that is idle.
    pub(crate) fn close(&self) {
        lock(&self.devices).clear();
    }
}

impl Taken {
    /// True once nothing more can be run on it.
    pub(crate) fn is_lost(&self) -> bool {
        self.live.is_lost()
    }

    /// The prompt that it shows.
    pub(crate) fn prompt(&self) -> Option<&str> {
        self.live.prompt()
    }

    /// Gives it back for the next one.
    pub(crate) fn give_back(self) {
        if !self.live.is_lost() && !self.is_apart {
            lock(&self.slot.idle).push(self.live);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
