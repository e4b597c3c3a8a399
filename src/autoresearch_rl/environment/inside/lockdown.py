"""Takes rights away from the running process, for good: limits, Landlock, seccomp. Linux only.

Runs inside the sandbox before any untrusted code. bubblewrap has by then replaced the file system and
the namespaces; where it is not there, Landlock takes its place. seccomp is the same in both.

References: landlock(7), seccomp(2), linux/audit.h, linux/seccomp.h; DESIGN, "Why the score can be trusted".
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import struct
from typing import Any

LANDLOCK_MINIMUM = 3  # before, truncate(2) outside the rules is not refused (Linux 6.2)

_libc = ctypes.CDLL(None, use_errno=True)


class LockdownError(Exception):
    """The kernel refused a restriction: nothing untrusted may run."""


def _syscall(number: int, *arguments: Any) -> int:
    result = int(_libc.syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        raise LockdownError(f"system call {number}: {os.strerror(ctypes.get_errno())}")
    return result


def _prctl(option: int, value: int) -> None:
    arguments = (ctypes.c_ulong(value), *(ctypes.c_ulong(0),) * 3)
    if _libc.prctl(ctypes.c_int(option), *arguments) != 0:
        raise LockdownError(f"prctl {option}: {os.strerror(ctypes.get_errno())}")


# --- limits -------------------------------------------------------------------------------------------


def die_with_parent(number: int, parent: int) -> None:
    """Asks the kernel for signal `number` when the parent, whose pid is `parent`, ends."""
    _prctl(1, number)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:  # it ended before we could ask
        os._exit(1)


def adopt_orphans() -> None:
    """Makes this process the parent of what its descendants abandon."""
    _prctl(36, 1)  # PR_SET_CHILD_SUBREAPER


def hide_memory(hidden: bool) -> None:
    """Keeps processes of the same user from this process's memory and descriptors, or lets them."""
    _prctl(4, 0 if hidden else 1)  # PR_SET_DUMPABLE


def set_limits(memory_mb: int, file_mb: int, cpu_seconds: int) -> None:
    """Hard limits of this process: private memory, size of a file, CPU seconds (a backstop)."""
    for kind, value in (
        (resource.RLIMIT_DATA, memory_mb << 20),
        (resource.RLIMIT_FSIZE, file_mb << 20),
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_NOFILE, 256),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))


# --- Landlock -----------------------------------------------------------------------------------------

LIST, READ, WRITE = "list", "read", "write"
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_REFER, _TRUNCATE, _IOCTL = 1 << 13, 1 << 14, 1 << 15
_FILE_RIGHTS = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL


def landlock_version() -> int:
    """The kernel's Landlock version; 0 where there is none."""
    version = int(_libc.syscall(ctypes.c_long(444), None, ctypes.c_size_t(0), ctypes.c_uint32(1)))
    return max(0, version)


