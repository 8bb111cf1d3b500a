//! The process beneath the keeper: it takes what is to be taken from the program, from itself first, and becomes the
//! program or, as the first of a process namespace, starts it.

use std::{
    io::{self, Read as _},
    os::unix::{net::UnixStream, process::CommandExt as _},
    process::{Command, ExitCode},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, set_parent_process_death_signal},
};

use crate::{
    calls,
    keeper::{REAP_EVERY, reaped},
    limits, namespaces,
    order::{Held, Level, Order, Place, TERMINATE, Word},
    paths,
    wire::{self, Pipes},
};

/// Starts the program of an order.
pub(crate) fn run(socket: UnixStream, place: Place, order: &Order, pipes: Pipes) -> ExitCode {
    match prepared(order) {
        Ok(held) => match place {
            Place::Init => init(&socket, order, pipes, held),
            Place::Program => {
                // The socket closes with the start of the program, which says that it runs.
                wire::say(&socket, &Word::Started(held));
                let error = command(order, pipes).exec();
                wire::say(&socket, &Word::Failed(why(order, &error)));
                ExitCode::FAILURE
            }
        },
        Err(error) => {
            wire::say(&socket, &Word::Failed(error));
            ExitCode::FAILURE
        }
    }
}

/// Takes from this process what the program is not to have. Says what holds from now on.
fn prepared(order: &Order) -> Result<Held, String> {
    let rules = &order.rules;
    // Whoever sent the order may be gone since: then there is nobody to read what is said, and nothing to wait for.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    let mut held = order.held.clone();
    held.uid = rules.user.map(|user| user.uid);
    if rules.level == Level::Off {
        return Ok(held);
    }
    // A container that hides part of its own /proc lets nobody mount another: then it is not shown at all.
    held.own_processes = rules.level == Level::Strict
        && held.tree == crate::Tree::Namespace
        && namespaces::mount_proc().is_ok();
    let missing = |what: &str, error: &dyn std::fmt::Display| {
        format!(
            "the sandbox that it needs is not to be had here: {what}: {error}; `portcullis doctor` says more"
        )
    };
    limits::limit(rules).map_err(|e| missing("limits", &e))?;
    match paths::confine(order, held.own_processes) {
        Ok("none") if rules.required => return Err(missing("landlock", &"this kernel has it not")),
        Ok(how) => how.clone_into(&mut held.landlock),
        Err(error) if rules.required => return Err(missing("landlock", &error)),
        Err(_) => {}
    }
    limits::drop_privileges(rules).map_err(|e| missing("privileges", &e))?;
    match calls::filter(rules) {
        Ok(()) => held.seccomp = true,
        Err(error) if rules.required => return Err(missing("seccomp", &error)),
        Err(_) => {}
    }
    Ok(held)
}

/// Starts the program and waits for its end; whatever it leaves behind is reaped here, and ends with this process.
fn init(socket: &UnixStream, order: &Order, pipes: Pipes, held: Held) -> ExitCode {
    let started = command(order, pipes).process_group(0).spawn();
    let program = match started {
        Ok(program) => Pid::from_child(&program),
        Err(error) => {
            wire::say(socket, &Word::Failed(why(order, &error)));
            return ExitCode::FAILURE;
        }
    };
    wire::say(socket, &Word::Started(held));
    let how = watch(socket, program).unwrap_or_else(|error| error.to_string());
    wire::say(socket, &Word::Ended(how));
    ExitCode::SUCCESS
}

/// Passes on what the program is asked, and reaps what it leaves behind, until it has ended. Says how.
fn watch(mut socket: &UnixStream, program: Pid) -> io::Result<String> {
    let end = pidfd_open(program, PidfdFlags::empty())?;
    loop {
        let mut polled = [PollFd::new(&end, PollFlags::IN), PollFd::new(socket, PollFlags::IN)];
        match poll(&mut polled, Some(&REAP_EVERY)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if !polled[1].revents().is_empty() {
            let mut byte = [0];
            match socket.read(&mut byte) {
                Ok(1) if byte[0] == TERMINATE => drop(kill_process_group(program, Signal::TERM)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(1) => {}
                // The keeper is gone, and with this process the program.
                _ => return Ok("its keeper ended".to_owned()),
            }
        }
        if let Some(how) = reaped(program)? {
            return Ok(how);
        }
    }
}

fn command(order: &Order, pipes: Pipes) -> Command {
    let mut command = Command::new(&order.program);
    command.args(&order.arguments).current_dir(&order.folder).env_clear();
    command.envs(order.env.iter().map(|(name, value)| (name, value)));
    command.stdin(pipes.stdin).stdout(pipes.stdout).stderr(pipes.stderr);
    if let Some(user) = order.rules.user {
        command.uid(user.uid).gid(user.gid);
    }
    command
}

/// Why it does not start, in words that help.
fn why(order: &Order, error: &io::Error) -> String {
    let mut why = format!("{}: {error}", order.program.display());
    if !order.folder.is_dir() {
        why = format!("its folder {} is not there", order.folder.display());
    } else if error.kind() == io::ErrorKind::PermissionDenied && order.rules.level == Level::Strict {
        why.push_str("; `sandbox.read` names what it may read and run");
    }
    why
}
