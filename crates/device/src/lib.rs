//! Network devices: platforms as data, sessions over SSH, and the tools that read what devices say.
//!
//! Invariants: only commands that a platform's table knows as showing, or that the operator allows by name, reach a
//! device, and they reach it written out in full; nothing here answers a question that a device asks; secrets in outputs
//! are masked before anything else sees them; a refused login is not tried again for a while.

mod alerts;
mod ask;
mod backup;
mod batch;
mod config;
mod detect;
mod error;
mod flight;
mod guard;
mod inventory;
mod kept;
mod live;
mod look;
mod mask;
mod normal;
mod outside;
mod platform;
mod pool;
mod session;
mod shapes;
mod tape;
mod tools;
mod watch;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use globset::{Glob, GlobSet, GlobSetBuilder};
use serde_json::{Map, Value, json};
use textfsm::Library;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tool::{
    Clock, Code, ConfigFault, Fault, Outcome, Parts, Permit, Probe, ProbeState, Provider, Reply, Talk, Tool,
};

pub use crate::config::{CommandsConfig, Config, DeviceConfig, GroupConfig, LoginConfig, Transport};
use crate::{
    alerts::Alerts,
    ask::Exchanged,
    error::DeviceError,
    flight::Flights,
    guard::Standings,
    inventory::{Device, Inventory},
    kept::Shelf,
    platform::Class,
    pool::Pool,
    shapes::{
        GrepArguments, ListArguments, ListResult, ReachArguments, ReachResult, RunArguments, TrustArguments,
        TrustResult,
    },
    watch::Watch,
};

/// How often old transcripts are looked for.
const PRUNE_EVERY: Duration = Duration::from_secs(600);

/// What a room remembers beyond a reload: alerts, logins that were refused, outputs that have a handle.
#[derive(Clone, Default)]
pub struct Memory {
    alerts: Arc<Alerts>,
    standing: Arc<Standings>,
    shelf: Arc<Shelf>,
}

/// Opens the room: the inventory with its logins, and the templates.
///
/// Faults: everything that is wrong with the section. No device is asked.
pub fn open(config: &Config, parts: &Parts, memory: &Memory) -> Result<Arc<dyn Provider>, Vec<ConfigFault>> {
    let mut faults = Vec::new();
    let inventory = Inventory::read(config, parts).map_err(|found| faults.extend(found)).ok();
    let mut globs = |member: &str, texts: &[String]| {
        globs(texts).map_err(|(index, error)| {
            faults.push(ConfigFault::new(format!("/devices/commands/{member}/{index}"), error));
        })
    };
    let (allow, deny) =
        (globs("allow", &config.commands.allow).ok(), globs("deny", &config.commands.deny).ok());
    let templates = config.templates.as_ref().map(|folder| Library::open(&parts.base_dir.join(folder)));
    let templates = templates.transpose().map_err(|error| {
        faults.push(ConfigFault::new("/devices/templates", error.to_string()));
    });
    let (Some(inventory), Some(allow), Some(deny), Ok(templates)) = (inventory, allow, deny, templates)
    else {
        return Err(faults);
    };
    let inventory = Arc::new(inventory);
    let room = Room {
        pool: Pool::new(config, Arc::clone(&inventory), Arc::clone(&memory.standing)),
        inventory,
        allow,
        deny,
        denied: config.commands.deny.clone(),
        templates,
        shelf: Arc::clone(&memory.shelf),
        alerts: Arc::clone(&memory.alerts),
        flights: Flights::default(),
        clock: Arc::clone(&parts.clock),
        backups: parts.base_dir.join(&config.backups),
        transcripts: parts.base_dir.join(&config.transcripts),
        transcripts_max: config.transcripts_max,
        answer_chars_max: config.answer_chars_max,
        devices_at_once_max: config.devices_at_once_max,
        watch: Watch::new(Duration::from_millis(config.probe_every_ms)),
        tasks: TaskTracker::new(),
    };
    let devices =
        Devices { room: Arc::new(room), tools: tools::table(config), closing: CancellationToken::new() };
    devices.watch();
    Ok(Arc::new(devices))
}

