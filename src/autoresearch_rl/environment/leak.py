"""The leak scan: nothing that can be read inside the sandbox may hold a held-out document.

What does is hidden, like the documents themselves. A document counts as leaked when a file holds at least
a quarter of its telling lines (long ones, found nowhere in the training documents), or is compiled and holds
half of its telling words (long ones, likewise) or its name. Archives and compressed files are unpacked, as
`archives` says; a file with more in it than is ever unpacked is hidden unseen.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from autoresearch_rl.environment import archives
from autoresearch_rl.environment.corpus import Corpus
from autoresearch_rl.environment.view import View

LINE_BYTES = 40  # shorter lines recur by chance
SHARE = 0.25  # of a document's telling lines
# A compiled copy keeps few lines, but the names: half of these finds copies of 94 % of the held-out bytes,
# where the most like file among 12,000 others had 38 %.
WORD = re.compile(rb"[A-Za-z_][A-Za-z0-9_]{11,}")
WORD_SHARE = 0.5
LEAST = 5  # of lines, or of words
SOURCE = re.compile(rb"/python3\.\d+/([\w/.-]+\.py)")  # as a .pyc names it
UNREAD = "more than can be unpacked"  # in place of a document's name
CACHE = "leak-scan.json"
VERSION = 2  # of what is looked for: other scans are not remembered
LARGEST = 1 << 24  # bytes of a file looked at together


def cache_folder() -> Path:
    """Where this user's scans are remembered (XDG base directories)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "autoresearch-rl"


def telling_lines(corpus: Corpus) -> dict[bytes, str]:
    """Line -> held-out document, for lines that belong to one document alone and to no visible one."""
    return _telling(corpus, _lines)


def _telling(corpus: Corpus, parts: Callable[[bytes], set[bytes]]) -> dict[bytes, str]:
    visible = {
        part
        for split in ("train", "probe")
        for data in corpus.documents[split].values()
        for part in parts(data)
    }
    owners: dict[bytes, str] = {}
    shared: set[bytes] = set()
    for name, data in _held_out(corpus):
        for part in parts(data) - visible:
            if owners.setdefault(part, name) != name:
                shared.add(part)
    return {part: name for part, name in owners.items() if part not in shared}


def _held_out(corpus: Corpus) -> Iterator[tuple[str, bytes]]:
    for split in ("val", "test"):
        yield from corpus.documents[split].items()


def _lines(data: bytes) -> set[bytes]:
    return {line for raw in data.split(b"\n") if len(line := raw.strip()) >= LINE_BYTES}


def _words(data: bytes) -> set[bytes]:
    return set(WORD.findall(data))


def _compiled_words(data: bytes) -> set[bytes]:
    """Words of a .pyc, also without the last letter: it may be the mark of what comes after the word."""
    words = _words(data)
    return words | {word[:-1] for word in words}


class _Search:
    """What to look for, and how much of it each document has."""

    def __init__(self, corpus: Corpus) -> None:
        self.lines, self.words = telling_lines(corpus), _telling(corpus, _words)
        self.most_lines, self.most_words = Counter(self.lines.values()), Counter(self.words.values())
        self.names = {name for name, _ in _held_out(corpus)}

    def documents(self, path: Path) -> set[str]:
        """Names of the documents that a file holds, or `UNREAD`."""
        lines: set[bytes] = set()
        words: set[bytes] = set()
        named: set[str] = set()
        try:
            for compiled, data in _blocks(path):
                lines |= _lines(data) & self.lines.keys()
                if compiled:
                    words |= _compiled_words(data) & self.words.keys()
                    named |= {name.decode() for name in SOURCE.findall(data)} & self.names
        except archives.TooMuch:
            named.add(UNREAD)
        by_line = _frequent(Counter(self.lines[line] for line in lines), self.most_lines, SHARE)
        return named | by_line | _frequent(Counter(self.words[w] for w in words), self.most_words, WORD_SHARE)


def _frequent(hits: Mapping[str, int], most: Mapping[str, int], share: float) -> set[str]:
    return {name for name, count in hits.items() if count >= max(LEAST, share * most[name])}


def scan(corpus: Corpus, files: Iterable[Path]) -> list[tuple[Path, str]]:
    """Files that hold a held-out document: pairs of the file and the document's name (or `UNREAD`)."""
    files = list(files)
    if not files:  # the lines take seconds to collect
        return []
    search = _Search(corpus)
    return [(path, name) for path in files for name in sorted(search.documents(path))]


def _blocks(path: Path) -> Iterator[tuple[bool, bytes]]:
    """The bytes of a file, and of what it holds in packed form: whether they are compiled code, a block."""
    # What we cannot read, the sandbox cannot either: it has no more rights than we have.
    with contextlib.suppress(OSError), path.open("rb", buffering=0) as file:
        yield from _blocks_of(file)
        for member in archives.unpacked(file):
            yield from _blocks_of(member)


def _blocks_of(file: io.RawIOBase | io.BytesIO) -> Iterator[tuple[bool, bytes]]:
    file.seek(0)
    compiled = None
    while data := file.read(LARGEST):
        compiled = archives.is_compiled(data) if compiled is None else compiled
        yield compiled, data


Facts = dict[str, list[int]]  # path -> size, time of change


def readable(view: View) -> Facts:
    """The files that are scanned: all of the view, but for /sys."""
    # /sys holds no documents, and its times change at every look.
    found = ((path, stat) for path, stat in view.files() if not path.startswith("/sys/"))
    return {path: [stat.st_size, stat.st_mtime_ns] for path, stat in found}


def closed_view(corpus: Corpus, view: View, cache: Path | None = None) -> tuple[View, list[Path]]:
    """Scans everything readable inside, and hides what leaks (a type checker's stubs, another copy).

    Args:
        cache: folder that remembers a scan: files whose size and time are as they were are not read again.

    Returns:
        The view without the leaking files, and these files.
    """
    files = readable(view)
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
            record = {"clean": clean | files, "leaking": leaking}
            _replace(cache / CACHE, {"version": VERSION, "corpus": corpus.digest, **record})
    paths = sorted(map(Path, leaks))
    return replace(view, hidden=tuple(sorted({*view.hidden, *paths}))), paths


def _replace(path: Path, record: Mapping[str, object]) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(record))
    partial.replace(path)


def _remembered(cache: Path | None, corpus: str) -> tuple[Facts, Facts]:
    """Clean and leaking files of the last scan for the same corpus."""
    try:
        record = json.loads((cache / CACHE).read_text()) if cache else {}
        ours = (record.get("version"), record.get("corpus")) == (VERSION, corpus)
        return (record["clean"], record["leaking"]) if ours else ({}, {})
    except (OSError, ValueError, KeyError):  # no scan yet, or not ours: scan everything
        return {}, {}
