"""An online Bayesian surrogate: what val_bpb the scripts near the leader have, from all that was measured.

A Gaussian process over scripts (Rasmussen & Williams 2006, algorithm 2.1) whose kernel is additive over the
places in which a script differs from the baseline (Duvenaud et al., arXiv 1112.4394). Along one place,
numbers are near each other if their logarithms are; other values are the same or they are not. So one
measurement of a compound edit informs about each of its parts, and a step that was good once informs about
the next one in its direction. Numbers and structure have effects of different sizes, by likelihood: on a
poor script a learning rate gains much and recipes next to nothing, on a good one neither stands out. Most
changes hurt: each place costs half a deviation in the prior mean, a number in proportion to how far it moves.
A number whose baseline is zero counts as structure: it has no logarithm. What that is worth on real trials:
`python -m autoresearch_rl.simulation.ranking`. Mean and deviation are features of every candidate, from which
the policy learns what an acquisition function would be told by hand (MetaBO, Volpp et al., arXiv 1904.02642).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.linalg import solve_triangular

from autoresearch_rl.agent.scripts import Config, Measurement, Move, Scripts, moves, number
from autoresearch_rl.agent.tallies import OUTGROWN
from autoresearch_rl.records import Candidate, State, script_id

WINDOW = 400  # latest measurements, at least (twice as many at most): a decision costs their cube
LENGTH = 2.0  # of the kernel along a number, in its logarithm: a factor of e squared
CLIP = 6.0  # ordinary effects: a larger loss says no more than one of this size
NUMBERS, STRUCTURE = 0, 1  # the kinds of places, each with effects of a size of its own
SCALES = (1.0, 2.0, 4.0, 8.0, 16.0)  # of an effect's deviation, in ordinary effects; the most likely counts
EXPECTED, WITHIN = 8.0, 2.0  # its prior, log-normal: the median, and a factor of one deviation
LOSS = 0.5  # what a change costs on average, in such deviations
FAR = 1000.0  # ordinary effects: no script is further from the baseline
NOWHERE = 0  # a column in which all points are the baseline
OUTGROWN_ERROR = 3.0  # ordinary effects: deviation of what failed on a script so much worse
FORECAST_ERROR = 0.8  # ordinary effects: deviation of the forecast of a run that was pruned

Array = npt.NDArray[np.float64]


@dataclass(slots=True)
class _Place:
    """One place at which scripts differ, a column of the points."""

    column: int
    text: str  # the baseline's value
    codes: dict[str, int] = field(default_factory=dict)  # from 1; the baseline's is 0

    def code(self, text: str) -> int:
        """What equals only itself."""
        return 0 if text == self.text else self.codes.setdefault(text, len(self.codes) + 1)

    def number(self, text: str) -> float:
        """The value on the scale of steps, nan for what is no number."""
        return number(self.text, text)


class _Ends(NamedTuple):
    """A move at a place, from the leader's value."""

    place: _Place
    old: str
    new: str


