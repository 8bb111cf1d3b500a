//! What is asked of devices of every platform alike: configurations, interfaces, routes, logs.

use std::{sync::Arc, time::Instant};

use regex::Regex;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tool::{Fault, Permit, RequestId, Talk};

use crate::{
    Room,
    ask::Exchanged,
    error::DeviceError,
    inventory::Device,
    kept::Kept,
    mask::masked,
    normal::{self, Interface, Route},
    platform::{AskedBy, Intent},
    pool::Taken,
    shapes::{
        BackupArguments, ConfigArguments, ConfigResult, ConfigType, InterfaceArguments, InterfaceResult,
        InterfaceRow, LogArguments, LogResult, Protocol, RouteArguments, RouteResult,
    },
    tape::Tape,
};

/// The most messages of a log that an answer holds.
const MESSAGES_MAX: usize = 500;
/// The most routes that an answer holds.
const ROUTES_MAX: usize = 2000;

/// Arguments that name a device.
pub(crate) trait OfDevice: DeserializeOwned {
    /// The device, as it was named.
    fn device(&self) -> &str;
}

macro_rules! of_device {
    ($($arguments:ty),*) => {
        $(impl OfDevice for $arguments {
            fn device(&self) -> &str {
                &self.device_ip
            }
        })*
    };
}

of_device!(ConfigArguments, InterfaceArguments, RouteArguments, LogArguments, BackupArguments);

/// One call that reads from one device.
pub(crate) struct Reading<'a> {
    room: &'a Room,
    pub(crate) device: Arc<Device>,
    principal: Arc<str>,
    /// The session, once something was run on it.
    taken: Option<Taken>,
    tape: Arc<Tape>,
    request_id: RequestId,
    /// Whether the session shows otherwise now than a new one.
    is_changed: bool,
}

impl Room {
    /// Does a piece of reading on the device that a call names, with its arguments, until its deadline and until it is
    /// asked to stop.
    pub(crate) async fn reading<A: OfDevice, T: Serialize>(
        &self,
        permit: &Permit,
        talk: &Talk,
        work: impl AsyncFnOnce(&mut Reading<'_>, &A) -> Result<T, DeviceError>,
    ) -> Result<Value, Fault> {
        let asked: A = permit.parse()?;
        let device = self.find(asked.device())?;
        let principal = Arc::clone(&permit.caller().principal);
        let read = async |tape: &Arc<Tape>| {
            let tape = Arc::clone(tape);
            let mut reading = Reading {
                room: self,
                device: Arc::clone(&device),
                principal,
                taken: None,
                tape,
                request_id: permit.call().request_id.clone(),
                is_changed: false,
            };
            let done = work(&mut reading, &asked).await;
            if let Some(taken) = reading.taken.filter(|_| !reading.is_changed) {
                taken.give_back();
            }
            done
        };
        Ok(json!(self.taped(permit, talk, &device, permit.deadline(), read).await?))
    }
}

impl Reading<'_> {
    /// The room it goes on in.
    pub(crate) fn room(&self) -> &Room {
        self.room
    }

