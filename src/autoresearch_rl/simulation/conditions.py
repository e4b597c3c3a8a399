"""Under which conditions a simulated study is played: how it measures, what it offers, what goes wrong."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Conditions:
    """What may differ between studies of one problem. The defaults are near those of the shipped tasks.

    Attributes:
        heavy_tails: noise is Student's with 4 degrees of freedom, else normal; of the same variance.
        uneven: noise is larger for some scripts than for others, and for what is worse than the baseline.
        flaky: share of the runs that fail for no reason.
        pruned: share of the runs that look hopeless that are stopped; 0 never.
        blur: standard error of a forecast, in ordinary gains or losses of the study.
        clearly: of these, by how many a run has to look worse than the leader to look hopeless.
        warm_up: measured edits before anything is stopped.
        compounds: random sets of edits among the candidates of a state.
        retried: the best measured edits that are offered again, on other scripts.
        merged: of these, as many in pairs.
        pieces: what is left of a measured edit is offered again where not all of it applies.
        shares: whether the agent is told the shares of the generators.
        join: whether the agent may put edits together.
        inapplicable: share of the structural edits that turn out not to apply.
    """

    heavy_tails: bool = False
    uneven: bool = False
    flaky: float = 0.0
    pruned: float = 0.9
    blur: float = 1.0
    clearly: float = 0.4
    warm_up: int = 5
    compounds: int = 48
    retried: int = 24
    merged: int = 0
    pieces: bool = False
    shares: bool = True
    join: bool = True
    inapplicable: float = 0.0


def draw_conditions(dice: random.Random) -> Conditions:
    """Conditions as different as they may be."""
    recombines = dice.random() < 0.85
    return Conditions(
        heavy_tails=dice.random() < 0.2,
        uneven=dice.random() < 0.3,
        flaky=dice.choice((0.0, 0.0, 0.01, 0.03)),
        pruned=0.9 if dice.random() < 0.7 else 0.0,
        blur=dice.uniform(0.4, 1.4),
        clearly=dice.uniform(0.2, 0.8),
        compounds=dice.choice((0, 24, 48, 48)),
        retried=24 if recombines else 0,
        merged=8 if recombines else 0,
        pieces=recombines,
        shares=dice.random() < 0.6,
        join=dice.random() < 0.6,
        inapplicable=0.04 if dice.random() < 0.4 else 0.0,
    )
