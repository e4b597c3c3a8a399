"""A prepared corpus: the folder of tokens that `autoresearch-rl prepare` has written.

    meta.json             what the folder was made from, and the SHA-256 of every file below
    vocabulary.json       the raw bytes of each token, in hex; none for the mark at the start of a document
    SPLIT.bin             uint16[N], little-endian: the documents of a split, one after the other
    SPLIT.documents.bin   uint64[D + 1]: where each document starts, and the end of the last

Nothing of it is readable inside a sandbox: training tokens are handed over by descriptor alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoresearch_rl.environment.corpus import SPLITS, Corpus
from autoresearch_rl.environment.task import Task
from autoresearch_rl.errors import TaskError

FORMAT = 1
META, VOCABULARY = "meta.json", "vocabulary.json"
TOKEN, OFFSET = np.dtype("<u2"), np.dtype("<u8")


def files_of(split: str) -> tuple[str, str]:
    """Names of the files with a split's tokens and with its documents' boundaries."""
    return f"{split}.bin", f"{split}.documents.bin"


FILES = (VOCABULARY, *(name for split in SPLITS for name in files_of(split)))


def data_folder() -> Path:
    """Where prepared corpora are kept (XDG base directories)."""
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(home) / "autoresearch-rl"


def prepared_folder(task: Task) -> Path:
    """Where the task's prepared corpus is, or should be."""
    return (task.folder / task.prepared if task.prepared else data_folder() / task.name).resolve()


@dataclass(frozen=True)
class Shards(Corpus):
    """A prepared corpus. `documents` has the raw bytes of the held-out splits alone."""

    folder: Path
    meta: Mapping[str, Any]
    vocabulary: tuple[bytes, ...]
    tokens: Mapping[str, NDArray[np.uint16]]  # by split
    bounds: Mapping[str, NDArray[np.uint64]]  # by split: where its documents start, and the end of the last
    left_out: frozenset[str] = frozenset()  # held-out documents that are not evaluated

    def without(self, names: Iterable[str]) -> Shards:
        """This corpus with held-out documents left out of the evaluation."""
        return replace(self, left_out=self.left_out.union(names))

    @property
    def tokenizer(self) -> str:
        """SHA-256 of the vocabulary."""
        return str(self.meta["files"][VOCABULARY])

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the digests of all files, and over what is left out; not of where they came from."""
        lines = [f"{name} {self.meta['files'][name]}\n" for name in sorted(FILES)]
        lines += [f"without {name}\n" for name in sorted(self.left_out)]
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def token_bytes(self, vocab_size: int) -> NDArray[np.int64]:
        """int[V]: the raw bytes that each token stands for."""
        return np.array([len(token) for token in self.vocabulary], dtype=np.int64)

    @property
    def held_out(self) -> list[Path]:
        """The files with held-out tokens."""
        return [self.folder / name for split in ("val", "test") for name in files_of(split)]

    @property
    def masked(self) -> list[Path]:
        """The folder, and what it was made from."""
        return [self.folder, *map(Path, self.meta["masked"])]

    @property
    def scan_cache(self) -> Path:
        """The folder: a scan is of use as long as it is there."""
        return self.folder

    def size(self, split: str) -> int:
        """Bytes of a split."""
        return int(self.meta["splits"][split]["bytes"])

    @property
    def train_tokens(self) -> NDArray[np.uint16]:
        """uint16[N]: the training documents, each behind a mark, one after the other."""
        return self.tokens["train"]

    def rows(self, split: str, count: int, seq_len: int) -> NDArray[np.uint16]:
        """Fixed evaluation rows: pieces of the split's tokens without overlap, always the same.

        A row may begin and end within a document, as the windows of `env.batches` do.

        Returns:
            uint16[count, seq_len + 1]: inputs are `[:, :-1]`, targets `[:, 1:]`.

        Raises:
            TaskError: the split has too few tokens.
        """
        width, tokens = seq_len + 1, self.tokens[split]
        spots = self._spots(split, width)
        if len(spots) < count:
            known = f" ({len(self.left_out)} documents can be read in a sandbox and do not count)"
            raise TaskError(
                f"the {split} split at {self.folder} has {len(spots)} rows of {width} tokens"
                f"{known if self.left_out else ''}, but {count} are needed: prepare more text or a larger "
                "--held-out share, or lower evaluation.tokens"
            )
        chosen = random.Random(f"{split} {width}").sample(spots, count)
        return tokens[np.array(chosen)[:, None] * width + np.arange(width)]

    def _spots(self, split: str, width: int) -> list[int]:
        """The numbers of the pieces of `width` tokens that touch nothing left out."""
        free = np.ones(len(self.tokens[split]) // width, dtype=bool)
        for name in self.left_out:
            where, number = name.split("/")
            if where == split:
                start, end = self.bounds[split][int(number) : int(number) + 2].tolist()
                free[start // width : (end - 1) // width + 1] = False
        return list(np.flatnonzero(free).tolist())


def load_shards(task: Task) -> Shards:
    """Reads the task's prepared corpus and checks every file against its digest.

    Raises:
        TaskError: it has not been prepared, or is damaged, or has another vocabulary.
    """
    folder = prepared_folder(task)
    mend = f"run `autoresearch-rl prepare {task.name} --source DIR-or-hub-name`"
    if not (folder / META).is_file():
        raise TaskError(f"no prepared corpus at {folder}: {mend} first")
    try:
        meta = json.loads((folder / META).read_text())
        if meta["format"] != FORMAT:
            raise TaskError(f"{folder} was prepared by another version: remove it and {mend}")
        _verify(folder, meta["files"])
        return _read(folder, meta, task)
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, TaskError):
            raise
        raise TaskError(
            f"the prepared corpus at {folder} is damaged ({error}): remove it and {mend}"
        ) from error


def _verify(folder: Path, digests: Mapping[str, str]) -> None:
    for name in FILES:
        with open(folder / name, "rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != digests[name]:
                raise ValueError(f"{name} is not what meta.json says")


def _read(folder: Path, meta: Mapping[str, Any], task: Task) -> Shards:
    vocabulary = tuple(map(bytes.fromhex, json.loads((folder / VOCABULARY).read_text())))
    if len(vocabulary) != task.vocab_size:
        raise TaskError(
            f"{folder} was prepared with {len(vocabulary)} tokens, but task {task.name} has vocab_size "
            f"{task.vocab_size}: remove it and prepare again, or change the task"
        )
    tokens = {split: _mapped(folder / files_of(split)[0], TOKEN) for split in SPLITS}
    bounds = {split: _mapped(folder / files_of(split)[1], OFFSET) for split in SPLITS}
    held_out = {s: _documents(s, tokens[s], bounds[s], vocabulary) for s in ("val", "test")}
    return Shards({"train": {}, "probe": {}, **held_out}, folder, meta, vocabulary, tokens, bounds)


def _mapped(path: Path, dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.memmap(path, dtype, "r") if path.stat().st_size else np.empty(0, dtype)


def _documents(
    split: str, tokens: NDArray[np.uint16], bounds: NDArray[np.uint64], vocabulary: tuple[bytes, ...]
) -> dict[str, bytes]:
    """The raw bytes of a split's documents, by a name that is theirs alone."""
    return {
        f"{split}/{number}": b"".join([vocabulary[token] for token in tokens[start:end].tolist()])
        for number, (start, end) in enumerate(pairwise(bounds.tolist()))
    }