/// Whether every word of a command begins the word that a glob has in its place; `*` at the end stands for all that
/// follows.
fn is_begun(glob: &str, command: &str) -> bool {
    let (mut words, mut typed) = (glob.split_whitespace().peekable(), command.split_whitespace());
    while let Some(word) = words.next() {
        let is_last = words.peek().is_none();
        let (fixed, is_open) = word.split_once('*').map_or((word, false), |(fixed, _)| (fixed, true));
        match typed.next() {
            None => return is_last && word == "*",
            Some(begun) => {
                let (fixed, begun) = (fixed.to_ascii_lowercase(), begun.to_ascii_lowercase());
                if !(fixed.starts_with(&begun) || (is_open && begun.starts_with(&fixed))) {
                    return false;
                }
            }
        }
        if is_last && is_open {
            return true;
        }
    }
    typed.next().is_none()
}

/// Compiles globs over commands. Error: which does not compile, and why.
fn globs(texts: &[String]) -> Result<GlobSet, (usize, String)> {
    let mut set = GlobSetBuilder::new();
    for (index, text) in texts.iter().enumerate() {
        set.add(Glob::new(text).map_err(|error| (index, error.to_string()))?);
    }
    set.build().map_err(|error| (0, error.to_string()))
}

/// The provider.
struct Devices {
    room: Arc<Room>,
    tools: Arc<[Arc<Tool>]>,
    closing: CancellationToken,
}

/// What every piece of work here needs.
struct Room {
    inventory: Arc<Inventory>,
    pool: Pool,
    allow: GlobSet,
    deny: GlobSet,
    /// What is denied, as it is written.
    denied: Vec<String>,
    templates: Option<Library>,
    shelf: Arc<Shelf>,
    alerts: Arc<Alerts>,
    flights: Flights<Result<Arc<Exchanged>, DeviceError>>,
    clock: Arc<dyn Clock>,
    backups: PathBuf,
    transcripts: PathBuf,
    transcripts_max: usize,
    answer_chars_max: usize,
    devices_at_once_max: usize,
    watch: Watch,
    tasks: TaskTracker,
}

impl Room {
    /// A device by any of its names.
    fn find(&self, asked: &str) -> Result<Arc<Device>, DeviceError> {
        self.inventory.find(asked).cloned().ok_or_else(|| self.not_found(asked))
    }

    fn not_found(&self, asked: &str) -> DeviceError {
        DeviceError::NotFound { asked: asked.to_owned() }
    }

    /// Whether `devices.commands.deny` denies a command, or one that its words may stand for: devices take `show run` for
    /// `show running-config`.
    fn is_denied(&self, command: &str) -> bool {
        let head = command.split(" | ").next().unwrap_or(command);
        self.deny.is_match(command) || self.denied.iter().any(|denied| is_begun(denied, head))
    }

    /// A command as it is sent, where it may be.
    ///
    /// Fault: `Denied`, with what the command was taken for.
    fn command(&self, device: &Device, command: &str, index: usize) -> Result<String, Fault> {
        let denied = |what: String| {
            let mut fault = Fault::new(Code::Denied, what);
            fault.pointer = Some(format!("/commands/{index}"));
            fault
        };
        let classed = device.platform.classify(command).map_err(|refused| denied(refused.to_string()))?;
        let expanded = classed.expanded;
        if self.is_denied(&expanded) {
            return Err(denied(format!("{expanded:?} is denied by `devices.commands.deny`")));
        }
        match classed.class {
            Class::Show => Ok(expanded),
            Class::Exec if self.allow.is_match(&expanded) => Ok(expanded),
            class => Err(denied(format!(
                "{expanded:?} is of the class {} on {}; only commands that show are sent",
                class.as_str(),
                device.platform.title
            ))),
        }
    }

