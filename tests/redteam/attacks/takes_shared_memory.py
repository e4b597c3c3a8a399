"""Takes shared memory and unmaps it page by page: it stays, and no process seems to hold it."""

# expect: crash
# reason: RuntimeError: refused
# task: seconds=10.0

import mmap
import os


def train(env):
    for path in (None, "/dev/zero"):
        try:
            fd = -1 if path is None else os.open(path, os.O_RDWR)
            shared = mmap.mmap(fd, 3 << 30)
        except (OSError, ValueError):
            continue
        for start in range(0, 3 << 30, 1 << 26):
            shared[start : start + (1 << 26)] = bytes(1 << 26)
            shared.madvise(mmap.MADV_DONTNEED, start, 1 << 26)
        raise RuntimeError("3 GB that nobody counts")
    raise RuntimeError("refused")
