"""Anonymous files that carry bytes to and from a sandbox by their descriptor alone."""

from __future__ import annotations

import errno
import fcntl
import os
import time

from autoresearch_rl.errors import SandboxError

PATIENCE = 10.0  # seconds for the kernel to let go of pages; we saw a study of 120 trials end by one EBUSY


def sealed(name: str, data: bytes | memoryview) -> int:
    """A read-only file in memory: nobody can change or resize it any more. Returns its descriptor."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    _seal(fd, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def writable(name: str, megabytes: int) -> int:
    """An empty-looking file in memory that cannot grow past its cap. Returns its descriptor."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, megabytes << 20)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW)
    return fd


def freeze(fd: int) -> None:
    """Makes a writable file read-only, after its writer has died.

    Raises:
        SandboxError: somebody still holds it writable.
    """
    _seal(fd, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK)


def reopened(fd: int) -> int:
    """A read-only descriptor with an offset of its own, for a sandbox."""
    return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)


def _seal(fd: int, seals: int) -> None:
    """Seals as soon as nobody writes. The kernel may hold pages for a moment, to move or reclaim them."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals | fcntl.F_SEAL_SEAL)
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                raise SandboxError(
                    f"the file of a dead sandbox is still held open for writing: {error}"
                ) from error
            time.sleep(0.01)
        else:
            return
