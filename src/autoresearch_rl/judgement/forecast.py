"""Forecasts what a run will reach from its first readings, and how far that may be off.

An ensemble of experts, each an answer to the question of what is still to come:

- what came in earlier runs of the study that looked alike so far (`nearest`, `alike`), and the same after a
  regression on the differences that remain (`drift`), among them that of the learning rate where scripts
  report one (`rate`): who has cooled down further has less to gain;
- what a power law says, corrected by what it got wrong in runs that looked alike (`calibrated`);
- what a power law says (`law`); nothing (`last`).

Everything learned is learned in the order of completion. After each run the experts are asked what they
would have said at every tenth of it, knowing only the runs before; their errors set their weights, and
the errors of the whole set the width of the interval: a quantile of past errors, each in units of a guess
of its own size (split conformal prediction, Papadopoulos et al. 2002), times a factor that is steered
towards the wanted coverage (quantile tracking, Angelopoulos, Candes and Tibshirani 2023), because the next
edit is not drawn like the last ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from autoresearch_rl.judgement.curves import Curve, compare
from autoresearch_rl.judgement.powerlaw import extrapolate

Array = NDArray[np.float64]
Mode = Literal["ensemble", "paper", "last"]

EXPERTS: Final = ("nearest", "alike", "drift", "calibrated", "rate", "law", "last")
NEAREST, ALIKE, DRIFT, CALIBRATED, RATE, LAW, LAST = range(len(EXPERTS))

BINS: Final = tuple(tenth / 10 for tenth in range(1, 10))
"""Shares of the budget at which the experts are examined; a forecast uses what the nearest one taught."""

LEVEL = 0.8
"""Coverage of the interval."""

REFERENCES = 100
"""Latest curves to compare with. It bounds the time of a forecast."""

REMEMBERED = 300
"""Latest errors to learn from; older ones would count less than 1/400."""

RESOLUTION = 1e-3
"""A difference that means nothing, as a share of the readings: about two runs of one script."""

FADE = 40.0
"""Runs after which an earlier curve counts 1/e."""

PRIOR_RUNS = 3.0
"""How many completed runs the beliefs below weigh."""

PRIOR_LOSS: Final = np.array([0.0, 0.3, 0.3, 0.7, 0.3, 2.0, 3.0])
"""Logarithm of each expert's error, believed before anything is known."""

PRIOR_ERRORS: Final = 2 * stdtrit(3, 0.5 + (np.arange(20) + 0.5) / 40)
"""Errors in units of their guess, believed before anything is known: 2 |t| with 3 degrees of freedom."""

SHARPNESS = 4.0
"""An expert with half the error of another gets 2**4 times its weight."""

TEMPER = 0.6
"""Power of the doubt that the guessed error grows with: runs twice as unlike are not twice as hard."""

STEER = 0.6
"""Step of the logarithm of the width: a miss widens it by a factor 1.6, a hit narrows it by 0.89."""

