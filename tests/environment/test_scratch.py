"""What a script keeps on the disk is counted, whether it has a name or not."""

from __future__ import annotations

import ctypes
import math
import os
from pathlib import Path

import pytest

from autoresearch_rl.environment import scratch

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


def used(root: Path) -> float:
    return scratch.megabytes(str(root), [os.getpid()])


def test_files_without_a_name_count_once_however_often_they_are_open(tmp_path: Path) -> None:
    with (tmp_path / "x").open("wb") as file:
        (tmp_path / "x").unlink()
        before = used(tmp_path)
        file.write(bytes(8 << 20))
        file.flush()
        assert used(tmp_path) - before == pytest.approx(8, abs=0.1)
        with open(os.dup(file.fileno()), "rb"):
            assert used(tmp_path) - before == pytest.approx(8, abs=0.1)


def test_a_file_that_is_mapped_and_nothing_else_counts_as_too_much(tmp_path: Path) -> None:
    with (tmp_path / "x").open("w+b") as file:
        file.write(bytes(8 << 20))
        file.flush()
        address = libc.mmap(None, 4096, 1, 1, file.fileno(), 0)
    assert used(tmp_path) == pytest.approx(8, abs=0.1)
    (tmp_path / "x").unlink()
    assert used(tmp_path) == math.inf
    libc.munmap(address, 4096)
    assert used(tmp_path) < 1
