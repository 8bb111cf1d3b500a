//! Files beneath one folder: `fs_read_text`, `fs_list`, `fs_search`, and with `writable` the planned change
//! `fs_write_text`.
//!
//! Invariants: no path leaves the root, whatever links and renames do meanwhile, since the kernel judges each path
//! while it opens it (`jail.rs`); only regular files are opened; a file is at any moment wholly old or wholly new
//! (`write.rs`). Rules of policy go by the target `files:<path>` in normal form. A list or a search covers all that is
//! beneath its path: what a caller must never see belongs into `exclude`, not only into a rule about its path.

mod attributes;
mod config;
mod error;
mod halt;
mod jail;
mod list;
mod path;
mod plan;
mod read;
mod search;
mod tools;
mod walk;
mod write;

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use rustix::fs::{Access, AtFlags, accessat};
use serde_json::{Map, Value, json};
use tool::{
    Code, ConfigFault, Cut, Fault, Outcome, Parts, Permit, Plan, Probe, ProbeState, Provider, Reply,
    Standing, Talk, Tool,
};

pub use crate::config::{Config, HardLinks, Hidden, Symlinks};
use crate::{
    error::FilesError,
    halt::{Halt, on_thread},
    jail::Jail,
    path::{RelPath, Rules},
    tools::{ListArguments, ReadArguments, SearchArguments, WriteArguments},
};

/// Opens the room: the folder, its tools, and nothing left of writes that were killed.
///
/// Faults: what [`Config::check`] finds, or a folder that cannot be opened, made or written.
pub fn open(config: &Config, parts: &Parts) -> Result<Arc<dyn Provider>, Vec<ConfigFault>> {
    let mut faults = config.check();
    if !faults.is_empty() {
        if !faults.iter().any(|fault| fault.pointer == "/files/root") {
            faults.extend(root_fault(config, &parts.base_dir));
        }
        return Err(faults);
    }
    let room = Room::open(config, &parts.base_dir).map_err(|fault| vec![fault])?;
    if config.writable {
        match write::sweep(&room, &room.halt()) {
            Ok(0) => {}
            Ok(removed) => tracing::warn!(removed, "removed what killed writes had left"),
            Err(error) => tracing::warn!(%error, "could not look everywhere for what killed writes had left"),
        }
    }
    Ok(Arc::new(Files { room: Arc::new(room) }))
}

/// What is wrong with the folder itself, without making it.
fn root_fault(config: &Config, base_dir: &Path) -> Option<ConfigFault> {
    let root = base_dir.join(&config.root);
    let error = std::fs::read_dir(&root).err()?;
    let will_be_made = config.create && error.kind() == std::io::ErrorKind::NotFound;
    (!will_be_made).then(|| cannot("open", &root, &error).hint(MAKE_IT))
}

/// What to do about a folder that is not there.
const MAKE_IT: &str = "make the folder, or set `create: true`";

fn cannot(doing: &str, root: &Path, error: &std::io::Error) -> ConfigFault {
    ConfigFault::new("/files/root", format!("cannot {doing} {}: {}", root.display(), error.kind()))
}

/// The provider.
struct Files {
    room: Arc<Room>,
}

/// What every piece of work here needs.
#[derive(Debug)]
struct Room {
    config: Config,
    root: PathBuf,
    rules: Rules,
    jail: Jail,
    tools: Arc<[Arc<Tool>]>,
    writing: Mutex<()>,
}

impl Room {
    fn open(config: &Config, base_dir: &Path) -> Result<Self, ConfigFault> {
        let root = base_dir.join(&config.root);
        let fault = |doing: &str, error: &std::io::Error| cannot(doing, &root, error);
        if config.create {
            std::fs::create_dir_all(&root).map_err(|e| fault("make", &e))?;
        }
        let jail = Jail::open(&root, config.symlinks, config.hard_links)
            .map_err(|e| fault("open", &e).hint(MAKE_IT))?;
        if config.writable {
            accessat(jail.root(), ".", Access::WRITE_OK, AtFlags::EACCESS).map_err(|e| {
                fault("write to", &e.into())
                    .hint("let the server's user write there, or leave `writable` out")
            })?;
        }
        let real = root.canonicalize().map_err(|e| fault("open", &e))?;
        let spellings = [root.to_string_lossy(), real.to_string_lossy()];
        let rules = Rules::new(
            &spellings.each_ref().map(AsRef::as_ref),
            config.path_chars_max,
            config.hidden,
            &config.exclude,
        )
        .map_err(|e| ConfigFault::new("/files/exclude", e.to_string()))?;
        let tools = tools::table(config);
        Ok(Self { config: config.clone(), root, rules, jail, tools, writing: Mutex::new(()) })
    }

