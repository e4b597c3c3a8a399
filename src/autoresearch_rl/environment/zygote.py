"""Starts the zygote (`inside/zygote.py`) of a study, and asks it for sandboxes.

With bubblewrap the zygote itself lives in the view that scripts get, without network; it may make namespaces,
the sandboxes that it forks may not. With Landlock it is an ordinary process, and each fork locks itself in.
"""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from functools import cache
from typing import IO, Any

from autoresearch_rl.environment.inside import wire
from autoresearch_rl.environment.log import LogRing
from autoresearch_rl.environment.view import INSIDE, INTERPRETER, View, package_folders
from autoresearch_rl.errors import SandboxError

UNTRUSTED = "none (UNTRUSTED)"  # the backend of `--unsafe-no-sandbox`: every result bears this name
START_LIMIT = 120.0  # seconds for a sandbox to be ready: the first waits until torch is imported
# What Python and torch read besides files: Landlock knows no private /proc or /dev.
_DEVICES = ("/dev/null", "/dev/urandom", "/proc/cpuinfo", "/proc/meminfo", "/proc/self")


@cache
def zygote_for(backend: str, view: View) -> Zygote:
    """The zygote of this process for a view: one is enough for all its studies. It ends with the process."""
    zygote = Zygote(backend, view)
    atexit.register(zygote.close)
    return zygote


class Zygote:
    """A process that has imported torch and waits. Safe to use from several threads."""

    def __init__(self, backend: str, view: View) -> None:
        self.backend, self._view = backend, view
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._log, self._drain = LogRing(), threading.Thread()

    def ask(self, wanted: dict[str, Any], fds: tuple[int, int, int]) -> None:
        """Asks for a sandbox. It reports over its own socket.

        Args:
            wanted: its role and limits.
            fds: what it gets: the control socket, the reins, the log.

        Raises:
            SandboxError: the zygote does not start here.
        """
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._start()
            assert self._socket is not None
            try:
                wire.send(self._socket, wanted, fds=fds)
            except wire.WireError as error:
                raise self._trouble(str(error)) from error

    def close(self) -> None:
        """Ends it, and with it every sandbox that is still there."""
        with self._lock:
            self._end()

    def _start(self) -> None:
        self._end()
        ours, theirs = socket.socketpair()
        with theirs:
            command = [str(INTERPRETER), *["-S", "-s", "-P", "-B", "-u"], str(INSIDE / "zygote.py")]
            prefix = bubblewrap(self._view) if self.backend == "bubblewrap" else []
            home = "/scratch" if prefix else tempfile.gettempdir()
            self._process = _popen([*prefix, *command, str(theirs.fileno())], home, theirs.fileno())
        self._socket, self._log = ours, LogRing()
        self._drain = threading.Thread(target=drain, args=(self._process.stdout, self._log), daemon=True)
        self._drain.start()
        try:
            wire.send(ours, self._shared())
            wire.receive(ours, time.monotonic() + START_LIMIT)
        except wire.WireError as error:
            raise self._trouble(str(error)) from error

    def _shared(self) -> dict[str, Any]:
        landlock = None
        if self.backend == "landlock":
            landlock = {
                "list": [*map(str, self._view.folders())],
                "read": [*map(str, self._view.entries()), *_DEVICES],
            }
        return {
            "namespaces": self.backend == "bubblewrap",
            "landlock": landlock,
            "filtered": self.backend != UNTRUSTED,
        }

    def last_words(self) -> str:
        """The last line that it has printed: why it died, if it did."""
        lines = self._log.text().strip().splitlines()
        return lines[-1] if lines else ""

    def _trouble(self, message: str) -> SandboxError:
        self._end()
        self._drain.join(1.0)
        return SandboxError(f"the {self.backend} sandbox did not start: {self.last_words() or message}")

    def _end(self) -> None:
        if self._socket is not None:
            self._socket.close()
        if self._process is not None:
            self._process.kill()  # and the kernel, or each sandbox's first process, kills the sandboxes
            self._process.wait()
        self._socket = self._process = None


def drain(stream: IO[bytes] | None, log: LogRing) -> None:
    """Reads untrusted output until everybody who could write it is dead."""
    assert stream is not None
    with stream:
        while data := os.read(stream.fileno(), 1 << 16):
            log.write(data)


def _popen(command: Sequence[str], home: str, fd: int) -> subprocess.Popen[bytes]:
    environment = {
        "PATH": "/usr/bin:/bin", "HOME": home, "TMPDIR": home, "LANG": "C.UTF-8", "PYTHONHASHSEED": "0",
        "PYTHONPATH": ":".join(map(str, package_folders())),
        # One thread while it imports: a process with more cannot be forked safely. Sandboxes set their own.
        "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
    }  # fmt: skip
    try:
        return subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(fd,),
            start_new_session=True,  # Ctrl-C in the terminal is for the harness alone
            cwd="/",
        )
    except OSError as error:
        raise SandboxError(f"cannot start {command[0]}: {error.strerror}") from error


def bubblewrap(view: View) -> list[str]:
    """The command that puts the zygote into the view.

    It keeps one capability, in its own user namespace: to mount fresh scratch folders for its sandboxes.
    """
    command = ["bwrap", "--unshare-all", "--unshare-user", "--die-with-parent", "--as-pid-1"]
    command += ["--cap-drop", "ALL", "--cap-add", "CAP_SYS_ADMIN", "--uid", "0", "--gid", "0"]
    command += ["--hostname", "sandbox"]
    for name in ("/lib", "/lib64", "/bin", "/usr/lib64"):
        if os.path.islink(name):
            command += ["--symlink", os.readlink(name), name]
    for root in view.roots:
        command += ["--ro-bind", str(root), str(root)]
    for link in view.links:
        command += ["--symlink", str(link.resolve()), str(link)]
    for path in view.hidden:
        command += ["--tmpfs", str(path)] if path.is_dir() else ["--ro-bind", "/dev/null", str(path)]
        command += ["--remount-ro", str(path)] if path.is_dir() else []
    command += ["--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev"]
    return [*command, "--size", str(1 << 20), "--tmpfs", "/scratch", "--remount-ro", "/", "--"]
