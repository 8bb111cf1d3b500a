//! The house put together: opened in one order, closed in the reverse one.
//!
//! folder and its lock -> state -> audit log -> sample services -> rooms -> gate -> keys of the first start ->
//! changes that a crash interrupted -> timers; then, for `serve`, the listeners.

mod bootstrap;
mod duties;
mod house;
mod notices;
mod relist;
mod reload;
mod rooms;
mod samples;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::{
    path::Path,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use admin::{AdminParts, KeyMaker};
use audit::{Audit, Durability, Record};
use change::Desk;
use gate::{Gate, KeyRing, Metrics, Seal, Snapshot};
use serde_json::{Map, Value, json};
use state::{Sessions, StateError, Tasks};
use store::{MemoryCache, SqliteStore};
use telemetry::Telemetry;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tool::{Clock, ConfigFault, GateSeal, Parts, Provider};

pub(crate) use bootstrap::{ShownKey, first as first_key};
use house::AppHouse;
use notices::Notices;
use rooms::{Kit, Rooms};
use samples::Samples;

use crate::{
    apart,
    cli::{Exit, Failure, Out},
    clock::WallClock,
    config::{self, Examined, Loaded, Problems},
    data::{self, DataError, DataFolder},
    log::LogLevelSwitch,
    secrets,
};

/// Everything that runs, but the listeners.
pub(crate) struct App {
    core: Arc<Core>,
    samples: Samples,
    telemetry: Option<Telemetry>,
    duties: Option<duties::Duties>,
    /// The keys that were made at this start and are to be shown, once.
    pub shown: Vec<ShownKey>,
}

/// What the parts of a running house share.
pub(crate) struct Core {
    folder: DataFolder,
    store: Arc<SqliteStore>,
    audit: Audit,
    audit_dir: std::path::PathBuf,
    ring: Arc<KeyRing>,
    maker: KeyMaker,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    gate: Arc<Gate>,
    rooms: Mutex<Rooms>,
    /// What is remembered of network devices, whatever is reloaded.
    devices: device::Memory,
    notices: Notices,
    loaded: Mutex<Arc<Loaded>>,
    reloading: tokio::sync::Mutex<()>,
    live: OnceLock<Live>,
    /// Work that no call waits for.
    tasks: TaskTracker,
    /// Says that the house ends.
    ending: CancellationToken,
}

/// What a reload also changes where the house serves.
pub(crate) struct Live {
    /// The listeners.
    pub server: serve::Handle,
    /// The log.
    pub log: LogLevelSwitch,
}

/// Why the house cannot be opened.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// The data folder.
    Data(DataError),
    /// The configuration.
    Config(Problems),
    /// Anything else, in a sentence.
    Other(String),
}

impl From<DataError> for OpenError {
    fn from(error: DataError) -> Self {
        Self::Data(error)
    }
}

impl From<StateError> for OpenError {
    fn from(error: StateError) -> Self {
        Self::Other(format!("{:#}", anyhow::Error::from(error)))
    }
}

impl From<audit::AuditError> for OpenError {
    fn from(error: audit::AuditError) -> Self {
        Self::Other(format!("{:#}", anyhow::Error::from(error)))
    }
}

impl OpenError {
    /// The failure to end a command with; problems of the configuration are said at once.
    pub(crate) fn into_failure(self, out: &Out) -> Failure {
        match self {
            Self::Data(error) => Failure::new(Exit::Unreachable, error.to_string()),
            Self::Config(problems) => {
                out.problems(&problems);
                Failure::said(Exit::Failed)
            }
            Self::Other(text) => Failure::new(Exit::Failed, text),
        }
    }
}

/// What an opened house is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// To serve: with sample services, keys of the first start and timers.
    Serve,
    /// To run one command.
    Command,
}

impl App {
    /// Opens the house to serve.
    pub(crate) async fn open(loaded: Loaded, dir: &Path) -> Result<Self, OpenError> {
        Self::open_for(loaded, dir, Purpose::Serve).await
    }

    /// Opens the house for one command: no timers, no sample services, no keys of the first start.
    pub(crate) async fn open_inside(loaded: Loaded, dir: &Path) -> Result<Self, OpenError> {
        Self::open_for(loaded, dir, Purpose::Command).await
    }