FORGET = 0.98
"""Weight of a run's errors relative to those of the next run."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """The final value in the units of the readings, with an interval that covers it with chance `LEVEL`."""

    value: float
    low: float
    high: float
    scale: float  # the guess of the error's size, in units of the readings
    errors: Array  # what past errors were, in units of their guesses [N]
    weights: Array  # of those errors [N]

    def lower(self, chance: float) -> float:
        """The final value is below this with the given chance (at most a half)."""
        return self.value - self.scale * _quantile(self.errors, self.weights, 1 - 2 * chance)

    @property
    def sd(self) -> float:
        """The standard deviation of a normal error that is as often as small, for a likelihood ratio."""
        return self.scale * _quantile(self.errors, self.weights, 0.683)


@dataclass(frozen=True, slots=True)
class _Guess:
    """What was thought of a run at one moment, before its end was known."""

    opinions: Array  # of the experts, not a number where one has none [E]
    value: float
    scale: float
    rate: float  # learning rate as a share of its peak


@dataclass(frozen=True, slots=True)
class _Lesson:
    """A guess and the truth."""

    curve: Curve
    guess: _Guess

    @property
    def truth(self) -> float:
        return self.curve.final

    @property
    def error(self) -> float:
        """In units of the guessed error."""
        return abs(self.truth - self.guess.value) / self.guess.scale


class Forecaster:
    """Learns from the completed runs of a study, in their order, and forecasts the running one.

    With mode "paper" it is the plain power law, with "last" the last reading; their intervals are learned in
    the same way. Adding the same curves again gives the same forecaster.

    With `slack`, lessons at a tenth of the budget use readings up to that much later, because the running
    curve has its reading then, too.
    """

    def __init__(self, mode: Mode = "ensemble", slack: float = 0.0) -> None:
        self.mode, self.slack = mode, slack
        self._lessons: dict[float, list[_Lesson]] = {at: [] for at in BINS}
        self._stretch = dict.fromkeys(BINS, 0.0)  # logarithm of the steered factor

    def add(self, curve: Curve) -> None:
        """Learn from a run that has completed its budget.

        Raises:
            ValueError: the curve ends before the budget does.
        """
        if not curve.complete:
            raise ValueError("expected a curve up to the end of its budget: it would have no final value")
        for at in BINS:
            prefix = curve.until(at + self.slack)
            if len(prefix.values):
                self._learn(at, _Lesson(curve, self._guess(prefix, at)))

    def forecast(self, curve: Curve, progress: float) -> Forecast | None:
        """The final value of a run, from its readings up to `progress` (0 to 1); None without a reading."""
        prefix = curve.until(progress)
        if not len(prefix.values):
            return None
        at = min(BINS, key=lambda tenth: abs(tenth - progress))
        return self._interval(at, self._guess(prefix, at))

    def _learn(self, at: float, lesson: _Lesson) -> None:
        told = self._interval(at, lesson.guess)
        missed = not told.low <= lesson.truth <= told.high
        self._stretch[at] += STEER * (missed - (1 - LEVEL))
        self._lessons[at] = [*self._lessons[at][1 - REMEMBERED :], lesson]

    def _interval(self, at: float, guess: _Guess) -> Forecast:
        past = np.array([lesson.error for lesson in self._lessons[at]])
        errors = np.concatenate([past, PRIOR_ERRORS])
        fading = FORGET ** np.arange(len(past) - 1, -1, -1.0)
        weights = np.concatenate([fading, np.full(len(PRIOR_ERRORS), PRIOR_RUNS / len(PRIOR_ERRORS))])
        stretch = math.exp(self._stretch[at])
        half = stretch * guess.scale * _quantile(errors, weights, LEVEL)
        # For stopping, hits are no licence to go by thinner evidence, and misses a reason to ask for more.
        scale = math.sqrt(max(stretch, 1.0)) * guess.scale
        return Forecast(guess.value, guess.value - half, guess.value + half, scale, errors, weights)

    def _guess(self, prefix: Curve, at: float) -> _Guess:
        law = extrapolate(prefix.progress, prefix.values)
        opinions = np.full(len(EXPERTS), np.nan)
        opinions[LAW], opinions[LAST] = law, prefix.final
        resolution = RESOLUTION * abs(prefix.final) + 1e-12
        if self.mode != "ensemble":
            value = law if self.mode == "paper" else prefix.final
            return _Guess(opinions, value, 10 * resolution, prefix.rate)
        lessons = self._lessons[at][-REFERENCES:]
        doubt = _consult(prefix, lessons, resolution, opinions) if lessons else 0.0
        weights = self._trust(at, opinions)
        known = weights > 0
        value = float(weights[known] @ opinions[known])
        dissent = math.sqrt(weights[known] @ (opinions[known] - value) ** 2)
        scale = resolution * max(1.0, math.hypot(doubt, dissent) / resolution) ** TEMPER
        if not lessons:
            scale = max(10 * resolution, abs(law - prefix.final))
        return _Guess(opinions, value, scale, prefix.rate)

    def _trust(self, at: float, opinions: Array) -> Array:
        """Weights of the experts that have an opinion, from their past errors; they add up to 1. [E]"""
        loss, runs = PRIOR_LOSS * PRIOR_RUNS, np.full(len(EXPERTS), PRIOR_RUNS)
        if lessons := self._lessons[at]:
            truth = np.array([[lesson.truth] for lesson in lessons])
            wrong = np.abs(np.array([lesson.guess.opinions for lesson in lessons]) - truth)
            # Logarithms, because one run unlike all others must not decide; relative to the best expert,
            # because it is hard for all of them; blurred, because hitting the noise is luck.
            errors = np.log(wrong + 0.3 * RESOLUTION * np.abs(truth) + 1e-12)
            errors -= np.nanmin(errors, axis=1, keepdims=True)
            fading = FORGET ** np.arange(len(lessons) - 1, -1, -1.0)[:, None]
            loss = loss + np.nansum(errors * fading, axis=0)
            runs = runs + (np.isfinite(errors) * fading).sum(0)
        return _shares(np.where(np.isfinite(opinions), np.exp(-SHARPNESS * loss / runs), 0.0))


def _consult(prefix: Curve, lessons: list[_Lesson], resolution: float, opinions: Array) -> float:
    """Fills in the opinions that rest on earlier runs. Returns how unsure they are, in units of readings."""
    differences = compare(prefix, [lesson.curve for lesson in lessons])
    distance, moved = differences.distance, np.column_stack([differences.offset, differences.slope])
    aligned = np.array([lesson.truth for lesson in lessons]) + differences.offset
    age = np.exp(-np.arange(len(lessons), 0, -1.0) / FADE)
    near = _shares(age * (1 + distance / resolution) ** -4)
    wide = _shares(age * (2 + distance / resolution) ** -3)
    aligned = _tamed(aligned, near, resolution)
    opinions[NEAREST], opinions[ALIKE] = near @ aligned, wide @ aligned
    opinions[DRIFT] = _at_no_difference(moved, aligned, wide, resolution)
    opinions[RATE] = _at_same_rate(prefix.rate, lessons, moved, aligned, wide, resolution)
    wrong = np.array([lesson.truth - lesson.guess.opinions[LAW] for lesson in lessons])
    opinions[CALIBRATED] = opinions[LAW] + near @ wrong
    return math.sqrt((near @ distance) ** 2 + near @ (aligned - opinions[NEAREST]) ** 2)


def _at_same_rate(
    rate: float, lessons: list[_Lesson], moved: Array, aligned: Array, weights: Array, resolution: float
) -> float:
    """As `_at_no_difference`, among the runs that reported a learning rate, with its difference as well."""
    ahead = rate - np.array([lesson.guess.rate for lesson in lessons])
    known = np.isfinite(ahead)
    if not known.any():
        return math.nan
    # In units in which the usual penalty lets the whole decay move the end by a tenth of the reading.
    moved = np.column_stack([moved, 100 * resolution * ahead])[known]
    return _at_no_difference(moved, aligned[known], _shares(weights[known]), resolution)


def _at_no_difference(moved: Array, aligned: Array, weights: Array, resolution: float) -> float:
    """Weighted ridge regression of aligned finals on what remains different, read off at no difference.

    The penalty asks for differences well above the resolution before it believes in a trend.

    Args:
        moved: Offset and difference of slopes to each earlier run, and further differences. [R, D]
        aligned: What each earlier run says about the final value. [R]
        weights: Of the earlier runs. [R]
        resolution: In units of the readings.
    """
    mean, centre = weights @ aligned, weights @ moved
    spread = (moved - centre) * weights[:, None]
    square = spread.T @ (moved - centre)
    penalty = (resolution * np.array([8, 16, 8])[: len(square)]) ** 2
    penalty += 1e-9 * np.trace(square)  # or it could drown in rounding
    trend = np.linalg.solve(square + np.diag(penalty), spread.T @ (aligned - mean))
    return float(mean - centre @ trend)


def _tamed(aligned: Array, weights: Array, resolution: float) -> Array:
    """Opinions far from the middle one are drawn in: a run that diverged late says nothing of others. [R]"""
    middle = _quantile(aligned, weights, 0.5)
    usual = _quantile(np.abs(aligned - middle), weights, 0.5)
    return np.clip(aligned, middle - 6 * usual - 10 * resolution, middle + 6 * usual + 10 * resolution)


def _shares(weights: Array) -> Array:
    result: Array = weights / weights.sum()
    return result


def _quantile(values: Array, weights: Array, level: float) -> float:
    """The weighted quantile, interpolated between the middles of the steps. [N], [N]"""
    order = np.argsort(values)
    steps = weights[order]
    return float(np.interp(level, (np.cumsum(steps) - steps / 2) / steps.sum(), values[order]))
