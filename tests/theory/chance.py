"""How far a simulated figure may be from the predicted one: four standard errors.

A share of n independent runs with the true value p has the standard error sqrt(p (1 - p) / n), a mean of n
values that of the values divided by sqrt(n). Four of them are exceeded by chance in one of 16,000 figures
(either side); the seeds are fixed, so a test that passes goes on passing.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

WIDTH = 4.0


def agrees(hits: NDArray[np.bool_], expected: float) -> bool:
    """Whether the share of hits is the expected one, but for chance."""
    return abs(hits.mean() - expected) <= WIDTH * _error(expected, hits.size)


def at_most(hits: NDArray[np.bool_], bound: float) -> bool:
    """Whether the true share can be at or below the bound."""
    return bool(hits.mean() <= bound + WIDTH * _error(bound, hits.size))


def exceeds(hits: NDArray[np.bool_], bound: float) -> bool:
    """Whether the true share is surely above the bound: it is no longer one that holds."""
    return bool(hits.mean() > bound + WIDTH * _error(bound, hits.size))


def mean_agrees(values: NDArray[np.float64], expected: float) -> bool:
    """Whether the mean of independent values is the expected one, but for chance."""
    return abs(values.mean() - expected) <= WIDTH * values.std() / math.sqrt(values.size)


def _error(share: float, runs: int) -> float:
    return math.sqrt(share * (1.0 - share) / runs)