    /// Work that nobody asked for ends after the time that a call may take.
    fn halt(&self) -> Halt {
        Halt::at(Instant::now() + Duration::from_millis(self.config.timeout_ms))
    }

    fn read(&self, wanted: &ReadArguments, halt: &Halt) -> Result<Outcome, FilesError> {
        let path = self.rules.normal(&wanted.path)?;
        let most = self.config.bytes_max;
        let limit = wanted.limit.unwrap_or(most).clamp(read::LETTER_BYTES_MAX, most);
        let result = read::text(&self.jail, &path, wanted.offset, limit, halt)?;
        Ok(outcome(json!(result), result.truncated.then_some("bytes")))
    }

    fn list(&self, wanted: &ListArguments, halt: &Halt) -> Result<Outcome, FilesError> {
        let most = self.config.entries_max;
        let wanted = list::Wanted {
            path: self.rules.normal(&wanted.path)?,
            recursive: wanted.recursive,
            limit: wanted.limit.unwrap_or(most).clamp(1, most),
            after: wanted.after.as_deref().map(|after| self.rules.normal(after)).transpose()?,
        };
        let (result, cut) = list::page(&self.config, &self.jail, &self.rules, &wanted, halt)?;
        Ok(outcome(json!(result), cut))
    }

    fn search(&self, wanted: &SearchArguments, halt: &Halt) -> Result<Outcome, FilesError> {
        let most = self.config.search_matches_max;
        let wanted = search::Wanted {
            path: self.rules.normal(&wanted.path)?,
            pattern: search::pattern(&wanted.query, wanted.regex)?,
            glob: wanted.glob.as_deref().map(search::Glob::parse).transpose()?,
            limit: wanted.limit.unwrap_or(tools::MATCHES_USUAL).clamp(1, most),
            after: wanted
                .after
                .as_deref()
                .map(|after| search::Mark::parse(after, &self.rules))
                .transpose()?,
        };
        let (result, cut) = search::lines(&self.config, &self.jail, &self.rules, &wanted, halt)?;
        Ok(outcome(json!(result), cut))
    }

    /// Asks whether the root can be read, and whether its name still leads to it.
    fn probe(&self) -> (ProbeState, Map<String, Value>) {
        let mut details = Map::new();
        let space = match rustix::fs::fstatvfs(self.jail.root()) {
            Ok(space) => space,
            Err(error) => {
                details.insert("error".into(), json!(format!("cannot read the folder: {error}")));
                return (ProbeState::Unhealthy, details);
            }
        };
        details.insert("bytes_free".into(), json!(space.f_bavail.saturating_mul(space.f_frsize)));
        details.insert("bytes_total".into(), json!(space.f_blocks.saturating_mul(space.f_frsize)));
        details.insert("files_free".into(), json!(space.f_favail));
        details.insert("writable".into(), json!(self.config.writable));
        if let Err(error) = self.jail.folder(&RelPath::root()) {
            details.insert("error".into(), json!(error.to_string()));
            return (ProbeState::Unhealthy, details);
        }
        let held = rustix::fs::fstat(self.jail.root()).map(|stat| (stat.st_dev, stat.st_ino));
        let named = std::fs::metadata(&self.root).map(|meta| (meta.dev(), meta.ino()));
        match (held, named) {
            (Ok(held), Ok(named)) if held == named => (ProbeState::Healthy, details),
            _ => {
                let error =
                    "the folder was moved or replaced; the server serves the old one until it reloads";
                details.insert("error".into(), json!(error));
                (ProbeState::Degraded, details)
            }
        }
    }
}

impl Files {
    async fn on_thread<T: Send + 'static>(
        &self,
        permit_ends: Instant,
        talk: &Talk,
        work: impl FnOnce(&Room, &Halt) -> Result<T, FilesError> + Send + 'static,
    ) -> Result<T, Fault> {
        let room = Arc::clone(&self.room);
        on_thread(Halt::new(talk.stop().clone(), permit_ends), move |halt| work(&room, halt)).await
    }
}

#[async_trait]
impl Provider for Files {
    fn name(&self) -> &str {
        tools::SOURCE
    }

    fn tools(&self) -> Arc<[Arc<Tool>]> {
        Arc::clone(&self.room.tools)
    }

