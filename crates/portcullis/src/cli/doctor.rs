//! `portcullis doctor`: what this machine can keep programs from, and whether what a server needs is there.

use std::path::Path;

use child::{Held, Launch, Level, Limits, Network, Rules, Shim, Tree, User};
use serde_json::{Value, json};

use super::{Exit, Failure, Globals, Out};
use crate::data;

/// The user that the trial runs as where we are root: one that nobody is.
const NOBODY: User = User { uid: 61_184, gid: 61_184 };

/// What was looked at.
struct Finding {
    name: &'static str,
    state: State,
    detail: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Good,
    /// It works, with less than could be.
    Less,
    Bad,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Less => "less",
            Self::Bad => "bad",
        }
    }
}

pub(super) async fn run(globals: &Globals, out: &Out) -> Result<(), Failure> {
    let mut findings = configuration(globals);
    findings.extend(sandbox().await);
    let rows: Vec<Value> = findings
        .iter()
        .map(|found| json!({ "name": found.name, "state": found.state.word(), "detail": found.detail }))
        .collect();
    let lines = findings
        .iter()
        .map(|found| vec![found.name.to_owned(), found.state.word().to_owned(), found.detail.clone()]);
    out.table(&["what", "state", "detail"], lines.collect(), &json!(rows));
    match findings.iter().any(|found| found.state == State::Bad) {
        true => Err(Failure::said(Exit::Failed)),
        false => Ok(()),
    }
}

fn configuration(globals: &Globals) -> Vec<Finding> {
    let config = match data::load(globals.config.as_deref()) {
        Ok(loaded) => {
            let dir = data::folder_of(&loaded, globals);
            return vec![
                found(
                    "configuration",
                    State::Good,
                    "it can be read; `portcullis check` says whether all of it holds",
                ),
                folder(&dir),
            ];
        }
        Err(problems) => problems,
    };
    let why = config.list.first().map_or_else(String::new, |problem| problem.text.clone());
    let is_missing = data::config_file(globals.config.as_deref()).is_none();
    match is_missing {
        true => vec![found("configuration", State::Less, "there is none here; `portcullis demo` needs none")],
        false => vec![found("configuration", State::Bad, why)],
    }
}

fn folder(dir: &Path) -> Finding {
    let (state, detail) = match std::fs::metadata(dir) {
        Ok(is) if !is.is_dir() => (State::Bad, format!("{} is no folder", dir.display())),
        Ok(_) if data::socket(dir).exists() => {
            (State::Good, format!("{}, with a server on it", dir.display()))
        }
        Ok(_) => (State::Good, dir.display().to_string()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            (State::Good, format!("{}, which the first start makes", dir.display()))
        }
        Err(error) => (State::Bad, format!("{}: {error}", dir.display())),
    };
    Finding { name: "data folder", state, detail }
}

/// Starts a program of this machine with everything kept from it, and looks at what held.
async fn sandbox() -> Vec<Finding> {
    let is_root = User::ours().uid == 0;
    let rules = Rules {
        level: Level::Strict,
        network: Network::Closed,
        user: is_root.then_some(NOBODY),
        limits: Limits { processes_max: Some(64), ..Limits::default() },
        ..Rules::standard()
    };
    let launch = Launch {
        program: "true".into(),
        arguments: Vec::new(),
        folder: "/".into(),
        env: data::child_env().iter().filter(|(name, _)| name == "PATH").cloned().collect(),
        rules,
    };
    let held = match Shim::new(data::keeper().to_vec()).start(launch).await {
        Ok((running, _streams)) => {
            let held = running.held().clone();
            running.kill().await;
            held
        }
        Err(error) => {
            return vec![found("sandbox", State::Bad, format!("no program can be started: {error}"))];
        }
    };
    of(&held, is_root)
}

fn of(held: &Held, is_root: bool) -> Vec<Finding> {
    let is = |name, holds: bool, yes: &str, no: &str| {
        let state = if holds { State::Good } else { State::Less };
        found(name, state, if holds { yes } else { no })
    };
    let mut findings = vec![
        is(
            "process namespace",
            held.tree == Tree::Namespace,
            "a program ends as a whole, at once, however we end",
            "not to be had: what a program leaves behind is adopted and hunted down, unless its keeper is killed first \
             (user namespaces may be switched off: kernel.unprivileged_userns_clone, AppArmor, a container's profile)",
        ),
        is(
            "own /proc",
            held.own_processes,
            "a strict program sees no process but its own",
            "not to be had, as in containers that hide part of theirs: a strict program sees no /proc at all",
        ),
        is(
            "network namespace",
            held.own_network,
            "a strict program without `network` has none",
            "not to be had: a strict program without `network` gets no sockets, by seccomp",
        ),
    ];
    let (state, detail) = match held.landlock.as_str() {
        "full" => (State::Good, "files, ports, signals: a strict program is held to what is named"),
        "partial" => {
            (State::Less, "files hold; this kernel does not know all of the rest (ports: 6.7, signals: 6.12)")
        }
        _ => (
            State::Bad,
            "not in this kernel (5.13 and later, with `lsm=landlock,..`): mode `strict` refuses to start",
        ),
    };
    findings.push(found("landlock", state, detail));
    let (state, detail) = match held.seccomp {
        true => (State::Good, "system calls that no tool server needs are refused"),
        false => (State::Bad, "not in this kernel: mode `strict` refuses to start"),
    };
    findings.push(found("seccomp", state, detail));
    findings.push(is(
        "users of their own",
        is_root,
        "a strict program runs as a user of its own, with no more processes than it may",
        "only root can: strict programs run as you, and `processes_max` does not hold them",
    ));
    findings
}

fn found(name: &'static str, state: State, detail: impl Into<String>) -> Finding {
    Finding { name, state, detail: detail.into() }
}
