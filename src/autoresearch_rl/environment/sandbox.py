"""Sandboxes: bubblewrap where it works, else Landlock, each with seccomp; otherwise refusal.

A sandbox is forked from the study's zygote in some hundredths of a second. Its first process, trusted and
out of the script's reach, confirms the death of all that the script has started.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from autoresearch_rl.environment import scratch
from autoresearch_rl.environment.inside import lockdown, wire
from autoresearch_rl.environment.log import LogRing
from autoresearch_rl.environment.processes import Process, Tree
from autoresearch_rl.environment.view import View
from autoresearch_rl.environment.zygote import START_LIMIT, UNTRUSTED, Zygote, drain, zygote_for
from autoresearch_rl.errors import SandboxError

BACKENDS = ("bubblewrap", "landlock")
DEATH_LIMIT = 20.0  # seconds until a killed sandbox must be gone
MAX_THREADS = 1024
# For torch.compile: in this process, without the trial run of another that imports torch (two CPU seconds).
COMPILER = {
    "TORCHINDUCTOR_COMPILE_THREADS": "1",
    "TORCHINDUCTOR_VEC_ISA_OK": "1",
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
}


@dataclass(frozen=True)
class Limits:
    """Hard limits of one sandbox."""

    memory_mb: int
    scratch_mb: int
    file_mb: int
    cpu_seconds: int  # of each process: a backstop


class Sandbox:
    """One running sandbox. Use as a context manager: leaving it kills, confirms the death, and cleans up."""

    def __init__(self, zygote: Zygote, role: str, limits: Limits) -> None:
        self.backend, self._limits, self._zygote = zygote.backend, limits, zygote
        self.log, self._drain = LogRing(), threading.Thread()
        self._open = contextlib.ExitStack()  # what is ours: closed when it is over
        try:
            self._scratch = self._make_scratch()
            self.control, control = self._pair()
            self._reins, reins = self._pair()
            output, log = os.pipe()
            self._drain = threading.Thread(
                target=drain, args=(os.fdopen(output, "rb"), self.log), daemon=True
            )
            self._drain.start()
            with control, reins, os.fdopen(log, "wb"):
                zygote.ask(self._wanted(role), (control.fileno(), reins.fileno(), log))
            self._first, self._script = self._processes()
            self._tree = Tree(self._first.pid, self._script.pid)
            self._open.callback(self.kill)
            self._await_ready()
        except OSError as error:
            self._open.close()
            raise SandboxError(f"cannot prepare a {self.backend} sandbox: {error}") from error
        except BaseException:
            self._open.close()
            raise

    # --- life

    def _make_scratch(self) -> str:
        if self.backend == "bubblewrap":
            return "/scratch"
        folder = scratch.make()
        self._open.callback(scratch.remove, folder)
        return folder

    def _pair(self) -> tuple[socket.socket, socket.socket]:
        ours, theirs = socket.socketpair()
        self._open.callback(ours.close)
        return ours, theirs

    def _wanted(self, role: str) -> dict[str, Any]:
        limits = self._limits
        return {
            "role": role,
            "scratch": self._scratch,
            "scratch_mb": limits.scratch_mb,
            "memory_mb": limits.memory_mb,
            "file_mb": limits.file_mb,
            "cpu_seconds": limits.cpu_seconds,
            "environment": {"HOME": self._scratch, "TMPDIR": self._scratch, **COMPILER},
        }

    def _processes(self) -> tuple[Process, Process]:
        frame = self._receive(self._reins, max_fds=2)
        if frame.type != "started" or len(frame.fds) != 2:
            raise SandboxError(f"the {self.backend} sandbox did not start: {frame.body.get('error')}")
        for fd in frame.fds:
            self._open.callback(os.close, fd)
        first, script = map(Process, frame.fds)
        return first, script

    def _await_ready(self) -> None:
        frame = self._receive(self.control)
        if frame.type != "ready":
            raise SandboxError(f"the {self.backend} sandbox did not lock down: {frame.body.get('error')}")

    def _receive(self, sock: socket.socket, max_fds: int = 0) -> wire.Frame:
        try:
            return wire.receive(sock, time.monotonic() + START_LIMIT, max_fds=max_fds)
        except wire.WireError as error:
            reason = self._zygote.last_words() or error
            raise SandboxError(f"the {self.backend} sandbox did not start: {reason}") from error

    def submit(self, job: dict[str, Any], fds: tuple[int, ...] = ()) -> None:
        """Gives the sandbox its job; from here on it is not to be trusted.

        Raises:
            SandboxError: it died while it waited.
        """
        try:
            wire.send(self.control, job, fds=fds)
        except wire.WireError as error:
            raise SandboxError(f"the {self.backend} sandbox took no job: {error}") from error

    def kill(self) -> None:
        """Kills the sandbox and returns when every process in it is gone.

        Raises:
            SandboxError: something is still there after `DEATH_LIMIT` seconds.
        """
        # The kernel ends a process namespace with its first process; elsewhere that process sees to it.
        number = signal.SIGKILL if self.backend == "bubblewrap" else signal.SIGTERM
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._first.pidfd, number)
        if not self._first.wait(DEATH_LIMIT):
            raise SandboxError(f"sandbox {self._first.pid} survived its end for {DEATH_LIMIT:.0f} s")
        self._drain.join(1.0)

    def exit_reason(self) -> str:
        """How the script's process ended by itself, in words. Ask before `kill`."""
        return ended_with(self.exit_code()) if self._script.wait(1.0) else "it closed its channel"

    def exit_code(self) -> int | None:
        """What the script's process, now dead, ended with, or minus the signal that killed it.

        None when nobody can tell. Ask once, before `kill`.
        """
        try:
            return int(wire.receive(self._reins, time.monotonic() + DEATH_LIMIT).body["code"])
        except wire.WireError:
            return None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    # --- what the kernel says about it

    def cpu_seconds(self) -> float:
        """CPU seconds of all its processes, dead ones included; after its death, the last that was read."""
        return self._tree.cpu_seconds()

    def peak_memory_mb(self) -> float:
        """The most memory that its processes held at one time."""
        return self._tree.peak_memory_mb()

    def alive(self) -> bool:
        """Whether the script's process still runs."""
        return self._script.alive()

    def processes(self) -> list[int]:
        """What the script has started and itself, as process numbers."""
        return self._tree.members()

    def overuse(self) -> str | None:
        """Which limit of memory, threads or scratch space it exceeds now, in one line."""
        limits, usage = self._limits, self._tree.usage()
        if usage.memory_mb > limits.memory_mb:
            return f"memory: {usage.memory_mb:.0f} MB used, {limits.memory_mb} MB allowed"
        if usage.threads > MAX_THREADS:
            return f"processes: {usage.threads} threads run, {MAX_THREADS} allowed"
        if self.backend == "bubblewrap":  # it has a quota
            return None
        disk = scratch.megabytes(self._scratch, self.processes())
        if disk > limits.scratch_mb:
            return f"scratch: {disk:.0f} MB used, {limits.scratch_mb} MB in {scratch.MAX_FILES} files allowed"
        return None