def landlock(rules: list[tuple[str, str]]) -> None:
    """Denies every path but those in `rules`, TCP, and signals and abstract sockets that leave this domain.

    Args:
        rules: pairs of a path and `LIST`, `READ` or `WRITE`. A folder counts with all that is below it.

    Raises:
        LockdownError: the kernel has no Landlock, or one that is too old.
    """
    version = landlock_version()
    if version < LANDLOCK_MINIMUM:
        raise LockdownError(
            f"Landlock version {LANDLOCK_MINIMUM} is needed (Linux 6.2), but this is {version}"
        )
    handled = (1 << (16 if version >= 5 else 15)) - 1
    attributes = struct.pack("=QQQ", handled, 3, 3)[: 24 if version >= 6 else 16 if version >= 4 else 8]
    ruleset = _syscall(444, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0))
    rights = {LIST: _READ_DIR, READ: _EXECUTE | _READ_FILE | _READ_DIR, WRITE: handled}
    for path, mode in rules:
        _landlock_allow(ruleset, path, rights[mode])
    _no_new_privileges()
    _syscall(446, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    os.close(ruleset)


def _landlock_allow(ruleset: int, path: str, rights: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        raise LockdownError(f"cannot open {path}: {error.strerror}") from error
    try:
        if not os.path.isdir(path):
            rights &= _FILE_RIGHTS
        rule = struct.pack("=Qi", rights, fd)
        _syscall(445, ctypes.c_int(ruleset), ctypes.c_int(1), rule, ctypes.c_uint32(0))
    finally:
        os.close(fd)


def _no_new_privileges() -> None:
    _prctl(38, 1)  # PR_SET_NO_NEW_PRIVS


# --- namespaces ---------------------------------------------------------------------------------------

_NEW_MOUNTS, _NEW_IPC, _NEW_PIDS = 0x20000, 0x08000000, 0x20000000
_PRIVATE, _READ_ONLY, _NO_SUID_NO_DEV, _BIND = 0x4000 | 1 << 18, 1, 2 | 4, 0x1000


def new_namespaces() -> None:
    """Mounts and shared memory of its own, and process numbers of their own for its children."""
    if _libc.unshare(ctypes.c_int(_NEW_MOUNTS | _NEW_IPC | _NEW_PIDS)) != 0:
        raise LockdownError(f"no new namespaces: {os.strerror(ctypes.get_errno())}")
    _mount(None, "/", None, _PRIVATE, None)


def mount(kind: str, path: str, options: str | None = None, writable: bool = True) -> None:
    """Mounts a new file system of a kind that needs no device."""
    _mount(kind, path, kind, _NO_SUID_NO_DEV | (0 if writable else _READ_ONLY), options)


def mask(path: str) -> None:
    """Puts /dev/null in the place of a file."""
    _mount("/dev/null", path, None, _BIND, None)


def _mount(source: str | None, path: str, kind: str | None, flags: int, options: str | None) -> None:
    texts = [None if text is None else text.encode() for text in (source, path, kind, options)]
    if _libc.mount(*texts[:3], ctypes.c_ulong(flags), texts[3]) != 0:
        raise LockdownError(f"cannot mount {kind} on {path}: {os.strerror(ctypes.get_errno())}")


# --- capabilities -------------------------------------------------------------------------------------


def drop_capabilities() -> None:
    """Gives up every capability: root without them is an ordinary user that happens to own files."""
    header = struct.pack("=Ii", 0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this thread
    _syscall(91 if platform.machine() == "aarch64" else 126, header, bytes(24))


# --- seccomp ------------------------------------------------------------------------------------------

# name: (x86_64, aarch64); -1 where the architecture has no such call
_DENIED: dict[str, tuple[int, int]] = {
    # the network, and any socket at all
    "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "bind": (49, 200),
    "listen": (50, 201), "accept": (43, 202), "accept4": (288, 242),
    # other processes: children stay in the group, where they are counted and killed, and nobody peeks
    "setsid": (112, 157), "setpgid": (109, 154), "ptrace": (101, 117), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "process_madvise": (440, 440), "process_mrelease": (448, 448),
    "kcmp": (312, 272), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424), "tkill": (200, 130),
    # memory and messages that outlive the process, or that no limit counts (pages in a pipe, say)
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194), "shmat": (30, 196),
    "shmctl": (31, 195), "msgget": (68, 186), "msgsnd": (69, 189), "msgrcv": (70, 188),
    "semget": (64, 190), "semop": (65, 193), "semtimedop": (220, 192), "mq_open": (240, 180),
    "mq_unlink": (241, 181), "vmsplice": (278, 75),
    "mlock": (149, 228), "mlock2": (325, 284), "mlockall": (151, 230),
    # attributes of files, which Landlock does not cover
    "chmod": (90, -1), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452),
    "chown": (92, -1), "lchown": (94, -1), "fchown": (93, 55), "fchownat": (260, 54),
    "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7), "removexattr": (197, 14),
    "lremovexattr": (198, 15), "fremovexattr": (199, 16), "utime": (132, -1), "utimes": (235, -1),
    "futimesat": (261, -1), "utimensat": (280, 88), "mknod": (133, -1), "mknodat": (259, 33),
    "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264),
    # the page cache, attributes and watches of shared files: channels from one sandbox to another
    "inotify_init": (253, -1), "inotify_init1": (294, 26), "inotify_add_watch": (254, 27),
    "fadvise64": (221, 223), "mincore": (27, 232), "cachestat": (451, 451), "readahead": (187, 213),
    "preadv2": (327, 286), "pwritev2": (328, 287), "setxattrat": (463, 463), "removexattrat": (466, 466),
    "file_setattr": (469, 469),
    # namespaces, mounts, kernel facilities
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39),
    "pivot_root": (155, 41), "chroot": (161, 51), "open_tree": (428, 428), "move_mount": (429, 429),
    "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433),
    "mount_setattr": (442, 442), "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "fanotify_init": (300, 262), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "kexec_load": (246, 104), "kexec_file_load": (320, 294),
    "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89),
    "quotactl": (179, 60), "quotactl_fd": (443, 443), "syslog": (103, 116), "settimeofday": (164, 170),
    "clock_settime": (227, 112), "adjtimex": (159, 171), "clock_adjtime": (305, 266),
    "sethostname": (170, 161), "setdomainname": (171, 162), "iopl": (172, -1), "ioperm": (173, -1),
    "modify_ldt": (154, -1), "vhangup": (153, 58), "personality": (135, 92),
    # scheduling in favour of itself
    "sched_setscheduler": (144, 119), "sched_setparam": (142, 118), "sched_setattr": (314, 274),
    "setpriority": (141, 140), "ioprio_set": (251, 30),
}  # fmt: skip
_CLONE, _CLONE3 = (56, 220), (435, 435)
_CLONE_REFUSED = 0x7E02A000  # new namespaces of all kinds, CLONE_PTRACE, CLONE_PARENT
_SIGACTION = (13, 134)
_SIGNALS = {
    "kill": (62, 129),
    "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
}
_PRLIMIT, _AFFINITY = (302, 261), (203, 122)
# Shared memory without a file stays when it is unmapped page by page, and is then seen by no limit of ours.
_MMAP = (9, 222)
_SHARED_ANONYMOUS = 0x21  # MAP_SHARED | MAP_ANONYMOUS; MAP_SHARED_VALIDATE has the first bit, too
# name: numbers, index of the argument, values of it that are refused
_REFUSED_ARGUMENTS = {
    # FS_IOC_SETFLAGS, FS_IOC_FSSETXATTR, FICLONE, FICLONERANGE, FIDEDUPERANGE
    # FIOASYNC, FIOSETOWN, SIOCSPGRP, TIOCSTI, FS_IOC_SETVERSION (two numbers), FS_IOC_ENABLE_VERITY
    "ioctl": ((16, 29), 1, (0x40086602, 0x401C5820, 0x40049409, 0x4020940D, 0xC0189436,
                            0x5452, 0x8901, 0x8902, 0x5412, 0x40087602, 0x40086604, 0x40806685)),
    # F_SETOWN, F_SETSIG, F_SETOWN_EX, F_SETLEASE, F_NOTIFY: signals to others. F_ADD_SEALS: the artefact is
    # ours to seal. F_SET_RW_HINT, F_SET_FILE_RW_HINT: a note on a shared file for the next sandbox
    "fcntl": ((72, 25), 1, (8, 10, 15, 1024, 1026, 1033, 1036, 1038)),
    # PR_SET_PDEATHSIG; PR_SET_DUMPABLE, without which the harness cannot see its files
    "prctl": ((157, 167), 0, (1, 4)),
    "madvise": ((28, 233), 2, (20, 21)),  # MADV_COLD, MADV_PAGEOUT
}  # fmt: skip
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_LOAD, _AND, _JEQ, _JGE, _JSET, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS = 1, 38
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16


