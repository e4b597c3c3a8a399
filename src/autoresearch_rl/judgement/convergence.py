"""Whether a study is worth going on with: the probability of one more gain, and what it would cost.

A *gain* is a fall of the incumbent's val_bpb by more than epsilon. Time is counted in explored trials. How
gains are taken to arrive:

- The law of the waits between them is learnt from the study's own, on a grid of cells. A cell has a rate
  (log-uniform prior), constant or falling like that of records, 1 / t (Arnold et al., "Records", 1998): the
  clock is u(t) = t or s ln(1 + t / s). A wait above x has the probability (1 + rate x / k)^-k (Lomax 1954):
  heavy tails for k = 1 or 2, none for infinity: exp(-rate x). Other cells have regular waits (Erlang).
- Each gain, like the start, is the last one with an unknown probability q that has a Beta(1, `GAINS`) prior.
  The clock of saturation is gains, not trials, so a study whose gains are rare is waited for longer.

A completed wait from gain to gain has the likelihood S_c(g - 1) - S_c(g) in cell c, and gives it the weight
w_c. S(m) = sum_c w_c S_c(m) is then the chance of a wait longer than m. After K gains and m trials without
another, Bayes' rule gives, as q was survived K times and E[1 - q] / E[q] = GAINS + K:

    P(not saturated) = o / (1 + o),  o = (GAINS + K) S(m)
    P(gain in the next n) = P(not saturated) (1 - S'(m + n) / S'(m))

S' sums over the irregular cells only: regular waits may say that a gain is overdue, but not that none can
come so soon after the last. Otherwise this is exact. The hazard of the irregular cells falls, hence that of
their mixture: both factors fall with every trial without a gain.

It is a model and no guarantee. With a gain every 8 trials by chance, 4 % of live studies have a wait above 50
in 300 trials, and no rule could tell. What was measured, and where it fails: docs/log.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice, pairwise

import numpy as np
import numpy.typing as npt

from autoresearch_rl.judgement.acceptance import REFERENCE_RUNS
from autoresearch_rl.records import Trial, TrialKind, Verdict

Array = npt.NDArray[np.float64]

HORIZON = 50  # explored trials to look ahead: 100 stops saturated studies no sooner at as many false stops
FEWEST = 40  # explored trials without a gain that a stop needs, however fast the gains came
DELTA = 0.01
"""A study has converged when a gain within the horizon is less probable: after 558 explored trials if there
never was one. 0.02 stops saturated studies a quarter sooner, and twice as many live ones."""

# Priors. Others gave about the same saturated studies stopped at equally many live ones (docs/log.md).
GAINS = 19  # before the last one: 9 to 49 do as well with another delta
SHAPES = {1.0: 0.05, 2.0: 0.15, 1e9: 0.8}  # weight of each k, where 1e9 is infinity
REGULAR, ERLANG = 0.01, 3  # weight of regular waits, which takes some 20 of them to believe in; their shape
RATES = np.geomspace(1e-4, 2.0, 30)  # gains per explored trial, at the start of the study
SHOULDER = 3.0  # explored trials after which a falling rate begins to fall: s above
WINDOW = 40  # waits that are learnt from, the latest
RECENT = 50  # explored trials whose mean cost forecasts that of the horizon


@dataclass(frozen=True, slots=True)
class Outlook:
    """What going on is likely to bring.

    Attributes:
        probability: of at least one further gain above `epsilon` (bits per byte) within the horizon.
        horizon: explored trials to come.
        explored: explored trials so far, whatever became of them.
        gains: gains above epsilon so far.
        since_gain: explored trials since the last of them, or since the start.
        train_seconds: of training that the horizon will cost, on the task's clock; None: no trial explored.
        hours: of wall time that it will take one worker; None likewise.
    """

    probability: float
    epsilon: float
    horizon: int
    explored: int
    gains: int
    since_gain: int
    train_seconds: float | None
    hours: float | None

    def converged(self, delta: float = DELTA) -> bool:
        """Whether a further gain is less probable than `delta`, after a wait of at least `FEWEST` trials.

        A leader that is not proven yet is no gain yet: the caller does not stop before `Ledger.settled`.
        """
        return self.since_gain >= FEWEST and self.probability < delta


def outlook(trials: Sequence[Trial], epsilon: float, horizon: int = HORIZON) -> Outlook:
    """The outlook of a study.

    Args:
        trials: all recorded trials in order of completion.
        epsilon: the gain that matters, in bits per byte; the noise of one measurement, say.
        horizon: explored trials.

    Raises:
        ValueError: epsilon is negative or not a number, or the horizon is below 1.
    """
    if not epsilon >= 0:
        raise ValueError(f"epsilon must be 0 or more bits per byte, but got {epsilon}")
    gains, explored = gains_at(trials, epsilon)
    latest = list(islice((t for t in reversed(trials) if t.kind is TrialKind.EXPLORE and t.counts), RECENT))
    each = horizon / len(latest) if latest else None
    return Outlook(
        probability=gain_probability(gains, explored, horizon),
        epsilon=epsilon,
        horizon=horizon,
        explored=explored,
        gains=len(gains),
        since_gain=explored - (gains[-1] if gains else 0),
        train_seconds=each and each * math.fsum(t.train_seconds for t in latest),
        hours=each and each * math.fsum(t.wall_seconds for t in latest) / 3600,
    )


def gains_at(trials: Iterable[Trial], epsilon: float) -> tuple[list[int], int]:
    """The gains above `epsilon` (bits per byte), each as the explored trials up to it; and all explored.

    A keep is a gain when it lies more than epsilon below the highest level since the last gain, so that
    small keeps add up. Levels are those of keeps and of three repeated measurements of the incumbent: of
    the baseline at first, later on another machine or in more noise. Where there is no level yet, a keep
    counts: to wait too long is the safe error.
    """
    gains: list[int] = []
    repeats: list[float] = []
    explored, segment, level, incumbent = 0, 0, -math.inf, ""
    # Looking these up takes half of the time.
    explore, keep, rejected = TrialKind.EXPLORE, Verdict.KEEP, Verdict.REJECTED
    for trial in trials:
        explored += trial.kind is explore and trial.verdict is not rejected
        if trial.verdict is not keep or trial.val_bpb is None:
            continue
        if trial.segment != segment:
            segment, level, repeats = trial.segment, -math.inf, []
        if trial.kind is TrialKind.REFERENCE or trial.script == incumbent:
            if trial.script == (incumbent or trial.script):
                repeats = [*repeats, trial.val_bpb][-REFERENCE_RUNS:]
            if len(repeats) == REFERENCE_RUNS:
                level = max(level, math.fsum(repeats) / REFERENCE_RUNS)
            continue
        if level == -math.inf or trial.val_bpb < level - epsilon:
            gains.append(explored)
            level = trial.val_bpb
        level, incumbent, repeats = max(level, trial.val_bpb), trial.script, []
    return gains, explored


def gain_probability(gains: Sequence[int], explored: int, horizon: int = HORIZON) -> float:
    """Probability of at least one gain in the next `horizon` explored trials; see the top of this file.

    `gains` holds, in ascending order, how many of the `explored` trials were explored up to each gain.

    Raises:
        ValueError: the gains are not in order within 0 to `explored`, or the horizon is below 1.
    """
    if horizon < 1:
        raise ValueError(f"the horizon must be at least 1 explored trial, but got {horizon}")
    if any(late < early for early, late in pairwise([0, *gains, explored])):
        raise ValueError(f"gains must be in order within 0 to {explored}, but got {list(gains)}")
    at = np.unique(np.array([0, *gains], float))
    ahead = np.array([explored, explored + horizon], float)
    now, then = _survival(at[-1:], ahead) * _posterior(at[-WINDOW - 1 :])
    odds = (GAINS + len(at) - 1) * now.sum()
    return float(odds / (1 + odds) * (1 - then[: -len(RATES)].sum() / now[: -len(RATES)].sum()))


def _posterior(at: Array) -> Array:
    """Weight of every cell, [cells], after the waits between the gains `at`, [gains + 1]."""
    here = _survival(at[:-1], at[1:] - 1) - _survival(at[:-1], at[1:])
    log_weights = _grid()[2] + np.log(np.maximum(here, 1e-300)).sum(axis=0)
    weights: Array = np.exp(log_weights - log_weights.max())
    weights /= weights.sum()
    return weights


def _survival(start: Array, end: Array) -> Array:
    """Probability, [waits, cells], of no gain after explored trial `start` up to `end`, both [waits]."""
    shapes, rates, _ = _grid()
    wait = (end - start)[:, None]
    falling = SHOULDER * np.log((SHOULDER + end) / (SHOULDER + start))[:, None]
    constant, records, regular = np.split(rates, [len(shapes), 2 * len(shapes)])
    steps = ERLANG * regular * wait
    parts: list[Array] = [
        np.exp(-shapes * np.log1p(constant / shapes * wait)),
        np.exp(-shapes * np.log1p(records / shapes * falling)),
        np.exp(-steps) * sum(steps**i / math.factorial(i) for i in range(ERLANG)),
    ]
    return np.concatenate(parts, axis=1)


@lru_cache(maxsize=1)
def _grid() -> tuple[Array, Array, Array]:
    """Shape of the constant cells, and so of the falling; rate and log prior of those and the regular."""
    shapes = np.repeat(list(SHAPES), len(RATES))
    weights = np.repeat(list(SHAPES.values()), len(RATES)) * (1 - REGULAR) / 2
    rates = np.tile(RATES, 2 * len(SHAPES) + 1)
    return shapes, rates, np.log(np.append(np.tile(weights, 2), np.full(len(RATES), REGULAR)) / len(RATES))
