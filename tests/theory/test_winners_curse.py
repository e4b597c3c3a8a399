"""docs/theory.md, section 5: what noise does to a search, and what a level of 99 % still guarantees.

The rule of acceptance is written out here once more, in its plainest form (Student's one-sided two-sample
test), so that these tests check the mathematics and not the program. All in units of the noise of one
measurement; smaller is better.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from chance import agrees, at_most, exceeds, mean_agrees
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.special import nctdtr, ndtr, stdtr, stdtrit

LEVEL, ALPHA = 0.99, 0.01
Floats = NDArray[np.float64]


def expected_maximum(n: int) -> float:
    """e_n, of n standard normals: the integral of x n phi(x) Phi(x)^(n-1)."""

    def density(x: float) -> float:
        return float(x * n * math.exp(-x * x / 2) / math.sqrt(2 * math.pi) * ndtr(x) ** (n - 1))

    return float(quad(density, -10, 10)[0])


# --- the greedy rule


@pytest.mark.parametrize("n", [2, 10, 100])
def test_the_best_of_n_measurements_is_too_low_by_e_n(n: int) -> None:
    best = np.random.default_rng(n).standard_normal((20_000, n)).min(axis=1)
    assert mean_agrees(best, -expected_maximum(n))
    assert expected_maximum(n) <= math.sqrt(2 * math.log(n))


def greedy(noise: float, effects: Floats, seed: int) -> tuple[NDArray[np.bool_], Floats]:
    """Keeps every lower measurement, for candidates `[runs, n]` that add `effects` to the script they edit.

    Returns which were kept, and the true value in the end; the start is 0.
    """
    dice = np.random.default_rng(seed)
    runs = len(effects)
    best, truth, kept = noise * dice.standard_normal(runs), np.zeros(runs), np.zeros(effects.shape, bool)
    for i in range(effects.shape[1]):
        measured = truth + effects[:, i] + noise * dice.standard_normal(runs)
        kept[:, i] = measured < best
        best = np.where(kept[:, i], measured, best)
        truth = np.where(kept[:, i], truth + effects[:, i], truth)
    return kept, truth


@pytest.mark.parametrize("noise", [1.0, 1e-3])
def test_greedy_keeps_as_many_null_edits_as_there_are_records_however_small_the_noise(noise: float) -> None:
    n = 50
    kept, _ = greedy(noise, np.zeros((10_000, n)), seed=1)
    records = sum(1 / (i + 1) for i in range(1, n + 1))
    assert mean_agrees(kept.sum(axis=1).astype(float), records)


def test_greedy_becomes_truly_worse_when_all_edits_are_worse() -> None:
    kept, truth = greedy(1.0, np.full((10_000, 50), 0.2), seed=2)
    assert truth.min() >= 0.0
    assert truth.mean() > 0.2
    assert kept[:, 25:].mean() < kept[:, :25].mean() / 4


def test_greedy_stalls_it_misses_gains_once_its_bar_is_a_lucky_one() -> None:
    """After n null edits a gain of one sigma passes rarely, where at first it passed three times in four."""
    for n, expected in ((0, ndtr(1 / math.sqrt(2))), (200, None)):
        effects = np.zeros((20_000, n + 1))
        effects[:, n] = -1.0
        last = greedy(1.0, effects, seed=3)[0][:, n]
        if expected is not None:
            assert agrees(last, float(expected))
        else:
            assert last.mean() < 0.1


# --- one look


@dataclass(frozen=True)
class Study:
    """Independent studies: a reference of true value 0, and the noise as estimated from `df` repetitions."""

    reference: Floats
    runs: int
    spread: Floats
    df: int

    @property
    def step(self) -> Floats:
        """What the mean of one candidate run has to be below the reference's to be kept."""
        return float(stdtrit(self.df, LEVEL)) * self.spread * math.sqrt(1 + 1 / self.runs)


def studies(dice: np.random.Generator, size: int, df: int, runs: int = 3) -> Study:
    return Study(
        dice.standard_normal(size) / math.sqrt(runs), runs, np.sqrt(dice.chisquare(df, size) / df), df
    )


@pytest.mark.parametrize("df", [2, 4, 10, 50])
def test_one_look_keeps_a_null_edit_in_one_case_of_a_hundred(df: int) -> None:
    dice = np.random.default_rng(df)
    s = studies(dice, 200_000, df)
    measured = dice.standard_normal(200_000)
    assert agrees(s.reference - measured > s.step, ALPHA)
    normal = s.reference - measured > 2.326348 * s.spread * math.sqrt(4 / 3)
    assert agrees(normal, 1 - float(stdtr(df, 2.326348)))  # 7 % for df 2: Student's quantile is needed


def test_a_look_at_a_worse_edit_is_bounded_and_so_is_the_harm_it_does() -> None:
    """Exactly the non-central t; below alpha exp(-d^2 / 2 se^2); a mean loss below alpha se exp(-1/2)."""
    dice, size, se = np.random.default_rng(8), 400_000, math.sqrt(4 / 3)
    s = studies(dice, size, df=4)
    measured = dice.standard_normal(size)
    for d in (0.1, 0.5, 1.0):
        kept = s.reference - (measured + d) > s.step
        exact = 1 - float(nctdtr(s.df, -d / se, stdtrit(s.df, LEVEL)))
        assert agrees(kept, exact)
        assert exact <= ALPHA * math.exp(-((d / se) ** 2) / 2)
        assert exact * d <= ALPHA * se * math.exp(-0.5)


