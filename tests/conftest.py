"""Fixtures that every part shares."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from autoresearch_rl.environment.frozen import FrozenEnvironment, open_environment
from autoresearch_rl.environment.task import load_task
from tiny import make_task


@pytest.fixture
def tiny_task(tmp_path: Path) -> Path:
    return make_task(tmp_path / "tiny")


@pytest.fixture(scope="session", params=["bubblewrap", "landlock"])
def environment(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FrozenEnvironment]:
    """The tiny task in a real sandbox of either kind."""
    folder = make_task(tmp_path_factory.mktemp("task") / "tiny")
    opened = open_environment(load_task(str(folder)), request.param)
    yield opened
    opened.close()
