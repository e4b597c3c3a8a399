"""Makes a prepared corpus out of pieces of text: split, vocabulary, tokens, and `meta.json` last.

Which split a document belongs to follows from its words alone, so two copies of it are never on two sides;
the second copy is dropped. Every step leaves its result under `.work` by one rename: whoever is killed goes
on there, and the outcome is the same to the byte.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from autoresearch_rl.environment.corpus import SPLITS
from autoresearch_rl.environment.shards import FILES, FORMAT, META, OFFSET, TOKEN, VOCABULARY, files_of
from autoresearch_rl.errors import ConfigurationError
from autoresearch_rl.preparation.sources import Piece, read
from autoresearch_rl.preparation.vocabulary import Encoder, train

HELD_OUT = 0.01  # share of the documents for val, as much for test, and half of it for probe
ENOUGH = 8 << 20  # bytes of a held-out split; further documents of it are dropped, to bound the leak scan
SAMPLE = 128 << 20  # bytes of training text that the vocabulary is trained on
BATCH = 256  # documents encoded at a time
WORK, PLAN, TRAINED, COUNTS, KEYS = ".work", "plan.json", "tokenizer.json", "counts.json", "keys.bin"

Tell = Callable[[str, int, int], None]  # what is done now, how much of it, out of how much


@dataclass(frozen=True)
class Prepared:
    """What came of it."""

    folder: Path
    meta: Mapping[str, Any]
    fresh: bool  # False: it was there already


@dataclass(frozen=True)
class Document:
    """A text, its key (equal for texts of the same words) and its split."""

    text: str
    key: int
    split: str


def prepare(
    pieces: Sequence[Piece],
    out: Path,
    vocab_size: int,
    tell: Tell,
    held_out: float = HELD_OUT,
    facts: Mapping[str, Any] | None = None,
    masked: Sequence[Path] = (),
) -> Prepared:
    """Prepares a corpus, or goes on with it.

    Args:
        out: the folder; made if need be.
        facts: where the text is from, for `meta.json`.
        masked: what a sandbox must not see besides `out`.

    Raises:
        ConfigurationError: `out` holds another corpus, or the text is too little.
        SourceError: a piece cannot be read.
        OSError: the disk is full, or `out` cannot be written.
    """
    if not 0 < held_out <= 0.25:
        raise ConfigurationError(f"held-out must be a share above 0 and at most 0.25, but got {held_out}")
    plan = {
        "format": FORMAT,
        "vocab_size": vocab_size,
        "held_out": held_out,
        "pieces": _digests(pieces, tell),
    }
    if (out / META).exists():
        meta = json.loads((out / META).read_text())
        if meta["plan"] != plan:
            raise ConfigurationError(
                f"{out} holds a corpus that was made from other text or with other settings: "
                "remove it, or choose another --out"
            )
        shutil.rmtree(out / WORK, ignore_errors=True)  # of a run that was killed just before its end
        return Prepared(out, meta, fresh=False)
    work = _work_folder(out, plan)
    encoder = Encoder(_trained(work, pieces, vocab_size, held_out, tell))
    parts = _encoded(work, pieces, encoder, held_out, tell)
    meta = _join(parts, out, encoder)
    meta |= {"plan": plan, "facts": dict(facts or {}), "masked": [str(path.resolve()) for path in masked]}
    _write(out / META, (json.dumps(meta, indent=1) + "\n").encode())
    shutil.rmtree(work)
    return Prepared(out, meta, fresh=True)


def _digests(pieces: Sequence[Piece], tell: Tell) -> list[str]:
    digests, total, done = [], sum(piece.size for piece in pieces), 0
    for piece in pieces:
        tell("checksums", done, total)
        digests.append(piece.digest())
        done += piece.size
    tell("checksums", total, total)
    return digests


def _work_folder(out: Path, plan: Mapping[str, Any]) -> Path:
    """Where the steps leave their results; results for another plan are removed."""
    work, text = out / WORK, json.dumps(plan)
    if not (work / PLAN).exists() or (work / PLAN).read_text() != text:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        _write(work / PLAN, text.encode())
    return work


def _write(path: Path, data: bytes) -> None:
    partial = path.with_name(f".{path.name}.part")
    partial.write_bytes(data)
    partial.replace(path)


# --- splits


def documents(piece: Piece, held_out: float) -> Iterator[Document]:
    """The documents of a piece with their splits."""
    for text in read(piece):
        digest = hashlib.sha256(" ".join(text.split()).encode()).digest()
        share = int.from_bytes(digest[8:16], "big") / 2**64
        yield Document(text, int.from_bytes(digest[:8], "little"), split_of(share, held_out))


def split_of(share: float, held_out: float) -> str:
    """The split of a document, from a number in [0, 1) that is drawn from its words."""
    if share < 2 * held_out:
        return "val" if share < held_out else "test"
    return "probe" if share < 2.5 * held_out else "train"


# --- the vocabulary


def _trained(work: Path, pieces: Sequence[Piece], vocab_size: int, held_out: float, tell: Tell) -> str:
    path = work / TRAINED
    if not path.exists():
        texts = _sample(pieces, held_out, tell)
        _write(path, train(texts, vocab_size).encode())
    return path.read_text()


def _sample(pieces: Sequence[Piece], held_out: float, tell: Tell) -> Iterator[str]:
    """Training documents, as much of each piece."""
    for number, piece in enumerate(pieces):
        tell("vocabulary", number, len(pieces))
        left = SAMPLE // len(pieces)
        for document in documents(piece, held_out):
            if document.split == "train":
                yield document.text
                if (left := left - len(document.text)) <= 0:
                    break
    tell("vocabulary", len(pieces), len(pieces))


# --- the tokens


@dataclass
class _Sofar:
    """What later pieces must know of earlier ones: the keys of documents, and bytes by split."""

    keys: set[int] = field(default_factory=set)
    sizes: Counter[str] = field(default_factory=Counter)

    def load(self, part: Path) -> None:
        """Adds a piece that an earlier run has encoded."""
        self.keys.update(np.fromfile(part / KEYS, OFFSET).tolist())
        self.sizes.update(json.loads((part / COUNTS).read_text())["bytes"])


def _encoded(
    work: Path, pieces: Sequence[Piece], encoder: Encoder, held_out: float, tell: Tell
) -> list[Path]:
    """A folder of tokens for each piece."""
    parts, sofar = [work / f"{number:05d}" for number in range(len(pieces))], _Sofar()
    for number, (piece, part) in enumerate(zip(pieces, parts, strict=True)):
        tell("tokens", number, len(pieces))
        if part.exists():
            sofar.load(part)
        else:
            _encode_piece(piece, part, encoder, held_out, sofar)
    tell("tokens", len(pieces), len(pieces))
    return parts


def _encode_piece(piece: Piece, part: Path, encoder: Encoder, held_out: float, sofar: _Sofar) -> None:
    """Writes the tokens of a piece, split by split; all of it appears by one rename."""
    partial = part.with_name("partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    with ExitStack() as stack:
        writer = _Writer(partial, encoder, stack)
        for batch in _batches(_wanted(documents(piece, held_out), sofar, writer.left_out)):
            writer.write(batch)
    (partial / COUNTS).write_text(json.dumps({"bytes": writer.bytes, "left out": writer.left_out}))
    partial.replace(part)


def _wanted(found: Iterable[Document], sofar: _Sofar, left_out: Counter[str]) -> Iterator[Document]:
    """Leaves out copies, and what a held-out split does not need any more."""
    for document in found:
        if document.key in sofar.keys:
            left_out["copies"] += 1
        elif document.split != "train" and sofar.sizes[document.split] >= ENOUGH:
            left_out["not needed"] += 1
        else:
            sofar.keys.add(document.key)
            sofar.sizes[document.split] += len(document.text.encode())
            yield document


def _batches(found: Iterator[Document]) -> Iterator[list[Document]]:
    while batch := list(islice(found, BATCH)):
        yield batch


class _Writer:
    """The files of one piece: tokens and lengths by split, the keys of all documents, and counts."""

    def __init__(self, folder: Path, encoder: Encoder, stack: ExitStack) -> None:
        self.left_out, self.bytes, self._encoder = Counter[str](), Counter[str](), encoder
        names = [name for split in SPLITS for name in files_of(split)] + [KEYS]
        self._files = {name: stack.enter_context((folder / name).open("wb")) for name in names}

    def write(self, batch: Sequence[Document]) -> None:
        """Appends documents."""
        encoded = self._encoder.encode([document.text for document in batch])
        for document, tokens in zip(batch, encoded, strict=True):
            tokens_file, lengths_file = files_of(document.split)
            self._files[tokens_file].write(tokens.tobytes())
            self._files[lengths_file].write(np.array(len(tokens), OFFSET).tobytes())
            self._files[KEYS].write(document.key.to_bytes(8, "little"))
            self.bytes[document.split] += len(document.text.encode())


# --- the end


def _join(parts: Sequence[Path], out: Path, encoder: Encoder) -> dict[str, Any]:
    """Writes the final files, and returns what `meta.json` says of them."""
    _write(out / VOCABULARY, json.dumps([token.hex() for token in encoder.vocabulary]).encode())
    _write(out / TRAINED, (parts[0].parent / TRAINED).read_bytes())
    counts = [json.loads((part / COUNTS).read_text()) for part in parts]
    splits = {}
    for split in SPLITS:
        tokens_file, documents_file = files_of(split)
        _concatenate([part / tokens_file for part in parts], out / tokens_file)
        lengths = np.concatenate([np.fromfile(part / documents_file, OFFSET) for part in parts])
        ends = np.concatenate([np.zeros(1, OFFSET), lengths.cumsum(dtype=OFFSET)])
        _write(out / documents_file, ends.astype(OFFSET).tobytes())
        size = sum(count["bytes"].get(split, 0) for count in counts)
        splits[split] = {"documents": len(lengths), "tokens": int(ends[-1]), "bytes": size}
        _require(out, split, splits[split], encoder)
    left_out = sum((Counter(count["left out"]) for count in counts), Counter[str]())
    return {"format": FORMAT, "splits": splits, "left_out": dict(left_out), "files": _file_digests(out)}


def _concatenate(parts: Sequence[Path], path: Path) -> None:
    partial = path.with_name(f".{path.name}.part")
    with open(partial, "wb") as file:
        for part in parts:
            with open(part, "rb") as source:
                shutil.copyfileobj(source, file, 1 << 20)
    partial.replace(path)


def _require(out: Path, split: str, facts: Mapping[str, int], encoder: Encoder) -> None:
    """Checks that a split is not empty, and that its tokens have as many bytes as its text."""
    if not facts["documents"]:
        raise ConfigurationError(
            f"the text is too little: no document fell into the {split} split; prepare more documents, or "
            "set a larger share with --held-out"
        )
    sizes = np.array([len(token) for token in encoder.vocabulary])
    tokens = np.memmap(out / files_of(split)[0], TOKEN, "r")
    found = sum(
        int(sizes[tokens[start : start + (1 << 24)]].sum()) for start in range(0, len(tokens), 1 << 24)
    )
    assert found == facts["bytes"], f"{split}: {found} bytes in tokens, {facts['bytes']} in documents"


def _file_digests(out: Path) -> dict[str, str]:
    digests = {}
    for name in FILES:
        with open(out / name, "rb") as file:
            digests[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests
