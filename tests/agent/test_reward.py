import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from playing import make_candidate, make_trial

from autoresearch_rl.agent.reward import (
    DEFAULT_LOSS,
    LAMBDA_EFF,
    LARGEST,
    XI,
    efficiency,
    losses,
    novelty,
    progress,
    reward,
    waste_penalty,
)
from autoresearch_rl.errors import ConfigurationError
from autoresearch_rl.records import Edit, TrialKind, Verdict

PAST = (0.1, 0.2, 0.3, 0.4, 0.5)  # its 0.75 quantile is 0.4
UNEVALUATED = [v for v in Verdict if not v.evaluated]

unit = st.floats(0.0, 1.0)
seconds = st.floats(0.0, 1e6)
past_losses = st.lists(st.floats(0.0, 100.0), max_size=20)


def to(site="lr", new="2.0"):
    return make_candidate(site, new=new)


def tried(*edits):
    return [
        make_trial(i, make_candidate(e.edit.changes[0].site, new=e.edit.changes[0].new))
        for i, e in enumerate(edits)
    ]


@given(
    verdict=st.sampled_from(Verdict),
    gain=st.floats(-100.0, 100.0),
    train=seconds,
    budget=st.floats(0.1, 1e6),
    new=unit,
    past=past_losses,
)
def test_the_reward_is_bounded(verdict, gain, train, budget, new, past):
    r = reward(verdict, gain, train, budget, new, past)

    assert -waste_penalty(past) <= r <= max(gain, 0.0) + LAMBDA_EFF + XI


@given(verdict=st.sampled_from(UNEVALUATED), gain=st.none() | st.floats(), new=unit, past=past_losses)
def test_a_trial_without_a_measurement_earns_neither_novelty_nor_efficiency(verdict, gain, new, past):
    r = reward(verdict, gain, 0.0, 300.0, new, past)

    assert r == reward(verdict, None, 300.0, 300.0, 0.0, past) <= 0.0
    assert reward(Verdict.DISCARD, -1.0, 0.0, 300.0, 1.0, past) > reward(
        Verdict.DISCARD, -1.0, 0.0, 300.0, 0.0, past
    )


def test_progress_is_rewarded():
    """The paper's formula as printed has the other sign."""
    better, same, worse = (reward(Verdict.DISCARD, g, 300.0, 300.0, 0.0, PAST) for g in (0.05, 0.0, -0.05))

    assert (better, same, worse) == (0.05, 0.0, -0.05)


def test_the_parts_add_up():
    assert reward(Verdict.KEEP, 0.05, 75.0, 300.0, 0.5, PAST) == pytest.approx(
        0.05 + 0.75 * 0.01 + 0.5 * 0.005
    )
    assert reward(Verdict.KEEP, 0.05, 75.0, 300.0, 0.5, PAST, lambda_eff=1.0, xi=2.0) == pytest.approx(1.8)


@pytest.mark.parametrize("verdict", [Verdict.PRUNED, Verdict.TIMEOUT, Verdict.CRASH, Verdict.INVALID])
def test_waste_costs_the_quantile_of_past_losses(verdict):
    assert reward(verdict, None, 1.0, 300.0, 1.0, PAST) == pytest.approx(-0.4)


def test_a_rejected_edit_costs_half():
    assert reward(Verdict.REJECTED, None, 0.0, 300.0, 1.0, PAST) == pytest.approx(-0.2)


def test_a_loss_costs_no_more_than_waste():
    assert reward(Verdict.DISCARD, -50.0, 300.0, 300.0, 0.0, PAST) == pytest.approx(-0.4)
    assert reward(Verdict.DISCARD, -0.3, 300.0, 300.0, 0.0, PAST) == pytest.approx(-0.3)


def test_the_penalty_is_a_default_until_four_losses_are_known():
    assert waste_penalty((9.0, 9.0, 9.0)) == DEFAULT_LOSS == 0.1
    assert waste_penalty((9.0, 9.0, 9.0, 9.0)) == 9.0


