"""A corpus: documents by split. The embedded one is the source of the running interpreter's standard library.

Val and test come only from parts of the library that no training script needs to import. The sandbox
masks these parts, so their documents cannot be read inside it. Train and probe come from the rest.
"""

from __future__ import annotations

import hashlib
import os
import random
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autoresearch_rl.errors import TaskError

SPLITS = ("train", "probe", "val", "test")
PROBE_SHARE = 0.03  # of the visible documents

# Slim images lack the large parts (test, idlelib), so the small ones are masked everywhere too.
_FOLDERS = "test idlelib lib2to3 tkinter turtledemo wsgiref curses dbm msilib pydoc_data"
_MODULES = "turtle imaplib nntplib telnetlib smtpd poplib mailbox cgi cgitb aifc sunau xdrlib"
HELD_OUT = frozenset([*_FOLDERS.split(), *(f"{name}.py" for name in _MODULES.split())])
TEST_FOLDERS = frozenset(("test", "tests", "idle_test"))


@cache
def library() -> Path:
    """The folder of the running interpreter's standard library."""
    return Path(sysconfig.get_paths()["stdlib"]).resolve()


def is_held_out(relative: Path) -> bool:
    """Whether a document of the library is masked in the sandbox."""
    return relative.parts[0] in HELD_OUT or any(part in TEST_FOLDERS for part in relative.parts[:-1])


def _documents(root: Path) -> Iterator[tuple[str, bytes]]:
    for folder, names, files in os.walk(root):
        names[:] = sorted(set(names) - {"site-packages", "dist-packages", "__pycache__"})
        for path in (Path(folder, name) for name in sorted(files) if name.endswith(".py")):
            yield path.relative_to(root).as_posix(), path.read_bytes()


def _share(name: str) -> float:
    """A number in [0, 1) that depends only on the document's name."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64


def _split_of(name: str) -> str:
    if is_held_out(Path(name)):
        return "val" if _share(name) < 0.5 else "test"
    return "probe" if _share(name) < PROBE_SHARE else "train"


@dataclass(frozen=True)
class Corpus:
    """Documents by split, in memory: a snapshot that later changes on disk cannot touch."""

    documents: Mapping[str, Mapping[str, bytes]]  # split -> name -> bytes

    @property
    def tokenizer(self) -> str:
        """What tells tokenizers apart: here a token is a byte."""
        return "bytes"

    def token_bytes(self, vocab_size: int) -> NDArray[np.int64]:
        """int[V]: the raw bytes that each token stands for."""
        return np.ones(vocab_size, dtype=np.int64)

    @property
    def held_out(self) -> list[Path]:
        """Files that must not be readable inside a sandbox."""
        return [library() / name for split in ("val", "test") for name in self.documents[split]]

    @property
    def masked(self) -> list[Path]:
        """Files and folders to hide in a sandbox, besides the held-out parts of the library."""
        return []

    @property
    def scan_cache(self) -> Path | None:
        """Where the leak scan for this corpus is remembered, unless in the usual place."""
        return None

    @cached_property
    def manifest(self) -> dict[str, dict[str, str]]:
        """SHA-256 of every document: split -> name -> digest."""
        return {
            split: {name: hashlib.sha256(data).hexdigest() for name, data in documents.items()}
            for split, documents in self.documents.items()
        }

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the manifest."""
        lines = (f"{s} {n} {d}\n" for s in SPLITS for n, d in sorted(self.manifest[s].items()))
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def size(self, split: str) -> int:
        """Bytes of a split."""
        return sum(map(len, self.documents[split].values()))

    @cached_property
    def train_tokens(self) -> NDArray[np.integer]:
        """uint[N]: the training documents, one after the other."""
        return np.frombuffer(b"".join(self.documents["train"].values()), dtype=np.uint8)

    def rows(self, split: str, count: int, seq_len: int) -> NDArray[np.integer]:
        """Fixed evaluation rows, each within one document, drawn without overlap and always the same.

        Returns:
            uint[count, seq_len + 1]: inputs are `[:, :-1]`, targets `[:, 1:]`.

        Raises:
            TaskError: the split has too few bytes.
        """
        width = seq_len + 1
        spots = [
            (name, start)
            for name, data in self.documents[split].items()
            for start in range(0, len(data) - width + 1, width)
        ]
        if len(spots) < count:
            raise TaskError(
                f"the {split} split has {len(spots)} rows of {width} bytes, but {count} are needed: "
                "use a Python that ships its own test or idlelib packages, or lower evaluation.bytes"
            )
        chosen = random.Random(f"{split} {width}").sample(spots, count)
        data = b"".join(self.documents[split][name][start : start + width] for name, start in chosen)
        return np.frombuffer(data, dtype=np.uint8).reshape(count, width)


def load_stdlib(root: Path | None = None) -> Corpus:
    """Reads the standard library and splits it by document name.

    Raises:
        TaskError: there is no readable library, or nothing is left for one of the splits.
    """
    root = root or library()
    documents: dict[str, dict[str, bytes]] = {split: {} for split in SPLITS}
    try:
        for name, data in _documents(root):
            documents[_split_of(name)][name] = data
    except OSError as error:
        raise TaskError(f"cannot read the standard library at {root}: {error}") from error
    if empty := [split for split in SPLITS if not any(documents[split].values())]:
        raise TaskError(f"the standard library at {root} has no document for: {', '.join(empty)}")
    return Corpus(documents)
