"""Downloads parquet shards of a public data set from the Hugging Face hub, over plain HTTPS.

The revision is pinned at the first listing. A file comes as `NAME.part`, goes on where it broke off (HTTP
Range), and gets its name once its size and its SHA-256 are what the hub lists.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

from autoresearch_rl.errors import ConfigurationError, SourceError

ENDPOINT = "https://huggingface.co"
FOLDERS = {"HuggingFaceFW/fineweb-edu": "sample/10BT"}  # where a data set has more than one part
NAME = re.compile(r"[\w.-]+/[\w.-]+")
NEXT = re.compile(r'<([^>]+)>;\s*rel="next"')
LISTING = "listing.json"
ATTEMPTS = 5
TIMEOUT = 60.0  # seconds without a byte
BLOCK = 1 << 20
AGENT = {"User-Agent": "autoresearch-rl"}

T = TypeVar("T")
OnBytes = Callable[[int, int], None]  # bytes done, bytes in all


def is_name(source: str) -> bool:
    """Whether a source is a data set on the hub, not a folder."""
    return NAME.fullmatch(source) is not None and not Path(source).exists()


def fetch(name: str, shards: int, folder: Path, on_bytes: OnBytes, pause: float = 1.0) -> list[Path]:
    """Downloads the first shards of a data set; what is there already is not downloaded again.

    Args:
        name: such as `karpathy/climbmix-400b-shuffle`.
        folder: for the shards; made if need be.
        pause: seconds before the second attempt; doubled before each further one.

    Raises:
        SourceError: the hub cannot be reached, or gives other bytes than it lists.
        ConfigurationError: the hub has no such data set, or it has fewer shards.
    """
    folder.mkdir(parents=True, exist_ok=True)
    revision, files = _listing(name, shards, folder, pause)
    total, done = sum(file["size"] for file in files), 0
    paths = []
    for file in files:
        path = folder / file["path"].replace("/", "_")
        if not path.exists():
            url = f"{_endpoint()}/datasets/{name}/resolve/{revision}/{quote(file['path'])}"
            _download(url, path, file, partial(_add, on_bytes, done, total), pause)
        done += file["size"]
        on_bytes(done, total)
        paths.append(path)
    return paths


def _add(on_bytes: OnBytes, before: int, total: int, size: int) -> None:
    on_bytes(before + size, total)


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", ENDPOINT).rstrip("/")  # a mirror, as the hub's own client has it


def _listing(name: str, shards: int, folder: Path, pause: float) -> tuple[str, list[dict[str, Any]]]:
    """The revision, and the first shards in it: as remembered, or from the hub."""
    path = folder / LISTING
    known = json.loads(path.read_text()) if path.exists() else {}
    if known and known["name"] != name:
        raise ConfigurationError(f"{folder} holds shards of {known['name']}: choose another --out for {name}")
    if len(known.get("files", ())) < shards:
        revision = known.get("revision") or _json(f"{_endpoint()}/api/datasets/{name}", pause)[0]["sha"]
        files = [file for _, file in zip(range(shards), _shards(name, revision, pause), strict=False)]
        if len(files) < shards:
            raise ConfigurationError(f"{name} has {len(files)} parquet files, but --shards asks for {shards}")
        known = {"name": name, "revision": revision, "files": files}
        unfinished = path.with_suffix(".part")
        unfinished.write_text(json.dumps(known))
        unfinished.replace(path)
    return known["revision"], known["files"][:shards]


def _shards(name: str, revision: str, pause: float) -> Iterator[dict[str, Any]]:
    """Path, size and SHA-256 of the parquet files, page by page, in the hub's order."""
    where = "/".join(part for part in (revision, FOLDERS.get(name)) if part)
    url: str | None = f"{_endpoint()}/api/datasets/{name}/tree/{where}?recursive=true"
    while url:
        entries, link = _json(url, pause)
        for entry in entries:
            if entry["path"].endswith(".parquet"):
                sha256 = (entry.get("lfs") or {}).get("oid")
                yield {"path": entry["path"], "size": entry["size"], "sha256": sha256}
        found = NEXT.search(link)
        url = found[1] if found else None


def _json(url: str, pause: float) -> tuple[Any, str]:
    """The answer, and its header `Link`."""

    def get() -> tuple[Any, str]:
        with urlopen(Request(url, headers=AGENT), timeout=TIMEOUT) as answer:
            return json.load(answer), answer.headers.get("Link", "")

    return _patiently(get, url, pause)


def _download(
    url: str, path: Path, file: dict[str, Any], on_size: Callable[[int], None], pause: float
) -> None:
    unfinished = path.with_name(f"{path.name}.part")
    _patiently(lambda: _continue(url, unfinished, file["size"], on_size), url, pause)
    with open(unfinished, "rb") as data:
        found = hashlib.file_digest(data, "sha256").hexdigest()
    if file["sha256"] not in (None, found):
        unfinished.unlink()
        raise SourceError(f"{url} came with SHA-256 {found}, but the hub lists {file['sha256']}: run again")
    unfinished.replace(path)


def _continue(url: str, unfinished: Path, size: int, on_size: Callable[[int], None]) -> None:
    """Downloads what is missing.

    Raises:
        ConnectionError: there is still something missing.
    """
    have = unfinished.stat().st_size if unfinished.exists() else 0
    if have > size:
        unfinished.unlink()
        have = 0
    if have == size:
        return
    with urlopen(Request(url, headers=AGENT | {"Range": f"bytes={have}-"}), timeout=TIMEOUT) as answer:
        goes_on = answer.status == 206  # else the server knows no ranges and starts anew
        with open(unfinished, "ab" if goes_on else "wb") as file:
            while block := answer.read(BLOCK):
                file.write(block)
                on_size(file.tell())
            have = file.tell()
    if have != size:
        raise ConnectionError(f"it ended after {have} of {size} bytes")


def _patiently(act: Callable[[], T], url: str, pause: float) -> T:
    """Tries again what the network has broken."""
    for attempt in range(ATTEMPTS):
        try:
            return act()
        except HTTPError as error:
            error.close()
            if error.code in (401, 404):
                raise ConfigurationError(
                    f"{url}: the hub has no such public data set or file, and there is no folder of that name"
                ) from error
            if error.code < 500 and error.code not in (408, 429):
                raise SourceError(f"{url}: the hub answered {error.code} {error.reason}") from error
            problem: Exception = error
        except (URLError, ConnectionError, TimeoutError, http.client.HTTPException) as error:
            problem = error
        if attempt + 1 < ATTEMPTS:
            time.sleep(pause * 2**attempt)
    reason = getattr(problem, "reason", None) or problem
    raise SourceError(
        f"{url} cannot be downloaded ({reason}): the same command goes on where it stopped; where the hub "
        "is out of reach, download the shards elsewhere and name their folder with --source"
    )
