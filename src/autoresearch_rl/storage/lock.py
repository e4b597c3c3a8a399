"""One process per study."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autoresearch_rl.errors import StudyBusy
from autoresearch_rl.storage.faults import storing


@contextmanager
def study_lock(folder: Path, name: str) -> Iterator[None]:
    """Hold the study `name` in `folder` for this process; the kernel lets go when it dies.

    The lock is on the file `<folder>/lock`, which holds the owner's process id while it is held.
    Processes forked without exec share the lock: they have to end with their parent.

    Raises:
        StudyBusy: another holder, in this process or another, has it.
        StorageError: the folder cannot be written, or its file system has no locks.
    """
    path = folder / "lock"
    with storing(path):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        with storing(path):
            _acquire(descriptor, name)
        try:
            yield
        finally:
            os.ftruncate(descriptor, 0)
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


def owner(folder: Path) -> int | None:
    """The process id of whoever runs the study in `folder` now; None when nobody does."""
    try:
        with open(folder / "lock", "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = (folder / "lock").read_text(errors="replace").strip()
        return int(text) if text.isdigit() else 0
    except OSError:  # no lock file: it has never run here
        return None
    return None


def _acquire(descriptor: int, name: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
        raise StudyBusy(f"study {name} is already running (pid {owner or 'unknown'})") from None
    os.ftruncate(descriptor, 0)  # a killed owner left its number
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
