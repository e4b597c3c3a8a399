"""Sandboxes: bubblewrap where it works, else Landlock, each with seccomp; otherwise refusal.

A sandbox is one process without children (seccomp refuses them), so its death is confirmed by waiting for
it, and its CPU time is one number that the kernel keeps.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
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
from autoresearch_rl.environment.view import INSIDE, INTERPRETER, View, package_folders
from autoresearch_rl.errors import SandboxError

BACKENDS = ("bubblewrap", "landlock")
DEATH_LIMIT = 20.0  # seconds until a killed process must be gone


@dataclass(frozen=True)
class Limits:
    """Hard limits of one sandbox."""

    memory_mb: int
    scratch_mb: int
    file_mb: int
    cpu_seconds: int
    threads: int


class SandboxProcess:
    """One running sandbox. Use as a context manager: leaving it kills, confirms the death, and cleans up."""

    def __init__(self, backend: str, role: str, limits: Limits, view: View) -> None:
        self.backend, self._limits = backend, limits
        self.log, self._cpu = LogRing(), 0.0
        try:
            self._scratch = scratch.make() if backend != "bubblewrap" else None
            self.control, theirs = socket.socketpair()
        except OSError as error:
            raise SandboxError(f"cannot prepare a {backend} sandbox: {error}") from error
        try:
            with theirs:
                self._process, self.pid = self._start(theirs.fileno(), view)
        except BaseException:
            self._clean_up()
            raise
        self._pidfd = os.pidfd_open(self.pid)
        self._drain = threading.Thread(target=self._read_log, daemon=True)
        self._drain.start()
        with contextlib.suppress(wire.WireError):  # it is dead already: `wait_ready` tells
            wire.send(self.control, self._settings(role, view))

    # --- life

    def _start(self, control: int, view: View) -> tuple[subprocess.Popen[bytes], int]:
        command = [str(INTERPRETER), *["-S", "-s", "-P", "-B", "-u"], str(INSIDE / "main.py"), str(control)]
        if self.backend != "bubblewrap":
            assert self._scratch is not None
            process = _popen(command, self._environment(self._scratch), (control,))
            return process, process.pid
        read, write = os.pipe()
        with os.fdopen(read, "rb") as info:
            with os.fdopen(write, "wb"):
                prefix = _bubblewrap_command(view, self._limits.scratch_mb, write)
                process = _popen([*prefix, "--", *command], self._environment("/scratch"), (control, write))
            return process, _child_pid(process, info.read())

    def _environment(self, home: str) -> dict[str, str]:
        threads = str(self._limits.threads)
        return {
            "PATH": "/usr/bin:/bin", "HOME": home, "TMPDIR": home,
            "PYTHONPATH": ":".join(map(str, package_folders())),
            "LANG": "C.UTF-8", "PYTHONHASHSEED": "0",
            "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads,
            "OMP_WAIT_POLICY": "PASSIVE",
        }  # fmt: skip

    def _settings(self, role: str, view: View) -> dict[str, Any]:
        landlock = None
        if self.backend == "landlock":
            landlock = {"list": [*map(str, view.folders())], "read": [*map(str, view.entries()), *_DEVICES]}
        return {
            "role": role,
            "parent": 0 if self.backend == "bubblewrap" else os.getpid(),
            "landlock": landlock,
            "scratch": self._scratch or "/scratch",
            "memory_mb": self._limits.memory_mb,
            "file_mb": self._limits.file_mb,
            "cpu_seconds": self._limits.cpu_seconds,
            "threads": self._limits.threads,
        }

    def wait_ready(self, seconds: float) -> None:
        """Waits until the sandbox is locked down and has imported what it needs.

        Raises:
            SandboxError: it did not come up: nothing untrusted has run.
        """
        try:
            frame = wire.receive(self.control, time.monotonic() + seconds)
        except wire.WireError as error:
            self.kill()
            raise SandboxError(
                f"the {self.backend} sandbox did not start: {error}{self._last_line()}"
            ) from error
        if frame.type != "ready":
            raise SandboxError(f"the {self.backend} sandbox did not lock down: {frame.body.get('error')}")

    def submit(self, job: dict[str, Any], fds: tuple[int, ...] = ()) -> None:
        """Gives the waiting sandbox its job; from here on it is not to be trusted.

        Raises:
            SandboxError: it died while it waited.
        """
        try:
            wire.send(self.control, job, fds=fds)
        except wire.WireError as error:
            raise SandboxError(
                f"the {self.backend} sandbox took no job: {error}{self._last_line()}"
            ) from error

    def _last_line(self) -> str:
        lines = self.log.text().strip().splitlines()
        return f" ({lines[-1]})" if lines else ""

    def kill(self) -> None:
        """Kills the sandbox and returns when every process in it is gone.

        Raises:
            SandboxError: it is still there after `DEATH_LIMIT` seconds.
        """
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)  # readable means dead
        if not poll.poll(DEATH_LIMIT * 1000):
            raise SandboxError(f"process {self.pid} survived SIGKILL for {DEATH_LIMIT:.0f} s")
        self._process.wait(DEATH_LIMIT)
        self._drain.join(1.0)

    def exit_reason(self) -> str:
        """How the process ended, in words, once it is dead."""
        code = self._process.wait(DEATH_LIMIT)
        number = code - 128 if self.backend == "bubblewrap" else -code  # bwrap tells it as a shell does
        if number > 0:
            with contextlib.suppress(ValueError):
                return f"killed by {signal.Signals(number).name}"
        return f"exit code {code}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.kill()
        finally:
            os.close(self._pidfd)
            self._clean_up()

    def _clean_up(self) -> None:
        self.control.close()
        if self._scratch is not None:
            scratch.remove(self._scratch)

    # --- what the kernel says about it

    def cpu_seconds(self) -> float:
        """CPU seconds of all its threads, dead ones included; after its death, the last that was read."""
        with contextlib.suppress(OSError):  # it is gone: its last reading stands
            self._cpu = time.clock_gettime((~self.pid << 3) | 2)  # clock_getcpuclockid(3): CPUCLOCK_SCHED
        return self._cpu

    def alive(self) -> bool:
        """Whether the process still runs."""
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return not poll.poll(0)

    def memory_mb(self) -> tuple[float, float]:
        """Resident memory now and at its peak; zeros once it is dead."""
        # When the first thread has ended, only the others' files tell.
        for path in (Path(f"/proc/{self.pid}/status"), *Path(f"/proc/{self.pid}/task").glob("*/status")):
            with contextlib.suppress(OSError):
                found = dict(line.split(":", 1) for line in path.read_text().splitlines() if line[:2] == "Vm")
                if "VmRSS" in found:
                    return _megabytes(found["VmRSS"]), _megabytes(found["VmHWM"])
        return 0.0, 0.0

    def overuse(self) -> str | None:
        """Which limit of memory or scratch space it exceeds now, in one line."""
        limits, memory = self._limits, self.memory_mb()[0]
        if memory > limits.memory_mb:
            return f"memory: {memory:.0f} MB used, {limits.memory_mb} MB allowed"
        disk = scratch.megabytes(self._scratch, self.pid) if self._scratch else 0.0  # bubblewrap has a quota
        if disk > limits.scratch_mb:
            return f"scratch: {disk:.0f} MB used, {limits.scratch_mb} MB in {scratch.MAX_FILES} files allowed"
        return None

    def _read_log(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        with stream:
            while data := os.read(stream.fileno(), 1 << 16):
                self.log.write(data)


# What Python and torch read besides files: Landlock knows no private /proc or /dev.
_DEVICES = ("/dev/null", "/dev/urandom", "/dev/zero", "/proc/cpuinfo", "/proc/meminfo", "/proc/self")


def _megabytes(text: str) -> float:
    return int(text.split()[0]) / 1024


def _popen(
    command: Sequence[str], environment: dict[str, str], fds: tuple[int, ...]
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=fds,
            start_new_session=True,  # Ctrl-C in the terminal is for the harness alone
            cwd="/",
        )
    except OSError as error:
        raise SandboxError(f"cannot start {command[0]}: {error.strerror}") from error


def _bubblewrap_command(view: View, scratch_mb: int, info: int) -> list[str]:
    command = [
        "bwrap",
        "--unshare-all",
        "--unshare-user",
        "--disable-userns",
        "--die-with-parent",
        "--as-pid-1",
    ]
    command += ["--cap-drop", "ALL", "--uid", "65534", "--gid", "65534", "--hostname", "sandbox"]
    for link in ("/lib", "/lib64", "/bin", "/usr/lib64"):
        if os.path.islink(link):
            command += ["--symlink", os.readlink(link), link]
    for root in view.roots:
        command += ["--ro-bind", str(root), str(root)]
    for path in view.hidden:
        command += ["--tmpfs", str(path)] if path.is_dir() else ["--ro-bind", "/dev/null", str(path)]
        command += ["--remount-ro", str(path)] if path.is_dir() else []
    command += ["--proc", "/proc", "--dev", "/dev", "--size", str(1 << 20), "--tmpfs", "/dev/shm"]
    command += ["--remount-ro", "/dev", "--size", str(scratch_mb << 20), "--tmpfs", "/scratch"]
    return [*command, "--remount-ro", "/", "--chdir", "/scratch", "--info-fd", str(info)]


def _child_pid(process: subprocess.Popen[bytes], info: bytes) -> int:
    try:
        return int(json.loads(info)["child-pid"])
    except (ValueError, KeyError) as error:
        process.kill()
        output = process.communicate()[0].decode(errors="replace").strip()
        raise SandboxError(f"bubblewrap did not start: {output or 'no message'}") from error


@dataclass(frozen=True)
class Backend:
    """A way to make sandboxes: one of `BACKENDS`, and what can be read inside."""

    name: str
    view: View

    def start(self, role: str, limits: Limits) -> SandboxProcess:
        """Starts a sandbox that waits for a job of the given role (`session`, `server`, `check`).

        Raises:
            SandboxError: the backend cannot be started here.
        """
        return SandboxProcess(self.name, role, limits, self.view)


def check(backend: Backend, hidden: Iterable[Path], outside: Iterable[Path]) -> dict[str, bool]:
    """Starts a sandbox that tries to break out; returns what was tried -> whether the sandbox held.

    Args:
        hidden: held-out documents that must not be readable.
        outside: files that must not be writable.

    Raises:
        SandboxError: the backend cannot be started here.
    """
    limits = Limits(memory_mb=1024, scratch_mb=16, file_mb=16, cpu_seconds=30, threads=1)
    with backend.start("check", limits) as process:
        process.wait_ready(30.0)
        job = {"hidden": [*map(str, hidden)], "outside": [*map(str, outside)], "harness": os.getpid()}
        process.submit(job)
        try:
            frame = wire.receive(process.control, time.monotonic() + 30.0)
        except wire.WireError as error:
            raise SandboxError(f"the {backend.name} sandbox broke off its self-test: {error}") from error
    return dict(frame.body["holds"])


def choose(wanted: str, view: View, hidden: Sequence[Path], outside: Sequence[Path]) -> Backend:
    """The best backend whose self-test holds.

    Args:
        wanted: `auto`, or one of `BACKENDS`.

    Raises:
        SandboxError: none works; the message tells why for each, and how to mend it.
    """
    if sys.platform != "linux":
        raise SandboxError(f"untrusted scripts can be locked in on Linux only, but this is {sys.platform}")
    problems = []
    for name in BACKENDS if wanted == "auto" else (wanted,):
        backend = Backend(name, view)
        problem = trouble(backend, hidden, outside)
        if problem is None:
            return backend
        problems.append(f"{name}: {problem}")
    raise SandboxError(
        f"no sandbox holds here ({'; '.join(problems)}). Install bubblewrap, or use Linux 6.2 or newer "
        "with Landlock; untrusted scripts do not run without one"
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
