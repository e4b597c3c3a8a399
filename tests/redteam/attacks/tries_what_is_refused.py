"""Tries each thing that system calls must refuse, and counts what worked."""

# expect: crash
# reason: RuntimeError: 39 tried, worked: []

import ctypes
import fcntl
import mmap
import os
import resource
import signal
import socket
import threading
from pathlib import Path

libc = ctypes.CDLL(None, use_errno=True)


def opened():
    return os.open(os.__file__, os.O_RDONLY)


def call(name, *arguments):
    if getattr(libc, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)


ATTEMPTS = {
    "a pair of sockets": lambda: socket.socketpair(),
    "children that nobody counts": lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN),
    "a mount": lambda: call("mount", b"tmpfs", b"/scratch", b"tmpfs", 0, None),
    "a signal to the parent": lambda: os.kill(os.getppid(), 0),
    "a new session": lambda: os.setsid(),
    "a new group": lambda: os.setpgid(0, 0),
    "a file in memory": lambda: os.memfd_create("x"),
    "a mode": lambda: os.chmod(".", 0o777),
    "a large file": lambda: Path("big").write_bytes(bytes(64 << 20)),
    "a file at home": lambda: Path("/root/redteam").touch(),
    "a file in /tmp": lambda: Path("/tmp/redteam").touch(),
    "a lot in /dev/shm": lambda: Path("/dev/shm/redteam").write_bytes(bytes(1 << 24)),
    "a higher limit": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096)),
    "limits of another": lambda: resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (1, 1)),
    "outliving the harness": lambda: call("prctl", 1, 0, 0, 0, 0),
    "hiding from the harness": lambda: call("prctl", 4, 0, 0, 0, 0),
    "a user namespace": lambda: call("unshare", 0x10000000),
    "a process in a namespace": lambda: call("syscall", 56, 0x10000000 | 17, 0, 0, 0, 0),
    "a sibling": lambda: call("syscall", 56, 0x8000 | 17, 0, 0, 0, 0),
    "tracing": lambda: call("ptrace", 0, 0, 0, 0),
    "memory of another": lambda: call("syscall", 310, os.getppid(), 0, 0, 0, 0, 0),
    "a handle on another": lambda: os.pidfd_open(os.getppid()),
    "flags of a file": lambda: fcntl.ioctl(opened(), 0x40086602, bytes(8)),
    "generation of a file": lambda: fcntl.ioctl(opened(), 0x40087602, bytes(8)),
    "a file that is fixed": lambda: fcntl.ioctl(opened(), 0x40806685, bytes(128)),
    "a note on a file": lambda: fcntl.fcntl(opened(), 1036, (3).to_bytes(8, "little")),
    "a lease": lambda: fcntl.fcntl(opened(), fcntl.F_SETLEASE, fcntl.F_RDLCK),
    "watching a folder": lambda: fcntl.fcntl(os.open(".", 0), fcntl.F_NOTIFY, 1),
    "watching a file": lambda: call("inotify_init1", 0),
    "evicting a page": lambda: os.posix_fadvise(opened(), 0, 0, os.POSIX_FADV_DONTNEED),
    "reading the cache": lambda: os.preadv(opened(), [bytearray(9)], 0, os.RWF_NOWAIT),
    "signals by a file": lambda: fcntl.fcntl(0, fcntl.F_SETOWN, os.getppid()),
    "pages in a pipe": lambda: call("vmsplice", os.pipe()[1], None, 0, 0),
    "shared memory without a file": lambda: mmap.mmap(-1, 4096),
    "shared memory that stays": lambda: call("shmget", 1234, 4096, 0o1600),
    "a message queue": lambda: call("msgget", 1234, 0o1600),
    "a terminal": lambda: os.open("/dev/ptmx", os.O_RDWR),
    "a device": lambda: os.mknod("node"),
    "a pipe with a name": lambda: os.mkfifo("fifo"),
}


def train(env):
    worked = []
    thread = threading.Thread(target=print)  # threads are fine
    thread.start()
    for name, attempt in ATTEMPTS.items():
        try:
            attempt()
        except (OSError, ValueError):
            continue
        worked.append(name)
    raise RuntimeError(f"{len(ATTEMPTS)} tried, worked: {worked}")