    /// Whether a caller may ask a device for anything. One that has no tool for that, and may list, sees all of them.
    fn is_shown(talk: &Talk, device: &Device) -> bool {
        let target = format!("device:{}", device.name);
        let mut has_none = true;
        for tool in tools::REACHING {
            match talk.calls().may_reach(tool, &target) {
                Some(true) => return true,
                Some(false) => has_none = false,
                None => {}
            }
        }
        has_none
    }

    fn list(&self, asked: &ListArguments, talk: &Talk) -> ListResult {
        let platform =
            asked.platform.as_deref().map(|name| platform::named(name).map(|one| one.name.clone()));
        let needle = asked.search.as_ref().map(|text| text.to_lowercase());
        let fits = |device: &&Arc<Device>| {
            asked.group.as_ref().is_none_or(|group| device.groups.contains(group))
                && platform.as_ref().is_none_or(|name| name.as_ref() == Some(&device.platform.name))
                && asked.labels.iter().all(|(name, value)| device.labels.get(name) == Some(value))
                && needle.as_ref().is_none_or(|needle| {
                    let texts = [&*device.name, &device.endpoint.host];
                    let labels = device.labels.values().map(String::as_str);
                    texts.into_iter().chain(labels).any(|text| text.to_lowercase().contains(needle))
                })
        };
        let devices: Vec<Value> = self
            .inventory
            .all()
            .filter(fits)
            .filter(|device| Self::is_shown(talk, device))
            .map(|device| device.attributes())
            .collect();
        ListResult { total: devices.len(), devices }
    }

    /// What was typed and printed in the sessions of a call.
    fn transcript(&self, request_id: &str) -> Result<shapes::TranscriptResult, DeviceError> {
        let lines = tape::read(&self.transcripts, request_id).map_err(|error| DeviceError::BadArgument {
            pointer: "/request_id".to_owned(),
            what: format!("there is no transcript of {request_id:?} that can be read: {error}"),
        })?;
        Ok(shapes::TranscriptResult { request_id: request_id.to_owned(), lines })
    }

    /// Trusts the key that a device shows, where it is the one that was meant.
    async fn trust(&self, asked: &TrustArguments) -> Result<TrustResult, DeviceError> {
        let device = self.find_any(&asked.device_ip)?;
        let ssh::HostKeys::Known(known) = &device.host_keys else {
            let what = format!("the host key of {} is pinned in the configuration (`host_key`)", device.name);
            return Err(DeviceError::BadArgument { pointer: "/device_ip".to_owned(), what });
        };
        if device.transport == Transport::Telnet {
            let what = format!("{} is reached by telnet, which has no host keys", device.name);
            return Err(DeviceError::BadArgument { pointer: "/device_ip".to_owned(), what });
        }
        let key = self.pool.host_key(&device).await?;
        if key.fingerprint() != asked.fingerprint {
            let what = format!("{} shows {key}, which is not what was asked to be trusted", device.name);
            return Err(DeviceError::BadArgument { pointer: "/fingerprint".to_owned(), what });
        }
        let host = device.endpoint.name();
        let of_file = |source| DeviceError::ssh(&device, source);
        let before = known.keys_of(&host).map_err(of_file)?;
        known.trust(&host, &key).map_err(of_file)?;
        Ok(TrustResult {
            device: Arc::clone(&device.name),
            host,
            host_key: key.to_string(),
            instead_of: before.iter().filter(|old| **old != key).map(ToString::to_string).collect(),
        })
    }

    /// Asks a device for its host key: what answers that speaks SSH.
    async fn reach(&self, device: &Device) -> ReachResult {
        let began = Instant::now();
        let asked = match device.transport {
            Transport::Ssh => self.pool.host_key(device).await.map(Some),
            Transport::Telnet => match self.pool.answers(device).await {
                true => Ok(None),
                false => Err(DeviceError::NoAnswer { device: device.name.to_string() }),
            },
        };
        let took = ask::ms(began.elapsed());
        ReachResult {
            host: device.endpoint.host.clone(),
            device: Arc::clone(&device.name),
            reachable: asked.is_ok(),
            last_check: self.clock.now(),
            latency_ms: asked.is_ok().then_some(took),
            host_key: asked.as_ref().ok().and_then(Option::as_ref).map(ToString::to_string),
            error: asked.err().map(|error| error.to_string()),
        }
    }
}

