//! All that came of a program, where no namespace holds it together: the keeper has adopted whatever its parents left
//! behind, so that everything is beneath the keeper.

use std::{fs, thread::sleep, time::Duration};

use rustix::{
    io::Errno,
    process::{Pid, Signal, WaitOptions, getpid, kill_process, wait},
};

/// How long to wait for what was killed to be gone: at first, and at most, where the kernel holds somebody up.
const PAUSES: (Duration, Duration) = (Duration::from_micros(200), Duration::from_millis(50));

/// Kills everything beneath this process, and reaps it. What starts another and leaves is beneath this process as soon
/// as it has left, so a look is quicker than whoever multiplies: it takes less than the start of a program.
pub(crate) fn end_all() {
    let (mut pause, mut last) = (PAUSES.0, Vec::new());
    while !reap() {
        let beneath = beneath();
        for pid in &beneath {
            let _ = kill_process(*pid, Signal::KILL);
        }
        pause = if beneath == last { (pause * 2).min(PAUSES.1) } else { PAUSES.0 };
        last = beneath;
        sleep(pause);
    }
}

/// Takes note of everybody who has ended; true where nobody is left.
fn reap() -> bool {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => return false,
            Err(_) => return true,
        }
    }
}

/// Every process whose parents lead here.
fn beneath() -> Vec<Pid> {
    let mut found = Vec::new();
    let mut open = vec![getpid()];
    while let Some(parent) = open.pop() {
        let children = children(parent);
        open.extend(&children);
        found.extend(children);
    }
    found
}

/// The children of a process: those of all its threads (proc_tid_children(5)), or what names it as its parent where this
/// kernel keeps no such lists.
fn children(parent: Pid) -> Vec<Pid> {
    let tasks = format!("/proc/{}/task", parent.as_raw_nonzero());
    let mut children = Vec::new();
    for task in fs::read_dir(tasks).into_iter().flatten().flatten() {
        match fs::read_to_string(task.path().join("children")) {
            Ok(list) => children.extend(list.split_whitespace().filter_map(pid)),
            Err(_) => return named_by(parent),
        }
    }
    children
}

fn pid(text: &str) -> Option<Pid> {
    Pid::from_raw(text.parse().ok()?)
}

fn named_by(parent: Pid) -> Vec<Pid> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = processes.filter_map(|entry| pid(entry.file_name().to_str()?));
    names.filter(|pid| parent_of(*pid) == Some(parent)).collect()
}

/// The parent of a process: the second field after its name in proc_pid_stat(5), which may hold anything.
fn parent_of(process: Pid) -> Option<Pid> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero())).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    pid(rest.split(' ').nth(1)?)
}
