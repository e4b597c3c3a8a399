"""The lowest point of a surface, as far as a search that knows its construction finds it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autoresearch_rl.simulation.landscapes.places import Array, Place
from autoresearch_rl.simulation.landscapes.surface import Jump, Surface

CRASH = 1e6
ENOUGH = 1e-3  # a pass over all places that gains less than this share of all ends it


class Search:
    """Coordinate search, from the baseline and from where jumps lead, with jumps in between.

    Args:
        surface: what is searched.
        places: of its coordinates.
        rng: of the order in which they are gone through.
    """

    def __init__(self, surface: Surface, places: Sequence[Place], rng: np.random.Generator) -> None:
        self._surface, self._places, self._rng = surface, places, rng
        self._domains = [place.domain() for place in places]
        shared: dict[str, list[int]] = {}
        for i, place in enumerate(places):
            shared.setdefault(place.site, []).append(i)
        self._rivals = [[j for j in shared[place.site] if j != i] for i, place in enumerate(places)]

    def lowest(self, jumps: Sequence[Jump]) -> float:
        """The lowest value found."""
        starts = [Jump(), *(jump for jump in jumps if len(jump) > 3)]
        return min(self._from(start, jumps) for start in starts)

    def _from(self, start: Jump, jumps: Sequence[Jump]) -> float:
        x, now = self._climb(self._jumped(np.zeros(len(self._places)), start), passes=3)
        for jump in jumps:
            there = self._jumped(x, jump)
            if (found := float(self._values(there[None])[0])) < now:
                x, now = there, found
        return self._climb(x, passes=2)[1]

    def _values(self, x: Array) -> Array:
        return self._surface.values(x) + CRASH * self._surface.crashes(x)

    def _jumped(self, x: Array, jump: Jump) -> Array:
        """Where a jump leads, as near as the places can come to it."""
        x = x.copy()
        for i, target in jump.items():
            x[i] = self._domains[i][np.abs(self._domains[i] - target).argmin()]
            x[self._rivals[i]] = 0.0
        x[[i for i, place in enumerate(self._places) if place.owner >= 0 and not x[place.owner]]] = 0.0
        return x

    def _climb(self, x: Array, passes: int) -> tuple[Array, float]:
        now = float(self._values(x[None])[0])
        for _ in range(passes):
            before = now
            for i in self._rng.permutation(len(self._places)):
                x, now = self._along(x, now, int(i))
            if before - now <= ENOUGH * abs(now):
                break
        return x, now

    def _along(self, x: Array, now: float, i: int) -> tuple[Array, float]:
        """The best value of one place."""
        owner = self._places[i].owner
        if (owner >= 0 and not x[owner]) or any(x[j] for j in self._rivals[i]):
            return x, now
        rows = np.repeat(x[None], len(self._domains[i]), 0)
        rows[:, i] = self._domains[i]
        found = self._values(rows)
        best = int(found.argmin())
        return (rows[best], float(found[best])) if found[best] < now - 1e-12 else (x, now)