class Surrogate:
    """What the measured scripts say about those that are one edit away from the leader.

    Equal histories give equal numbers, to the last bit.

    Args:
        scripts: what was measured; whoever owns it lets it read the history.
    """

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._places: dict[str, _Place] = {}
        self._points = _Points()
        self._read = 0

    def read(self) -> None:
        """Take in what was measured since the last time."""
        for found in self._scripts.measured[self._read :]:
            config = dict(found.config)
            if found.segment:  # other hardware shifts every measurement alike
                config[f"segment {found.segment}"] = "on"
            values = [(self._place(place), text) for place, text in config.items()]
            self._points.add(values, found)
        self._read = len(self._scripts.measured)

    def _place(self, name: str) -> _Place:
        if name not in self._places:
            self._places[name] = _Place(len(self._places) + 1, self._scripts.defaults.get(name, ""))
        return self._places[name]

    def predict(self, state: State, candidates: Sequence[Candidate], scale: float) -> tuple[Array, Array]:
        """Gain over the leader: mean and standard deviation, bits per byte, `[n]` each.

        Args:
            state: Its history has been read by the scripts.
            candidates: n of them.
            scale: The size of an ordinary effect, bits per byte (`tallies.gain_scale`).
        """
        self.read()
        if not candidates:
            return np.zeros(0), np.zeros(0)
        leader = self._scripts.config(script_id(state.script))
        found = [moves(candidate.edit, candidate) for candidate in candidates]
        unique = {move: i for i, move in enumerate(dict.fromkeys(m for some in found for m in some))}
        ends = [self._ends(move, leader) for move in unique]
        changes = self._points.differences(ends)
        summed = changes.sums([[unique[move] for move in some] for some in found])
        return self._points.posterior(summed, scale, state.noise, self._level(state), state.incumbent_bpb)

    def _level(self, state: State) -> float:
        """What the baseline measures, from which all effects are counted.

        On other hardware the state's baseline is what the study had found by then; this one's is known from
        the first hardware.
        """
        measured = self._scripts.measured
        if measured and measured[-1].segment:
            first = [found.bpb for found in measured if not found.segment and not found.config]
            if first:
                return math.fsum(first) / len(first)
        return state.baseline_bpb

    def _ends(self, move: Move, leader: Config) -> _Ends:
        """What a move of the leader changes; of a place that no script has differed at, nothing is kept."""
        place = self._places.get(move.place) or _Place(NOWHERE, move.old)
        # A structural edit does not say whether it is there already.
        old = move.old or leader.get(move.place, place.text)
        return _Ends(place, old, move.new)


