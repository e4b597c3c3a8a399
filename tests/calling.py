"""The commands as a user calls them: in a process of their own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

COMMAND = [sys.executable, "-m", "autoresearch_rl"]
Result = subprocess.CompletedProcess[str]


def call(*arguments: object, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Result:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=env,
        timeout=240,
        check=False,
    )


def one_line(result: Result, code: int, *parts: str) -> None:
    """The command failed with this code and one clear line."""
    assert result.returncode == code, result.stderr
    lines = [line for line in result.stderr.strip().splitlines() if not line.startswith("preparing")]
    assert len(lines) == 1, result.stderr
    for part in parts:
        assert part in lines[0]
