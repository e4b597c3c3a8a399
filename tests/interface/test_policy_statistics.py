"""Against scipy, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from autoresearch_rl.interface.policy_bench.statistics import holm, interval, least_p, signed_rank


@pytest.mark.parametrize("n", [2, 8, 40])
def test_the_interval_is_students(n: int) -> None:
    values = np.random.default_rng(n).normal(3.0, 0.1, n)
    low, high = stats.t.interval(0.95, n - 1, values.mean(), stats.sem(values))
    assert interval(values.tolist()) == pytest.approx((n, values.mean(), low, high))


def test_one_value_has_no_interval_and_none_no_mean() -> None:
    assert interval([3.0]) == (1, 3.0, None, None)
    assert interval([]) == (0, None, None, None)


@pytest.mark.parametrize("n", [1, 2, 5, 8, 20, 45])
@pytest.mark.parametrize("shift", [-0.5, 0.0, 0.5])
def test_the_signed_rank_test_is_scipys_exact_one(n: int, shift: float) -> None:
    differences = np.random.default_rng(n).normal(shift, 1.0, n)
    found = signed_rank(differences.tolist())
    assert found.p == pytest.approx(stats.wilcoxon(differences, method="exact").pvalue)
    ranks = stats.rankdata(abs(differences))
    assert found.excess == pytest.approx(sum(ranks * np.sign(differences)))


def test_ties_have_their_mean_rank_and_zeros_are_left_out() -> None:
    # Ranks 2, 2, 2, 4. Of 16 sums of the negative ones, 4 are at most 2: one is 0, three are 2.
    found = signed_rank([0.1 + 0.2, -0.3, 0.3, 0.0, 0.5])
    assert found == pytest.approx((2 * 4 / 16, 6.0))
    assert signed_rank([0.0, 0.0]) == (1.0, 0.0)


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=9))
def test_with_ties_it_counts_all_signs(values: list[int]) -> None:
    kept = [value for value in values if value]
    ranks = stats.rankdata(np.abs(kept)) if kept else np.array([])
    signs = (
        np.array(np.meshgrid(*[[-1, 1]] * len(kept))).reshape(len(kept), -1).T if kept else np.ones((1, 0))
    )
    sums, ours = signs @ ranks, float(np.sign(kept) @ ranks) if kept else 0.0
    expected = min(1.0, 2 * min((sums <= ours + 1e-9).mean(), (sums >= ours - 1e-9).mean()))
    assert signed_rank(values).p == pytest.approx(expected)


def test_the_least_p_is_that_of_differences_of_one_sign() -> None:
    for pairs in (1, 2, 5, 6, 8):
        assert least_p(pairs) == pytest.approx(signed_rank([1.0 + k for k in range(pairs)]).p)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.5]) == [1.0, 1.0]
    assert holm([]) == []