class _Points:
    """The measured scripts as rows of numbers and codes, and the kernel between them."""

    def __init__(self) -> None:
        self._numbers = np.full((64, 64), np.nan)  # of values that are numbers and not the baseline's
        self._codes = np.zeros((64, 64), dtype=np.int32)
        self._kernel = np.zeros((2, 64, 64))
        self._bpb = np.zeros(64)
        self._start = np.zeros(64)  # what the parent measured
        self._foreseen = np.zeros(64, dtype=bool)
        self._segment = np.zeros(64, dtype=np.int64)
        self.count = 0

    def add(self, values: Sequence[tuple[_Place, str]], found: Measurement) -> None:
        """A measured script: where it is not the baseline, and its bits per byte."""
        self._make_room(max((place.column for place, _ in values), default=0) + 1)
        n = self.count
        self._bpb[n], self._start[n] = found.bpb, found.start
        self._foreseen[n], self._segment[n] = found.foreseen, found.segment
        for place, text in values:
            self._numbers[n, place.column] = place.number(text)
            self._codes[n, place.column] = place.code(text)
        self.count += 1
        new = _Values.of(values)
        self._kernel[:, n, : n + 1] = self._kernel[:, : n + 1, n] = new.by_kind(self._kernels(new)).sum(1)

    def differences(self, ends: Sequence[_Ends]) -> _Changes:
        """Of M moves."""
        self._make_room(max((end.place.column for end in ends), default=0) + 1)
        new = _Values.of((end.place, end.new) for end in ends)
        old = _Values.of((end.place, end.old) for end in ends)
        after, before = new.kernel(new), old.kernel(old)
        variance = after - 2.0 * new.kernel(old) + before
        covariance = self._kernels(new) - self._kernels(old)
        return _Changes(*map(new.by_kind, (covariance, variance, after - before)))

    def _kernels(self, values: _Values) -> Array:
        """Between each of M values and those of all points at its place, `[M, N]`."""
        rows = slice(self.count)
        theirs = self._numbers[rows, values.column], self._codes[rows, values.column]
        return values.kernel(_Values(values.column, *theirs, values.base)).T

    def posterior(
        self, changes: _Changes, scale: float, noise: float, level: float, leader: float
    ) -> tuple[Array, Array]:
        """Mean and deviation `[n]` of the gain of n changes; `level` and `leader` are bits per byte that the
        baseline and the leader measure."""
        n = self.count
        if not n:
            return np.zeros(changes.variance.shape[1]), scale * np.sqrt(changes.variance.sum(0))
        bpb: Array = np.minimum(self._bpb[:n], self._start[:n] + CLIP * scale)
        level = level if math.isfinite(level) else float(bpb[0])
        residual: Array = np.clip((bpb - level) / scale, -FAR, FAR)
        noise = min(FAR, max(0.001, noise / scale)) if math.isfinite(noise) else 1.0
        failed = self._bpb[:n] >= self._start[:n]
        comparable = self._segment[:n] == self._segment[n - 1]  # bits per byte of other hardware are not
        outgrown = failed & comparable & (self._start[:n] > OUTGROWN * leader)
        errors = noise**2 + self._foreseen[:n] * FORECAST_ERROR**2 + outgrown * OUTGROWN_ERROR**2
        fit = _best_fit(self._kernel[:, :n, :n], residual, errors)
        mean, variance = fit.predict(changes)
        return -scale * mean, scale * np.sqrt(np.maximum(variance, 0.0))

    def _make_room(self, columns: int) -> None:
        """Doubles what is full; forgets the older half of what is too much."""
        if self.count == 2 * WINDOW:
            for array in (self._numbers, self._codes, self._bpb, self._start, self._foreseen, self._segment):
                array[:WINDOW] = array[WINDOW : 2 * WINDOW]
            self._kernel[:, :WINDOW, :WINDOW] = self._kernel[:, WINDOW : 2 * WINDOW, WINDOW : 2 * WINDOW]
            self._numbers[WINDOW:], self._codes[WINDOW:] = np.nan, 0  # `add` expects empty rows
            self.count = WINDOW
        rows = len(self._bpb) * (2 if self.count == len(self._bpb) else 1)
        width = self._numbers.shape[1]
        while width < columns:
            width *= 2
        self._numbers = _grown(self._numbers, (rows, width), np.nan)
        self._codes = _grown(self._codes, (rows, width), 0)
        self._kernel = _grown(self._kernel, (2, rows, rows), 0.0)
        self._bpb, self._start = _grown(self._bpb, (rows,), 0.0), _grown(self._start, (rows,), 0.0)
        self._foreseen = _grown(self._foreseen, (rows,), 0)
        self._segment = _grown(self._segment, (rows,), 0)


class _Values(NamedTuple):
    """Values at places, as arrays that broadcast."""

    column: npt.NDArray[np.int64]
    number: Array  # nan for what is none
    code: npt.NDArray[np.int32]  # 0 for the baseline's
    base: Array  # the baseline's number, or nan

    @classmethod
    def of(cls, values: Iterable[tuple[_Place, str]]) -> _Values:
        """Those of places, M of them."""
        pairs = list(values)
        return cls(
            np.array([place.column for place, _ in pairs], dtype=np.int64),
            np.array([place.number(text) for place, text in pairs], dtype=np.float64),
            np.array([place.code(text) for place, text in pairs], dtype=np.int32),
            np.array([place.number(place.text) for place, _ in pairs], dtype=np.float64),
        )

    def by_kind(self, rows: Array) -> Array:
        """Of `[M, ...]` what belongs to each kind of place, `[2, M, ...]`; zeros elsewhere."""
        structure = np.isnan(self.base).reshape(-1, *[1] * (rows.ndim - 1))
        return np.stack([np.where(structure, 0.0, rows), np.where(structure, rows, 0.0)])

    def kernel(self, other: _Values) -> Array:
        """Prior covariance of what two values add to the baseline's bits per byte; 0 for its own value."""
        ours, theirs = _bell(self.number - self.base), _bell(other.number - other.base)
        near = _bell(self.number - other.number) - np.nan_to_num(ours * theirs)
        covariance = np.where(np.isnan(near), (self.code == other.code).astype(np.float64), near)
        return np.where((self.code == 0) | (other.code == 0), 0.0, covariance)


