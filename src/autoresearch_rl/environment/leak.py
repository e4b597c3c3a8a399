"""The leak scan: nothing that can be read inside the sandbox may hold a held-out document.

What does is hidden, like the documents themselves. A document counts as leaked when a file holds at least
a quarter of its telling lines (long ones, found nowhere in the training documents). Archives and other
compressed copies are not opened.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from autoresearch_rl.environment.corpus import Corpus
from autoresearch_rl.environment.view import View

LINE_BYTES = 40  # shorter lines recur by chance
LEAST_LINES = 5
SHARE = 0.25
CACHE = "leak-scan.json"
LARGEST = 1 << 26  # bytes of a file read at once


def cache_folder() -> Path:
    """Where this user's scans are remembered (XDG base directories)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "autoresearch-rl"


def telling_lines(corpus: Corpus) -> dict[bytes, str]:
    """Line -> held-out document, for lines that belong to one document alone and to no visible one."""
    visible = {
        line
        for split in ("train", "probe")
        for data in corpus.documents[split].values()
        for line in _lines(data)
    }
    owners: dict[bytes, str] = {}
    shared: set[bytes] = set()
    for split in ("val", "test"):
        for name, data in corpus.documents[split].items():
            for line in _lines(data) - visible:
                if owners.setdefault(line, name) != name:
                    shared.add(line)
    return {line: name for line, name in owners.items() if line not in shared}


def _lines(data: bytes) -> set[bytes]:
    return {line for raw in data.split(b"\n") if len(line := raw.strip()) >= LINE_BYTES}


def scan(corpus: Corpus, files: Iterable[Path]) -> list[tuple[Path, str]]:
    """Files that hold a held-out document: pairs of the file and the document's name."""
    files = list(files)
    if not files:  # the lines take seconds to collect
        return []
    owners = telling_lines(corpus)
    sizes = Counter(owners.values())
    found = []
    for path in files:
        hits = Counter(owners[line] for line in _read_lines(path) & owners.keys())
        found += [
            (path, name) for name, count in hits.items() if count >= max(LEAST_LINES, SHARE * sizes[name])
        ]
    return found


def _read_lines(path: Path) -> set[bytes]:
    lines: set[bytes] = set()
    try:
        with path.open("rb") as file:
            while data := file.read(LARGEST):
                lines |= _lines(data)
    except OSError:  # what we cannot read, the sandbox cannot either: it has no more rights than we have
        return lines
    return lines


def closed_view(corpus: Corpus, view: View, cache: Path | None = None) -> tuple[View, list[Path]]:
    """Scans everything readable inside, and hides what leaks (a type checker's stubs, another copy).

    Args:
        cache: folder that remembers a scan: files whose size and time are as they were are not read again.

    Returns:
        The view without the leaking files, and these files.
    """
    # /sys holds no documents, and its times change at every look.
    found = ((path, stat) for path, stat in view.files() if not path.startswith("/sys/"))
    files = {path: [stat.st_size, stat.st_mtime_ns] for path, stat in found}
    clean, leaking = _remembered(cache, corpus.digest)
    before = clean | leaking
    known = {path for path, facts in files.items() if before.get(path) == facts}
    leaks = {path for path in known if path in leaking}
    leaks |= {str(path) for path, _ in scan(corpus, (Path(path) for path in files.keys() - known))}
    if cache and files.keys() - known:
        others = {path: facts for path, facts in leaking.items() if path not in files}
        leaking = others | {path: files.pop(path) for path in leaks}
        with contextlib.suppress(OSError):  # without a cache the next scan takes longer, no more
            cache.mkdir(parents=True, exist_ok=True)
            # Another virtual environment's files stay remembered, too.
            record = {"corpus": corpus.digest, "clean": clean | files, "leaking": leaking}
            _replace(cache / CACHE, record)
    paths = sorted(map(Path, leaks))
    return replace(view, hidden=tuple(sorted({*view.hidden, *paths}))), paths


def _replace(path: Path, record: Mapping[str, object]) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(record))
    partial.replace(path)


Facts = dict[str, list[int]]  # path -> size, time of change


def _remembered(cache: Path | None, corpus: str) -> tuple[Facts, Facts]:
    """Clean and leaking files of the last scan for the same corpus."""
    try:
        record = json.loads((cache / CACHE).read_text()) if cache else {}
        return (record["clean"], record["leaking"]) if record.get("corpus") == corpus else ({}, {})
    except (OSError, ValueError, KeyError):  # no scan yet, or not ours: scan everything
        return {}, {}
