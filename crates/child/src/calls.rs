//! Which system calls a program may make: seccomp(2). What no tool server needs is refused with `EPERM`, as if it had
//! not the right to.

use std::{collections::BTreeMap, env::consts::ARCH};

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use crate::order::{Level, Network, Rules};

/// Refused to everybody: other processes' memory, the kernel's own affairs, file systems, clocks, keys, and doors that
/// much of this could be gone around by.
const REFUSED: &[i64] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_adjtimex,
    libc::SYS_bpf,
    libc::SYS_chroot,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kcmp,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_name_to_handle_at,
    libc::SYS_nfsservctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
];

/// Doors to the hardware, which only this processor has.
#[cfg(target_arch = "x86_64")]
const OF_PROCESSOR: &[i64] = &[libc::SYS_ioperm, libc::SYS_iopl, libc::SYS_modify_ldt];
#[cfg(not(target_arch = "x86_64"))]
const OF_PROCESSOR: &[i64] = &[];

/// New namespaces, in which a program would be root.
const NAMESPACES: &[libc::c_int] = &[
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWCGROUP,
];

/// Requests to a terminal that type for whoever sits there.
const TYPES: &[u64] = &[libc::TIOCSTI, libc::TIOCLINUX];

/// The kinds of sockets of the network, for programs that may use it.
const OF_NETWORK: &[libc::c_int] = &[libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// Filters the calls of this process and all that comes of it.
pub(crate) fn filter(rules: &Rules) -> Result<(), seccompiler::Error> {
    for program in programs(rules)? {
        seccompiler::apply_filter(&program)?;
    }
    Ok(())
}

fn programs(rules: &Rules) -> Result<Vec<BpfProgram>, BackendError> {
    if rules.level == Level::Off {
        return Ok(Vec::new());
    }
    let mut refused: BTreeMap<i64, Vec<SeccompRule>> =
        REFUSED.iter().chain(OF_PROCESSOR).map(|call| (*call, Vec::new())).collect();
    let is_set = |flag: &libc::c_int| {
        let flag = u64::from(flag.unsigned_abs());
        one(0, SeccompCmpOp::MaskedEq(flag), flag)
    };
    refused.insert(libc::SYS_clone, NAMESPACES.iter().map(is_set).collect::<Result<_, _>>()?);
    let types = TYPES.iter().map(|request| one(1, SeccompCmpOp::Eq, *request));
    refused.insert(libc::SYS_ioctl, types.collect::<Result<_, _>>()?);
    if rules.level == Level::Strict {
        match rules.network {
            Network::Open => {}
            // Sockets in the file system are doors to other programs, and are no network.
            Network::Ports(_) => {
                let others = OF_NETWORK.iter().map(|kind| {
                    let kind = u64::from(kind.unsigned_abs());
                    SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, kind)
                });
                let others = SeccompRule::new(others.collect::<Result<_, _>>()?)?;
                refused.insert(libc::SYS_socket, vec![others]);
            }
            Network::Closed => {
                refused.insert(libc::SYS_socket, Vec::new());
            }
        }
    }
    Ok(vec![
        program(refused, libc::EPERM)?,
        // What it asks for lies where a filter cannot look. Whoever is told that there is no such call uses clone.
        program([(libc::SYS_clone3, Vec::new())].into(), libc::ENOSYS)?,
    ])
}

fn one(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)?])
}

fn program(refused: BTreeMap<i64, Vec<SeccompRule>>, errno: libc::c_int) -> Result<BpfProgram, BackendError> {
    let refuse = SeccompAction::Errno(errno.unsigned_abs());
    SeccompFilter::new(refused, SeccompAction::Allow, refuse, TargetArch::try_from(ARCH)?)?.try_into()
}
