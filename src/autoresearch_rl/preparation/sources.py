"""Documents out of a local folder: parquet (column `text`), JSON Lines (field `text`), or text files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoresearch_rl.errors import ConfigurationError, SourceError

COLUMN = "text"
TEXTS = frozenset((".txt", ".md", ".py", ".rst"))
PIECE_BYTES = 32 << 20  # text files are small: this much of them is one piece of work
ROWS = 512  # of a parquet file, read at a time


@dataclass(frozen=True)
class Piece:
    """A part of the source that is done as a whole, or again. All its files are of one kind."""

    files: tuple[Path, ...]

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(path.stat().st_size for path in self.files)

    def digest(self) -> str:
        """SHA-256 over the contents of its files."""
        digest = hashlib.sha256()
        for path in self.files:
            with open(path, "rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()


def find(folder: Path) -> list[Piece]:
    """The pieces of a folder, in the order of their names.

    Raises:
        ConfigurationError: there is no such folder, or nothing in it that can be read.
    """
    if not folder.is_dir():
        raise ConfigurationError(
            f"no folder {folder}: --source is a folder, or a hub name such as owner/name"
        )
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not _is_hidden(path, folder))
    shards = [Piece((path,)) for path in files if path.suffix in (".parquet", ".jsonl")]
    pieces = shards + list(_grouped(path for path in files if path.suffix in TEXTS))
    if not pieces:
        kinds = ", ".join([".parquet", ".jsonl", *sorted(TEXTS)])
        raise ConfigurationError(f"{folder} holds no documents: expected files of the kinds {kinds}")
    return pieces


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _grouped(files: Iterable[Path]) -> Iterator[Piece]:
    group: list[Path] = []
    size = 0
    for path in files:
        group.append(path)
        size += path.stat().st_size
        if size >= PIECE_BYTES:
            yield Piece(tuple(group))
            group, size = [], 0
    if group:
        yield Piece(tuple(group))


def read(piece: Piece) -> Iterator[str]:
    """The documents of a piece, empty ones left out.

    Raises:
        SourceError: a file is not what its name says.
        ConfigurationError: a library is missing.
    """
    for path in piece.files:
        try:
            yield from (text for text in _READERS.get(path.suffix, _text)(path) if text.strip())
        except UnicodeDecodeError as error:
            raise SourceError(f"{path} is not UTF-8 text (byte {error.start}): mend or remove it") from error


def _text(path: Path) -> Iterator[str]:
    yield path.read_bytes().decode("utf-8")


def _json_lines(path: Path) -> Iterator[str]:
    with open(path, "rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield _field(line, f"{path}, line {number}")


def _field(line: bytes, where: str) -> str:
    try:
        text = json.loads(line)[COLUMN]
    except (ValueError, KeyError, TypeError) as error:
        raise SourceError(f'{where}: expected a JSON object with the field "{COLUMN}"') from error
    if not isinstance(text, str):
        raise SourceError(f'{where}: "{COLUMN}" must be text, but is {type(text).__name__}')
    return text.encode("utf-8", "replace").decode("utf-8")  # JSON can spell half a surrogate pair


def _parquet(path: Path) -> Iterator[str]:
    pyarrow, parquet = _pyarrow()
    try:
        file = parquet.ParquetFile(path)
        if COLUMN not in file.schema_arrow.names:
            raise SourceError(f"{path} has no column {COLUMN}, but {', '.join(file.schema_arrow.names)}")
        for batch in file.iter_batches(batch_size=ROWS, columns=[COLUMN]):
            yield from (text for text in batch.column(0).to_pylist() if text)
    except (pyarrow.lib.ArrowException, OSError) as error:
        raise SourceError(f"{path} cannot be read as parquet: {' '.join(str(error).split())}") from error


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigurationError(
            "parquet files need pyarrow: pip install 'autoresearch-rl[nanochat]'"
        ) from error
    return pyarrow, pyarrow.parquet


_READERS = {".parquet": _parquet, ".jsonl": _json_lines}
