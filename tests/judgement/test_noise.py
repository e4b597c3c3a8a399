"""Noise from innovations: Student's threshold, pooling, and noise that rises."""

import math
import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from autoresearch_rl.judgement.noise import (
    RISE_KNOWN,
    RISE_LEVEL,
    SD_FLOOR,
    Noise,
    has_risen,
    innovation,
    noise_of,
)

bpbs = st.floats(0.5, 9.0)
millis = st.integers(500, 9000).map(lambda n: n / 1000)


def innovations(runs: list[float]) -> list[float]:
    return [innovation(runs[:k], runs[k]) for k in range(1, len(runs))]


@pytest.mark.parametrize("df", [1, 2, 5, 10, 100])
def test_the_threshold_is_that_of_students_two_sample_test(df):
    expected = stats.t.ppf(0.99, df) * 0.01 * math.sqrt(1 / 2 + 1 / 3)
    assert Noise(0.01, df).threshold(2, 3) == pytest.approx(expected, rel=1e-9)


def test_without_repetitions_nothing_can_be_proven():
    assert noise_of([]) == Noise(SD_FLOOR, 0)
    assert noise_of([]).threshold(5, 5) == math.inf


@settings(deadline=None)
@given(
    a=st.lists(millis, min_size=2, max_size=5, unique=True),
    b=st.lists(millis, min_size=2, max_size=5, unique=True),
)
def test_the_rule_agrees_with_scipys_t_test(a, b):
    noise = noise_of(innovations(a) + innovations(b))
    p = stats.ttest_ind(a, b, alternative="greater").pvalue
    if abs(p - 0.01) > 1e-9:
        assert (np.mean(a) - np.mean(b) > noise.threshold(len(b), len(a))) == (p < 0.01)


@settings(deadline=None)
@given(st.lists(st.lists(bpbs, min_size=1, max_size=5), max_size=5))
def test_squares_of_innovations_add_up_to_the_pooled_sum_of_squares(groups):
    found = [one for group in groups for one in innovations(group)]
    df = sum(len(group) - 1 for group in groups)
    squares = sum(np.var(group) * len(group) for group in groups)
    assert sum(one * one for one in found) == pytest.approx(squares, abs=1e-9)
    noise = noise_of(found)
    assert noise.df == df
    assert noise.sd == pytest.approx(max(math.sqrt(squares / df), SD_FLOOR) if df else SD_FLOOR, abs=1e-9)


@given(st.lists(st.lists(bpbs, min_size=2, max_size=4), min_size=2, max_size=4), st.randoms())
def test_noise_does_not_depend_on_the_order_of_scripts(groups, dice):
    """Nor on how their runs are interleaved, nor on the order of the runs of one script."""
    order = [k for k, group in enumerate(groups) for _ in group]
    dice.shuffle(order)
    left = [dice.sample(group, len(group)) for group in groups]
    seen: list[list[float]] = [[] for _ in groups]
    found = []
    for k in order:
        measured = left[k].pop()
        if seen[k]:
            found.append(innovation(seen[k], measured))
        seen[k].append(measured)
    straight = noise_of([one for group in groups for one in innovations(group)])
    assert noise_of(found).df == straight.df
    assert noise_of(found).sd == pytest.approx(straight.sd, abs=1e-9)


def test_innovations_are_independent_with_the_deviation_of_one_run():
    runs = np.random.default_rng(0).normal(1.0, 0.001, (20_000, 4))
    found = np.array([innovations(row) for row in runs.tolist()])
    covariance = np.cov(found.T) / 1e-6
    assert covariance == pytest.approx(np.eye(3), abs=4 * math.sqrt(2 / 20_000))


def test_identical_repetitions_leave_a_floor_of_noise():
    assert noise_of(innovations([1.0, 1.0, 1.0])) == Noise(SD_FLOOR, 2)


# --- noise that rises


def share(looks: int, made: Callable[[], bool]) -> float:
    return sum(made() for _ in range(looks)) / looks


@pytest.mark.parametrize("known", [4, 12])
def test_steady_noise_is_taken_for_risen_as_rarely_as_it_says(known):
    dice, looks = random.Random(known), 20_000
    found = share(looks, lambda: has_risen([dice.gauss(0, 0.001) for _ in range(known + 2)]))
    level = 1 - RISE_LEVEL
    assert found == pytest.approx(level, abs=4 * math.sqrt(level / looks))


def test_too_few_innovations_say_nothing():
    assert not has_risen([0.001] * (RISE_KNOWN - 1) + [9.0, 9.0])
    assert has_risen([0.001] * RISE_KNOWN + [9.0, 9.0])


def test_identical_repetitions_do_not_make_the_next_digit_a_rise():
    assert not has_risen([0.0] * 10 + [SD_FLOOR, SD_FLOOR])


def noticed_after(dice: random.Random, known: int, factor: float, patience: int) -> bool:
    """Whether noise that grows by a factor after `known` innovations is noticed within `patience` more."""
    found = [dice.gauss(0, 0.001) for _ in range(known)]
    for _ in range(patience):
        found.append(dice.gauss(0, factor * 0.001))
        if has_risen(found):
            return True
    return False


@pytest.mark.parametrize(
    ("factor", "patience", "least", "most"),
    [
        (1, 30, 0.0, 0.14),
        (2, 5, 0.33, 0.48),  # doubled noise is noticed by half of the studies, after about eight
        (2, 30, 0.65, 0.82),
        (4, 2, 0.60, 0.80),  # fourfold noise at the second
        (4, 5, 0.82, 0.94),
        (8, 2, 0.82, 0.95),
    ],
)
def test_risen_noise_is_noticed(factor, patience, least, most):
    dice = random.Random(factor)
    assert least < share(600, lambda: noticed_after(dice, 15, factor, patience)) < most


@pytest.mark.parametrize(("sigmas", "least"), [(5, 0.92), (10, 0.995)])
def test_a_slower_machine_is_noticed_at_its_second_measurement_of_the_incumbent(sigmas, least):
    """The incumbent has 5 runs, and there are 14 innovations."""
    dice = random.Random(sigmas)

    def noticed() -> bool:
        runs = [dice.gauss(0, 0.001) for _ in range(5)]
        found = [dice.gauss(0, 0.001) for _ in range(10)] + innovations(runs)
        for _ in range(2):
            measured = dice.gauss(sigmas * 0.001, 0.001)
            found.append(innovation(runs, measured))
            runs.append(measured)
            if has_risen(found):
                return True
        return False

    assert share(600, noticed) > least
