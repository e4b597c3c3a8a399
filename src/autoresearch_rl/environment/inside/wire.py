"""Frames between the harness and a sandbox, over one inherited socket.

A frame is two little-endian uint32 lengths, a JSON object, and an optional binary payload; file
descriptors travel beside it. Both sides bound what they accept. Only JSON and raw numbers cross:
nothing that could run code when it is read.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import Any

HEADER = struct.Struct("<II")
MAX_JSON = 1 << 20
SEND_LIMIT = 60.0  # seconds in which the other side must take what we send


class WireError(Exception):
    """The other side broke the protocol, closed the socket, or was too late."""


class WireClosed(WireError):
    """The other side closed the connection, or its process ended."""


@dataclass
class Frame:
    """One message: `body["t"]` names its type."""

    body: dict[str, Any]
    payload: bytearray = field(default_factory=bytearray)
    fds: list[int] = field(default_factory=list)

    @property
    def type(self) -> str:
        """The message's type, or an empty string when it has none."""
        value = self.body.get("t")
        return value if isinstance(value, str) else ""


def send(sock: socket.socket, body: dict[str, Any], payload: bytes = b"", fds: tuple[int, ...] = ()) -> None:
    """Sends one frame.

    Raises:
        WireClosed: the other side is gone.
        WireError: it does not read.
    """
    text = json.dumps(body).encode()
    head = HEADER.pack(len(text), len(payload)) + text
    sock.settimeout(SEND_LIMIT)
    try:
        sent = socket.send_fds(sock, [head], list(fds)) if fds else 0
        for rest in (head[sent:], payload):
            if rest:  # sending nothing fails, too, when the other side has already done its work and left
                sock.sendall(rest)
    except ConnectionError as error:
        raise WireClosed(f"cannot send: {error}") from error
    except OSError as error:
        raise WireError(f"cannot send: {error}") from error


def receive(
    sock: socket.socket, deadline: float | None = None, max_payload: int = 0, max_fds: int = 0
) -> Frame:
    """Receives one frame.

    Args:
        deadline: on `time.monotonic()`; None waits for ever.
        max_payload: bytes of payload accepted.
        max_fds: file descriptors accepted; the kernel closes any others.

    Raises:
        WireError: end of stream, malformed or oversized frame, or the deadline passed.
    """
    fds: list[int] = []
    head = _exactly(sock, HEADER.size, deadline, fds, max_fds)
    json_size, payload_size = HEADER.unpack(head)
    if json_size > MAX_JSON or payload_size > max_payload:
        raise WireError(
            f"frame of {json_size} + {payload_size} bytes, at most {MAX_JSON} + {max_payload} allowed"
        )
    body = _parse(_exactly(sock, json_size, deadline))
    return Frame(body, _exactly(sock, payload_size, deadline), fds)


def _exactly(
    sock: socket.socket, size: int, deadline: float | None, fds: list[int] | None = None, max_fds: int = 0
) -> bytearray:
    buffer = bytearray(size)
    view, done = memoryview(buffer), 0
    while done < size:
        try:
            sock.settimeout(None if deadline is None else max(1e-3, deadline - time.monotonic()))
            if fds is not None and max_fds and not done:
                data, received, _, _ = socket.recv_fds(sock, size, max_fds)
                view[: len(data)] = data
                fds.extend(received)
                count = len(data)
            else:
                count = sock.recv_into(view[done:])
        except TimeoutError as error:
            raise WireError("no answer before the deadline") from error
        except ConnectionError as error:
            raise WireClosed("the other side closed the connection") from error
        except OSError as error:
            raise WireError(f"cannot receive: {error}") from error
        if count == 0:
            raise WireClosed("the other side closed the connection")
        done += count
    return buffer


def _parse(text: bytes | bytearray) -> dict[str, Any]:
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WireError("a frame is not JSON") from error
    if not isinstance(body, dict):
        raise WireError("a frame is not a JSON object")
    return body
