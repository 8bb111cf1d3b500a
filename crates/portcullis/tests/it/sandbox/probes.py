"""An MCP server of one tool that tries whatever a program should not be able to do, and says what it could.

Arguments: a file of somebody else's, the server's socket, its port, its process id.
"""

import ctypes
import errno
import json
import os
import resource
import socket
import sys

SECRET, SOCKET, PORT, PID = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
LIBC = ctypes.CDLL(None, use_errno=True)
TMP = os.environ["TMPDIR"]

# asm-generic numbers of x86_64 and aarch64: what the C library has no function for
NUMBERS = {
    "x86_64": dict(
        mount=165, umount2=166, chroot=161, pivot_root=155, unshare=272, setns=308, bpf=321, perf_event_open=298,
        io_uring_setup=425, keyctl=250, add_key=248, request_key=249, userfaultfd=323, init_module=175,
        finit_module=313, delete_module=176, kexec_load=246, ptrace=101, process_vm_readv=310,
        process_vm_writev=311, kcmp=312, pidfd_getfd=438, open_by_handle_at=304, name_to_handle_at=303, acct=163,
        swapon=167, quotactl=179, syslog=103, settimeofday=164, clock_settime=227, adjtimex=159, sethostname=170,
        setdomainname=171, vhangup=153, fsopen=430, move_mount=429, open_tree=428, mount_setattr=442, iopl=172,
        ioperm=173, modify_ldt=154, socket=41, clone=56, mknod=133,
    ),
    "aarch64": dict(
        mount=40, umount2=39, chroot=51, pivot_root=41, unshare=97, setns=268, bpf=280, perf_event_open=241,
        io_uring_setup=425, keyctl=219, add_key=217, request_key=218, userfaultfd=282, init_module=105,
        finit_module=273, delete_module=106, kexec_load=104, ptrace=117, process_vm_readv=270,
        process_vm_writev=271, kcmp=272, pidfd_getfd=438, open_by_handle_at=265, name_to_handle_at=264, acct=89,
        swapon=224, quotactl=60, syslog=116, settimeofday=170, clock_settime=112, adjtimex=171, sethostname=161,
        setdomainname=162, vhangup=58, fsopen=430, move_mount=429, open_tree=428, mount_setattr=442, socket=198,
        clone=220,
    ),
}[os.uname().machine]

PROBES = {}


def probe(function):
    PROBES[function.__name__] = function
    return function


def reads(name, path):
    PROBES["reads " + name] = lambda: open(path, "rb").read(1) is not None


def lists(name, path):
    PROBES["lists " + name] = lambda: os.listdir(path) is not None


def writes(name, path):
    PROBES["writes " + name] = lambda: open(path, "ab").write(b"x") == 1


def calls(name, *arguments):
    """A system call that is refused for its number alone: whatever its arguments are, it never gets to look at them."""
    if name in NUMBERS:
        def run():
            ctypes.set_errno(0)
            LIBC.syscall(NUMBERS[name], *arguments)
            return ctypes.get_errno() not in (errno.EPERM, errno.ENOSYS)
        PROBES["calls " + name] = run


for path in ["/etc/passwd", "/etc/shadow", "/etc/group", SECRET, f"/proc/{PID}/environ", f"/proc/{PID}/cmdline",
             f"/proc/{PID}/maps", "/dev/mem", "/dev/kmsg", "/dev/sda", "/sys/kernel/debug/x", "/sys/firmware/dmi/tables/DMI",
             "/var/log/dmesg"]:
    reads(path, path)
reads("through a link", os.path.join(TMP, "..", "..", SECRET.lstrip("/")))
for path in ["/", "/root", "/home", "/etc", "/tmp", "/var", "/run", "/dev/shm", os.path.dirname(SECRET)]:
    lists(path, path)
for path in ["/tmp/portcullis-probe", "/var/tmp/portcullis-probe", "/dev/shm/portcullis-probe", "portcullis-probe",
             "/usr/portcullis-probe", "/etc/portcullis-probe", SECRET, "/proc/sys/kernel/hostname",
             "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/sys/kernel/uevent_helper"]:
    writes(path, path)