def _instruction(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("=HBBI", code, yes, no, value)


def _refuse(number: int, errno: int = _EPERM) -> bytes:
    return _instruction(_JEQ, number, 0, 1) + _instruction(_RETURN, _ERRNO | errno)


def _refuse_unless_first(number: int, test: bytes) -> bytes:
    """Refuses a call unless `test`, which looks at its first argument, jumps over one instruction."""
    body = _instruction(_LOAD, _FIRST_ARGUMENT) + test
    body += _instruction(_RETURN, _ERRNO | _EPERM) + _instruction(_RETURN, _ALLOW)
    return _instruction(_JEQ, number, 0, len(body) // 8) + body


def _refuse_values(number: int, index: int, values: tuple[int, ...]) -> bytes:
    """Refuses a call when the low half of one argument has one of these values."""
    body = _instruction(_LOAD, _FIRST_ARGUMENT + 8 * index)
    for value in values:
        body += _instruction(_JEQ, value, 0, 1) + _instruction(_RETURN, _ERRNO | _EPERM)
    body += _instruction(_RETURN, _ALLOW)
    return _instruction(_JEQ, number, 0, len(body) // 8) + body


def _refuse_all_of(number: int, index: int, bits: int) -> bytes:
    """Refuses a call when one argument has all of these bits."""
    body = _instruction(_LOAD, _FIRST_ARGUMENT + 8 * index) + _instruction(_AND, bits)
    body += _instruction(_JEQ, bits, 0, 1) + _instruction(_RETURN, _ERRNO | _EPERM)
    body += _instruction(_RETURN, _ALLOW)
    return _instruction(_JEQ, number, 0, len(body) // 8) + body


def seccomp_program(pid: int, machine: str) -> bytes:
    """The filter: a list of refusals, and everything else allowed.

    Args:
        pid: the only process that signals may go to: this one.
        machine: `platform.machine()`.
    """
    if machine not in _ARCHITECTURES:
        raise LockdownError(f"no seccomp table for {machine}: expected one of {', '.join(_ARCHITECTURES)}")
    column, architecture = _ARCHITECTURES[machine]
    program = _instruction(_LOAD, _ARCHITECTURE) + _instruction(_JEQ, architecture, 1, 0)
    program += _instruction(_RETURN, _KILL) + _instruction(_LOAD, _NUMBER)
    if machine == "x86_64":  # the x32 calls are the same ones under other numbers
        program += _instruction(_JGE, 0x40000000, 0, 1) + _instruction(_RETURN, _KILL)
    program += b"".join(_refuse(numbers[column]) for numbers in _DENIED.values() if numbers[column] >= 0)
    program += _refuse(_CLONE3[column], _ENOSYS)  # glibc then falls back to clone, whose flags can be seen
    program += _refuse_unless_first(_CLONE[column], _instruction(_JSET, _CLONE_REFUSED, 0, 1))
    # A process that ignores SIGCHLD has children whose CPU time the kernel adds to nobody's.
    program += _refuse_unless_first(_SIGACTION[column], _instruction(_JEQ, signal.SIGCHLD, 0, 1))
    own = _instruction(_JEQ, pid, 1, 0)
    program += b"".join(_refuse_unless_first(numbers[column], own) for numbers in _SIGNALS.values())
    for own_only in (_PRLIMIT, _AFFINITY):
        program += _refuse_unless_first(own_only[column], _instruction(_JEQ, 0, 1, 0))
    for refused, index, values in _REFUSED_ARGUMENTS.values():
        program += _refuse_values(refused[column], index, values)
    program += _refuse_all_of(_MMAP[column], 3, _SHARED_ANONYMOUS)
    return program + _instruction(_RETURN, _ALLOW)


def seccomp(program: bytes) -> None:
    """Installs a filter on every thread of this process.

    Raises:
        LockdownError: the kernel refused it.
    """
    buffer = ctypes.create_string_buffer(program, len(program))

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]

    _no_new_privileges()
    number = 277 if platform.machine() == "aarch64" else 317
    pointer = ctypes.byref(Program(len(program) // 8, ctypes.addressof(buffer)))
    _syscall(number, ctypes.c_uint(1), ctypes.c_uint(1), pointer)  # SECCOMP_SET_MODE_FILTER, TSYNC


def lock(readable: dict[str, list[str]] | None, scratch: str, filtered: bool) -> None:
    """The last step before a script: nothing but `readable` and `scratch`, and no dangerous system call.

    Args:
        readable: mode -> paths for Landlock; None where mount namespaces do its work.
        filtered: whether system calls are; they are not under `--unsafe-no-sandbox` alone.
    """
    if readable is not None:
        rules = [(path, mode) for mode, paths in readable.items() for path in paths]
        landlock([*rules, (scratch, WRITE), ("/dev/null", WRITE)])
    if filtered:
        seccomp(seccomp_program(os.getpid(), platform.machine()))
