"""The sandbox tries to break out of itself, so that the harness can tell whether it holds."""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

from . import wire


def _refused(attempt: Callable[..., Any], *arguments: Any) -> bool:
    try:
        attempt(*arguments)
    except OSError:
        return True
    return False


def _abandon_a_child() -> None:
    """Leaves a process behind that nobody waits for and that ignores polite signals."""
    if (pid := os.fork()) == 0:
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(3600)
        os._exit(0)
    os.waitpid(pid, 0)


def _new_namespace() -> None:
    if ctypes.CDLL(None, use_errno=True).unshare(0x10000000) != 0:
        raise OSError(ctypes.get_errno(), "unshare")


def _allocate(megabytes: int) -> None:
    try:
        mmap.mmap(-1, megabytes << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except MemoryError as error:
        raise OSError(str(error)) from error


def _fill(megabytes: int) -> None:
    for name in ("one", "two"):
        with open(name, "wb") as file:
            for _ in range(megabytes):
                file.write(bytes(1 << 20))


def _read(path: str) -> None:
    with open(path, "rb") as file:
        file.read(1)


def _write(path: str) -> None:
    with open(path, "ab") as file:
        file.write(b"x")


def run(sock: socket.socket, frame: wire.Frame) -> None:
    """Tries what must be refused, and what must be possible. Answers name -> whether it holds."""
    job = frame.body
    holds = {
        "network": _refused(socket.socket, socket.AF_INET, socket.SOCK_STREAM),
        "unix sockets": _refused(socket.socket, socket.AF_UNIX, socket.SOCK_DGRAM),
        "held-out text": all(_refused(_read, path) for path in job["hidden"]),
        "writing outside": all(_refused(_write, path) for path in job["outside"]),
        "settings of the kernel": _refused(os.open, "/proc/sys/kernel/core_pattern", os.O_WRONLY),
        "new namespaces": _refused(_new_namespace),
        "a session of its own": _refused(os.setsid),
        "memory": _refused(_allocate, job["memory_mb"] + 64),
        "signals to others": _refused(os.kill, job["harness"], 0),
        "scratch": not _refused(_write, "probe"),
    }
    _abandon_a_child()
    # Where there is no quota, the harness has to notice.
    wire.send(sock, {"t": "checked", "holds": holds, "quota": _refused(_fill, job["scratch_mb"])})
    wire.receive(sock)
