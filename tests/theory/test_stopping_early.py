"""docs/theory.md, sections 6 and 7: errors of a sequential test, what breaks them, and throughput.

A run's forecasts tell of theta, how much worse than the threshold it will end: good runs have theta <= 0. In
their canonical form the score S(I) is a Brownian motion with drift theta, observed at the information I.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from chance import agrees, at_most, exceeds
from numpy.typing import NDArray
from scipy.special import ndtr, stdtr

Floats = NDArray[np.float64]
RUNS = 6_000
DELTA = 1.0  # how much worse the bad runs of the simple hypothesis are
ALPHA = 0.05


def scores(theta: float, information: Floats, seed: int, runs: int = RUNS) -> Floats:
    """S at each information, `[runs, looks]`."""
    steps = np.diff(information, prepend=0.0)
    noise = np.random.default_rng(seed).standard_normal((runs, len(steps)))
    return np.cumsum(theta * steps + np.sqrt(steps) * noise, axis=1)


def log_ratio(score: Floats, information: Floats, delta: float = DELTA) -> Floats:
    """Of theta = delta against theta = 0."""
    return delta * score - delta**2 * information / 2


def log_mixture(score: Floats, information: Floats, deltas: list[float]) -> Floats:
    """Of the even mixture of `deltas` against 0."""
    ratios = [log_ratio(score, information, delta) for delta in deltas]
    result: Floats = np.logaddexp.reduce(ratios, axis=0) - math.log(len(deltas))
    return result


FINE = np.linspace(0.01, 20.0, 1_000)  # many looks: little overshoot, so the bounds are nearly met
CRUDE = np.linspace(1.0, 20.0, 10)


def pruned(log_evidence: Floats, alpha: float = ALPHA) -> NDArray[np.bool_]:
    """Whether the evidence ever reaches 1 / alpha."""
    return log_evidence.max(axis=1) >= math.log(1 / alpha)


# --- errors


@pytest.mark.parametrize("information", [FINE, CRUDE], ids=["fine", "crude"])
def test_good_runs_are_pruned_no_more_often_than_alpha(information: Floats) -> None:
    on_the_edge = scores(0.0, information, seed=1, runs=RUNS // 2)
    assert at_most(pruned(log_ratio(on_the_edge, information)), ALPHA)
    for theta in (0.0, -2.0):
        score = scores(theta, information, seed=2, runs=RUNS // 2)
        assert at_most(pruned(log_mixture(score, information, [0.5, 2.0])), ALPHA)


def test_with_many_looks_the_bound_is_nearly_met_and_bad_runs_go() -> None:
    """Steps of sd rho overshoot, as if the boundary were 0.583 rho higher (Siegmund 1985, section III.5)."""
    rho = DELTA * math.sqrt(FINE[1] - FINE[0])
    assert agrees(pruned(log_ratio(scores(0.0, FINE, seed=3), FINE)), ALPHA * math.exp(-0.583 * rho))
    assert pruned(log_ratio(scores(DELTA, FINE, seed=4), FINE)).mean() > 0.9


def test_a_mixture_over_both_signs_prunes_the_best_runs() -> None:
    much_better = scores(-2.0, FINE, seed=5)
    assert pruned(log_mixture(much_better, FINE, [-2.0, 2.0])).mean() > 0.9


def test_walds_boundaries() -> None:
    """A = (1 - beta) / alpha, B = beta / (1 - alpha): errors alpha' and beta' of the test as it is."""
    alpha, beta = 0.05, 0.2
    false_prune, _ = sprt(0.0, alpha, beta, seed=6)
    prune, _ = sprt(DELTA, alpha, beta, seed=7)
    assert at_most(false_prune, alpha / (1 - beta))
    assert at_most(~prune, beta / (1 - alpha))
    assert false_prune.mean() + (~prune).mean() <= alpha + beta + 4 * math.sqrt(0.16 / RUNS)
    assert exceeds(false_prune, alpha / 2)


def sprt(theta: float, alpha: float, beta: float, seed: int) -> tuple[NDArray[np.bool_], Floats]:
    """Who is pruned, and the information used; those still open at the end of FINE go on to the end."""
    ratio = log_ratio(scores(theta, FINE, seed), FINE)
    up, down = math.log((1 - beta) / alpha), math.log(beta / (1 - alpha))
    ended = (ratio >= up) | (ratio <= down)
    at = np.where(ended.any(axis=1), ended.argmax(axis=1), len(FINE) - 1)
    return ratio[np.arange(len(ratio)), at] >= up, FINE[at]


@pytest.mark.parametrize("boundary", [3.0, 10.0])
def test_of_winners_like_the_earlier_ones_no_more_than_one_in_a_is_stopped(boundary: float) -> None:
    """Ours: losers and winners of a study against each other, at seven looks."""
    dice = np.random.default_rng(11)
    losers, winners = dice.exponential(1.0, 500), -dice.exponential(0.5, 100)
    assert at_most(stopped(dice.choice(winners, RUNS), losers, winners, boundary), 1 / boundary)
    assert stopped(dice.choice(losers, RUNS), losers, winners, boundary).mean() > 0.4
    on_the_edge = stopped(np.zeros(RUNS), losers, winners, boundary)
    assert on_the_edge.mean() > stopped(np.full(RUNS, -0.5), losers, winners, boundary).mean()
    overconfident = stopped(dice.choice(winners, RUNS), losers, winners, boundary, belief=0.4)
    assert overconfident.mean() > stopped(dice.choice(winners, RUNS), losers, winners, boundary).mean()


def stopped(
    theta: Floats, losers: Floats, winners: Floats, boundary: float, belief: float = 1.0
) -> NDArray[np.bool_]:
    """Which of the runs are stopped, when the sd is believed to be `belief` times what it is."""
    information = np.linspace(0.5, 3.5, 7)
    steps = np.diff(information, prepend=0.0)
    noise = np.random.default_rng(12).standard_normal((len(theta), 7))
    forecast = np.cumsum(theta[:, None] * steps + np.sqrt(steps) * noise, axis=1) / information
    sd = belief / np.sqrt(information)[:, None]
    against, in_favour = (
        np.exp(-0.5 * ((forecast[:, :, None] - ends) / sd) ** 2).mean(axis=2) for ends in (losers, winners)
    )
    result: NDArray[np.bool_] = (against >= boundary * in_favour).any(axis=1)
    return result


# --- what breaks them


@pytest.mark.parametrize("k", [2.0, math.sqrt(2.0)])
def test_a_standard_deviation_too_small_by_k_raises_alpha_to_the_power_one_over_k_squared(k: float) -> None:
    """The forecaster says k^2 times the information. 0.05 becomes 0.47 when the sd is half of the true one.

    In steps the boundary is 0.583 rho k^2 higher, which the power 1 / k^2 turns into 0.583 rho as before.
    """
    rho = DELTA * math.sqrt(FINE[1] - FINE[0])
    found = pruned(log_ratio(k**2 * scores(0.0, FINE, seed=8), k**2 * FINE))
    assert exceeds(found, 3 * ALPHA)
    assert agrees(found, ALPHA ** (1 / k**2) * math.exp(-0.583 * rho))


def test_an_error_that_all_forecasts_share_prunes_every_good_run_in_the_end() -> None:
    bias = 1.0
    score = scores(0.0, FINE, seed=9) + bias * FINE
    assert pruned(log_ratio(score, FINE)).mean() > 0.9


def test_an_sd_learnt_from_few_runs_makes_a_normal_threshold_too_bold() -> None:
    """One look, sd from 4 residuals: the normal quantile prunes 8.8 % of the good runs, not 5 %."""
    dice = np.random.default_rng(10)
    error, learnt = dice.standard_normal(RUNS), np.sqrt(dice.chisquare(4, RUNS) / 4)
    assert agrees(error > 1.645, ALPHA)
    assert agrees(error > 1.645 * learnt, 1 - float(stdtr(4, 1.645)))
    assert exceeds(error > 1.645 * learnt, 1.3 * ALPHA)


def test_residuals_of_survivors_are_too_small() -> None:
    """Runs whose forecast was bad were pruned, so what is left at the end shows less error than there was."""
    dice = np.random.default_rng(11)
    error, truth = dice.standard_normal(RUNS), dice.standard_normal(RUNS)
    survives = truth + error < 0.0
    assert error[survives].std() < 0.9
    assert error[survives].mean() < -0.4


# --- throughput


def trials_per_budget(p_bad: float, mu: float, overhead: float = 0.0, seed: int = 0) -> float:
    """Trials finished in 20,000 budgets; aborts at uniform times with mean mu. Standard error below 0.5 %."""
    dice = np.random.default_rng(seed)
    bad = dice.random(100_000) < p_bad
    cost = overhead + np.where(bad, mu * 2 * dice.random(100_000), 1.0)
    return float(np.searchsorted(np.cumsum(cost), 20_000.0) / 20_000.0)


def gain(p_bad: float, mu: float) -> float:
    return 1 / (1 - p_bad * (1 - mu))


@pytest.mark.parametrize(("p_bad", "mu"), [(0.55, 0.38), (0.2, 0.5), (0.8, 0.1)])
def test_throughput_is_the_papers_formula(p_bad: float, mu: float) -> None:
    """Four standard errors: sd of the cost below 0.5, over more than 24,000 trials, times G: below 2 %."""
    assert trials_per_budget(p_bad, mu) == pytest.approx(gain(p_bad, mu), rel=0.02)


def test_the_papers_own_numbers_give_1_52_and_not_1_35() -> None:
    assert gain(0.55, 0.38) == pytest.approx(1.517, abs=5e-4)
    assert abs(trials_per_budget(0.55, 0.38) - 1.35) > 0.1
    assert gain(0.55, 0.0) == pytest.approx(1 / 0.45)  # a perfect oracle's


def test_what_a_trial_costs_besides_training_lowers_the_gain() -> None:
    with_it = trials_per_budget(0.55, 0.38, overhead=0.2) / trials_per_budget(0.0, 0.0, overhead=0.2)
    assert with_it == pytest.approx(1.2 / (1.2 - 0.55 * 0.62), rel=0.02)


# --- no oracle under noise


@pytest.mark.parametrize("information", [0.25, 1.0, 4.0])
def test_errors_at_a_given_information_add_up_to_a_least_amount(information: float) -> None:
    """2 Phi(-delta sqrt(I) / 2), met by the threshold half way between, and by no other."""
    least = 2 * float(ndtr(-DELTA * math.sqrt(information) / 2))
    at = np.array([information])
    good, bad = scores(0.0, at, 13, 40_000)[:, 0], scores(DELTA, at, 14, 40_000)[:, 0]
    sums = [
        float((good > c).mean() + (bad <= c).mean()) for c in information * DELTA * np.linspace(-0.5, 1.5, 9)
    ]
    error = math.sqrt(0.5 / 40_000)
    assert min(sums) >= least - 4 * error
    assert sums[4] == pytest.approx(least, abs=4 * error)


def test_walds_least_information_until_a_bad_run_is_given_up() -> None:
    """E[I] >= 2 kl(1 - beta', alpha') / delta^2, and the SPRT comes within 15 % of it.

    The tolerance is four standard errors of both sides; those of alpha' and beta' by derivatives.
    """
    false_prune, _ = sprt(0.0, 0.05, 0.2, seed=15)
    prune, used = sprt(DELTA, 0.05, 0.2, seed=16)
    a, b = float(false_prune.mean()), float(1 - prune.mean())
    least = 2 * ((1 - b) * math.log((1 - b) / a) + b * math.log(b / (1 - a))) / DELTA**2
    by_a = 2 * (b / (1 - a) - (1 - b) / a)
    by_b = 2 * (math.log(b / (1 - a)) - math.log((1 - b) / a))
    variance = used.var() + by_a**2 * a * (1 - a) + by_b**2 * b * (1 - b)
    error = 4 * math.sqrt(variance / RUNS)
    assert least - error < used.mean() < 1.15 * least + error
    assert error < 0.15 * least
