"""The downloader against a server of our own that breaks off, lies, and fails."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from autoresearch_rl.errors import ConfigurationError, SourceError
from autoresearch_rl.preparation import hub

NAME = "somebody/some-text"
REVISION = "0123abcd"


class Hub:
    """What the server serves, how it misbehaves, and what it was asked."""

    def __init__(self) -> None:
        self.files = {f"data/shard_{n:05d}.parquet": bytes([n]) * (3000 + n) for n in range(5)}
        self.hashes = {path: hashlib.sha256(data).hexdigest() for path, data in self.files.items()}
        self.cut: list[int] = []  # the next answers with data end after so many bytes
        self.errors: list[int] = []  # the next answers with data are these
        self.ranges = True
        self.asked: list[tuple[str, str]] = []

    def listing(self, page: int) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = [{"type": "file", "path": "README.md", "size": 5}]
        entries += [
            {"type": "file", "path": path, "size": len(data), "lfs": {"oid": self.hashes[path]}}
            for path, data in self.files.items()
        ]
        return entries[3 * page : 3 * page + 3]


def handler(state: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append((self.path, self.headers.get("Range", "")))
            path = self.path
            if path == f"/api/datasets/{NAME}":
                self.answer(json.dumps({"sha": REVISION}).encode())
            elif path.startswith(f"/api/datasets/{NAME}/tree/{REVISION}?recursive=true"):
                page = int(path.partition("&page=")[2] or 0)
                link = f"<http://{self.headers['Host']}{path.partition('&')[0]}&page={page + 1}>"
                more = {"Link": f'{link}; rel="next"'} if page < 1 else {}
                self.answer(json.dumps(state.listing(page)).encode(), more)
            elif (name := path.removeprefix(f"/datasets/{NAME}/resolve/{REVISION}/")) in state.files:
                self.data(state.files[name])
            else:
                self.send_error(404)

        def data(self, data: bytes) -> None:
            if state.errors:
                self.send_error(state.errors.pop(0))
                return
            start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-")) if state.ranges else 0
            end = state.cut.pop(0) if state.cut else len(data)
            self.send_response(206 if state.ranges else 200)
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            self.wfile.write(data[start : start + end])

        def answer(self, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(200)
            for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    state = Hub()
    with ThreadingHTTPServer(("127.0.0.1", 0), handler(state)) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{running.server_address[1]}/")
        yield state
        running.shutdown()
        thread.join()


def fetch(folder: Path, shards: int = 3) -> tuple[list[bytes], list[tuple[int, int]]]:
    steps: list[tuple[int, int]] = []
    paths = hub.fetch(NAME, shards, folder, lambda done, total: steps.append((done, total)), pause=0.01)
    return [path.read_bytes() for path in paths], steps


def test_the_first_shards_come_with_their_progress(server: Hub, tmp_path: Path) -> None:
    found, steps = fetch(tmp_path)
    assert found == list(server.files.values())[:3]
    assert steps == sorted(steps)
    assert steps[-1] == (9003, 9003)
    assert not list(tmp_path.glob("*.part"))


def test_what_is_there_is_not_asked_for_again(server: Hub, tmp_path: Path) -> None:
    fetch(tmp_path)
    server.asked.clear()
    fetch(tmp_path)
    assert server.asked == []
    fetch(tmp_path, 5)
    assert [path for path, _ in server.asked if "resolve" in path] == [
        f"/datasets/{NAME}/resolve/{REVISION}/data/shard_0000{n}.parquet" for n in (3, 4)
    ]


def test_a_broken_download_goes_on_where_it_stopped(server: Hub, tmp_path: Path) -> None:
    server.cut = [1000, 500]
    assert fetch(tmp_path, 1)[0] == [server.files["data/shard_00000.parquet"]]
    assert [asked for _, asked in server.asked if asked] == ["bytes=0-", "bytes=1000-", "bytes=1500-"]


def test_after_a_kill_it_goes_on_too(server: Hub, tmp_path: Path) -> None:
    (tmp_path / "data_shard_00000.parquet.part").write_bytes(bytes(1234))
    assert fetch(tmp_path, 1)[0] == [server.files["data/shard_00000.parquet"]]
    assert [asked for _, asked in server.asked if asked] == ["bytes=1234-"]


def test_a_server_without_ranges_starts_anew(server: Hub, tmp_path: Path) -> None:
    server.ranges, server.cut = False, [1000]
    assert fetch(tmp_path, 1)[0] == [server.files["data/shard_00000.parquet"]]


def test_a_part_that_is_too_long_is_thrown_away(server: Hub, tmp_path: Path) -> None:
    (tmp_path / "data_shard_00000.parquet.part").write_bytes(bytes(9999))
    assert fetch(tmp_path, 1)[0] == [server.files["data/shard_00000.parquet"]]


def test_other_bytes_than_listed_are_refused_and_removed(server: Hub, tmp_path: Path) -> None:
    server.hashes["data/shard_00000.parquet"] = "0" * 64
    with pytest.raises(SourceError, match=r"but the hub lists 0000.*: run again"):
        fetch(tmp_path, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["listing.json"]


def test_a_busy_server_is_asked_again_and_a_dead_one_is_told(server: Hub, tmp_path: Path) -> None:
    server.errors = [503, 429]
    assert len(fetch(tmp_path, 1)[0]) == 1
    server.errors = [500] * 5
    with pytest.raises(SourceError, match=r"goes on where it stopped.*--source"):
        fetch(tmp_path, 2)


def test_a_server_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(SourceError, match=r"cannot be downloaded .*refused"):
        fetch(tmp_path)


def test_wrong_names_and_too_many_shards_are_told(
    server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError, match="has 5 parquet files, but --shards asks for 6"):
        fetch(tmp_path, 6)
    with pytest.raises(ConfigurationError, match="no such public data set"):
        hub.fetch("nobody/nothing", 1, tmp_path / "other", lambda *_: None, pause=0.01)
    fetch(tmp_path, 1)
    with pytest.raises(ConfigurationError, match="holds shards of somebody/some-text"):
        hub.fetch("nobody/nothing", 1, tmp_path, lambda *_: None, pause=0.01)


def test_what_is_a_hub_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert hub.is_name("karpathy/climbmix-400b-shuffle")
    assert not any(hub.is_name(name) for name in ("shards", "./here/there", "/abs/olute", "a/b/c"))
    (tmp_path / "owner" / "name").mkdir(parents=True)
    assert not hub.is_name("owner/name")