for name in ["mount", "umount2", "chroot", "pivot_root", "setns", "bpf", "perf_event_open", "io_uring_setup", "keyctl",
             "add_key", "request_key", "userfaultfd", "init_module", "finit_module", "delete_module", "kexec_load",
             "process_vm_readv", "process_vm_writev", "kcmp", "pidfd_getfd", "open_by_handle_at",
             "name_to_handle_at", "acct", "swapon", "quotactl", "syslog", "settimeofday", "clock_settime", "adjtimex",
             "sethostname", "setdomainname", "vhangup", "fsopen", "move_mount", "open_tree", "mount_setattr", "iopl",
             "ioperm", "modify_ldt"]:
    calls(name, 0, 0, 0, 0, 0)
calls("ptrace", 16, PID, 0, 0)
calls("unshare", 0x10000000)  # CLONE_NEWUSER
calls("clone", 0x10000000 | 17, 0, 0, 0, 0)


def socket_of(name, family, kind, protocol=0):
    PROBES["opens " + name] = lambda: socket.socket(family, kind, protocol) is not None


socket_of("tcp", socket.AF_INET, socket.SOCK_STREAM)
socket_of("udp", socket.AF_INET, socket.SOCK_DGRAM)
socket_of("tcp6", socket.AF_INET6, socket.SOCK_STREAM)
socket_of("unix", socket.AF_UNIX, socket.SOCK_STREAM)
socket_of("raw", socket.AF_INET, socket.SOCK_RAW, 1)
socket_of("packet", socket.AF_PACKET, socket.SOCK_RAW)
socket_of("netlink", socket.AF_NETLINK, socket.SOCK_RAW)
socket_of("vsock", socket.AF_VSOCK, socket.SOCK_STREAM)


@probe
def connects_to_the_server():
    return socket.create_connection(("127.0.0.1", PORT), 1) is not None


@probe
def connects_to_its_socket():
    one = socket.socket(socket.AF_UNIX)
    one.connect(SOCKET)
    return True


@probe
def signals_the_server():
    os.kill(PID, 0)
    return True


@probe
def sees_others():
    return len([name for name in os.listdir("/proc") if name.isdigit()]) > 4


@probe
def has_secrets_in_its_environment():
    return any("SECRET" in name or "PORTCULLIS" in name for name in os.environ)


@probe
def becomes_root():
    if os.getuid() == 0:
        return any(int(line.split()[1], 16) for line in open("/proc/self/status") if line.startswith("CapEff"))
    os.setuid(0)
    return True


@probe
def becomes_somebody_else():
    os.setuid(1)
    return True


@probe
def gains_privileges():
    return "NoNewPrivs:\t1" not in open("/proc/self/status").read()


@probe
def makes_a_device():
    os.mknod(os.path.join(TMP, "disk"), 0o60600, os.makedev(8, 0))
    return True


@probe
def gives_a_file_away():
    path = os.path.join(TMP, "own")
    open(path, "w").close()
    os.chown(path, 1, 1)
    return True


@probe
def links_a_foreign_file():
    os.link(SECRET, os.path.join(TMP, "linked"))
    return True


@probe
def writes_a_huge_file():
    with open(os.path.join(TMP, "huge"), "wb") as file:
        file.seek(2 << 30)
        return file.write(b"x") == 1 and file.flush() is None


@probe
def takes_ten_gigabytes():
    return len(bytearray(10 << 30)) > 0


@probe
def opens_many_files():
    return len([os.open("/dev/null", os.O_RDONLY) for _ in range(5_000)]) > 0


@probe
def raises_its_limits():
    resource.setrlimit(resource.RLIMIT_NOFILE, (100_000, 100_000))
    return True


@probe
def leaves_core_files():
    return resource.getrlimit(resource.RLIMIT_CORE)[1] != 0


@probe
def is_more_important():
    return os.nice(-5) < 0


@probe
def lowers_the_clock_of_others():
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
    return True


def attempt(function):
    try:
        return bool(function())
    except (OSError, MemoryError, ValueError):
        return False


for line in sys.stdin:
    asked = json.loads(line)
    method = asked.get("method")
    if "id" not in asked:
        continue
    if method == "initialize":
        result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "p", "version": "1"}}
    elif method == "tools/list":
        result = {"tools": [{"name": "try", "inputSchema": {"type": "object"}}]}
    elif method == "tools/call":
        only = asked["params"]["arguments"].get("only") or list(PROBES)
        could = [name for name in only if attempt(PROBES[name])]
        result = {"content": [], "structuredContent": {"probes": len(PROBES), "could": could}}
    else:
        result = {}
    print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}), flush=True)
