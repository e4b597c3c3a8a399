"""The zygote: imports torch once, then forks one sandbox after another. It runs no script itself.

Usage: `zygote.py FD`, with FD the inherited socket to the harness. The first frame says what all sandboxes
share; each later frame asks for one sandbox and brings its sockets. Importing torch takes seconds, a fork
milliseconds, and what a sandbox does to its memory the zygote never sees.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import socket
import sys
import types
from typing import Any


def _load(name: str) -> Any:
    """Imports a sibling module; the rest of the package is not there to be imported."""
    if "inside" not in sys.modules:
        package = types.ModuleType("inside")
        package.__path__ = [os.path.dirname(os.path.abspath(__file__))]
        sys.modules["inside"] = package
    return importlib.import_module(f"inside.{name}")


def _warm_up(roles: dict[str, Any]) -> None:
    """Imports torch and all that sandboxes share."""
    for name in ("server", "session", "shapes", "program"):
        roles[name] = _load(name)
    if (threads := len(os.listdir("/proc/self/task"))) != 1:  # a fork would copy one of them, and their locks
        raise RuntimeError(f"the zygote has {threads} threads: it cannot fork safely")
    gc.collect()
    gc.freeze()  # a collection in a fork then leaves the shared pages alone


def main() -> None:
    """Forks sandboxes until the harness closes the socket, or dies."""
    wire, init = _load("wire"), _load("init")
    sock = socket.socket(fileno=int(sys.argv[1]))
    shared = {**wire.receive(sock).body, "zygote": os.getpid()}
    roles = init.ROLES
    roles["check"] = _load("check")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for a dead sandbox here: the kernel reaps it
    wire.send(sock, {"t": "ready"})
    while True:
        try:
            request = wire.receive(sock, max_fds=3)
        except wire.WireClosed:
            return
        if request.body["role"] not in roles:
            _warm_up(roles)
        if os.fork() == 0:
            sock.close()
            init.run(shared, request.body, *request.fds)
        for fd in request.fds:
            os.close(fd)
        if "session" not in roles:  # the self-test has what it wants, and no clock runs yet
            _warm_up(roles)


if __name__ == "__main__":
    main()