    async fn open_for(loaded: Loaded, dir: &Path, purpose: Purpose) -> Result<Self, OpenError> {
        let faults = apart::check(&loaded, dir);
        if !faults.is_empty() {
            return Err(problems(&loaded, faults));
        }
        let clock: Arc<dyn Clock> = Arc::new(WallClock);
        let folder = DataFolder::open(dir)?;
        let store = SqliteStore::open(&folder.state_file()).await?;
        let audit_dir = data::audit_of(&loaded, &folder.dir);
        let audit = Audit::open(&audit_dir, &loaded.config.audit, Arc::clone(&clock))?;
        let samples = match purpose {
            Purpose::Serve => Samples::start(&loaded).await.map_err(|faults| problems(&loaded, faults))?,
            Purpose::Command => Samples::none(),
        };
        let ring = KeyRing::new(store.clone(), store.clone());
        let maker = KeyMaker::new(folder.pepper()?);
        let desk = Desk::new(store.clone(), Arc::clone(&clock), loaded.config.changes.clone());
        let metrics = Metrics::new();
        let telemetry = telemetry(&loaded)?;
        let notices = Notices::default();
        let parts = parts(&loaded, &metrics, &clock, &notices);
        let house = AppHouse::new();
        let fixed = fixed_rooms(&store, &ring, &desk, &maker, &clock, &house);
        let devices = device::Memory::default();
        let kit = Kit { parts, pins: store.clone(), grants: store.clone(), devices: devices.clone() };
        let rooms = Rooms::open(&loaded, &kit, fixed).await.map_err(|faults| problems(&loaded, faults))?;
        let snapshot = signers(&loaded).and_then(|signers| snapshot(&loaded, &rooms, signers));
        let snapshot = snapshot.map_err(|faults| problems(&loaded, faults))?;
        let (hasher, lenient) = (maker.clone(), loaded.takes_placeholders);
        let gate_parts = gate::Parts {
            seal: Seal::Own(mint()?),
            clock: Arc::clone(&clock),
            ring: Arc::clone(&ring),
            key_hash: Arc::new(move |secret: &str| match secrets::unfit_for_a_key(secret) {
                // No key is found by this, also where it was taken when placeholders were.
                Some(_) if !lenient => String::new(),
                _ => hasher.hash(secret),
            }),
            cache: MemoryCache::new(loaded.config.cache.bytes_max),
            ledger: store.clone(),
            artefacts: store.clone(),
            desk,
            audit: audit.clone(),
            metrics: Arc::clone(&metrics),
            tracer: Arc::clone(&telemetry.tracer),
        };
        let core = Arc::new(Core {
            folder,
            store,
            audit,
            audit_dir,
            ring,
            maker,
            clock,
            metrics,
            gate: Gate::new(gate_parts, snapshot),
            rooms: Mutex::new(rooms),
            devices,
            notices,
            loaded: Mutex::new(Arc::new(loaded)),
            reloading: tokio::sync::Mutex::new(()),
            live: OnceLock::new(),
            tasks: TaskTracker::new(),
            ending: CancellationToken::new(),
        });
        core.notices.attach(&core.gate);
        house.attach(&core);
        let mut app = Self { core, samples, telemetry: Some(telemetry), duties: None, shown: Vec::new() };
        app.begin(purpose).await?;
        Ok(app)
    }

    /// What is done once, before the first call.
    async fn begin(&mut self, purpose: Purpose) -> Result<(), OpenError> {
        let core = &self.core;
        core.gate.recover().await.map_err(|fault| other(format!("{fault}: {}", fault.chain())))?;
        if purpose == Purpose::Command {
            return Ok(());
        }
        self.shown = core.bootstrap().await?;
        let snapshot = core.gate.snapshot();
        let body = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "config_hash": &*snapshot.hash,
            "tools": snapshot.catalogue.tools().len(),
        });
        core.record("server.started", body).await?;
        self.duties = Some(duties::Duties::start(core));
        Ok(())
    }

    /// The gate.
    pub(crate) fn gate(&self) -> &Arc<Gate> {
        &self.core.gate
    }

    /// What the parts share.
    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Closes everything in the reverse order. Calls that run get their time first.
    pub(crate) async fn close(mut self) {
        let grace = Duration::from_millis(self.core.loaded().config.server.drain_ms);
        let left = self.core.gate.drain(grace).await;
        if left > 0 {
            tracing::warn!(calls = left, "calls were given up at the end");
        }
        let served = self.duties.is_some();
        if let Some(duties) = self.duties.take() {
            duties.stop().await;
        }
        self.core.ending.cancel();
        self.core.tasks.close();
        self.core.tasks.wait().await;
        if let Err(error) = self.core.ring.flush().await {
            tracing::error!(error = %error, "the last usage counts cannot be written");
        }
        if let Some(telemetry) = self.telemetry.take() {
            telemetry.close().await;
        }
        let providers = self.core.lock_rooms().providers();
        for provider in providers {
            provider.close().await;
        }
        self.samples.stop().await;
        if served && let Err(error) = self.core.record("server.stopped", json!({ "calls_left": left })).await
        {
            tracing::error!(?error, "the end cannot be recorded");
        }
        if let Err(error) = self.core.audit.close().await {
            tracing::error!(error = %error, "the audit log cannot be closed");
        }
        self.core.store.close().await;
    }
}

