"""Intervals of means, and Wilcoxon's signed-rank test, exact."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import NamedTuple

import numpy as np


class Interval(NamedTuple):
    """A mean with its 95 % interval, which one value does not have."""

    n: int
    mean: float | None
    low: float | None
    high: float | None


class SignedRank(NamedTuple):
    """What the test says of paired differences.

    Attributes:
        p: two-sided; 1 where all differences are zero.
        excess: rank sum of the positive differences minus that of the negative ones.
    """

    p: float
    excess: float


def interval(values: Sequence[float]) -> Interval:
    """Student's interval of the mean."""
    from scipy.special import stdtrit

    n = len(values)
    if n < 2:
        return Interval(n, values[0] if values else None, None, None)
    middle = fmean(values)
    half = float(stdtrit(n - 1, 0.975)) * stdev(values) / math.sqrt(n)
    return Interval(n, middle, middle - half, middle + half)


def signed_rank(differences: Sequence[float]) -> SignedRank:
    """Wilcoxon's signed-rank test (1945), two-sided: zeros are left out, ties have their mean rank.

    The distribution is that of all signs of these very ranks, so p is exact for few pairs and with ties.
    """
    from scipy.stats import rankdata

    rounded = np.round(np.asarray(differences, dtype=float), 9)  # so that ties are not hidden by rounding
    kept = rounded[rounded != 0]
    if not len(kept):
        return SignedRank(1.0, 0.0)
    doubled = np.rint(2 * rankdata(np.abs(kept))).astype(int)  # whole numbers, mean ranks too
    chances = np.ones(1)  # of each sum of the positive ranks
    for rank in doubled:
        longer = np.zeros(len(chances) + rank)
        longer[: len(chances)] += chances / 2
        longer[rank:] += chances / 2
        chances = longer
    positive, total = int(doubled[kept > 0].sum()), int(doubled.sum())
    tail = min(float(chances[: positive + 1].sum()), float(chances[positive:].sum()))
    return SignedRank(min(1.0, 2 * tail), (2 * positive - total) / 2)


def least_p(pairs: int) -> float:
    """The smallest p that `signed_rank` can give."""
    return min(1.0, 2.0 ** (1 - pairs))


def holm(values: Sequence[float]) -> list[float]:
    """The values of several tests, corrected for how many they are (Holm 1979), in their order."""
    order = sorted(range(len(values)), key=values.__getitem__)
    corrected, before = [0.0] * len(values), 0.0
    for place, which in enumerate(order):
        before = max(before, min(1.0, (len(values) - place) * values[which]))
        corrected[which] = before
    return corrected
