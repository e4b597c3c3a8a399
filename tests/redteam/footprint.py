"""What a hostile script could leave on this machine: compared before and after each attack."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from autoresearch_rl.environment.corpus import library

MARK = "redteam"  # in the name of every file that an attack tries to leave
REPOSITORY = Path(__file__).parents[2]
ZYGOTE = "inside/zygote.py"
SETTLE = 3.0  # seconds that a dead sandbox may take to vanish, and a log's reader to close its end


def footprint() -> dict[str, object]:
    """Everything that must be the same before and after."""
    return {
        "files": _files(),
        "sources": _stamps(),
        "processes": _processes(),
        "sockets": _listening(),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "shared memory": [Path(f"/proc/sysvipc/{kind}").read_text() for kind in ("shm", "sem", "msg")],
        "core handler": Path("/proc/sys/kernel/core_pattern").read_text(),
    }


def left_behind(before: dict[str, object]) -> dict[str, object]:
    """What differs from `before`, once what is dying is dead."""
    deadline = time.monotonic() + SETTLE
    while (after := footprint()) != before and time.monotonic() < deadline:
        time.sleep(0.02)
    return {name: (before[name], value) for name, value in after.items() if before[name] != value}


def _files() -> list[str]:
    """Of this harness or of an attack, in the places that are open to all. Other tests may run beside us."""
    ours = f"autoresearch-{os.getpid()}-"
    places = [
        "/tmp",
        "/var/tmp",
        "/dev/shm",
        "/dev/mqueue",
        Path.home(),
        "/",
        Path.cwd(),
        library(),
        REPOSITORY,
    ]
    places += [path for path in sys.path if Path(path).is_dir()]
    names = (f"{place}/{name}" for place in places if Path(place).is_dir() for name in os.listdir(place))
    return sorted({name for name in names if MARK in name.lower() or Path(name).name.startswith(ours)})


def _stamps() -> dict[str, tuple[int, ...]]:
    """Size, times and mode of the files that an attack would like to change."""
    package = Path(torch.__file__).parent
    found = [*(REPOSITORY / "src").rglob("*.py"), *package.glob("*.py"), *library().glob("*.py")]
    found += [library(), package, package.parent, Path(sys.prefix), Path(sys.executable).resolve()]
    stats = {str(path): path.stat() for path in found}
    return {path: (s.st_size, s.st_mtime_ns, s.st_mode, s.st_nlink) for path, s in stats.items()}


def _parents() -> dict[int, int]:
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            found[int(pid)] = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended
            continue
    return found


def _processes() -> set[int]:
    """Our descendants, and whatever of a sandbox has lost its parents."""
    parents = _parents()
    ours = {pid for pid in parents if os.getpid() in _ancestors(pid, parents)}
    return ours | {pid for pid, parent in parents.items() if parent == 1 and ZYGOTE in _command(pid)}


def _ancestors(pid: int, parents: dict[int, int]) -> Iterator[int]:
    while pid := parents.get(pid, 0):
        yield pid


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        return ""


def _listening() -> list[str]:
    """Sockets of ours that wait for connections."""
    inodes = set()
    for pid in {os.getpid(), *_processes()}:
        for path in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                inodes.add(os.readlink(path).removeprefix("socket:[").removesuffix("]"))
            except OSError:  # closed, or its process has ended
                continue
    tables = (Path(f"/proc/net/{name}").read_text() for name in ("tcp", "tcp6"))
    rows = [line.split() for table in tables for line in table.splitlines()[1:]]
    return sorted(row[9] for row in rows if row[3] == "0A" and row[9] in inodes)
