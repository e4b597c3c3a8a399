"""What the kernel says about a sandbox from outside: its processes, their CPU time, memory and threads.

No control group is needed. Children are found from parent to child. CPU time cannot be hidden in short-lived
ones: the parent that waits for a child inherits its time, a parent that does not want to is refused
(`lockdown.seccomp`), and the sandbox's own first process waits for what has been abandoned.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20


@dataclass(frozen=True)
class Usage:
    """Of all processes of a sandbox, now."""

    memory_mb: float  # resident, and the page tables; shared pages count in each process
    threads: int


class Process:
    """A process that is not necessarily our child, held by its descriptor: its number cannot be mistaken."""

    def __init__(self, pidfd: int) -> None:
        self.pidfd = pidfd
        lines = Path(f"/proc/self/fdinfo/{pidfd}").read_text().splitlines()
        self.pid = next(int(line.split()[1]) for line in lines if line.startswith("Pid:"))

    def alive(self) -> bool:
        """Whether it still runs."""
        return not self.wait(0.0)

    def wait(self, seconds: float) -> bool:
        """Waits until it is dead; False when it is not by then."""
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)  # readable means dead
        return bool(poll.poll(seconds * 1000))


class Tree:
    """The processes below a sandbox's first one, `init`, which itself counts for what it has buried."""

    def __init__(self, init: int, script: int) -> None:
        self.init, self.script = init, script
        self._cpu = self._peak = 0.0

    def cpu_seconds(self) -> float:
        """CPU seconds of all threads of all processes, dead ones included. Never less than before."""
        members = self.members()
        # In this order a child that dies in between is missing for one look, and never counted twice.
        seconds = sum(map(_inherited_seconds, (self.init, *members))) + sum(map(_own_seconds, members))
        self._cpu = max(self._cpu, seconds)
        return self._cpu

    def usage(self) -> Usage:
        """Memory and threads; zeros once all are dead."""
        found = [(pid, fields) for pid in self.members() if (fields := _stat(f"{pid}"))]
        memory = sum(_resident_mb(pid, fields) + _status_mb(pid, "VmPTE") for pid, fields in found)
        return Usage(memory, sum(int(fields[17]) for _, fields in found))

    def peak_memory_mb(self) -> float:
        """The most that was resident at one time: the kernel's own peak of the script's process, or ours."""
        self._peak = max(self._peak, self.usage().memory_mb, _status_mb(self.script, "VmHWM"))
        return self._peak

    def members(self) -> list[int]:
        """All processes but `init`."""
        found: list[int] = []
        waiting = [self.init]
        while waiting:
            children = _children(waiting.pop())
            found += children
            waiting += children
        return found


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for thread in _threads(pid):
        with contextlib.suppress(OSError):
            found += map(int, Path(f"/proc/{pid}/task/{thread}/children").read_text().split())
    return found


def _own_seconds(pid: int) -> float:
    with contextlib.suppress(OSError):  # buried: its time is its parent's now
        return time.clock_gettime((~pid << 3) | 2)  # clock_getcpuclockid(3): CPUCLOCK_SCHED
    return 0.0


def _inherited_seconds(pid: int) -> float:
    fields = _stat(f"{pid}")
    return (int(fields[13]) + int(fields[14])) / TICKS if fields else 0.0  # cutime, cstime


def _stat(path: str) -> list[str]:
    """The fields of proc_pid_stat(5) from the third (state) on; empty when it is gone."""
    try:
        return Path(f"/proc/{path}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _resident_mb(pid: int, fields: list[str]) -> float:
    pages = int(fields[21])
    if not pages and int(fields[17]) > 1:  # its first thread has ended: only the others' files tell
        others = (_stat(f"{pid}/task/{name}") for name in _threads(pid))
        pages = max((int(other[21]) for other in others if other), default=0)
    return pages * PAGE_MB


def _status_mb(pid: int, name: str) -> float:
    """A size of proc_pid_status(5); of the other threads' files when the first thread has ended."""
    for path in (f"/proc/{pid}/status", *(f"/proc/{pid}/task/{name}/status" for name in _threads(pid))):
        with contextlib.suppress(OSError):
            for line in Path(path).read_text().splitlines():
                if line.startswith(f"{name}:"):
                    return int(line.split()[1]) / 1024
    return 0.0


def _threads(pid: int) -> list[str]:
    try:
        return os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
