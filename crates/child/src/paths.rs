//! Which files a program may touch, whom it may signal, and which ports it may connect to: landlock(7).

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, NetPort, Ruleset,
    RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};

use crate::order::{Level, Network, Order};

/// What the rules are written for. Older kernels hold to what they know of it.
const KNOWN: ABI = ABI::V6;

/// What every program needs to run: libraries, and what they look up.
const NEEDED: &[&str] = &[
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/opt",
    "/nix/store",
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/crypto-policies",
    "/etc/gai.conf",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/ld.so.preload",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/pki",
    "/etc/protocols",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/ssl",
    "/etc/timezone",
    "/sys/devices/system/cpu",
    "/sys/fs/cgroup",
    "/sys/kernel/mm/transparent_hugepage",
    "/dev/random",
    "/dev/urandom",
];

/// Devices that every program may write to.
const DEVICES: &[&str] = &["/dev/null", "/dev/zero", "/dev/full"];

/// Folders so high that a program in them says nothing about what else it needs there.
const TOO_HIGH: &[&str] = &["/", "/home", "/root", "/etc", "/var", "/tmp", "/srv", "/mnt", "/media", "/run"];

/// Holds this process and all that comes of it to its rules. Says how far: `full`, `partial` or `none`.
pub(crate) fn confine(order: &Order, own_processes: bool) -> Result<&'static str, RulesetError> {
    let rules = &order.rules;
    let status = match rules.level {
        Level::Off => return Ok("none"),
        // Nobody makes devices; and whoever is held to anything looks into no process outside, and signals none.
        Level::Standard => Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::MakeBlock | AccessFs::MakeChar)?
            .scope(Scope::Signal)?
            .create()?
            .restrict_self()?,
        Level::Strict => strict(order, own_processes)?,
    };
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => "full",
        RulesetStatus::PartiallyEnforced => "partial",
        RulesetStatus::NotEnforced => "none",
    })
}

fn strict(order: &Order, own_processes: bool) -> Result<landlock::RestrictionStatus, RulesetError> {
    let rules = &order.rules;
    let level = if rules.required { CompatLevel::HardRequirement } else { CompatLevel::BestEffort };
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(KNOWN))?
        .scope(Scope::from_all(KNOWN))?;
    if rules.network != Network::Open {
        ruleset = ruleset
            // Where it has no sockets at all, that it may connect nowhere is said twice.
            .set_compatibility(if rules.network == Network::Closed { CompatLevel::BestEffort } else { level })
            .handle_access(AccessNet::from_all(KNOWN))?
            .set_compatibility(CompatLevel::BestEffort);
    }
    let read = AccessFs::from_read(KNOWN);
    let write = AccessFs::from_all(KNOWN) & !(AccessFs::MakeBlock | AccessFs::MakeChar);
    let devices: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::WriteFile;
    // Of the processes of others not even the names.
    let processes = own_processes.then_some(Path::new("/proc"));
    let mut created = ruleset
        .create()?
        .add_rules(path_beneath_rules(NEEDED, read))?
        .add_rules(path_beneath_rules(processes, read))?
        .add_rules(path_beneath_rules(DEVICES, devices))?
        .add_rules(path_beneath_rules(of_program(order), read))?
        .add_rules(path_beneath_rules(&rules.read, read))?
        .add_rules(path_beneath_rules(&rules.write, write))?
        .add_rules(path_beneath_rules(&order.temporary, write))?;
    if let Network::Ports(ports) = &rules.network {
        for port in ports {
            created = created.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
        }
    }
    created.restrict_self()
}

/// The folder a program starts in, and where its own files are: its folder, or what that is the `bin` of; also of
/// what it is a link to.
fn of_program(order: &Order) -> Vec<PathBuf> {
    let mut folders = vec![order.folder.clone()];
    if let Some(program) = find(order) {
        folders.extend(home_of(&program));
        folders.extend(program.canonicalize().ok().and_then(|program| home_of(&program)));
    }
    folders
        .retain(|folder| !TOO_HIGH.iter().any(|high| folder == Path::new(high)) || *folder == order.folder);
    folders
}

fn home_of(program: &Path) -> Option<PathBuf> {
    let folder = program.parent()?;
    let is_bin = folder.file_name().is_some_and(|name| name == "bin");
    Some(if is_bin { folder.parent()? } else { folder }.to_owned())
}

/// Where a program is: a bare name is looked for as execvp(3) does.
fn find(order: &Order) -> Option<PathBuf> {
    if order.program.components().count() > 1 || order.program.is_absolute() {
        return Some(order.program.clone());
    }
    let (_, path) = order.env.iter().find(|(name, _)| name == "PATH")?;
    path.split(':').map(|folder| Path::new(folder).join(&order.program)).find(|program| program.is_file())
}
