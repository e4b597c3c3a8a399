"""The function over coordinates: a sum of terms, each of many scripts at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from autoresearch_rl.simulation.landscapes.places import LEVELS, Array

Levels = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Term = Callable[[Array, Levels], Array]
"""Coordinates `[B, P]` and levels `[B, P]` to a share of the sum, `[B]`."""

Jump = dict[int, float]
"""Coordinates that some places have together."""


class Surface:
    """What scripts are worth, below zero better than the baseline.

    Args:
        widths: of a level, by place.
        terms: their sum is what a script is worth.
        crash: by place and level.
        clashes: pairs of places that crash when both are on, `[N, 2]`.
    """

    def __init__(self, widths: Array, terms: Sequence[Term], crash: Flags, clashes: Levels) -> None:
        self.widths, self._terms, self._crash, self._clashes = widths, terms, crash, clashes
        self._rows = np.arange(len(widths))
        self._origin = 0.0
        self._origin = float(self.values(np.zeros((1, len(widths))))[0])

    def values(self, x: Array) -> Array:
        """Of scripts at `[B, P]`, `[B]`; 0 at the baseline."""
        levels = levels_of(x, self.widths)
        total = np.full(len(x), -self._origin)
        for term in self._terms:
            total += term(x, levels)
        return total

    def crashes(self, x: Array) -> Flags:
        """Which scripts do, `[B]`."""
        bad: Flags = np.any(self._crash[self._rows, levels_of(x, self.widths)], axis=1)
        if len(self._clashes):
            on = x > 0.0
            bad |= (on[:, self._clashes[:, 0]] & on[:, self._clashes[:, 1]]).any(1)
        return bad


def levels_of(x: Array, widths: Array) -> Levels:
    """Which entry of a table a coordinate is in."""
    return np.clip(np.rint(x / widths), -LEVELS, LEVELS).astype(np.int64) + LEVELS
