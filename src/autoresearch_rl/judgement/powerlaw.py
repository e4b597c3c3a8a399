"""The power law of the paper's self-evaluation, fitted to the readings so far."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

EXPONENTS: Final = np.geomspace(0.02, 4.0, 40)
"""The exponents that are tried first; then as many between the neighbours of the best."""


def extrapolate(times: Array, values: Array, at: float = 1.0) -> float:
    """The value at `at` of L(t) = a + b t^-c with a, b, c >= 0, fitted by least squares.

    For each exponent a and b are solved for exactly (variable projection, Golub and Pereyra 1973), so the fit
    needs no starting point and cannot diverge. With fewer than three readings it is the last value.

    Args:
        times: Positive times of the readings, any unit. [N]
        values: Readings, loss or bits per byte. [N]
        at: The time to extrapolate to, in the same unit.
    """
    if len(values) < 3:
        return float(values[-1])
    logs = np.log(times / times[-1])
    best = int(np.argmin(_fit(logs, values, EXPONENTS)[2]))
    around = np.linspace(EXPONENTS[max(best - 1, 0)], EXPONENTS[min(best + 1, len(EXPONENTS) - 1)], 40)
    floor, range_, squares = _fit(logs, values, around)
    best = int(np.argmin(squares))
    return float(floor[best] + range_[best] * (at / times[-1]) ** -around[best])


def _fit(logs: Array, values: Array, exponents: Array) -> tuple[Array, Array, Array]:
    """For each exponent the best a and b, in units of the last time, and the sum of squares. [C] each"""
    powers = np.exp(-exponents[:, None] * logs)
    centred = powers - powers.mean(axis=1, keepdims=True)
    range_ = centred @ (values - values.mean()) / (centred**2).sum(axis=1)
    floor = values.mean() - range_ * powers.mean(axis=1)
    # The two bounds: a power through zero where a would be negative, a constant where b would be.
    range_ = np.where(floor < 0, powers @ values / (powers**2).sum(axis=1), range_)
    floor = np.where(floor < 0, 0.0, floor)
    floor, range_ = np.where(range_ < 0, values.mean(), floor), np.maximum(range_, 0.0)
    return floor, range_, ((values - floor[:, None] - range_[:, None] * powers) ** 2).sum(axis=1)
