"""How far one measurement of a script wanders, learned from measuring scripts again.

Each measurement after a script's first gives one *innovation*: its distance to the mean of the n before it,
times sqrt(n / (n + 1)). For scripts measured on a fixed schedule innovations are independent and normal with
the standard deviation of one measurement, and their squares always add up to the pooled sum of squares within
scripts. (Those of a leader that led by luck are larger: docs/theory.md, section 5; noise is not understated,
but in simulated studies it comes out up to a third too high.)
They come in an order, so that noise which rises (a new neighbour on the machine, a clock that drifts) shows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

# The quantiles of scipy.stats.t and .f, without the second that importing scipy.stats takes.
from scipy.special import fdtri, stdtrit

LEVEL = 0.99
"""One minus the chance that one look at a script that changes nothing calls it proven."""

SD_FLOOR = 1e-4
"""Bits per byte. Identical repetitions must not make every last digit a discovery."""

RECENT = 2
"""Innovations that are compared with those before them to see whether noise has risen."""

RISE_LEVEL = 0.995
"""One minus the chance that steady noise is taken for risen noise at one look."""

RISE_KNOWN = 4
"""Innovations that have to be known before noise can be seen to rise."""


@dataclass(frozen=True, slots=True)
class Noise:
    """Standard deviation of one measurement in bits per byte, and its degrees of freedom.

    `sd` is never below `SD_FLOOR`. With `df` 0 nothing has been repeated and nothing can be proven.
    """

    sd: float
    df: int

    def error(self, candidate_runs: int, reference_runs: int) -> float:
        """Standard error of the difference of two means, in bits per byte."""
        return self.sd * math.sqrt(1 / candidate_runs + 1 / reference_runs)

    def threshold(self, candidate_runs: int, reference_runs: int) -> float:
        """The gain, in bits per byte, that the difference of two means has to exceed to be proven.

        Student's one-sided two-sample test with pooled variance (Student 1908), at `LEVEL`.
        """
        return _student(self.df) * self.error(candidate_runs, reference_runs) if self.df else math.inf


def innovation(before: Sequence[float], measured: float) -> float:
    """What a further measurement of a script says about noise, in bits per byte.

    Args:
        before: the earlier measurements of the same script, at least one.
        measured: the new one.
    """
    runs = len(before)
    return (measured - math.fsum(before) / runs) * math.sqrt(runs / (runs + 1))


def noise_of(innovations: Sequence[float]) -> Noise:
    """The noise that innovations show."""
    df = len(innovations)
    return Noise(max(_mean_square(innovations) ** 0.5, SD_FLOOR) if df else SD_FLOOR, df)


def has_risen(innovations: Sequence[float]) -> bool:
    """Whether the latest innovations are too large for the noise of those before (F test).

    With 15 known, noise that doubles is noticed within 8 more by half of the studies, noise that grows
    fourfold within 2; a machine slower by 5 sigma shows at the second measurement of the incumbent.
    """
    before, recent = innovations[:-RECENT], innovations[-RECENT:]
    if len(before) < RISE_KNOWN:
        return False
    ratio = _mean_square(recent) / max(_mean_square(before), SD_FLOOR**2)
    return ratio > float(fdtri(len(recent), len(before), RISE_LEVEL))


def _mean_square(values: Sequence[float]) -> float:
    return math.fsum(value * value for value in values) / len(values)


@lru_cache(maxsize=1024)
def _student(df: int) -> float:
    return float(stdtrit(df, LEVEL))
