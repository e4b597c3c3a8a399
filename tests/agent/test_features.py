import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from playing import BASELINE, INCUMBENT, make_candidate, make_state, make_trial

from autoresearch_rl.agent.evidence import Reader
from autoresearch_rl.agent.features import (
    F_C,
    F_S,
    GENERATORS,
    K_HISTORY,
    OPERATORS,
    encode,
)
from autoresearch_rl.agent.tallies import TALLY_FEATURES, gain_scale, squash
from autoresearch_rl.records import TrialKind, Verdict

# Where each group of features starts in a candidate's row.
KIND = 0
HERE = len(OPERATORS) + 1 + len(GENERATORS) + 4
OPPOSITE = HERE + TALLY_FEATURES
SITE = OPPOSITE + TALLY_FEATURES
BELIEVED = SITE + TALLY_FEATURES
TRIES, SUCCESSES, CRASHES, MEAN, LAST, RECENCY, FRESH, RATE = range(TALLY_FEATURES)
(
    TRIALS,
    IMPROVED,
    SINCE_KEEP,
    KEEPS,
    FAILED,
    PRUNED,
    MEAN_EFFECT,
    BEST_EFFECT,
    BEST_EVER,
    BEST_AGE,
    NOISE,
) = range(F_S)

any_float = st.floats(width=64)
site_names = st.sampled_from(["lr", "n_layer", "batchSize", "", "é", "x.y[0]"])
candidates = st.builds(
    make_candidate,
    site=st.lists(site_names, max_size=3, unique=True).map(tuple),
    operator=st.sampled_from([*OPERATORS, "novel"]),
    direction=st.sampled_from([-1, 0, 1]),
    magnitude=any_float,
)
trials = st.builds(
    make_trial,
    number=st.integers(0, 50),
    candidate=st.none() | candidates,
    verdict=st.sampled_from(Verdict),
    kind=st.sampled_from(TrialKind),
    confirms=st.none() | st.integers(0, 50),
    val_bpb=st.none() | any_float,
    incumbent_bpb=st.none() | any_float,
)


def row(history, candidate, **changes):
    return encoded([candidate], history, **changes).candidate[0]


def context(history, **changes):
    return encoded([make_candidate()], history, **changes).context


def encoded(slate, history, **changes):
    return encode(Reader().read(make_state(history, **changes), slate), range(len(slate)))


@given(
    history=st.lists(trials, max_size=60),
    slate=st.lists(candidates, max_size=4),
    bpb=st.tuples(any_float, any_float),
    noise=any_float,
)
def test_everything_is_bounded_and_finite_whatever_the_history(history, slate, bpb, noise):
    seen = encoded(slate, history, incumbent_bpb=bpb[0], baseline_bpb=bpb[1], noise=noise)

    assert seen.candidate.shape == (len(slate), F_C)
    assert seen.context.shape == (F_S,)
    for array in (seen.candidate, seen.context):
        assert array.dtype == np.float32
        assert np.isfinite(array).all()
        assert (np.abs(array) <= 1.0).all()


def test_an_empty_history_leaves_only_what_the_candidate_says_of_itself():
    seen = row([], make_candidate(operator="step", direction=-1, magnitude=1.0))

    assert seen[KIND:HERE].tolist() == [0, 1, 0, 0, 0, *[1, 0, 0, 0, 0], 1, 0, 0.5, 0]
    assert not seen[HERE:BELIEVED].any()


def test_a_trial_is_seen_at_its_place_and_not_the_other_way():
    up, down = make_candidate("a"), make_candidate("a", direction=-1)
    history = [make_trial(0, up, Verdict.KEEP, gain=0.1)]

    assert row(history, up)[HERE + TRIES] > 0
    assert row(history, up)[OPPOSITE + TRIES] == 0
    assert row(history, down)[HERE + TRIES] == 0
    assert row(history, down)[OPPOSITE + TRIES] > 0
    assert row(history, down)[SITE + SUCCESSES] > 0


def test_another_site_shares_nothing():
    history = [make_trial(0, make_candidate("a", operator="scale"), gain=-0.1)]

    assert not row(history, make_candidate("b", operator="scale"))[HERE:BELIEVED].any()


def test_a_place_that_has_stopped_leading_is_seen_to():
    """A good beginning does not speak for it forever."""
    candidate = make_candidate()
    early = [make_trial(i, candidate, Verdict.KEEP, gain=0.1) for i in range(10)]
    late = [make_trial(10 + i, candidate, gain=-0.1) for i in range(20)]

    assert row(early, candidate)[HERE + RATE] > 0.5
    assert row([*early, *late], candidate)[HERE + RATE] < -0.1
    assert row([*early, *late], candidate)[HERE + SUCCESSES] == row(early, candidate)[HERE + SUCCESSES]


def test_a_candidate_without_direction_has_no_opposite():
    toggle = make_candidate("a", operator="toggle", direction=0)
    seen = row([make_trial(0, toggle, gain=0.1)], toggle)

    assert seen[HERE + TRIES] > 0
    assert not seen[OPPOSITE:SITE].any()


def test_an_edit_of_two_sites_carries_the_mean_of_both():
    one, both = make_candidate("a"), make_candidate(("a", "b"))
    history = [make_trial(0, one, gain=-0.1)]

    assert row(history, both)[SITE + LAST] == pytest.approx(row(history, one)[SITE + LAST] / 2)


def test_effects_are_in_units_of_the_studys_own_gains():
    candidate = make_candidate()

    def effects(unit):
        return row(
            [make_trial(0, candidate, gain=-unit), make_trial(1, candidate, gain=3 * unit)],
            candidate,
            noise=0.0,
        )[HERE : HERE + TALLY_FEATURES]

    np.testing.assert_allclose(effects(0.001), effects(1.0), rtol=1e-5)
    assert effects(1.0)[LAST] > effects(1.0)[MEAN] > 0


