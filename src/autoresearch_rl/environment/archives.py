"""Unpacks archives and compressed files in memory, within bounds, so that the leak scan can look inside.

Known by their first bytes, never by name: zip (wheels, eggs, jars; also behind other data, as in a zipapp),
tar with a ustar header, gzip, bzip2, xz, zlib, and these within each other. Other formats (zstd, 7z, LZ4, an
encrypted zip, compressed streams inside other files) are not opened.
"""

from __future__ import annotations

import io
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import IO, Any

LARGEST = 1 << 28  # unpacked bytes of one file, all its layers together
MEMBERS = 1 << 16  # of one file, all its layers together
LAYERS = 4  # a tar.gz is two: this opens a tar.gz inside a tar.gz
READ_ONCE = 1 << 24  # a table of contents is read in one go: a longer one could exhaust memory once parsed
BLOCK = 1 << 12  # zipfile unpacks all it has read of an LZMA member at once: up to 30 MB of this many bytes
HEAD = 262  # bytes that show what a file is

# Stored as is in the archive?, how to open it. None: a member without content.
Members = Iterator[tuple[bool, Callable[[], Any]] | None]


class TooMuch(Exception):
    """A bound was hit: what the file holds is not known."""


@dataclass
class _Budget:
    bytes: int
    members: int
    layers: int

    def spend(self, count: int = 0, members: int = 0) -> None:
        self.bytes -= count
        self.members -= members
        if self.bytes < 0 or self.members < 0:
            raise TooMuch


class _Capped(io.BufferedReader):
    """A file of which nobody reads much at once, whatever lengths its headers claim."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > READ_ONCE:
            raise TooMuch
        return super().read(size)


class _Inflated:
    """The content of a zlib stream."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.inflater = file, zlib.decompressobj()

    def read1(self, size: int) -> bytes:
        while not self.inflater.eof and (data := self.inflater.unconsumed_tail or self.file.read(BLOCK)):
            if found := self.inflater.decompress(data, size):
                return found
        return b""


def unpacked(file: io.FileIO) -> Iterator[io.BytesIO]:
    """What a file holds in packed form, member by member, with the members of archives among them.

    Members that an archive stores as they are can be read in the archive itself, and are left out, but for
    packed and compiled ones. Of broken data, what can be unpacked comes; nothing comes of other files.

    Args:
        file: open for reading, at any position; stays open.

    Raises:
        TooMuch: there is more than the bounds above allow, or a zip uses bzip2, which zipfile cannot bound.
    """
    capped = _Capped(file)
    try:
        yield from _walk(capped, _Budget(LARGEST, MEMBERS, LAYERS))
    finally:
        capped.detach()


def is_compiled(head: bytes) -> bool:
    """Whether these are the first bytes of a .pyc, of whatever Python."""
    return head[2:4] == b"\r\n"


def _walk(file: _Capped, budget: _Budget) -> Iterator[io.BytesIO]:
    if (members := _opener(file)) is None:
        return
    if not budget.layers:
        raise TooMuch
    budget.layers -= 1
    with _tolerant():
        for member in members(file):
            budget.spend(members=1)
            if member and (content := _content(*member, budget)).tell():
                yield content
                yield from _walk(_Capped(content), budget)
    budget.layers += 1


def _content(stored: bool, open_member: Callable[[], Any], budget: _Budget) -> io.BytesIO:
    content = io.BytesIO()
    with _tolerant():
        member = open_member()
        if stored and not _is_telling(member.peek(HEAD)):
            return content
        while block := member.read1(BLOCK):
            budget.spend(len(block))
            content.write(block)
    return content


def _is_telling(head: bytes) -> bool:
    return is_compiled(head) or _by_head(head) is not None


@contextmanager
def _tolerant() -> Iterator[None]:
    """Stops where data is broken, without an error."""
    try:
        yield
    except TooMuch:
        raise
    except MemoryError as error:
        raise TooMuch from error
    except Exception:  # the libraries raise nearly anything; a missing one opens nothing in a trial either
        return


def _opener(file: _Capped) -> Callable[[_Capped], Members] | None:
    file.seek(0)
    if opener := _by_head(file.read(HEAD)):
        file.seek(0)
        return opener
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - zipfile.sizeEndCentDir))  # type: ignore[attr-defined]
    return _zip if file.read(4) == b"PK\x05\x06" else None


def _by_head(head: bytes) -> Callable[[_Capped], Members] | None:
    for magic, opener in _MAGIC.items():
        if head.startswith(magic):
            return opener
    if head[257:262] == b"ustar":
        return _tar
    is_zlib = head[:1] == b"\x78" and int.from_bytes(head[:2], "big") % 31 == 0  # RFC 1950
    return _zlib if is_zlib else None


def _zip(file: _Capped) -> Members:
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            if info.compress_type == zipfile.ZIP_BZIP2:  # zipfile may unpack one BLOCK to 4 GB at once
                raise TooMuch
            yield info.compress_type == zipfile.ZIP_STORED, partial(archive.open, info)


def _tar(file: _Capped) -> Members:
    with tarfile.open(fileobj=file, mode="r:") as archive:
        for info in archive:
            yield (True, partial(archive.extractfile, info)) if info.isreg() else None


def _zlib(file: _Capped) -> Members:
    yield False, partial(_Inflated, file)


def _stream(module: str, file: _Capped) -> Members:
    yield False, lambda: import_module(module).open(file)  # not every Python was built with all of them


_MAGIC: dict[bytes, Callable[[_Capped], Members]] = {
    b"PK\x03\x04": _zip,
    b"\x1f\x8b": partial(_stream, "gzip"),
    b"BZh": partial(_stream, "bz2"),
    b"\xfd7zXZ\x00": partial(_stream, "lzma"),
}
