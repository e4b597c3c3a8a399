import mmap
import os
import threading
import time

import pytest

from autoresearch_rl.environment import memory
from autoresearch_rl.errors import SandboxError


def test_sealed_bytes_cannot_be_changed() -> None:
    fd = memory.sealed("x", b"hello")
    assert os.read(memory.reopened(fd), 10) == b"hello"
    with pytest.raises(OSError, match="not permitted"):
        os.pwrite(fd, b"H", 0)
    with pytest.raises(OSError, match="not permitted"):
        os.ftruncate(fd, 0)
    os.close(fd)


def test_a_writable_file_does_not_grow_past_its_cap() -> None:
    fd = memory.writable("x", 1)
    os.pwrite(fd, b"x", (1 << 20) - 1)
    with pytest.raises(OSError, match="not permitted"):
        os.pwrite(fd, b"x", 1 << 20)
    os.close(fd)


def test_freezing_waits_for_who_lets_go_soon() -> None:
    fd = memory.writable("x", 1)
    held = mmap.mmap(fd, 1 << 20)
    timer = threading.Timer(0.4, held.close)
    timer.start()
    began = time.monotonic()
    memory.freeze(fd)
    assert time.monotonic() - began > 0.3
    timer.join()
    with pytest.raises(OSError, match="not permitted"):
        os.pwrite(fd, b"x", 0)
    os.close(fd)


def test_freezing_notices_somebody_who_still_can_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "PATIENCE", 0.1)
    fd = memory.writable("x", 1)
    with mmap.mmap(fd, 1 << 20), pytest.raises(SandboxError, match="still held open"):
        memory.freeze(fd)
    memory.freeze(fd)
    with pytest.raises(OSError, match="not permitted"):
        os.pwrite(fd, b"x", 0)
    os.close(fd)
