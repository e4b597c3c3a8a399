"""Fixtures that every part shares."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from autoresearch_rl.agent.settled import settle
from autoresearch_rl.environment.frozen import FrozenEnvironment, open_environment
from autoresearch_rl.environment.sandbox import BACKENDS
from autoresearch_rl.environment.task import load_task
from tiny import make_task, skip_without

# As a study does: arithmetic on several threads waits for itself on a busy machine.
settle()


@pytest.fixture
def tiny_task(tmp_path: Path) -> Path:
    return make_task(tmp_path / "tiny")


def _opened(name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrozenEnvironment]:
    folder = make_task(tmp_path_factory.mktemp("task") / "tiny")
    opened = open_environment(load_task(str(folder)), name)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrozenEnvironment]:
    """The tiny task in the best sandbox of this machine."""
    yield from _opened("auto", tmp_path_factory)


@pytest.fixture(scope="session", params=BACKENDS)
def each_environment(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FrozenEnvironment]:
    """The tiny task in either sandbox."""
    skip_without(request.param)
    yield from _opened(request.param, tmp_path_factory)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest tests come first, so that no worker is left alone with one at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