/// What platforms there are: the name, what it is, and the names that others give it.
#[must_use]
pub fn platforms() -> Vec<(&'static str, &'static str, &'static [&'static str])> {
    let mut all: Vec<_> = platform::known().values().map(|known| known.names()).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The name that a platform has here, by any of its names.
#[must_use]
pub fn platform_name(name: &str) -> Option<&'static str> {
    platform::resolved(name).map(|known| known.name())
}

impl Devices {
    /// Closes idle sessions from the background.
    fn watch(&self) {
        let (room, closing) = (Arc::clone(&self.room), self.closing.clone());
        let every = room.pool.prune_every();
        self.room.tasks.spawn(async move {
            let mut pruned = None::<Instant>;
            while tokio::time::timeout(every, closing.cancelled()).await.is_err() {
                room.pool.prune();
                tokio::select! {
                    () = room.pool.probe() => {}
                    () = closing.cancelled() => return,
                }
                if pruned.is_none_or(|at| at.elapsed() > PRUNE_EVERY) {
                    pruned = Some(Instant::now());
                    let (folder, keep) = (room.transcripts.clone(), room.transcripts_max);
                    let done = tokio::task::spawn_blocking(move || tape::prune(&folder, keep)).await;
                    if let Err(error) = done.map_err(std::io::Error::other).and_then(|done| done) {
                        tracing::warn!(%error, "old transcripts could not be removed");
                    }
                }
            }
        });
    }
}

#[async_trait]
impl Provider for Devices {
    fn name(&self) -> &str {
        tools::SOURCE
    }

    fn tools(&self) -> Arc<[Arc<Tool>]> {
        Arc::clone(&self.tools)
    }

    fn target(&self, tool: &Tool, arguments: &mut Value) -> Result<String, Fault> {
        if let Some(alert) = arguments.get("alert").and_then(Value::as_object) {
            let device = alerts::device_of(alert, &self.room.inventory);
            return Ok(
                device.map_or_else(|| tools::SOURCE.to_owned(), |device| format!("device:{}", device.name))
            );
        }
        let Some(asked) = arguments.get("device_ip").and_then(Value::as_str) else {
            return Ok(tools::SOURCE.to_owned());
        };
        let device = match tool.name.as_str() {
            tools::QUERY_AS => {
                let platform = arguments.get("device_type").and_then(Value::as_str);
                Arc::new(self.room.find_as(asked, platform, Arc::new(outside::nobody()))?)
            }
            tools::TRUST | tools::REACH => self.room.find_any(asked)?,
            _ => self.room.find(asked)?,
        };
        if let Some(commands) = arguments.get_mut("commands").and_then(Value::as_array_mut) {
            for (index, command) in commands.iter_mut().enumerate() {
                let typed = command.as_str().unwrap_or_default();
                *command = Value::from(self.room.command(&device, typed, index)?);
            }
        }
        Ok(format!("device:{}", device.name))
    }

