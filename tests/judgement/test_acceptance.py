import math
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_trials import BASELINE, SimulatedStudy, made, state
from scipy import stats

from autoresearch_rl.judgement.acceptance import (
    MAX_RUNS,
    SD_FLOOR,
    Ledger,
    Noise,
    Pending,
    judge,
    pooled_noise,
)
from autoresearch_rl.records import TrialKind, Verdict, script_id
from autoresearch_rl.storage.storage import Storage

CANDIDATE = script_id("candidate")
NEWER = script_id("newer")
bpbs = st.floats(0.5, 9.0)
millis = st.integers(500, 9000).map(lambda n: n / 1000)


def ledger_of(*bpb: float) -> Ledger:
    runs = [made(i, bpb=x, verdict=Verdict.KEEP, kind=TrialKind.REFERENCE) for i, x in enumerate(bpb)]
    return Ledger.replay(BASELINE, runs)


def ledger_with_moved_incumbent() -> Ledger:
    ledger = ledger_of(1.0, 1.001, 0.999)
    ledger.record(made(3, NEWER, 0.9, Verdict.KEEP))
    return ledger


@pytest.mark.parametrize("df", [1, 2, 5, 10, 100])
def test_the_threshold_is_that_of_students_two_sample_test(df):
    expected = stats.t.ppf(0.95, df) * 0.01 * math.sqrt(1 / 2 + 1 / 3)
    assert Noise(0.01, df).threshold(2, 3) == pytest.approx(expected, rel=1e-9)


def test_with_many_measurements_the_factor_is_the_1_64_of_the_design():
    assert Noise(1.0, 10**6).threshold(1, 4) == pytest.approx(1.645 * math.sqrt(1 + 1 / 4), abs=1e-3)


@settings(deadline=None)
@given(
    a=st.lists(millis, min_size=2, max_size=5, unique=True),
    b=st.lists(millis, min_size=2, max_size=5, unique=True),
)
def test_the_rule_agrees_with_scipys_t_test(a, b):
    noise = pooled_noise([a, b])
    p = stats.ttest_ind(a, b, alternative="greater").pvalue
    if abs(p - 0.05) > 1e-9:
        assert (np.mean(a) - np.mean(b) > noise.threshold(len(b), len(a))) == (p < 0.05)


@settings(deadline=None)
@given(st.lists(st.lists(bpbs, min_size=1, max_size=5), max_size=5))
def test_noise_is_pooled_over_repeated_scripts(groups):
    repeated = [group for group in groups if len(group) > 1]
    df = sum(len(group) - 1 for group in repeated)
    squares = sum(np.var(group, ddof=1) * (len(group) - 1) for group in repeated)
    noise = pooled_noise(groups)
    assert noise.df == df
    assert noise.sd == pytest.approx(max(math.sqrt(squares / df), SD_FLOOR) if df else SD_FLOOR)


def test_identical_repetitions_do_not_make_every_digit_a_discovery():
    ledger = ledger_of(1.0, 1.0, 1.0)
    assert ledger.noise == Noise(SD_FLOOR, 2)
    assert judge(ledger, CANDIDATE, BASELINE, 1.0 - 2e-4)[0] is Verdict.PROVISIONAL


def test_without_repetitions_nothing_is_proven():
    assert ledger_of(4.0).noise.df == 0
    assert judge(ledger_of(4.0), CANDIDATE, BASELINE, 1.0)[0] is Verdict.PROVISIONAL


@pytest.mark.parametrize(
    ("bpb", "verdict"),
    # t(0.95, 2) = 2.920, sigma = 0.001, sqrt(1 + 1/3) = 1.1547: 0.00337 is needed
    [
        (0.9966, Verdict.KEEP),
        (0.9967, Verdict.PROVISIONAL),
        (0.9988, Verdict.PROVISIONAL),
        (0.9989, Verdict.DISCARD),  # less than one standard error, 0.00115
        (1.0, Verdict.DISCARD),
        (1.1, Verdict.DISCARD),
    ],
)
def test_the_rule(bpb, verdict):
    found, reason = judge(ledger_of(1.0, 1.001, 0.999), CANDIDATE, BASELINE, bpb)
    assert found is verdict
    assert "0.00337 needed (1 against 3 runs)" in reason


def test_a_script_is_judged_by_the_mean_of_its_runs():
    ledger = ledger_of(1.0, 1.001, 0.999)
    ledger.record(made(3, CANDIDATE, 0.9970, Verdict.PROVISIONAL))
    # The second run is as good as the first: 0.0030 is more than sqrt(1/2 + 1/3) allows for.
    assert judge(ledger, CANDIDATE, BASELINE, 0.9970)[0] is Verdict.KEEP
    assert judge(ledger, CANDIDATE, BASELINE, 1.0031)[0] is Verdict.DISCARD