class _Changes(NamedTuple):
    """What M changes of the leader do, by kind of place, before any deviation is known."""

    covariance: Array  # with each point [2, M, N]
    variance: Array  # of the change [2, M]
    risen: Array  # by how much further the script is from the baseline's, as a prior variance [2, M]

    def sums(self, rows: Sequence[Sequence[int]]) -> _Changes:
        """Of several changes at once: those that each of the rows names; none changes nothing."""
        last = self.variance.shape[1]  # zeros, for what changes nothing
        flat = np.concatenate([list(row) or [last] for row in rows])
        starts = np.cumsum([0, *(len(row) or 1 for row in rows[:-1])])
        padded = (np.pad(a, ((0, 0), (0, 1), *[(0, 0)] * (a.ndim - 2))) for a in self)
        return _Changes(*(np.add.reduceat(a[:, flat], starts, axis=1) for a in padded))


class _Fit(NamedTuple):
    """A Gaussian process with a deviation of effects for each kind of place."""

    likelihood: float  # times the prior: logarithm, but for a constant
    deviations: Array  # [2]
    factor: Array  # lower Cholesky factor [N, N] of the covariance of the measurements
    weights: Array  # [N], its inverse times the measurements

    def predict(self, changes: _Changes) -> tuple[Array, Array]:
        """Mean and variance `[n]` of what n changes add to the bits per byte."""
        squares = self.deviations**2
        covariance = np.tensordot(squares, changes.covariance, 1)
        mean = covariance @ self.weights + LOSS * self.deviations @ changes.risen
        known = solve_triangular(self.factor, covariance.T, lower=True, check_finite=False)
        return mean, squares @ changes.variance - (known**2).sum(0)


def _best_fit(kernel: Array, residual: Array, errors: Array) -> _Fit:
    """The most likely one; the deviations are found one after the other: all alike, then each."""

    @cache  # the rounds share pairs
    def fitted(*pair: float) -> _Fit:
        return _fitted(kernel, residual, errors, np.array(pair))

    def best(pairs: Iterable[tuple[float, float]]) -> _Fit:
        return max((fitted(*pair) for pair in pairs), key=lambda fit: fit.likelihood)

    alike = best((scale, scale) for scale in SCALES)
    structure = best((alike.deviations[NUMBERS], scale) for scale in SCALES)
    return best((scale, structure.deviations[STRUCTURE]) for scale in SCALES)


def _fitted(kernel: Array, residual: Array, errors: Array, deviations: Array) -> _Fit:
    """With these deviations."""
    covariance = np.tensordot(deviations**2, kernel, 1) + np.diag(errors)
    factor = np.asarray(np.linalg.cholesky(covariance), dtype=np.float64)
    expected = LOSS * deviations @ np.diagonal(kernel, axis1=1, axis2=2)
    half = solve_triangular(factor, residual - expected, lower=True, check_finite=False)
    weights = solve_triangular(factor, half, lower=True, trans=1, check_finite=False)
    surprise = np.log(deviations / EXPECTED) / math.log(WITHIN)
    likelihood = -0.5 * float(half @ half + surprise @ surprise) - float(np.log(np.diag(factor)).sum())
    return _Fit(likelihood, deviations, factor, weights)


def _bell(distance: Array) -> Array:
    """The kernel along a number: 1 for the same one."""
    result: Array = np.exp(-0.5 * (distance / LENGTH) ** 2)
    return result


def _grown(array: npt.NDArray[Any], shape: tuple[int, ...], empty: float) -> npt.NDArray[Any]:
    """The array with room at its ends, itself if it has that shape."""
    if array.shape == shape:
        return array
    larger = np.full(shape, empty, dtype=array.dtype)
    larger[tuple(map(slice, array.shape))] = array
    return larger
