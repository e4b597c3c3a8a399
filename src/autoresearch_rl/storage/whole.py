"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from autoresearch_rl.storage.faults import storing


def write_whole(path: Path, data: bytes) -> None:
    """Gives a file this content; after a kill or a power cut it has this one or the one before.

    Raises:
        StorageError: it cannot be written.
    """
    part = path.with_name(f".{path.name}.part")
    with storing(path):
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
