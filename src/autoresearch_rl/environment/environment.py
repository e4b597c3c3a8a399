"""What a study runs its scripts in: one interface, whoever computes the score."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

from autoresearch_rl.environment import adopted, frozen, runner
from autoresearch_rl.environment.sandbox import Backend
from autoresearch_rl.environment.task import Task
from autoresearch_rl.records import Outcome


class Environment(Protocol):
    """Runs the scripts of one task. `frozen` measures their scores, `adopted` has to believe them."""

    @property
    def task(self) -> Task:
        """The constants."""

    @property
    def backend(self) -> Backend:
        """The sandbox."""

    @property
    def files(self) -> dict[str, str]:
        """Frozen file -> SHA-256, as they were at the start."""

    @property
    def fingerprint(self) -> Mapping[str, object]:
        """What results must share to be comparable."""

    def run(
        self,
        script: str,
        seed: int,
        on_progress: runner.OnProgress = runner.ignore,
        splits: Sequence[str] = ("val",),
        bar: float = math.inf,
        give_up: runner.GiveUp = runner.never,
    ) -> Outcome:
        """Trains and scores one script; see `FrozenEnvironment.run`."""

    def check(self, script: str, seed: int) -> str | None:
        """Why a script is not worth a trial, in one line; None when nothing speaks against it."""

    def verify(self) -> None:
        """Raises `EnvironmentChanged` when a frozen file has changed since the start."""

    def close(self) -> None:
        """Gives everything back."""


def open_environment(task: Task, wanted: str = "auto") -> Environment:
    """The environment of a task, in a sandbox that passes its self-test.

    Args:
        wanted: a sandbox backend, or `auto`.

    Raises:
        TaskError: the corpus or the data is missing, damaged or too small.
        SandboxError: no sandbox holds here.
    """
    return adopted.open_adopted(task, wanted) if task.program else frozen.open_environment(task, wanted)