    async fn run(&self, permit: Permit, talk: Talk) -> Result<Reply, Fault> {
        let room = &self.room;
        let value = match permit.tool().name.as_str() {
            tools::LIST => json!(room.list(&permit.parse::<ListArguments>()?, &talk)),
            tools::QUERY => json!(room.query(&permit, &talk, permit.parse()?).await?),
            tools::QUERY_AS => json!(room.query_as(&permit, &talk, permit.parse()?).await?),
            tools::RUN => json!(room.run_many(&permit.parse::<RunArguments>()?, &talk).await?),
            tools::REACH => {
                let asked = permit.parse::<ReachArguments>()?.device_ip;
                let device = room.find_any(&asked)?;
                if !room.may_look(&talk, &device) {
                    return Err(room.not_found(&asked).into());
                }
                json!(room.reach(&device).await)
            }
            tools::CONFIG => {
                room.reading(&permit, &talk, async |it, asked| it.device_config(asked).await).await?
            }
            tools::INTERFACE => {
                room.reading(&permit, &talk, async |it, asked| it.interface_status(asked).await).await?
            }
            tools::ROUTES => {
                room.reading(&permit, &talk, async |it, asked| it.routing_table(asked).await).await?
            }
            tools::LOGS => room.reading(&permit, &talk, async |it, asked| it.log(asked).await).await?,
            tools::BACKUP => room.reading(&permit, &talk, async |it, asked| it.backup(asked).await).await?,
            tools::BACKUP_SHOW => json!(room.show_backup(&permit.parse()?, backup::Secrets::Masked)?),
            tools::BACKUP_RAW => json!(room.show_backup(&permit.parse()?, backup::Secrets::Shown)?),
            tools::TRUST => json!(room.trust(&permit.parse::<TrustArguments>()?).await?),
            tools::TRANSCRIPT => {
                let asked = permit.parse::<shapes::TranscriptArguments>()?;
                let read = room.transcript(&asked.request_id)?;
                json!(read)
            }
            tools::ALERT => json!(room.alert(&permit, permit.parse()?)),
            tools::ALERTS => json!(room.list_alerts(&permit.parse()?, &talk)?),
            tools::DETECT => {
                let device = room.find(&permit.parse::<ReachArguments>()?.device_ip)?;
                let ends = permit.deadline();
                let detect = async |tape: &Arc<tape::Tape>| room.detect(&device, tape, ends).await;
                json!(room.taped(&permit, &talk, &device, ends, detect).await?)
            }
            tools::GREP => {
                let principal = Arc::clone(&permit.caller().principal);
                let may = |device: &str| {
                    room.inventory.find(device).is_none_or(|device| Room::is_shown(&talk, device))
                };
                json!(room.shelf.grep(&permit.parse::<GrepArguments>()?, &principal, may)?)
            }
            other => return Err(Fault::new(Code::Internal, format!("{other} is no tool of this room"))),
        };
        Ok(Reply::Done(Outcome::new(value)))
    }

    fn attributes(&self, target: &str) -> Option<(&'static str, Value)> {
        let device = self.room.find_any(target.strip_prefix("device:")?).ok()?;
        Some(("device", device.attributes()))
    }

    async fn probe(&self) -> Vec<Probe> {
        let began = Instant::now();
        let room = &self.room;
        let unreachable = room.watch.unreachable(room).await;
        let total = room.inventory.all().count();
        // A device that is down says nothing about this server.
        let state = if unreachable.is_empty() { ProbeState::Healthy } else { ProbeState::Degraded };
        let details = Map::from_iter([
            ("reachable_devices".to_owned(), json!(total - unreachable.len())),
            ("total_devices".to_owned(), json!(total)),
            ("unreachable_devices".to_owned(), json!(unreachable)),
            ("idle_sessions".to_owned(), json!(room.pool.idle_count())),
        ]);
        let (source, latency) = (tools::SOURCE.into(), began.elapsed());
        vec![Probe { source, kind: "device_connectivity", state, latency, details }]
    }

    async fn close(&self) {
        self.closing.cancel();
        self.room.tasks.close();
        self.room.tasks.wait().await;
        self.room.pool.close();
    }
}

#[cfg(test)]
mod tests {
    use super::is_begun;

    #[test]
    fn what_is_denied_is_denied_in_short_too() {
        for command in
            ["show running-config", "show run", "show runn", "show running-config interface", "SHOW RUN"]
        {
            assert!(is_begun("show running-config*", command), "{command}");
        }
        for command in ["show", "show version", "show ip route", "display run"] {
            assert!(!is_begun("show running-config*", command), "{command}");
        }
        assert!(is_begun("show ip *", "show ip route") && is_begun("show ip *", "show i route"));
        assert!(is_begun("show users", "show use") && !is_begun("show users", "show users all"));
    }
}