@pytest.mark.parametrize("verdict", [Verdict.CRASH, Verdict.TIMEOUT, Verdict.INVALID, Verdict.REJECTED])
def test_a_failure_counts_as_a_crash_and_has_no_effect(verdict):
    candidate = make_candidate()
    seen = row([make_trial(0, candidate, verdict, gain=0.5)], candidate)

    assert seen[HERE + CRASHES] > 0
    assert seen[HERE + MEAN] == seen[HERE + LAST] == 0


def test_an_edit_that_leads_succeeds_unless_it_falls_when_it_is_run_again():
    candidate = make_candidate()
    provisional = make_trial(0, candidate, Verdict.PROVISIONAL, gain=0.01)
    kept = make_trial(1, None, Verdict.KEEP, 0.01, kind=TrialKind.CONFIRM, confirms=0)
    refuted = make_trial(1, None, Verdict.DISCARD, -0.01, kind=TrialKind.CONFIRM, confirms=0)

    assert row([provisional], candidate)[HERE + SUCCESSES] > 0
    assert row([provisional, kept], candidate)[HERE + SUCCESSES] > 0
    assert row([provisional, refuted], candidate)[HERE + SUCCESSES] == 0
    assert context([provisional, kept])[KEEPS] == 1
    assert context([provisional, refuted])[KEEPS] == 0


def test_a_pruned_edit_is_remembered_by_the_loss_that_was_foreseen():
    candidate = make_candidate()
    pruned = make_trial(0, candidate, Verdict.PRUNED)
    foreseen = replace(pruned, forecast=pruned.incumbent_bpb + 0.5)

    assert row([foreseen], candidate)[HERE + LAST] < 0
    assert row([pruned], candidate)[HERE + LAST] == 0


def test_baselines_and_confirmations_are_not_tries():
    candidate = make_candidate()
    history = [
        make_trial(0, candidate, gain=0.5, kind=TrialKind.REFERENCE),
        make_trial(1, candidate, gain=0.5, kind=TrialKind.CONFIRM, confirms=0),
    ]

    assert not row(history, candidate)[HERE:BELIEVED].any()
    assert context(history)[TRIALS] == 0


def test_tries_since_the_incumbent_changed_start_again_at_a_keep():
    candidate = make_candidate()
    before = [make_trial(i, candidate, gain=-0.1) for i in range(3)]
    keep = make_trial(3, make_candidate("other"), Verdict.KEEP, gain=0.1)
    after = make_trial(4, candidate, gain=-0.1)

    assert row(before, candidate)[HERE + FRESH] == row(before, candidate)[HERE + TRIES]
    assert row([*before, keep], candidate)[HERE + FRESH] == 0
    assert 0 < row([*before, keep, after], candidate)[HERE + FRESH] < row(before, candidate)[HERE + FRESH]
    assert context([*before, keep])[SINCE_KEEP] == 0
    assert context([*before, keep, after])[SINCE_KEEP] > 0


def test_recency_fades():
    candidate, other = make_candidate("a"), make_candidate("b")
    now = [make_trial(0, candidate, gain=0.0)]
    later = now + [make_trial(i, other, gain=0.0) for i in range(1, 9)]

    assert row(now, candidate)[HERE + RECENCY] == 1.0
    assert row(later, candidate)[HERE + RECENCY] == 0.5


def test_the_context_forgets_all_but_the_best_beyond_the_window():
    candidate = make_candidate()
    old = [make_trial(0, candidate, Verdict.KEEP, gain=1.0), make_trial(1, candidate, Verdict.CRASH)]
    quiet = [make_trial(2 + i, candidate, gain=-0.001) for i in range(K_HISTORY)]
    seen = context(old + quiet)

    assert seen[KEEPS] == seen[FAILED] == 0
    assert seen[BEST_EFFECT] < 0
    assert seen[BEST_EVER] > 0
    assert seen[BEST_AGE] == pytest.approx(8 / (8 + K_HISTORY + 1))


def test_the_contexts_rates_are_shares_of_the_recent_trials():
    candidate = make_candidate()
    verdicts = [Verdict.KEEP, Verdict.CRASH, Verdict.PRUNED, Verdict.PRUNED]
    seen = context(
        [make_trial(i, candidate, v, 0.1 if v.evaluated else None) for i, v in enumerate(verdicts)]
    )

    assert seen[[KEEPS, FAILED, PRUNED]].tolist() == [0.25, 0.25, 0.5]
    assert seen[MEAN_EFFECT] == seen[BEST_EFFECT] == pytest.approx(math.log(2) / 4)


def test_the_context_knows_the_total_improvement_and_the_noise():
    history = [make_trial(0, make_candidate(), gain=-0.1)]

    assert context(history)[IMPROVED] == pytest.approx(squash(BASELINE - INCUMBENT, 0.1))
    assert context(history, noise=0.05)[NOISE] == pytest.approx(0.5)
    assert context(history, noise=5.0)[NOISE] == 1.0


def test_the_scale_is_a_median_and_never_below_the_noise():
    history = [make_trial(i, make_candidate(), gain=g) for i, g in enumerate([0.1, -0.2, 50.0])]

    assert gain_scale(make_state(history)) == pytest.approx(0.2)
    assert gain_scale(make_state(history, noise=0.5)) == 0.5


def test_what_is_not_a_number_says_nothing():
    assert context([], baseline_bpb=math.nan)[IMPROVED] == 0.0
    assert context([], baseline_bpb=math.inf)[IMPROVED] == 1.0