def ended_with(code: int | None) -> str:
    """What `Sandbox.exit_code` says, in words."""
    if code is None:
        return "killed"
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"


@dataclass(frozen=True)
class Backend:
    """A way to make sandboxes: one of `BACKENDS`, or `UNTRUSTED`, and what can be read inside."""

    name: str
    view: View

    def start(self, role: str, limits: Limits) -> Sandbox:
        """Starts a sandbox that waits for a job of the given role (`session`, `server`, `shapes`, `check`).

        Raises:
            SandboxError: the backend cannot be started here.
        """
        return Sandbox(zygote_for(self.name, self.view), role, limits)


def check(backend: Backend, hidden: Iterable[Path], outside: Iterable[Path]) -> dict[str, bool]:
    """Starts a sandbox that tries to break out; returns what was tried -> whether the sandbox held.

    Args:
        hidden: held-out documents that must not be readable.
        outside: files that must not be writable.

    Raises:
        SandboxError: the backend cannot be started here.
    """
    limits = Limits(memory_mb=1024, scratch_mb=16, file_mb=32, cpu_seconds=30)
    with backend.start("check", limits) as sandbox:
        job = {"hidden": [*map(str, hidden)], "outside": [*map(str, outside)], "harness": os.getpid()}
        sandbox.submit({**job, "memory_mb": limits.memory_mb, "scratch_mb": limits.scratch_mb})
        try:
            frame = wire.receive(sandbox.control, time.monotonic() + 30.0)
        except wire.WireError as error:
            raise SandboxError(f"the {backend.name} sandbox broke off its self-test: {error}") from error
        quota = frame.body["quota"] or sandbox.overuse() is not None
        return {**frame.body["holds"], "quota": quota, "escapee": _died_with(sandbox)}


def _died_with(sandbox: Sandbox) -> bool:
    """Whether the child that the self-test has abandoned dies with its sandbox."""
    members = [Process(os.pidfd_open(pid)) for pid in sandbox.processes()]
    sandbox.kill()
    gone = len(members) == 2 and not any(member.alive() for member in members)
    for member in members:
        os.close(member.pidfd)
    return gone


def choose(wanted: str, view: View, hidden: Sequence[Path], outside: Sequence[Path]) -> Backend:
    """The best backend whose self-test holds.

    Args:
        wanted: `auto`, one of `BACKENDS`, or `UNTRUSTED`.

    Raises:
        SandboxError: none works; the message tells why for each, and how to mend it.
    """
    if sys.platform != "linux":
        raise SandboxError(f"untrusted scripts can be locked in on Linux only, but this is {sys.platform}")
    if wanted == UNTRUSTED:
        return Backend(UNTRUSTED, view)
    problems = []
    for name in BACKENDS if wanted == "auto" else (wanted,):
        backend = Backend(name, view)
        problem = trouble(backend, hidden, outside)
        if problem is None:
            return backend
        problems.append(f"{name}: {problem}")
    raise SandboxError(
        f"no sandbox holds here ({'; '.join(problems)}). Install bubblewrap, or use Linux 6.2 or newer "
        "with Landlock; untrusted scripts do not run without one, unless you say --unsafe-no-sandbox"
    )


def trouble(backend: Backend, hidden: Sequence[Path], outside: Sequence[Path]) -> str | None:
    """Why a backend must not be used, in one line; None when its self-test holds."""
    if backend.name == "bubblewrap" and shutil.which("bwrap") is None:
        return "bwrap is not installed"
    version = lockdown.landlock_version()
    if backend.name == "landlock" and version < lockdown.LANDLOCK_MINIMUM:
        return f"Landlock version {lockdown.LANDLOCK_MINIMUM} is needed, but the kernel has {version}"
    try:
        failed = [name for name, held in check(backend, hidden, outside).items() if not held]
    except SandboxError as error:
        return str(error)
    return f"self-test failed: {', '.join(failed)}" if failed else None
