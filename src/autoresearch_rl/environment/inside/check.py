"""The sandbox tries to break out of itself, so that the harness can tell whether it holds."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any

from . import wire


def _refused(attempt: Callable[..., Any], *arguments: Any) -> bool:
    try:
        attempt(*arguments)
    except OSError:
        return True
    return False


def _child() -> None:
    if os.fork() == 0:
        os._exit(0)


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
        "child processes": _refused(_child),
        "signals to others": _refused(os.kill, job["harness"], 0),
        "scratch": not _refused(_write, "probe"),
    }
    wire.send(sock, {"t": "checked", "holds": holds})
