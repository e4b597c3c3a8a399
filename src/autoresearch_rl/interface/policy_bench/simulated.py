"""The simulated suite: problems whose truth is known, of which the policies have seen none."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autoresearch_rl.agent.agents import make_agent
from autoresearch_rl.interface.policy_bench.runs import Run, trace
from autoresearch_rl.records import Trial

if TYPE_CHECKING:
    from autoresearch_rl.pretraining.problems import Game

FIRST_HELD_OUT = 1 << 40
"""Seeds of the problems: no policy is pretrained on those that follow (`Pretraining`)."""


@dataclass(frozen=True)
class SimulatedSuite:
    """A score is the share of what could be gained that the incumbent truly gains, 0 to 1."""

    name: str = "simulated"
    unit: str = "share of what can be gained"
    lower_is_better: bool = False

    def prepare(self, policies: Sequence[str], seeds: Sequence[int]) -> None:
        """Nothing: a simulation needs nothing."""

    def stored(self, policy: str, seed: int) -> Run | None:
        """Nothing: a simulation leaves nothing behind."""
        return None

    def run(self, policy: str, seed: int, trials: int, say: Callable[[str], None]) -> Run:
        """One simulated study, from its beginning. A full trial counts for one second."""
        from autoresearch_rl.simulation.study import SimulatedStudy
        from autoresearch_rl.simulation.tags import tags_of

        game = held_out_game(seed)
        study = SimulatedStudy(game.problem, make_agent(policy, seed), seed, game.conditions)

        def steps() -> Iterator[tuple[Trial, float]]:
            counted = 0
            while counted < trials and (trial := study.step()):
                counted += trial.counts
                yield trial, game.gained(study.best())

        followed, tags = trace(steps()), tags_of(game.problem, game.headroom)
        run = Run(self.name, policy, seed, 1.0, *followed, family=game.family, tags=tags)
        return run.prolonged(trials, "nothing was left to try")


def held_out_game(seed: int) -> Game:
    """Every other one is about a made problem with a seed of its own, the others about families held out."""
    from autoresearch_rl.pretraining.problems import HELD_OUT, landscape_game, made_game

    dice, turn = random.Random(FIRST_HELD_OUT + seed), seed // 2
    if seed % 2 == 0:
        return made_game(dice)
    return landscape_game(HELD_OUT[turn % len(HELD_OUT)], FIRST_HELD_OUT + seed, dice)