def test_the_runs_of_the_candidate_itself_say_how_noisy_a_run_is():
    ledger = ledger_of(4.0)
    ledger.record(made(1, CANDIDATE, 1.0, Verdict.PROVISIONAL))
    assert judge(ledger, CANDIDATE, BASELINE, 1.0)[0] is Verdict.KEEP
    assert judge(ledger, CANDIDATE, BASELINE, 3.0)[0] is Verdict.PROVISIONAL


def test_a_script_that_is_not_proven_after_three_runs_is_given_up():
    ledger = ledger_of(1.0, 1.001, 0.999)
    *before, last = (0.9985, 0.9995, 0.9990)
    assert len(before) == MAX_RUNS - 1
    for number, bpb in enumerate(before, 3):
        assert judge(ledger, CANDIDATE, BASELINE, bpb)[0] is Verdict.PROVISIONAL
        ledger.record(made(number, CANDIDATE, bpb, Verdict.PROVISIONAL))
    verdict, reason = judge(ledger, CANDIDATE, BASELINE, last)
    assert verdict is Verdict.DISCARD
    assert reason.startswith("not proven after 3 runs")


def test_measuring_the_incumbent_again_keeps_it():
    ledger = ledger_of(1.0)
    assert judge(ledger, BASELINE, BASELINE, 2.0) == (Verdict.KEEP, "measures the incumbent")


def test_a_keep_moves_the_incumbent_and_a_late_baseline_run_does_not_move_it_back():
    ledger = ledger_with_moved_incumbent()
    assert (ledger.incumbent, ledger.incumbent_bpb) == (NEWER, 0.9)
    ledger.record(made(4, BASELINE, 1.0, Verdict.KEEP, TrialKind.REFERENCE))
    assert ledger.incumbent == NEWER
    assert ledger.measurements(BASELINE) == (1.0, 1.001, 0.999, 1.0)


def test_only_evaluated_trials_are_measurements():
    ledger = ledger_of(1.0)
    ledger.record(made(1, BASELINE, 0.1, Verdict.INVALID))
    ledger.record(made(2, BASELINE, 0.1, Verdict.PRUNED))
    assert ledger.measurements(BASELINE) == (1.0,)
    assert ledger.measurements(CANDIDATE) == ()


def test_an_evaluated_trial_without_a_measurement_is_misuse():
    with pytest.raises(ValueError, match="trial 5 has the verdict keep but no val_bpb"):
        ledger_of(1.0).record(made(5, verdict=Verdict.KEEP))


def test_a_parent_that_was_never_measured_is_misuse():
    with pytest.raises(ValueError, match="never been measured"):
        judge(Ledger(BASELINE), CANDIDATE, BASELINE, 1.0)
    assert Ledger(BASELINE).incumbent_bpb is None


@pytest.mark.parametrize("bpb", [0.95, 0.998])
def test_what_beat_a_parent_that_is_no_longer_the_incumbent_is_to_be_reapplied(bpb):
    ledger = ledger_with_moved_incumbent()
    verdict, reason = judge(ledger, CANDIDATE, BASELINE, bpb)
    assert verdict is Verdict.PROVISIONAL
    assert "the incumbent has moved" in reason
    ledger.record(made(4, CANDIDATE, bpb, verdict))
    assert ledger.pending == (Pending(4, CANDIDATE, rebase=True),)


def test_what_did_not_beat_its_parent_is_discarded_wherever_the_incumbent_is():
    assert judge(ledger_with_moved_incumbent(), CANDIDATE, BASELINE, 1.0001)[0] is Verdict.DISCARD


def test_a_pending_trial_has_to_be_reapplied_once_the_incumbent_moves():
    ledger = ledger_of(1.0, 1.001, 0.999)
    ledger.record(made(3, CANDIDATE, 0.9999, Verdict.PROVISIONAL))
    assert ledger.pending == (Pending(3, CANDIDATE, rebase=False),)
    ledger.record(made(4, NEWER, 0.9, Verdict.KEEP))
    assert ledger.pending == (Pending(3, CANDIDATE, rebase=True),)


@pytest.mark.parametrize("verdict", list(Verdict))
def test_a_confirming_run_resolves_the_pending_trial_whatever_its_verdict(verdict):
    ledger = ledger_of(1.0, 1.001, 0.999)
    ledger.record(made(3, CANDIDATE, 0.9999, Verdict.PROVISIONAL))
    ledger.record(made(4, NEWER, 0.9999, Verdict.PROVISIONAL))
    ledger.record(made(5, CANDIDATE, 0.99, verdict, TrialKind.CONFIRM, confirms=3))
    numbers = [item.trial_number for item in ledger.pending]
    assert numbers == ([4, 5] if verdict is Verdict.PROVISIONAL else [4])


@settings(deadline=None)
@given(seed=st.integers(0, 10**6), workers=st.integers(1, 4), cut=st.integers(0, 40))
def test_refolding_the_trials_is_folding_on(seed, workers, cut):
    dice = random.Random(seed)
    study = SimulatedStudy(dice, 0.001, lambda: dice.gauss(0, 0.002), 3, workers).run(40)
    resumed = Ledger.replay(BASELINE, study.trials[:cut])
    for trial in study.trials[cut:]:
        resumed.record(trial)
    assert state(resumed) == state(study.ledger)


