"""The first process of a sandbox: gives it a place of its own, forks the script's process, and buries it.

It runs no script either. What the script starts and abandons becomes its child, so that nothing escapes
from being counted or killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import tempfile
from typing import Any, NoReturn

from . import lockdown, wire

ROLES: dict[str, Any] = {}  # name -> module with `run(sock, frame)`; filled by the zygote
_AWAITED = {signal.SIGCHLD, signal.SIGTERM}


def run(shared: dict[str, Any], wanted: dict[str, Any], control: int, reins: int, log: int) -> NoReturn:
    """Becomes a sandbox. Reports over `reins`; the script's process gets `control` and `log`."""
    sock = socket.socket(fileno=reins)
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        if shared["namespaces"]:
            _own_namespaces(wanted["scratch_mb"])
        else:
            lockdown.adopt_orphans()
            lockdown.die_with_parent(signal.SIGTERM, shared["zygote"])
        lockdown.drop_capabilities()
        lockdown.hide_memory(True)  # without namespaces for processes, and as pid 1 to the script
        parent, script = os.getpid(), os.fork()
        if script == 0:
            sock.close()
            _script(shared, wanted, parent, control, log)
        with contextlib.suppress(OSError):  # it has done so itself
            os.setpgid(script, script)
        os.close(control)
        os.close(log)
        wire.send(sock, {"t": "started"}, fds=(os.pidfd_open(parent), os.pidfd_open(script)))
        wire.send(sock, {"t": "ended", "code": _bury(script)})
    except BaseException as error:
        with contextlib.suppress(wire.WireError):
            wire.send(sock, {"t": "refused", "error": f"{type(error).__name__}: {error}"})
    os._exit(0)


def _own_namespaces(scratch_mb: int) -> None:
    """A new set of processes, mounts and shared memory; this process becomes their number one."""
    lockdown.new_namespaces()
    if os.fork():  # the new process numbers hold for children only
        os._exit(0)
    lockdown.mount("tmpfs", "/scratch", f"size={scratch_mb}m,nr_inodes=20k,mode=700")
    lockdown.mount("tmpfs", "/dev/shm", "size=1m,nr_inodes=1k")
    lockdown.mount("tmpfs", "/dev/pts", "size=4k")  # terminals are shared with the sandboxes beside this one
    lockdown.mask("/dev/zero")  # mapped, it is shared memory that no limit counts
    # Under root the kernel's settings would be writable: for them its user counts, not its capabilities.
    lockdown.mount("proc", "/proc", writable=False)


def _bury(script: int) -> int:
    """Waits until the script's process ends, or the harness says that it shall; then nothing is left of it.

    Returns:
        its exit code, or minus the signal that killed it.
    """
    while signal.sigwait(_AWAITED) == signal.SIGCHLD and not _ended(script):
        pass
    # New groups are refused to it: this reaches all its processes at once, those being forked included.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(script, signal.SIGKILL)
    code = 0
    while True:
        try:
            pid, status = os.wait()
        except ChildProcessError:
            return code
        if pid == script:
            code = os.waitstatus_to_exitcode(status)


def _ended(script: int) -> bool:
    """Whether the script's process has ended. It is buried last: until then its number cannot be reused."""
    while found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        if found.si_pid == script:
            return True
        os.waitpid(found.si_pid, 0)  # what the script has abandoned
    return False


def _script(shared: dict[str, Any], wanted: dict[str, Any], parent: int, control: int, log: int) -> NoReturn:
    """The script's process: gives up its rights for good, waits for one job, does it."""
    sock = socket.socket(fileno=control)
    try:
        os.setpgid(0, 0)
        for fd in (1, 2):
            os.dup2(log, fd)
        os.closerange(3, control)
        os.closerange(control + 1, 1024)
        os.environ.update(wanted["environment"])
        tempfile.tempdir = None  # look at TMPDIR again
        os.chdir(wanted["scratch"])
        lockdown.hide_memory(False)
        lockdown.die_with_parent(signal.SIGKILL, parent)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _AWAITED)
        lockdown.set_limits(wanted["memory_mb"], wanted["file_mb"], wanted["cpu_seconds"])
        lockdown.lock(shared["landlock"], wanted["scratch"], shared["filtered"])
    except Exception as error:  # whatever it is: without the restrictions nothing may run
        wire.send(sock, {"t": "refused", "error": f"{type(error).__name__}: {error}"})
        os._exit(1)
    with contextlib.suppress(wire.WireError):  # the harness is gone
        wire.send(sock, {"t": "ready"})
        ROLES[wanted["role"]].run(sock, wire.receive(sock, max_fds=2))
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    os._exit(0)