    /// How something is asked for here.
    fn intent(&self, intent: Intent, what: &'static str) -> Result<&'static AskedBy, DeviceError> {
        let none = || DeviceError::NoIntent {
            device: self.device.name.to_string(),
            what,
            platform: self.device.platform.title.clone(),
        };
        self.device.platform.intents.get(&intent).ok_or_else(none)
    }

    /// Runs one command; its output as it came.
    ///
    /// Error: one that the operator denies, one that the device does not take, or everything that may go wrong.
    async fn run(&mut self, command: &str) -> Result<String, DeviceError> {
        let device = self.device.name.to_string();
        if self.room.is_denied(command) {
            return Err(DeviceError::Denied { device, command: command.to_owned() });
        }
        let (room, known, taken, tape) = (self.room, &self.device, &mut self.taken, &self.tape);
        let output = match taken {
            // Nobody waits for another's read while holding a session: that one may wait for the session.
            Some(taken) => room.pool.run(known, taken, command).await?,
            None => {
                let read = async || {
                    let taken = taken.insert(room.pool.take(known, tape).await?);
                    let began = Instant::now();
                    let output = room.pool.run(known, taken, command).await?;
                    Ok(Arc::new(Exchanged::one(output, began.elapsed(), &self.request_id)))
                };
                let key = (Arc::clone(&known.name), command.to_owned());
                let (exchanged, shared) = room.flights.share(key, read).await;
                let exchanged = exchanged?;
                if shared {
                    exchanged.note_in(tape);
                }
                exchanged.first()?
            }
        };
        match output.error {
            Some((class, line)) => Err(DeviceError::Told { device, class, line }),
            None if output.cut => Err(DeviceError::TooLong { device, command: command.to_owned() }),
            None => Ok(output.text),
        }
    }

    /// Runs what something is asked for with; the outputs one after the other.
    async fn ask(&mut self, by: &AskedBy) -> Result<String, DeviceError> {
        if !by.before.is_empty() {
            // What is set holds for one session: for this call's own, which nobody has after it.
            if self.taken.is_none() {
                self.taken = Some(self.room.pool.take(&self.device, &self.tape).await?);
            }
            self.is_changed = true;
        }
        for command in &by.before {
            self.run(command).await?;
        }
        let mut text = self.run(&by.command).await?;
        for command in &by.and {
            text.push('\n');
            text.push_str(&self.run(command).await?);
        }
        Ok(text)
    }

    /// A configuration as it came, with its secrets.
    pub(crate) async fn config(&mut self, config_type: ConfigType) -> Result<String, DeviceError> {
        let (intent, what) = match config_type {
            ConfigType::Running => (Intent::RunningConfig, "the running configuration"),
            ConfigType::Startup => (Intent::StartupConfig, "the startup configuration"),
        };
        let by = self.intent(intent, what)?;
        self.run(&by.command).await
    }

    async fn interfaces(&mut self) -> Result<Vec<Interface>, DeviceError> {
        let by = self.intent(Intent::Interfaces, "interfaces")?;
        let text = self.ask(by).await?;
        let read = |template: &str| {
            let all = normal::interfaces(template, &text)?;
            normal::misread(&text).filter(|_| all.is_empty()).map_or(Ok(all), Err)
        };
        self.read(by, by.template().and_then(read))
    }

    /// What was read of an output, or that it could not be read.
    fn read<T>(&self, by: &AskedBy, read: Result<T, String>) -> Result<T, DeviceError> {
        read.map_err(|why| DeviceError::Unread {
            device: self.device.name.to_string(),
            command: by.command.clone(),
            why,
        })
    }

    /// `get_device_config`.
    pub(crate) async fn device_config(
        &mut self,
        asked: &ConfigArguments,
    ) -> Result<ConfigResult, DeviceError> {
        let raw = self.config(asked.config_type).await?;
        let (text, redactions) = masked(&raw, self.device.platform);
        let (lines, bytes) = (text.lines().count(), raw.len());
        let device = Arc::clone(&self.device.name);
        let principal = Arc::clone(&self.principal);
        let (config, handle) =
            self.room.cut(Kept { principal, device, command: "the configuration".to_owned(), text });
        Ok(ConfigResult {
            device: Arc::clone(&self.device.name),
            config_type: asked.config_type,
            config,
            lines,
            bytes,
            truncated: handle.is_some(),
            handle,
            redactions,
            retrieved_at: self.room.clock.now(),
        })
    }

    /// `check_interface_status`.
    pub(crate) async fn interface_status(
        &mut self,
        asked: &InterfaceArguments,
    ) -> Result<InterfaceResult, DeviceError> {
        let all = self.interfaces().await?;
        let device = Arc::clone(&self.device.name);
        let Some(wanted) = &asked.interface_name else {
            let row = |one: Interface| InterfaceRow {
                name: one.name,
                status: one.status,
                protocol: one.protocol,
                ip: one.ip,
            };
            return Ok(InterfaceResult::All { device, interfaces: all.into_iter().map(row).collect() });
        };
        let exact = all.iter().find(|one| one.name.eq_ignore_ascii_case(wanted));
        let found = exact.or_else(|| all.iter().find(|one| normal::is_named(wanted, &one.name)));
        let Some(mut interface) = found.cloned() else {
            let near = tool::nearest(wanted, all.iter().map(|one| one.name.as_str()));
            let hint = near.map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
            let what = format!("{device} has no interface {wanted:?}{hint}");
            return Err(DeviceError::BadArgument { pointer: "/interface_name".to_owned(), what });
        };
        // The list says less than the interface itself does; where that cannot be asked, the list is the answer.
        if let Some(by) = self.device.platform.intents.get(&Intent::Interface) {
            let command = by.command.replace("{}", &interface.name);
            if let Ok(text) = self.run(&command).await {
                let told = by.template().and_then(|template| normal::interfaces(template, &text));
                let told = self.read(by, told)?;
                interface = told.into_iter().find(|one| one.name == interface.name).unwrap_or(interface);
            }
        }
        Ok(InterfaceResult::One {
            device,
            interface: interface.name,
            status: interface.status,
            protocol: interface.protocol,
            ip_address: interface.ip,
            subnet_mask: interface.subnet_mask,
            description: interface.description,
        })
    }

    /// `analyze_routing_table`.
    pub(crate) async fn routing_table(&mut self, asked: &RouteArguments) -> Result<RouteResult, DeviceError> {
        let by = self.intent(Intent::Routes, "routes")?;
        let text = self.ask(by).await?;
        let platform = self.device.platform;
        let read = by.template().and_then(|template| normal::routes(platform, template, &text));
        let all: Vec<Route> = self.read(by, read)?;
        let analysis = normal::analysis(&all);
        let mut routes = all;
        if asked.protocol != Protocol::All {
            routes.retain(|route| route.protocol == asked.protocol.as_str());
        }
        let total_routes = routes.len();
        routes.truncate(ROUTES_MAX);
        Ok(RouteResult {
            device: Arc::clone(&self.device.name),
            protocol_filter: asked.protocol,
            truncated: total_routes > routes.len(),
            routes,
            total_routes,
            analysis,
        })
    }

    /// `search_logs`.
    pub(crate) async fn log(&mut self, asked: &LogArguments) -> Result<LogResult, DeviceError> {
        let bad = |error: regex::Error| DeviceError::BadArgument {
            pointer: "/search_pattern".to_owned(),
            what: format!("the pattern does not compile: {error}"),
        };
        let pattern = asked.search_pattern.as_ref().map(|text| Regex::new(text)).transpose().map_err(bad)?;
        let by = self.intent(Intent::Log, "a log")?;
        let text = self.ask(by).await?;
        let (text, _) = masked(&text, self.device.platform);
        let mut matches = self.read(by, normal::messages(&text))?;
        if by.newest_first {
            matches.reverse();
        }
        matches.retain(|message| {
            pattern.as_ref().is_none_or(|pattern| pattern.is_match(&message.message))
                && asked
                    .severity
                    .is_none_or(|least| message.severity.is_some_and(|severity| severity <= least))
        });
        let total_matches = matches.len();
        // The newest stand last, and matter most.
        matches.drain(..total_matches.saturating_sub(MESSAGES_MAX));
        Ok(LogResult {
            device: Arc::clone(&self.device.name),
            search_pattern: asked.search_pattern.clone(),
            severity_filter: asked.severity,
            truncated: total_matches > matches.len(),
            matches,
            total_matches,
        })
    }
}
