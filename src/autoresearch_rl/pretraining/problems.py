"""Simulated problems to train the policy on, as different as real ones may be, and others it never sees."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from autoresearch_rl.simulation.conditions import Conditions, draw_conditions
from autoresearch_rl.simulation.landscapes.drawing import draw
from autoresearch_rl.simulation.problem import MadeProblem, Problem, Shape

MADE = "made"
"""The family of `MadeProblem`."""

TRAINING = ("bowl", "singles", "table", "saturating", "cliffs", "ridge", "recipes")
"""Families of landscapes that policies are trained on, beside `MADE`."""

HELD_OUT = ("deceptive", "fourier", "scaling", "sparse")
"""Families of landscapes that no policy has seen: only to compare policies."""

OURS = 1.0 / 3.0  # share of the studies that are about a made problem
SLACK = 1.2  # a landscape's best is what a search found: as much more may be there

LADDERS = (
    (0.3, 0.5, 2.0, 3.0),
    (0.1, 0.3, 0.7, 1.4, 3.0, 10.0),
    (0.5, 0.7, 0.85, 1.2, 1.4, 2.0),
    (0.03, 0.1, 0.3, 0.5, 0.7, 0.85, 1.2, 1.4, 2.0, 3.0, 10.0, 30.0),
)
MOST = 1000  # candidates


@dataclass(frozen=True, slots=True, eq=False)
class Game:
    """A problem, and how it is played.

    Attributes:
        family: `MADE`, or one of `landscapes.families.FAMILIES`.
        start: true bits per byte of the baseline.
        headroom: what can be gained, as far as is known.
        limit: what is taken for more than anything gains; not less than the headroom.
    """

    family: str
    problem: Problem
    conditions: Conditions
    start: float
    headroom: float
    limit: float

    def gained(self, bpb: float) -> float:
        """Share of what can be gained that a script with these true bits per byte has gained."""
        return (self.start - bpb) / self.headroom


def draw_game(dice: random.Random) -> Game:
    """A game to train on."""
    if dice.random() < OURS:
        return made_game(dice)
    return landscape_game(dice.choice(TRAINING), dice.getrandbits(32), dice)


def made_game(dice: random.Random) -> Game:
    """About a made problem, under the default conditions."""
    problem = draw_problem(dice)
    headroom = problem.shape.start * (1.0 - problem.shape.floor)
    return Game(MADE, problem, Conditions(), problem.shape.start, headroom, headroom)


def landscape_game(family: str, seed: int, dice: random.Random) -> Game:
    """About the landscape of a seed, under random conditions."""
    problem = draw(seed, family)
    headroom = problem.start - problem.best
    return Game(family, problem, draw_conditions(dice), problem.start, headroom, SLACK * headroom)


def draw_problem(dice: random.Random) -> MadeProblem:
    """A problem of random size, distance from good, noise and sparsity.

    The ranges hold what real trials show (`python -m autoresearch_rl.simulation.effects`), and more besides.
    """
    ladder = dice.choice(LADDERS)
    numbers = round(_log_uniform(dice, 3, 80))
    numbers = min(numbers, MOST * 3 // 4 // len(ladder))
    shape = Shape(
        numbers=numbers,
        choices=dice.randint(0, 10),
        recipes=dice.randint(0, 70),
        mutations=dice.randint(0, 110),
        ladder=ladder,
        inert=dice.uniform(0.1, 0.6),
        curvature=_log_uniform(dice, 0.008, 0.15),
        spread=dice.uniform(0.6, 1.8),
        distance=_log_uniform(dice, 0.2, 1.8),
        coupled=dice.uniform(0.0, 0.6),
        helps=dice.uniform(0.03, 0.4),
        gain=_log_uniform(dice, 0.008, 0.08),
        start=_log_uniform(dice, 0.9, 5.0),
        floor=dice.uniform(0.4, 0.9),
        noise=_log_uniform(dice, 0.003, 0.04),
    )
    return MadeProblem(shape, dice.getrandbits(32))


def _log_uniform(dice: random.Random, low: float, high: float) -> float:
    return math.exp(dice.uniform(math.log(low), math.log(high)))
