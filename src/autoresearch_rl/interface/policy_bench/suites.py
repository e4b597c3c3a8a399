"""What policies are compared on. A suite is added by one class and its name in `SUITES`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from autoresearch_rl.errors import ConfigurationError
from autoresearch_rl.interface.policy_bench.real import RealSuite
from autoresearch_rl.interface.policy_bench.replayed import ReplaySuite
from autoresearch_rl.interface.policy_bench.runs import Run
from autoresearch_rl.interface.policy_bench.simulated import SimulatedSuite


class Suite(Protocol):
    """Problems by seed, the same for every policy. Crosses to other processes, so it must pickle."""

    @property
    def name(self) -> str:
        """Of its runs in the file."""

    @property
    def unit(self) -> str:
        """Of its scores, for people."""

    @property
    def lower_is_better(self) -> bool:
        """Whether a lower score is better."""

    def prepare(self, policies: Sequence[str], seeds: Sequence[int]) -> None:
        """Makes what all runs share, and looks whether they can be made, once, before they are.

        Raises:
            AutoResearchError: they cannot.
        """

    def run(self, policy: str, seed: int, trials: int, say: Callable[[str], None]) -> Run:
        """Runs one policy on one seed, going on where it stopped before.

        Raises:
            AutoResearchError: it cannot be run to its end.
        """

    def stored(self, policy: str, seed: int) -> Run | None:
        """What can be read of a run that is not in the file, finished or not; changes nothing."""


def _simulated(home: Path, poor: bool) -> Suite:
    if poor:
        raise ConfigurationError("simulated problems have no script to make poor: leave --poor out")
    return SimulatedSuite()


def _replay(home: Path, poor: bool) -> Suite:
    return ReplaySuite(poor)


def _real(task: str) -> Callable[[Path, bool], Suite]:
    return lambda home, poor: RealSuite(task, home, poor)


SUITES: Mapping[str, Callable[[Path, bool], Suite]] = MappingProxyType(
    {"simulated": _simulated, "replay": _replay, "micro": _real("micro"), "stdlib": _real("stdlib")}
)
"""By name: makes the suite, with the folder of its studies, and whether it starts from a poor script."""
