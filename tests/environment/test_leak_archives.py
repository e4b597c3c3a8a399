import bz2
import gzip
import importlib.util
import io
import lzma
import marshal
import random
import subprocess
import sys
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from autoresearch_rl.environment import archives, leak
from autoresearch_rl.environment.corpus import Corpus, load_stdlib
from autoresearch_rl.environment.view import View

SECRET = b"".join(
    b"    held_out_line_%d = 'nobody else has this line of text %d'\n" % (i, i) for i in range(40)
)
PUBLIC = b"".join(
    b"    public_line_%d = 'everybody may read this line of text %d'\n" % (i, i) for i in range(40)
)
LEAKED = "test/v.py"
MIB = 1 << 20


@pytest.fixture
def corpus() -> Corpus:
    return Corpus(
        {"train": {"a.py": PUBLIC}, "probe": {}, "val": {LEAKED: SECRET}, "test": {"test/t.py": PUBLIC}}
    )


def in_zip(data: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("a/", b"")
        archive.writestr("a/clean.py", PUBLIC)
        archive.writestr("a/other.dat", data)
    return file.getvalue()


def in_tar(data: bytes, form: int = tarfile.PAX_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        folder = tarfile.TarInfo("a")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        link = tarfile.TarInfo("a/link")
        link.type, link.linkname = tarfile.SYMTYPE, "b"
        archive.addfile(link)
        member = tarfile.TarInfo("a/b")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return file.getvalue()


def compiled(source: bytes, name: str = "/home/me/site-packages/mod.py") -> bytes:
    return importlib.util.MAGIC_NUMBER + bytes(12) + marshal.dumps(compile(source, name, "exec"))


Pack = Callable[[bytes], bytes]
FORMATS: dict[str, Pack] = {
    "zip": in_zip,
    "zip, stored": lambda data: in_zip(data, zipfile.ZIP_STORED),
    "zip, lzma": lambda data: in_zip(data, zipfile.ZIP_LZMA),
    "zipapp": lambda data: b"#!/usr/bin/env python3\n" + in_zip(data),
    "tar": in_tar,
    "gnu tar": lambda data: in_tar(data, tarfile.GNU_FORMAT),
    "tar.gz": lambda data: gzip.compress(in_tar(data)),
    "tar.bz2": lambda data: bz2.compress(in_tar(data)),
    "tar.xz": lambda data: lzma.compress(in_tar(data)),
    "gz": gzip.compress,
    "gz, two streams": lambda data: gzip.compress(PUBLIC) + gzip.compress(data),
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zlib": zlib.compress,
    "zlib, best": lambda data: zlib.compress(data, 9),
    "zip in zip": lambda data: in_zip(in_zip(data), zipfile.ZIP_STORED),
    "wheel in tar.gz": lambda data: gzip.compress(in_tar(in_zip(data))),
    "tar.gz in tar.xz": lambda data: lzma.compress(in_tar(gzip.compress(in_tar(data)))),
    "gz in tar": lambda data: in_tar(gzip.compress(data)),
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_packed_copy_is_found_and_a_clean_archive_is_not(name: str, corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "copy.png").write_bytes(FORMATS[name](SECRET))  # known by its bytes, not by its name
    (tmp_path / "fine.png").write_bytes(FORMATS[name](PUBLIC))
    closed, leaks = leak.closed_view(corpus, View((tmp_path,), ()))
    assert leaks == [tmp_path / "copy.png"]
    assert [path for path, _ in closed.files()] == [str(tmp_path / "fine.png")]


def test_parts_in_many_members_add_up(corpus: Corpus, tmp_path: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, line in enumerate(SECRET.splitlines()):
            archive.writestr(str(number), line)
    (tmp_path / "parts.zip").write_bytes(file.getvalue())
    assert leak.scan(corpus, [tmp_path / "parts.zip"]) == [(tmp_path / "parts.zip", LEAKED)]


@pytest.mark.parametrize("name", FORMATS)
def test_broken_archives_do_no_harm(name: str, corpus: Corpus, tmp_path: Path) -> None:
    whole, chance, path = FORMATS[name](SECRET + bytes(100_000)), random.Random(name), tmp_path / "broken"
    for _ in range(15):
        broken = bytearray(whole[: chance.randrange(len(whole))] if chance.random() < 0.3 else whole)
        for _ in range(chance.randrange(1, 9)):
            if broken:
                broken[chance.randrange(len(broken))] = chance.randrange(256)
        path.write_bytes(broken)
        assert {found for _, found in leak.scan(corpus, [path])} <= {LEAKED, leak.UNREAD}


def test_what_comes_before_the_damage_is_looked_at(corpus: Corpus, tmp_path: Path) -> None:
    tail = random.Random(0).randbytes(1_000_000)
    for name in ("gz", "xz", "zlib", "tar.gz", "zip"):
        packed = FORMATS[name](SECRET + tail)
        damaged = packed[: len(packed) // 2] + b"damage" + packed[len(packed) // 2 + 6 :]
        (tmp_path / name).write_bytes(damaged if name == "zip" else damaged[:-100_000])
        assert leak.scan(corpus, [tmp_path / name]) == [(tmp_path / name, LEAKED)], name


BOMBS: dict[str, Callable[[], bytes]] = {
    "gz": lambda: gzip.compress(bytes(16 * MIB)) * 100,
    "newlines": lambda: gzip.compress(b"\n" * 16 * MIB) * 100,
    "bz2": lambda: bz2.compress(bytes(16 * MIB)) * 100,
    "xz": lambda: lzma.compress(bytes(16 * MIB)) * 100,
    "zip in zip": lambda: in_zip(in_zip(gzip.compress(bytes(16 * MIB)) * 100)),
    "zip, bzip2": lambda: in_zip(bytes(16 * MIB), zipfile.ZIP_BZIP2),
    "zip, lzma": lambda: in_zip(bytes(300 * MIB), zipfile.ZIP_LZMA),
}
SCAN_ONE = """
import re
import sys
from pathlib import Path
from autoresearch_rl.environment import leak
from autoresearch_rl.environment.corpus import Corpus
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) >> 10
path, before = Path(sys.argv[1]), peak()
found = leak.scan(Corpus({"train": {}, "probe": {}, "val": {"v": b"a" * 90}, "test": {}}), [path])
print(found == [(path, leak.UNREAD)], peak() - before)
"""


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_hidden_and_takes_little_time_and_memory(name: str, tmp_path: Path) -> None:
    (tmp_path / "bomb").write_bytes(BOMBS[name]())
    begin = time.monotonic()
    command = [sys.executable, "-c", SCAN_ONE, str(tmp_path / "bomb")]
    hidden, peak = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=60
    ).stdout.split()
    assert hidden == "True"
    assert int(peak) < 500, "MiB"
    assert time.monotonic() - begin < 30


def test_more_members_or_layers_than_allowed_are_hidden(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "many"
    path.write_bytes(in_zip(PUBLIC))
    monkeypatch.setattr(archives, "MEMBERS", 2)
    assert leak.scan(corpus, [path]) == [(path, leak.UNREAD)]
    monkeypatch.setattr(archives, "MEMBERS", 100)
    assert leak.scan(corpus, [path]) == []
    data = PUBLIC
    for layer in range(archives.LAYERS + 1):
        data = gzip.compress(data)
        path.write_bytes(data)
        assert leak.scan(corpus, [path]) == ([] if layer < archives.LAYERS else [(path, leak.UNREAD)])


def test_a_long_table_of_contents_is_not_read(corpus: Corpus, tmp_path: Path) -> None:
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 1 << 34
    (tmp_path / "x.tar").write_bytes(header.tobuf(tarfile.GNU_FORMAT) + bytes(2000))
    assert leak.scan(corpus, [tmp_path / "x.tar"]) == [(tmp_path / "x.tar", leak.UNREAD)]
    packed, entry = in_zip(PUBLIC), b"PK\x01\x02" + bytes(42)
    end = bytearray(packed[-22:])
    end[12:16] = (archives.READ_ONCE + 46).to_bytes(4, "little")
    (tmp_path / "x.zip").write_bytes(b"PK\x03\x04" + entry * (archives.READ_ONCE // 46 + 2) + end)
    assert leak.scan(corpus, [tmp_path / "x.zip"]) == [(tmp_path / "x.zip", leak.UNREAD)]


def test_large_members_stored_as_they_are_are_no_bomb(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "LARGEST", 1000)
    for name in ("zip, stored", "tar", "gnu tar"):
        (tmp_path / name).write_bytes(FORMATS[name](bytes(MIB)))
    assert leak.scan(corpus, sorted(tmp_path.iterdir())) == []


def test_an_older_scan_is_not_believed(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, cache = tmp_path / "root", tmp_path / "cache"
    root.mkdir()
    (root / "copy.gz").write_bytes(gzip.compress(SECRET))
    view = View((root,), ())
    with monkeypatch.context() as before:
        before.setattr(leak, "VERSION", leak.VERSION - 1)
        before.setattr(leak, "scan", lambda *_: [])  # looked for less
        assert leak.closed_view(corpus, view, cache)[1] == []
    assert leak.closed_view(corpus, view, cache)[1] == [root / "copy.gz"]
    monkeypatch.setattr(leak, "telling_lines", lambda _: pytest.fail("it began another scan"))
    assert leak.closed_view(corpus, view, cache)[1] == [root / "copy.gz"]


def test_compiled_held_out_documents_are_found_wherever_they_are(tmp_path: Path) -> None:
    corpus = load_stdlib()
    held_out = {**corpus.documents["val"], **corpus.documents["test"]}
    names = [name for name in ("mailbox.py", "turtle.py", "wsgiref/handlers.py") if name in held_out]
    folder = tmp_path / "site-packages/vendored/__pycache__"
    folder.mkdir(parents=True)
    found = []
    for number, name in enumerate(names):
        code = compiled(held_out[name])
        paths = [folder / f"{number}.cpython-399.pyc", folder / f"{number}.zip", folder / f"{number}s.zip"]
        paths[0].write_bytes(code)
        paths[1].write_bytes(in_zip(code))
        paths[2].write_bytes(in_zip(code, zipfile.ZIP_STORED))
        found += [(path, name) for path in paths]
    (folder / "fine.pyc").write_bytes(compiled(corpus.documents["train"]["argparse.py"]))
    assert names
    assert sorted(leak.scan(corpus, folder.iterdir())) == sorted(found)


def test_a_short_compiled_document_is_known_by_the_name_of_its_source(tmp_path: Path) -> None:
    corpus = Corpus({"train": {}, "probe": {}, "val": {"test/short.py": b"a = 1\n"}, "test": {}})
    (tmp_path / "a.pyc").write_bytes(compiled(b"a = 1\n", "/usr/lib/python3.11/test/short.py"))
    (tmp_path / "b.pyc").write_bytes(compiled(b"a = 1\n", "/usr/lib/python3.11/long.py"))
    assert leak.scan(corpus, sorted(tmp_path.iterdir())) == [(tmp_path / "a.pyc", "test/short.py")]
