"""What each step at a place is worth by itself: tables by place and level."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autoresearch_rl.simulation.landscapes.places import LEVELS, Array, Place
from autoresearch_rl.simulation.landscapes.surface import Levels, Term

Rng = np.random.Generator
WIDTH = 2 * LEVELS + 1
SMOOTH = ("bowl", "ridge", "fourier", "recipes", "scaling")
"""Families in which numbers are no matter of tables."""


@dataclass(frozen=True, eq=False)
class Ground:
    """What a family builds on.

    Attributes:
        helps: about which share of the effects are gains.
        far: whether the baseline is far from good.
        tail: how effects are distributed: t, lognormal or mixture.
        weights: how much each place matters, `[P]`.
        numeric: the numbers that are always there.
        switches: the structural edits.
        target, weight: where each of `numeric` is best in the smooth families, and how much it matters there.
    """

    rng: Rng
    family: str
    places: Sequence[Place]
    helps: float
    far: bool
    tail: str
    weights: Array
    numeric: Levels
    switches: Levels
    target: Array
    weight: Array

    @property
    def is_smooth(self) -> bool:
        """Whether its numbers are no matter of tables."""
        return self.family in SMOOTH

    def effects(self, shape: tuple[int, ...], helps: float | None = None) -> Array:
        """See `effects`."""
        return effects(self.rng, self.tail, shape, self.helps if helps is None else helps)

    def size(self) -> float:
        """Of one gain."""
        return float(abs(self.effects((1,), 1.0)[0]))


def effects(rng: Rng, tail: str, shape: tuple[int, ...], helps: float, null: float = 0.3) -> Array:
    """Heavy-tailed changes: a share `helps` negative, `null` next to nothing, the others losses."""
    normal = rng.normal(size=shape)
    if tail == "t":
        size = np.abs(rng.standard_t(2.5, shape))
    elif tail == "lognormal":
        size = np.exp(1.3 * normal)
    else:
        size = np.where(rng.random(shape) < 0.9, 0.3 * np.exp(0.5 * normal), 3.0 * np.exp(0.8 * normal))
    kind = rng.random(shape)
    rest = np.where(kind < helps + null, 0.05 * rng.normal(size=shape), 1.5 * size)
    return np.where(kind < helps, -0.7 * size, rest)


def make_table(ground: Ground, table: Array) -> tuple[Array, float]:
    """The table by place and level, zero at the baseline; and the most that all gains together can be.

    Args:
        ground: the family, and how much places matter.
        table: independent effects, `[P, L]`, which are overwritten.
    """
    for i, place in enumerate(ground.places):
        if place.is_number:
            _fill_number(ground, table[i], place)
        if ground.family == "sparse":
            _make_sparse(ground, table[i], place.is_number)
    if ground.family == "saturating":
        for i in ground.numeric:
            table[i] = _saturating(ground, ground.places[i].width)
    table *= ground.weights[:, None]
    table[:, LEVELS] = 0.0
    if ground.is_smooth:  # as much at stake in the structure as in the numbers, or less
        stake = ground.rng.uniform(0.1, 0.6) * ground.weight.sum() * (1.0 if ground.far else 0.15)
        table *= stake / max(1e-9, np.abs(table[:, LEVELS + 1]).sum())
    if ground.family == "saturating":
        return table, ground.rng.uniform(0.2, 0.6) * float(-np.minimum(table.min(1), 0).sum())
    return table, math.inf


def _fill_number(ground: Ground, row: Array, place: Place) -> None:
    if ground.is_smooth and place.owner < 0:
        row[:] = 0.0
    elif ground.family == "cliffs":
        row[:] = _terraces(ground)
    elif ground.family != "table":
        row[:] = _walk(ground)


def _walk(ground: Ground) -> Array:
    """Each further step in a direction has an effect of its own; after a gain more gains are likely."""
    row, first = np.zeros(WIDTH), 0.0
    for direction in ground.rng.permutation([-1, 1]):
        chance, total = ground.helps * (0.2 if first < -0.1 else 1.0), 0.0
        for k in range(1, LEVELS + 1):
            step = float(ground.effects((1,), chance)[0])
            first = step if k == 1 and not first else first
            chance, total = (0.35 if step < -0.1 else 0.1), total + step
            row[LEVELS + direction * k] = total
    return row


def _terraces(ground: Ground) -> Array:
    """Nothing for a while, then one terrace, then a fall."""
    row = np.zeros(WIDTH)
    for direction in (-1, 1):
        start, end = int(ground.rng.integers(1, 5)), int(ground.rng.integers(4, LEVELS + 1))
        terrace = float(ground.effects((1,))[0])
        fall = abs(terrace) + float(ground.rng.exponential(1.5))
        for k in range(start, LEVELS + 1):
            row[LEVELS + direction * k] = terrace if k <= end else fall
    return row


def _make_sparse(ground: Ground, row: Array, is_number: bool) -> None:
    """A few of the first steps are worth a lot, the others nothing or less."""
    row[:] = np.abs(row) * (ground.rng.random() < 0.6)
    for k in (-1, 1, 2):
        if ground.rng.random() < ground.helps:
            last = None if is_number else LEVELS + k + 1
            further = slice(LEVELS + k, last) if k > 0 else slice(0, LEVELS)
            row[further] = -ground.size() - 0.5


def _saturating(ground: Ground, width: float) -> Array:
    """More of it is better in one direction, ever less so, and worse in the end."""
    rng = ground.rng
    sign, size = rng.choice([-1, 1]), -float(ground.effects((1,), 1.0)[0])
    tau = rng.uniform(0.3, 1.5)
    k = sign * np.arange(-LEVELS, LEVELS + 1) * width
    size *= 1.0 if rng.random() < 2.0 * ground.helps else 0.05
    better = -size * (1.0 - np.exp(-k / tau)) + 0.3 * np.maximum(0.0, k - 3.0 * tau) ** 2
    row: Array = np.where(k > 0, better, -0.7 * k)
    return row


def additive(table: Array, groups: Sequence[Sequence[int]] = (), ceiling: float = math.inf) -> Term:
    """A sum over places by level; of the gains in a group only the best counts; all gains may saturate."""
    rows = np.arange(len(table))
    grouped = np.array([i for group in groups for i in group], dtype=np.int64)
    alone = np.setdiff1d(rows, grouped)
    starts = np.cumsum([0, *(len(group) for group in groups[:-1])])

    def term(x: Array, levels: Levels) -> Array:
        each = table[rows, levels]
        gain = np.minimum(each, 0.0)
        total = gain[:, alone].sum(1)
        if len(grouped):
            total += np.minimum.reduceat(gain[:, grouped], starts, axis=1).sum(1)
        if ceiling < math.inf:
            total = -ceiling * (1.0 - np.exp(total / ceiling))
        out: Array = total + (each - gain).sum(1)
        return out

    return term