    fn target(&self, tool: &Tool, arguments: &mut Value) -> Result<String, Fault> {
        let members = arguments
            .as_object_mut()
            .ok_or_else(|| Fault::bad_argument("", "the arguments must be an object"))?;
        let rules = &self.room.rules;
        let after = |error| at(error, "/after");
        match tool.name.as_str() {
            tools::LIST => drop(normalize(members, "after", |sent| rules.normal(sent)).map_err(after)?),
            tools::SEARCH => {
                drop(normalize(members, "after", |sent| search::Mark::parse(sent, rules)).map_err(after)?);
            }
            _ => {}
        }
        let path = normalize(members, "path", |sent| match tool.name.as_str() {
            tools::READ | tools::WRITE => rules.normal_file(sent),
            _ => rules.normal(sent),
        });
        let path = path.map_err(|e| at(e, "/path"))?;
        Ok(format!("{}:{}", tools::SOURCE, path.unwrap_or_else(RelPath::root)))
    }

    async fn run(&self, permit: Permit, talk: Talk) -> Result<Reply, Fault> {
        let ends = permit.deadline();
        let done = match permit.tool().name.as_str() {
            tools::READ => {
                let wanted = permit.parse::<ReadArguments>()?;
                self.on_thread(ends, &talk, move |room, halt| room.read(&wanted, halt)).await?
            }
            tools::LIST => {
                let wanted = permit.parse::<ListArguments>()?;
                self.on_thread(ends, &talk, move |room, halt| room.list(&wanted, halt)).await?
            }
            tools::SEARCH => {
                let wanted = permit.parse::<SearchArguments>()?;
                self.on_thread(ends, &talk, move |room, halt| room.search(&wanted, halt)).await?
            }
            other => return Err(Fault::new(Code::Internal, format!("{other} does not run without a plan"))),
        };
        Ok(Reply::Done(done))
    }

    async fn plan(&self, permit: Permit, talk: Talk) -> Result<Plan, Fault> {
        let wanted = permit.parse::<WriteArguments>()?;
        self.on_thread(permit.deadline(), &talk, move |room, halt| plan::write(room, wanted, halt)).await
    }

    async fn apply(&self, permit: Permit, plan: Plan, talk: Talk) -> Result<Reply, Fault> {
        let wanted = permit.parse::<WriteArguments>()?;
        let work = move |room: &Room, halt: &Halt| {
            let (path, payload) = plan::payload(room, &plan)?;
            if room.rules.normal(&wanted.path)? != path || wanted.text != payload.text {
                return Err(FilesError::Clash { what: "the plan is not for these arguments".to_owned() });
            }
            write::apply(room, &plan, halt)
        };
        let written = self.on_thread(permit.deadline(), &talk, work).await?;
        Ok(Reply::value(json!(written)))
    }

    async fn look(&self, plan: &Plan) -> Result<Standing, Fault> {
        let (room, plan) = (Arc::clone(&self.room), plan.clone());
        on_thread(self.room.halt(), move |halt| plan::look(&room, &plan, halt)).await
    }

    async fn probe(&self) -> Vec<Probe> {
        let room = Arc::clone(&self.room);
        let started = Instant::now();
        let asked = on_thread(self.room.halt(), move |_| Ok(room.probe())).await;
        let (state, details) = asked.unwrap_or_else(|fault| {
            (ProbeState::Unhealthy, Map::from_iter([("error".to_owned(), json!(fault.text))]))
        });
        vec![Probe {
            source: tools::SOURCE.into(),
            kind: "files",
            state,
            latency: started.elapsed(),
            details,
        }]
    }
}

/// Brings one argument that is or holds a path into normal form; `None` where it is not given.
fn normalize<T: ToString>(
    members: &mut Map<String, Value>,
    name: &str,
    normal: impl FnOnce(&str) -> Result<T, FilesError>,
) -> Result<Option<T>, FilesError> {
    let Some(value) = members.get_mut(name) else { return Ok(None) };
    let not_text = || FilesError::BadPath { sent: value.to_string(), why: "a path is a text" };
    let path = normal(value.as_str().ok_or_else(not_text)?)?;
    *value = Value::String(path.to_string());
    Ok(Some(path))
}

/// The fault, at the argument that is to blame.
fn at(error: FilesError, pointer: &str) -> Fault {
    let mut fault = Fault::from(error);
    fault.pointer = Some(pointer.to_owned());
    fault
}

fn outcome(value: Value, cut: Option<&'static str>) -> Outcome {
    let mut outcome = Outcome::new(value);
    outcome.cut = cut.map(|bound| Cut { bound, artefact: None });
    outcome
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::needless_pass_by_value)]
mod tests;