def test_a_known_noise_gives_the_plain_formula() -> None:
    dice, d, se, t = np.random.default_rng(9), 0.3, math.sqrt(4 / 3), 1.0
    reference, measured = dice.standard_normal(100_000) / math.sqrt(3), dice.standard_normal(100_000)
    assert agrees(reference - (measured + d) > t * se, 1 - float(ndtr(t + d / se)))


# --- many looks


def test_a_reference_chosen_for_being_low_makes_false_keeps_rarer() -> None:
    """The lowest of 5 equal scripts is the reference; the estimate of noise is not chosen."""
    dice, size = np.random.default_rng(10), 200_000
    s = studies(dice, size, df=4)
    lowest = dice.standard_normal((size, 5)).min(axis=1)
    single = Study(lowest, 1, s.spread, s.df)
    kept = single.reference - dice.standard_normal(size) > single.step
    assert at_most(kept, ALPHA)
    assert kept.mean() < ALPHA / 2


def after_a_keep(df: int, gain: float) -> NDArray[np.bool_]:
    """Studies in which an edit with this gain was kept: whether a null edit of it is kept next."""
    dice, size = np.random.default_rng(11), 1_000_000
    s = studies(dice, size, df)
    kept = dice.standard_normal(size)
    chosen = s.reference - (kept - gain) > s.step
    new = Study(kept[chosen], 1, s.spread[chosen], df)
    return new.reference - dice.standard_normal(int(chosen.sum())) > new.step


def test_an_estimate_of_noise_that_let_something_pass_is_a_low_one() -> None:
    """Where noise is hardly known, a keep says more about the estimate than about the reference."""
    assert exceeds(after_a_keep(df=2, gain=2.0), 0.05)
    assert exceeds(after_a_keep(df=4, gain=2.0), ALPHA)
    for gain in (1.0, 2.0, 4.0, 8.0):
        assert at_most(after_a_keep(df=8, gain=gain), ALPHA)


def all_null(looks: int, df: int, runs: int) -> NDArray[np.bool_]:
    """Studies of null edits; a kept one becomes the reference. `[runs, looks]`, true where one was kept."""
    dice = np.random.default_rng(12)
    s = studies(dice, runs, df)
    reference, count = s.reference.copy(), np.full(runs, s.runs)
    kept = np.zeros((runs, looks), bool)
    for i in range(looks):
        measured = dice.standard_normal(runs)
        t = float(stdtrit(df, LEVEL))
        kept[:, i] = reference - measured > t * s.spread * np.sqrt(1 + 1 / count)
        reference, count = np.where(kept[:, i], measured, reference), np.where(kept[:, i], 1, count)
    return kept


@pytest.mark.parametrize("df", [2, 10])
def test_in_a_study_where_nothing_helps_false_keeps_stay_within_alpha_per_look(df: int) -> None:
    looks, runs = 40, 20_000
    kept = all_null(looks, df, runs)
    counts = kept.sum(axis=1)
    assert counts.mean() <= ALPHA * looks + 4 * counts.std() / math.sqrt(runs)
    assert at_most(kept.any(axis=1), 1 - LEVEL**looks)
    assert exceeds(kept.any(axis=1), ALPHA)


def test_five_looks_at_one_candidate_have_at_most_five_times_the_chance() -> None:
    """Its own repetitions sharpen the estimate of noise; it is followed as long as it looks better."""
    dice, size, df = np.random.default_rng(13), 100_000, 2
    s = studies(dice, size, df)
    measured = dice.standard_normal((size, 5))
    kept, alive = np.zeros(size, bool), np.ones(size, bool)
    for k in range(1, 6):
        own = measured[:, :k]
        squares = df * s.spread**2 + ((own - own.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
        spread = np.sqrt(squares / (df + k - 1))
        gain = s.reference - own.mean(axis=1)
        kept |= alive & (gain > float(stdtrit(df + k - 1, LEVEL)) * spread * math.sqrt(1 / k + 1 / s.runs))
        alive &= (gain > 0) & ~kept
    assert at_most(kept, 5 * ALPHA)
    assert exceeds(kept, ALPHA)


def test_the_leader_is_a_null_edit_half_of_the_time_and_loses_little_by_it() -> None:
    dice, size, se = np.random.default_rng(14), 200_000, math.sqrt(4 / 3)
    s, measured = studies(dice, size, df=2), dice.standard_normal(size)
    assert agrees(s.reference > measured, 0.5)
    losses = [d * float((s.reference > measured + d).mean()) for d in np.linspace(0, 4, 41) * se]
    assert max(losses) == pytest.approx(0.17 * se, rel=0.02)


def test_repeating_a_lucky_leader_says_that_noise_is_larger_than_it_is() -> None:
    """sqrt(1/2) (second - first) of the lowest of m has the mean square (1 + E min^2) / 2, not 1."""
    dice, m = np.random.default_rng(15), 8
    first = dice.standard_normal((100_000, m)).min(axis=1)
    innovations = (dice.standard_normal(100_000) - first) * math.sqrt(0.5)
    assert mean_agrees(innovations**2, (1 + float((first**2).mean())) / 2)
    assert (innovations**2).mean() > 1.5