def test_a_ledger_comes_back_from_the_database(tmp_path):
    dice = random.Random(0)
    simulated = SimulatedStudy(dice, 0.001, lambda: dice.gauss(0, 0.002), 3, workers=3).run(60)
    names = {script_id("baseline"): "baseline"} | {script_id(str(n)): str(n) for n in range(100)}
    with Storage.open(tmp_path / "studies.db") as storage:
        study = storage.create_study("x", "micro", {}, {}, "baseline")
        for trial in simulated.trials:
            storage.commit(study, trial, names[trial.script])
    with Storage.open(tmp_path / "studies.db", readonly=True) as storage:
        assert state(Ledger.replay(study.baseline, storage.trials(study))) == state(simulated.ledger)


# --- segments


def test_in_a_new_segment_nothing_is_measured_and_the_incumbent_is_the_baseline():
    ledger = ledger_with_moved_incumbent()
    ledger.record(made(4, CANDIDATE, 0.8995, Verdict.PROVISIONAL, parent=NEWER))
    assert ledger.pending
    ledger.enter(1)
    assert (ledger.segment, ledger.baseline, ledger.incumbent) == (1, NEWER, NEWER)
    assert (ledger.incumbent_bpb, ledger.noise.df, ledger.pending) == (None, 0, ())
    assert ledger.measurements(BASELINE) == ledger.measurements(NEWER) == ()
    assert ledger.bar == math.inf, "whatever is measured first is challenged on every row"


def test_a_segment_that_goes_on_forgets_nothing():
    ledger = ledger_with_moved_incumbent()
    before = state(ledger)
    ledger.enter(0)
    assert state(ledger) == before


def test_a_script_is_compared_within_its_segment():
    """The new machine is slower: what leads there would have been discarded on the old one."""
    ledger = ledger_with_moved_incumbent()
    for number, bpb in enumerate((2.0, 2.001, 1.999), 4):
        ledger.record(made(number, NEWER, bpb, Verdict.KEEP, TrialKind.REFERENCE, NEWER, segment=1))
    assert ledger.incumbent_bpb == pytest.approx(2.0)
    verdict, _ = judge(ledger, CANDIDATE, NEWER, 1.5)
    assert verdict is Verdict.KEEP
    ledger.record(made(7, CANDIDATE, 1.5, verdict, parent=NEWER, segment=1))
    assert (ledger.incumbent, ledger.baseline) == (CANDIDATE, NEWER)


@settings(deadline=None)
@given(seed=st.integers(0, 10**6), cuts=st.tuples(*[st.integers(0, 60)] * 3))
def test_refolding_over_segments_is_folding_on(seed, cuts):
    """A segment may end before anything was measured in it, and the study be opened at any moment."""
    dice = random.Random(seed)
    first, second, opened = sorted(cuts)
    done = SimulatedStudy(dice, 0.001, lambda: dice.gauss(0, 0.002), 3, workers=2).run(60).trials
    trials = [replace(trial, segment=(i >= first) + 2 * (i >= second)) for i, trial in enumerate(done)]
    straight = Ledger(BASELINE)
    for trial in trials:
        straight.record(trial)
    resumed = Ledger.replay(BASELINE, trials[:opened])
    if opened < len(trials):
        resumed.enter(trials[opened].segment)  # as on opening a study again
    for trial in trials[opened:]:
        resumed.record(trial)
    assert state(resumed) == state(straight) == state(Ledger.replay(BASELINE, trials))


def test_the_bar_is_where_a_first_run_is_discarded():
    ledger = ledger_of(1.0, 1.001, 0.999)
    for bpb, discarded in ((ledger.bar - 1e-9, False), (ledger.bar + 1e-9, True)):
        assert (judge(ledger, CANDIDATE, BASELINE, bpb)[0] is Verdict.DISCARD) == discarded
    assert Ledger(BASELINE).bar == math.inf


@settings(deadline=None)
@given(seed=st.integers(0, 10**6), workers=st.integers(1, 4))
def test_without_noise_the_incumbent_never_gets_worse(seed, workers):
    dice = random.Random(seed)
    study = SimulatedStudy(dice, 0.0, lambda: dice.gauss(-0.001, 0.002), 3, workers).run(40)
    incumbents = [study.truth[BASELINE], *(study.truth[trial.script] for trial in study.keeps)]
    assert incumbents == sorted(incumbents, reverse=True)
    assert study.false_keeps == 0


def test_with_workers_some_trials_are_reapplied_and_kept():
    dice = random.Random(3)
    study = SimulatedStudy(dice, 0.0, lambda: 0.01, 3, workers=4).run(40)
    reapplied = [trial for trial in study.keeps if trial.confirms is not None]
    assert reapplied
    assert study.ledger.incumbent_bpb == pytest.approx(1.0 - 0.01 * len(study.keeps))
