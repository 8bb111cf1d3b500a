//! Namespaces of a program's own: unshare(2), user_namespaces(7), pid_namespaces(7), network_namespaces(7).

use std::{fs, io};

use nix::sched::{CloneFlags, unshare};
use rustix::{
    mount::{MountFlags, MountPropagationFlags, mount, mount_change},
    process::{getgid, getuid},
    thread::{
        CapabilitySet, CapabilitySets, capabilities, configure_capability_in_ambient_set, set_capabilities,
    },
};

use crate::order::{Held, Level, Network, Rules, Tree};

/// Makes the namespaces that the next process will be the first of. What cannot be had is left out, and what was had
/// is said.
pub(crate) fn enter(rules: &Rules) -> Held {
    let mut held = Held { landlock: "none".to_owned(), ..Held::default() };
    let more = match rules.level {
        Level::Off => return held,
        Level::Standard => CloneFlags::empty(),
        Level::Strict => {
            let network = match rules.network {
                Network::Closed => CloneFlags::CLONE_NEWNET,
                Network::Open | Network::Ports(_) => CloneFlags::empty(),
            };
            CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS | network
        }
    };
    if into(CloneFlags::CLONE_NEWPID | more).is_ok() {
        held.tree = Tree::Namespace;
        held.own_network = more.contains(CloneFlags::CLONE_NEWNET);
    }
    held
}

/// Enters namespaces; whoever is not root becomes the owner of a user namespace first, under its own number.
fn into(flags: CloneFlags) -> io::Result<()> {
    let (uid, gid) = (getuid(), getgid());
    if uid.is_root() {
        return Ok(unshare(flags)?);
    }
    unshare(flags | CloneFlags::CLONE_NEWUSER)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{0} {0} 1", uid.as_raw()))?;
    fs::write("/proc/self/gid_map", format!("{0} {0} 1", gid.as_raw()))?;
    // The next process mounts its own /proc; without this it would lose the right to with its start.
    let sets = capabilities(None)?;
    set_capabilities(None, CapabilitySets { inheritable: CapabilitySet::SYS_ADMIN, ..sets })?;
    Ok(configure_capability_in_ambient_set(CapabilitySet::SYS_ADMIN, true)?)
}

/// Gives the first process of a namespace a `/proc` that shows its namespace and nobody else.
pub(crate) fn mount_proc() -> io::Result<()> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    Ok(mount("proc", "/proc", "proc", flags, None)?)
}
