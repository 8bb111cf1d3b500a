//! What a program may use up (getrlimit(2)), and the privileges it is left with (capabilities(7)).

use std::io;

use rustix::{
    io::Errno,
    process::{Resource, Rlimit, getrlimit, getuid, setrlimit},
    thread::{
        CapabilitySet, CapabilitySets, remove_capability_from_bounding_set, set_capabilities,
        set_no_new_privs,
    },
};

use crate::order::{Level, Rules};

/// Limits this process and all that comes of it.
pub(crate) fn limit(rules: &Rules) -> io::Result<()> {
    set_no_new_privs(true)?;
    // What a program had in memory is nobody's business.
    set(Resource::Core, Some(0))?;
    let limits = &rules.limits;
    set(Resource::Data, limits.memory_bytes_max)?;
    set(Resource::Fsize, limits.file_bytes_max)?;
    set(Resource::Nofile, limits.files_max)?;
    // It is counted by user: that of others would be held to what they do elsewhere.
    set(Resource::Nproc, limits.processes_max.filter(|_| rules.user.is_some()))
}

/// Lowers a limit; it never becomes more than it is.
fn set(resource: Resource, max: Option<u64>) -> io::Result<()> {
    let Some(max) = max else { return Ok(()) };
    let max = getrlimit(resource).maximum.map_or(max, |most| most.min(max));
    Ok(setrlimit(resource, Rlimit { current: Some(max), maximum: Some(max) })?)
}

/// What root may keep where its program runs as root: what is its own business and needs no more than its files.
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::NET_BIND_SERVICE);

/// What it takes to let a program run as somebody else, and to end it.
const BECOMES: CapabilitySet = CapabilitySet::SETUID.union(CapabilitySet::SETGID).union(CapabilitySet::KILL);

/// Gives away the privileges that the program is not to have.
pub(crate) fn drop_privileges(rules: &Rules) -> io::Result<()> {
    let kept = match (rules.level, rules.user) {
        _ if !getuid().is_root() => CapabilitySet::empty(),
        (_, Some(_)) => BECOMES,
        (Level::Strict, None) => CapabilitySet::empty(),
        (_, None) => KEPT,
    };
    for capability in CapabilitySet::all().difference(kept).iter() {
        match remove_capability_from_bounding_set(capability) {
            // Not root, or a capability that this kernel does not know: it has it not.
            Ok(()) | Err(Errno::PERM | Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    Ok(set_capabilities(None, sets)?)
}
