import os
import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from autoresearch_rl.environment.inside import wire


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    left, right = socket.socketpair()
    with left, right:
        yield left, right


Pair = tuple[socket.socket, socket.socket]


def test_a_frame_arrives_as_it_was_sent_with_its_descriptor(pair: Pair) -> None:
    read, write = os.pipe()
    wire.send(pair[0], {"t": "data", "x": 1.5}, b"payload", (write,))
    frame = wire.receive(pair[1], time.monotonic() + 5, max_payload=7, max_fds=1)
    assert (frame.type, frame.body["x"], frame.payload) == ("data", 1.5, b"payload")
    os.write(frame.fds[0], b"through")
    assert os.read(read, 7) == b"through"
    for fd in (read, write, *frame.fds):
        os.close(fd)


def test_descriptors_that_nobody_asked_for_are_dropped(pair: Pair) -> None:
    before = len(os.listdir("/proc/self/fd"))
    wire.send(pair[0], {"t": "gift"}, fds=(0,))
    assert wire.receive(pair[1], time.monotonic() + 5).fds == []
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (struct.pack("<II", 1 << 30, 0), "allowed"),
        (struct.pack("<II", 2, 1 << 20) + b"{}", "allowed"),
        (struct.pack("<II", 3, 0) + b"abc", "not JSON"),
        (struct.pack("<II", 2, 0) + b"[]", "not a JSON object"),
        (struct.pack("<II", 60000, 0) + b"[" * 60000, "not JSON"),
        (b"\x00\x00", "before the deadline"),
    ],
)
def test_malformed_frames_are_refused(pair: Pair, data: bytes, complaint: str) -> None:
    pair[0].sendall(data)
    with pytest.raises(wire.WireError, match=complaint):
        wire.receive(pair[1], time.monotonic() + 0.2)


def test_a_closed_connection_is_told(pair: Pair) -> None:
    pair[0].close()
    with pytest.raises(wire.WireError, match="closed"):
        wire.receive(pair[1], time.monotonic() + 5)


def test_to_send_to_who_has_left_is_told_apart_from_who_does_not_read(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "SEND_LIMIT", 0.1)
    with pytest.raises(wire.WireError, match="timed out") as late:
        wire.send(pair[0], {"t": "rows"}, bytes(1 << 22))
    assert not isinstance(late.value, wire.WireClosed)
    pair[1].close()
    with pytest.raises(wire.WireClosed, match="cannot send"):
        wire.send(pair[0], {"t": "rows"}, bytes(1 << 22))


def test_a_type_that_is_no_text_is_no_type(pair: Pair) -> None:
    wire.send(pair[0], {"t": ["x"]})
    assert wire.receive(pair[1], time.monotonic() + 5).type == ""


def test_a_reader_that_leaves_as_soon_as_it_has_the_frame_is_no_error(pair: Pair) -> None:
    def read_and_leave() -> None:
        pair[1].recv(1 << 16)
        pair[1].close()

    class Slow(socket.socket):
        """Gives the reader time to leave between our two calls."""

        def sendmsg(self, *arguments: object) -> int:
            sent = super().sendmsg(*arguments)  # type: ignore[call-overload]
            reader.join()
            return int(sent)

    reader = threading.Thread(target=read_and_leave)
    reader.start()
    with Slow(fileno=pair[0].detach()) as ours:
        wire.send(ours, {"t": "job"}, fds=(0,))
