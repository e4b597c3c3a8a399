"""Learning curves: readings against the share of the budget, and how alike two of them are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

COMPLETE = 0.96
"""A curve whose last reading lies beyond this share of the budget has a final value."""

MEMORY = 0.15
"""Share of the elapsed progress over which the difference of two curves is averaged.

Long enough to even out the noise of one reading, short enough to follow curves that drift apart.
"""


LIMIT = 1e6
"""Readings beyond this are as good as infinite: the run has diverged."""


@dataclass(frozen=True, eq=False)
class Curve:
    """The readings of one run, by the share of its budget that was spent. Make it with `of`.

    `progress` rises strictly from above 0; `values` are validation readings in bits per byte or nats;
    `rates` are pairs of progress and learning rate, if the script reports any. [N], [N], [M, 2]
    """

    progress: Array
    values: Array
    rates: Array

    @classmethod
    def of(cls, readings: Iterable[tuple[float, float]], rates: Iterable[tuple[float, float]] = ()) -> Curve:
        """A curve from pairs of progress and reading, in any order.

        Readings that are not finite are left out, and so are those at or before progress 0: they say what an
        untrained model is worth. Several readings at one moment count as their mean.
        """
        table, schedule = _clean(readings), _clean(rates)
        return cls(table[:, 0], table[:, 1], schedule)

    def until(self, progress: float) -> Curve:
        """What was known at `progress`. Times of the clock are not exact: 1e-9 is forgiven."""
        known = self.progress <= progress + 1e-9
        rates = self.rates[self.rates[:, 0] <= progress + 1e-9]
        return Curve(self.progress[known], self.values[known], rates)

    @property
    def complete(self) -> bool:
        """Whether the run reached the end of its budget."""
        return len(self.values) > 0 and bool(self.progress[-1] >= COMPLETE)

    @property
    def final(self) -> float:
        """The last reading."""
        return float(self.values[-1])

    @cached_property
    def logs(self) -> Array:
        """Natural logarithm of the progress: curves are nearly straight in it. [N]"""
        result: Array = np.log(self.progress)
        return result

    def at(self, logs: Array) -> Array:
        """Readings at the given logarithms of progress, interpolated linearly. [K] -> [K]"""
        return np.interp(logs, self.logs, self.values)

    @property
    def rate(self) -> float:
        """The last learning rate as a share of the highest so far; not a number when none was reported."""
        if not len(self.rates) or self.rates[:, 1].max() <= 0:
            return float("nan")
        return float(self.rates[-1, 1] / self.rates[:, 1].max())


@dataclass(frozen=True, slots=True)
class Differences:
    """How a running curve differs from R earlier ones so far, in units of the readings."""

    offset: Array  # running minus earlier, now [R]
    slope: Array  # change of that per factor e of progress, over the last doubling [R]
    distance: Array  # how unlike they are: their shapes, and to a lesser degree their levels [R]


def compare(prefix: Curve, earlier: Sequence[Curve]) -> Differences:
    """The differences of a non-empty prefix to earlier curves, at the readings of the prefix.

    Of the earlier curves only the part up to the prefix's last reading is looked at, so that likeness says
    nothing yet about what came after it.
    """
    recent = prefix.progress >= prefix.progress[-1] / 4
    progress, logs = prefix.progress[recent], prefix.logs[recent]
    began = max(logs[-1] - np.log(2), logs[0])
    at = np.append(logs, began)
    gaps = prefix.at(at) - np.array([curve.at(at) for curve in earlier])
    gaps, before = gaps[:, :-1], gaps[:, -1]
    known = progress >= np.array([[curve.progress[0]] for curve in earlier])
    known[:, -1] = True
    offset = _means(gaps, known * np.exp((progress - progress[-1]) / (MEMORY * progress[-1])))
    mean = _means(gaps, known)
    shape = np.sqrt(_means((gaps - mean[:, None]) ** 2, known))
    slope = (gaps[:, -1] - before) / (logs[-1] - began) if len(logs) > 1 else np.zeros(len(earlier))
    return Differences(offset, slope, np.hypot(2 * shape, mean / 4))


def _means(values: Array, weights: Array | NDArray[np.bool_]) -> Array:
    """Weighted means of the rows. [R, K], [R, K] -> [R]"""
    result: Array = (values * weights).sum(axis=1) / weights.sum(axis=1)
    return result


def _clean(pairs: Iterable[tuple[float, float]]) -> Array:
    """Finite pairs (NaN fails the comparison too) with positive progress, sorted, one a moment. [N, 2]"""
    table = np.array(list(pairs), dtype=np.float64).reshape(-1, 2)
    table = table[(np.abs(table) < LIMIT).all(axis=1) & (table[:, 0] > 0)]
    moments, which = np.unique(table[:, 0], return_inverse=True)
    means = np.bincount(which, weights=table[:, 1], minlength=len(moments)) / np.maximum(
        np.bincount(which), 1
    )
    return np.column_stack([moments, means])