impl Core {
    /// The configuration that holds.
    pub(crate) fn loaded(&self) -> Arc<Loaded> {
        Arc::clone(&self.loaded.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets reloads change the listeners and the log as well.
    pub(crate) fn go_live(&self, live: Live) {
        // A house goes live once.
        let _ = self.live.set(live);
    }

    /// Tells the time.
    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    /// The data folder.
    pub(crate) fn folder(&self) -> &DataFolder {
        &self.folder
    }

    /// MCP tasks: work that outlives the request that began it.
    pub(crate) fn mcp_tasks(&self) -> Arc<dyn Tasks> {
        self.store.clone()
    }

    /// MCP sessions that survive a restart.
    pub(crate) fn mcp_sessions(&self) -> Arc<dyn Sessions> {
        self.store.clone()
    }

    fn lock_rooms(&self) -> std::sync::MutexGuard<'_, Rooms> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down what happened to the house itself, on the disk.
    async fn record(&self, event: &'static str, body: Value) -> Result<(), OpenError> {
        let body = if let Value::Object(body) = body { body } else { Map::new() };
        let record = Record { at: self.clock.now(), event, body: body.into() };
        self.audit.write(record, Durability::Synced).await?;
        Ok(())
    }
}

/// The rooms that every house has: changes and administration.
fn fixed_rooms(
    store: &Arc<SqliteStore>,
    ring: &Arc<KeyRing>,
    desk: &Arc<Desk>,
    maker: &KeyMaker,
    clock: &Arc<dyn Clock>,
    house: &Arc<AppHouse>,
) -> Vec<Arc<dyn Provider>> {
    let admin = AdminParts {
        keys: ring.clone(),
        usage: ring.clone(),
        artefacts: store.clone(),
        maker: maker.clone(),
        clock: Arc::clone(clock),
        house: house.clone(),
    };
    vec![change::open(Arc::clone(desk)), admin::open(admin)]
}

/// The same over an empty store, for their names; and that store.
async fn rehearsed_rooms(
    loaded: &Loaded,
    clock: &Arc<dyn Clock>,
    scratch: &samples::Rehearsal,
) -> Result<(Vec<Arc<dyn Provider>>, Arc<SqliteStore>), ConfigFault> {
    let cannot = |e: String| ConfigFault::new("", format!("cannot check in a temporary folder: {e}"));
    let folder = scratch.folder().map_err(|e| cannot(e.to_string()))?;
    let store = SqliteStore::open(&folder.join("state.db")).await.map_err(|e| cannot(e.to_string()))?;
    let ring = KeyRing::new(store.clone(), store.clone());
    let desk = Desk::new(store.clone(), Arc::clone(clock), loaded.config.changes.clone());
    let fixed = fixed_rooms(&store, &ring, &desk, &KeyMaker::new([0; 32]), clock, &AppHouse::new());
    Ok((fixed, store))
}

/// Checks a configuration as far as that goes without changing anything: rooms are opened, and closed again. What does
/// not fit is left out, and the rest is looked at all the same. `dir` is the data folder it would work on.
///
/// Returns the name of what was checked. Error: everything that is wrong.
pub(crate) async fn check(mut examined: Examined, dir: &Path) -> Result<String, Problems> {
    let clock: Arc<dyn Clock> = Arc::new(WallClock);
    let parts = parts(&examined.loaded, &Metrics::new(), &clock, &Notices::default());
    let faults = examined.loaded.config.check();
    examined.add(faults);
    let faults = apart::check(&examined.loaded, dir);
    examined.add(faults);
    let faults = bootstrap::check(&examined.loaded, &parts);
    examined.add(faults);
    let faults = telemetry::check(&examined.loaded.config.telemetry, &*parts.secrets);
    examined.add(faults);
    let rehearsal = samples::rehearse(&mut examined.loaded).await;
    let scratch = samples::Rehearsal::new();
    match rehearsed_rooms(&examined.loaded, &clock, &scratch).await {
        Ok((fixed, store)) => {
            check_rooms(
                &mut examined,
                &Kit { parts, pins: store.clone(), grants: store, devices: device::Memory::default() },
                fixed,
            )
            .await;
        }
        Err(fault) => examined.add(vec![fault]),
    }
    drop((rehearsal, scratch));
    let name = examined.name.clone();
    examined.whole().map(|_| name)
}

/// Opens the rooms and closes them again. Names of tools can be looked for only where every room is there.
async fn check_rooms(examined: &mut Examined, kit: &Kit, fixed: Vec<Arc<dyn Provider>>) {
    let (rooms, faults) = Rooms::open_what_opens(&examined.loaded, kit, fixed).await;
    if faults.is_empty() && examined.knows_every_tool() {
        let built = signers(&examined.loaded).and_then(|signers| snapshot(&examined.loaded, &rooms, signers));
        examined.add(built.err().unwrap_or_default());
    }
    examined.add(faults);
    for provider in rooms.providers() {
        provider.close().await;
    }
}

/// What holds for calls, where every name in the configuration is one of something.
fn snapshot(
    loaded: &Loaded,
    rooms: &Rooms,
    signers: Vec<gate::Signer>,
) -> Result<Arc<Snapshot>, Vec<ConfigFault>> {
    let config = gate::Config { signers, ..loaded.config.gate() };
    let snapshot = Snapshot::build(config, rooms.providers())?;
    let tools: Vec<String> = snapshot.catalogue.tools().iter().map(|tool| tool.name.to_string()).collect();
    let operations = loaded.config.operations.iter();
    let is_nothing = |tool: &str| !snapshot.catalogue.knows(tool) && !snapshot.catalogue.may_come(tool);
    let faults = operations.filter(|(_, to)| is_nothing(&to.tool)).map(|(name, to)| {
        let mut at = "/operations".to_owned();
        tool::json::push_pointer(&mut at, name);
        let instead = "`portcullis tools` lists what there is";
        config::unknown(format!("{at}/tool"), "tool", &to.tool, &tools, instead)
    });
    let mut faults: Vec<ConfigFault> = faults.collect();
    faults.extend(loaded.config.check_against(snapshot.catalogue.tools()));
    if faults.is_empty() { Ok(snapshot) } else { Err(faults) }
}

/// The principals that sign what they send.
fn signers(loaded: &Loaded) -> Result<Vec<gate::Signer>, Vec<ConfigFault>> {
    let store = data::secrets(loaded);
    let (mut signers, mut faults) = (Vec::new(), Vec::new());
    for (name, principal) in &loaded.config.principals {
        let Some(webhook) = &principal.webhook else { continue };
        match bootstrap::fit(loaded, &store, &webhook.secret) {
            Ok(secret) => {
                signers.push(gate::Signer { principal: name.as_str().into(), secret, bare: webhook.bare });
            }
            Err(text) => {
                let mut at = "/principals".to_owned();
                tool::json::push_pointer(&mut at, name);
                faults.push(ConfigFault::new(format!("{at}/webhook/secret"), text));
            }
        }
    }
    if faults.is_empty() { Ok(signers) } else { Err(faults) }
}

fn parts(loaded: &Loaded, metrics: &Arc<Metrics>, clock: &Arc<dyn Clock>, notices: &Notices) -> Parts {
    Parts {
        secrets: Arc::new(data::secrets(loaded)),
        meter: Arc::clone(metrics) as Arc<dyn tool::Meter>,
        clock: Arc::clone(clock),
        base_dir: loaded.base_dir.clone(),
        notify: notices.notify(),
        child_env: data::child_env(),
        keeper: Arc::from(data::keeper()),
    }
}

fn telemetry(loaded: &Loaded) -> Result<Telemetry, OpenError> {
    let opened = telemetry::open(&loaded.config.telemetry, &data::secrets(loaded), env!("CARGO_PKG_VERSION"));
    opened.map_err(|faults| problems(loaded, faults))
}

#[expect(clippy::disallowed_methods, reason = "the binary mints the seal, here and once")]
fn mint() -> Result<GateSeal, OpenError> {
    GateSeal::mint().ok_or_else(|| other("the gate was opened twice in one process"))
}

fn problems(loaded: &Loaded, faults: Vec<ConfigFault>) -> OpenError {
    OpenError::Config(config::locate_faults(loaded, faults, &data::environment))
}

fn other(text: impl Into<String>) -> OpenError {
    OpenError::Other(text.into())
}
