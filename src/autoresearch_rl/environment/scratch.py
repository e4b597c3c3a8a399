"""The scratch folder of a sandbox without a file system of its own: hostile, measured, removed."""

from __future__ import annotations

import contextlib
import math
import os
import stat
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

MAX_FILES = 10_000  # more would keep the harness busy with counting


def make() -> str:
    """A new folder, named after this process so that `sweep` can tell when it is an orphan."""
    return tempfile.mkdtemp(prefix=f"autoresearch-{os.getpid()}-")


def remove(folder: str) -> None:
    """Removes a folder. `rm` copes with any depth; what it cannot remove stays for `sweep`."""
    path = f"{os.environ.get('PATH', '')}:/usr/bin:/bin"
    subprocess.run(["rm", "-rf", "--", folder], env={"PATH": path}, stderr=subprocess.DEVNULL, check=False)


def sweep() -> None:
    """Removes the folders of harnesses that were killed."""
    for folder in Path(tempfile.gettempdir()).glob("autoresearch-*-*"):
        pid = folder.name.split("-")[1]
        with contextlib.suppress(FileNotFoundError):
            ours = folder.lstat().st_uid == os.getuid()
            if ours and pid.isdigit() and not Path(f"/proc/{pid}").exists():
                remove(str(folder))


def megabytes(root: str, pids: Iterable[int]) -> float:
    """Disk space below `root` and in nameless open files of `pids`; inf when it cannot be looked through."""
    return (_blocks_below(root) + sum(map(_unlinked_blocks, pids))) / 2048


def _blocks_below(root: str) -> float:
    """Blocks of 512 bytes. Not recursive: a script may nest folders as deep as it likes."""
    blocks, count, folders = 0, 0, [root]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    blocks, count = blocks + entry.stat(follow_symlinks=False).st_blocks, count + 1
                    if count > MAX_FILES:
                        return math.inf
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
        except FileNotFoundError:  # removed in between
            continue
        except OSError:  # a path too long, a folder made unreadable
            return math.inf
    return blocks


def _unlinked_blocks(pid: int) -> int:
    blocks = 0
    for path in Path(f"/proc/{pid}/fd").glob("*"):
        with contextlib.suppress(OSError):
            found = path.stat()
            blocks += found.st_blocks if stat.S_ISREG(found.st_mode) and found.st_nlink == 0 else 0
    return blocks
