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
    if not _done("rm", "-rf", "--", folder):  # folders that their owner cannot list, say
        _done("chmod", "-R", "u+rwx", "--", folder)
        _done("rm", "-rf", "--", folder)


def _done(*command: str) -> bool:
    path = f"{os.environ.get('PATH', '')}:/usr/bin:/bin"
    done = subprocess.run(command, env={"PATH": path}, stderr=subprocess.DEVNULL, check=False)
    return done.returncode == 0


def sweep() -> None:
    """Removes the folders of harnesses that were killed."""
    for folder in Path(tempfile.gettempdir()).glob("autoresearch-*-*"):
        pid = folder.name.split("-")[1]
        with contextlib.suppress(FileNotFoundError):
            ours = folder.lstat().st_uid == os.getuid()
            if ours and pid.isdigit() and not Path(f"/proc/{pid}").exists():
                remove(str(folder))


def megabytes(root: str, pids: Iterable[int]) -> float:
    """Disk space below `root` and in nameless files that `pids` hold; inf when it cannot be told."""
    return (_blocks_below(root) + _nameless_blocks(os.stat(root).st_dev, pids)) / 2048


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


def _nameless_blocks(device: int, pids: Iterable[int]) -> float:
    """Blocks of removed files that are still open, or mapped, in any process; each file counts once."""
    blocks: dict[int, int] = {}
    mapped: set[int] = set()
    for pid in pids:
        for path in _open_files(pid):
            with contextlib.suppress(OSError):
                found = path.stat()
                if stat.S_ISREG(found.st_mode) and found.st_nlink == 0 and found.st_dev == device:
                    blocks[found.st_ino] = found.st_blocks
        mapped |= _removed_but_mapped(pid, device)
    # Of a file that is mapped and no longer open nobody can tell the size.
    return math.inf if mapped - blocks.keys() else sum(blocks.values())


def _open_files(pid: int) -> list[Path]:
    """Of all threads, since each may have a table of its own; none once the process has ended."""
    try:
        return list(Path(f"/proc/{pid}/task").glob("*/fd/*"))
    except OSError:  # it has ended while we looked
        return []


def _removed_but_mapped(pid: int, device: int) -> set[int]:
    """Inodes. See proc_pid_maps(5): address, mode, offset, device, inode, path."""
    name, found = f"{os.major(device):02x}:{os.minor(device):02x}", set()
    with contextlib.suppress(OSError), open(f"/proc/{pid}/maps", "rb") as lines:
        for line in lines:
            if line.endswith(b" (deleted)\n") and (fields := line.split(None, 5))[3] == name.encode():
                found.add(int(fields[4]))
    return found
