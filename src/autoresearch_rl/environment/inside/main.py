"""Entry point of every sandbox: lock down, import torch, wait for one job, do it.

Usage: `main.py FD`, with FD the inherited control socket. The first frame holds the restrictions; the job
comes only after `ready`. Both come from the harness; nothing untrusted runs before the job does.
"""

from __future__ import annotations

import importlib
import os
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


def _lock_down(settings: dict[str, Any]) -> None:
    lockdown = _load("lockdown")
    if settings["parent"]:
        lockdown.die_with_parent(settings["parent"])
    lockdown.set_limits(settings["memory_mb"], settings["file_mb"], settings["cpu_seconds"])
    if settings["landlock"] is not None:
        lockdown.drop_capabilities()
        rules = [(path, mode) for mode, paths in settings["landlock"].items() for path in paths]
        lockdown.landlock([*rules, (settings["scratch"], lockdown.WRITE), ("/dev/null", lockdown.WRITE)])
    lockdown.seccomp()


def main() -> None:
    """Runs one job and ends."""
    wire = _load("wire")
    sock = socket.socket(fileno=int(sys.argv[1]))
    settings = wire.receive(sock).body
    os.chdir(settings["scratch"])
    try:
        _lock_down(settings)
    except Exception as error:  # whatever it is: without the restrictions nothing may run
        wire.send(sock, {"t": "refused", "error": f"{type(error).__name__}: {error}"})
        return
    if settings["role"] == "check":
        role = _load("check")
    else:
        torch = importlib.import_module("torch")
        torch.set_num_threads(settings["threads"])
        role = _load(settings["role"])
    wire.send(sock, {"t": "ready"})
    role.run(sock, wire.receive(sock, max_fds=2))


if __name__ == "__main__":
    main()