@pytest.mark.parametrize("gain", [None, math.nan, math.inf])
def test_an_evaluated_trial_needs_a_gain(gain):
    with pytest.raises(ConfigurationError, match="finite gain"):
        reward(Verdict.DISCARD, gain, 1.0, 2.0, 0.0, ())


def test_efficiency_is_the_share_of_the_budget_saved():
    assert efficiency(0.0, 75.0, 300.0) == 0.75
    assert efficiency(0.1, 301.0, 300.0) == 0.0
    assert efficiency(-1e-9, 0.0, 300.0) == 0.0


def test_losses_are_those_of_explored_and_evaluated_trials():
    c = make_candidate()
    history = [
        make_trial(0, None, Verdict.KEEP, -9.0, kind=TrialKind.REFERENCE),
        make_trial(1, c, Verdict.DISCARD, -0.25),
        make_trial(2, c, Verdict.KEEP, 0.5),
        make_trial(3, c, Verdict.CRASH),
        make_trial(4, c, Verdict.PRUNED, -7.0),
        make_trial(5, c, Verdict.DISCARD, -0.5),
    ]

    assert losses(history) == (0.25, 0.5)


def test_a_site_never_tried_is_wholly_novel():
    assert novelty(to("lr"), []) == 1.0
    assert novelty(to("lr"), tried(to("depth"))) == 1.0


def test_the_same_change_again_is_not_novel():
    assert novelty(to("lr", "2.0"), tried(to("lr", "2.0"))) == 0.0
    assert novelty(to("lr", "2.0"), tried(to("lr", "2"))) == 0.0


@given(st.floats(1e-6, 1e6), st.floats(1.0, 1e3), st.floats(1.0, 1e3))
def test_novelty_grows_with_the_distance_in_logarithms(value, factor, further):
    history = tried(to("lr", repr(value)))
    near = novelty(to("lr", repr(value * factor)), history)

    d = math.log(factor)
    assert near == pytest.approx(d / (1 + d), abs=1e-6)
    assert novelty(to("lr", repr(value * factor * further)), history) >= near - 1e-9


def test_the_nearest_try_counts():
    assert novelty(to("lr", "2.0"), tried(to("lr", "1000"), to("lr", "2.1"))) < 0.05


@pytest.mark.parametrize(("new", "old"), [("True", "False"), ("-1.0", "1.0"), ("0", "1"), ("gelu", "3")])
def test_what_has_no_logarithm_is_one_step_away(new, old):
    assert novelty(to("x", new), tried(to("x", old))) == 0.5


def test_an_edit_of_two_sites_is_as_novel_as_their_mean():
    both = make_candidate(("lr", "depth"), new="2.0")

    assert novelty(both, tried(to("lr", "2.0"))) == 0.5
    assert novelty(replace(both, edit=Edit(())), []) == 0.0


def test_a_crashed_try_was_a_try_and_a_confirmation_was_not():
    c = make_candidate("lr", new="2.0")

    assert novelty(c, [make_trial(0, c, Verdict.CRASH)]) == 0.0
    assert novelty(c, [make_trial(0, c, Verdict.KEEP, 0.1, kind=TrialKind.CONFIRM)]) == 1.0


# --- progress


@pytest.mark.parametrize(
    ("gain", "noise", "expected"),
    [
        (0.05, 0.01, 2.0),
        (0.01, 0.01, 0.0),
        (-0.5, 0.01, 0.0),
        (None, 0.01, 0.0),
        (9.0, 0.01, LARGEST),
        (0.05, math.inf, 0.0),
        (math.nan, 0.01, 0.0),
    ],
)
def test_progress_is_what_is_gained_beyond_noise_in_ordinary_effects(gain, noise, expected):
    assert progress(gain, noise, scale=0.02) == pytest.approx(expected)
