"""Shards of text to prepare: pieces of the parts of the standard library that sandboxes hide anyway."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from autoresearch_rl.environment.corpus import is_held_out, library
from autoresearch_rl.preparation.prepare import Prepared, prepare
from autoresearch_rl.preparation.sources import find

VOCABULARY = 512
TASK = """
name = "toy"
summary = "nanochat in a few seconds."
[budget]
seconds = 4.0
clock = "wall"
setup = "free"
startup_limit = 60.0
threads = 1
[data]
corpus = "shards"
prepared = "corpus"
vocab_size = 512
seq_len = 64
[evaluation]
tokens = 4096
probe_rows = 8
deadline = 120.0
[limits]
memory_mb = 4096
scratch_mb = 64
artifact_mb = 64
script_bytes = 65536
"""


@cache
def texts(count: int = 600, size: int = 1500) -> tuple[str, ...]:
    """Documents in which many characters take more than one byte, too."""
    found: list[str] = []
    for path in sorted((library() / "test").rglob("*.py")) or sorted(library().rglob("*.py")):
        if is_held_out(path.relative_to(library())) and len(found) < count - 60:
            text = path.read_bytes().decode("utf-8", "replace")
            found += [text[start : start + size] for start in range(0, min(len(text), 20 * size), size)]
    return (
        *found,
        *(f"Übung {i}: naïve café, 東京 {i}, 🙂{'👩‍🚀' * (i % 5)} שלום {i * 7919}\n" * 9 for i in range(60)),
    )


def write_json_lines(folder: Path, documents: Sequence[str], shards: int = 3) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(shards):
        lines = (json.dumps({"text": text}) + "\n" for text in documents[shard::shards])
        (folder / f"shard_{shard}.jsonl").write_text("".join(lines))
    return folder


def prepared(folder: Path, source: Path, held_out: float = 0.1, vocab_size: int = VOCABULARY) -> Prepared:
    return prepare(find(source), folder, vocab_size, lambda *_: None, held_out, masked=[source])
