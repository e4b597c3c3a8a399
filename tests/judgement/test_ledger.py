"""The ledger over a whole study: noise that rises, segments, and nothing in it that is not in the trials."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_trials import BASELINE, SIGMA, made, simulated, state
from told_ledger import (
    CANDIDATE,
    CONFIRM,
    DISCARD,
    KEEP,
    NEWER,
    OTHER,
    PROVISIONAL,
    REFERENCE,
    Told,
    kept,
    led,
    measured,
)

from autoresearch_rl.judgement.acceptance import Ledger, judge
from autoresearch_rl.storage.storage import Storage

# --- noise that rises


def shaken(told: Told) -> Told:
    """The baseline is measured again and again, and then much higher."""
    for bpb in (1.0, 1.001, 0.999, 1.0, 1.0, 1.05):
        assert told.ledger.shifts == 0
        told.tell(BASELINE, bpb, kind=REFERENCE)
    return told


def test_noise_that_rises_makes_the_ledger_measure_anew():
    told = shaken(measured())
    ledger = told.ledger
    assert (ledger.shifts, ledger.anchor, ledger.incumbent) == (1, BASELINE, BASELINE)
    assert (ledger.measurements(BASELINE), ledger.noise.df, ledger.bar) == ((), 0, math.inf)
    assert ledger.baseline_bpb == pytest.approx(1.0 + 0.05 / 9)
    for bpb in (1.05, 1.051, 1.049):
        told.tell(BASELINE, bpb, kind=REFERENCE)
    assert (ledger.shifts, ledger.incumbent_bpb) == (1, pytest.approx(1.05))
    assert ledger.noise.sd == pytest.approx(0.001), "the jump itself is no noise"


def test_a_leader_falls_when_noise_rises():
    told = led(0.9950)
    shaken(told)
    assert (told.ledger.leader, told.ledger.incumbent) == (BASELINE, BASELINE)
    assert not told.ledger.has_led(CANDIDATE)


def test_what_began_before_noise_rose_is_run_again_and_judged_by_all_its_runs():
    told = shaken(measured())
    verdict, reason = told.tell(CANDIDATE, 1.045)
    assert verdict is PROVISIONAL
    assert "noise has risen" in reason
    number = len(told.trials) - 1
    assert (told.ledger.leader, told.ledger.rebases) == (BASELINE, (number,))
    for bpb in (1.05, 1.051, 1.049):
        told.tell(BASELINE, bpb, kind=REFERENCE)
    told.tell(CANDIDATE, 1.045, kind=CONFIRM, confirms=number)
    assert (told.ledger.leader, told.ledger.rebases) == (CANDIDATE, ())
    assert told.ledger.measurements(CANDIDATE) == (1.045, 1.045)


def test_a_late_run_of_a_former_incumbent_is_no_edit_to_be_reapplied_either():
    told = kept()
    for bpb in (0.9, 0.901, 0.899, 0.9, 0.9, 0.9, 0.9, 1.0):
        told.tell(NEWER, bpb, NEWER, REFERENCE)
    assert told.ledger.shifts == 1
    assert told.tell(BASELINE, 1.0, kind=REFERENCE)[0] is DISCARD
    assert told.ledger.rebases == ()


def test_whatever_is_measured_after_a_rise_is_fresh():
    told = kept()
    for bpb in (0.9, 0.901, 0.899, 0.9, 0.9, 0.9, 0.9, 1.0):
        told.tell(NEWER, bpb, NEWER, REFERENCE)
    assert (told.ledger.shifts, told.ledger.fresh) == (1, ())
    told.tell(NEWER, 1.0, NEWER, REFERENCE)
    assert told.ledger.fresh == (1.0,), "it was chosen by measurements that count no longer"


def test_what_waits_to_be_reapplied_survives_a_rise():
    told = led(0.9950)
    told.tell(NEWER, 0.9940)
    shaken(told)
    assert told.ledger.rebases == (4,)


def test_after_the_machine_has_become_slower_gains_are_found_again():
    """The jump does not stay in the noise."""
    found = 0
    for seed in range(30):
        study = simulated(seed, scenario="early").run(40)
        study.level, before = 30 * SIGMA, len(study.kept)
        found += len(study.run(124).kept) - before
    assert found / 30 > 5


# --- replay


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    workers=st.integers(1, 4),
    cut=st.integers(0, 60),
    factor=st.sampled_from([1.0, 8.0]),
)
def test_refolding_the_trials_is_folding_on(seed, workers, cut, factor):
    study = simulated(seed, workers, "steady", crashes=0.1).run(30)
    study.sigma *= factor
    study.run(60)
    resumed = Ledger.replay(BASELINE, study.trials[:cut])
    for trial in study.trials[cut:]:
        resumed.record(trial)
    assert state(resumed) == state(study.ledger)


def test_some_of_these_studies_measure_anew():
    """Else the test above would say nothing of it."""

    def shifts(seed: int) -> int:
        study = simulated(seed, 3, "steady", crashes=0.1).run(60)
        study.sigma *= 8
        return study.run(120).ledger.shifts

    assert sum(map(shifts, range(20))) >= 5


def test_a_ledger_comes_back_from_the_database(tmp_path):
    done = simulated(0, 3).run(60)
    with Storage.open(tmp_path / "studies.db") as storage:
        study = storage.create_study("x", "micro", {}, {}, "baseline")
        for trial in done.trials:
            storage.commit(study, trial, done.sources[trial.script])
    with Storage.open(tmp_path / "studies.db", readonly=True) as storage:
        assert state(Ledger.replay(study.baseline, storage.trials(study))) == state(done.ledger)


# --- segments


def test_in_a_new_segment_nothing_is_measured_and_the_incumbent_is_the_baseline():
    told = kept()
    told.tell(CANDIDATE, 0.8999, parent=NEWER)
    told.tell(OTHER, 0.9)
    ledger = told.ledger
    assert ledger.leader == CANDIDATE
    assert ledger.rebases
    ledger.enter(1)
    assert {ledger.baseline, ledger.incumbent, ledger.leader, ledger.anchor} == {NEWER}
    assert (ledger.segment, ledger.incumbent_bpb, ledger.baseline_bpb) == (1, None, None)
    assert (ledger.noise.df, ledger.rebases, ledger.shifts) == (0, (), 0)
    assert ledger.measurements(BASELINE) == ledger.measurements(NEWER) == ()
    assert ledger.bar == math.inf, "whatever is measured first is challenged on every row"


def test_a_segment_that_goes_on_forgets_nothing():
    ledger = kept().ledger
    before = state(ledger)
    ledger.enter(0)
    assert state(ledger) == before


def test_a_script_is_compared_within_its_segment():
    """The new machine is slower: what leads there would have been discarded on the old one."""
    ledger = kept().ledger
    for number, bpb in enumerate((2.0, 2.001, 1.999), 4):
        ledger.record(made(number, NEWER, bpb, KEEP, REFERENCE, NEWER, segment=1))
    assert ledger.incumbent_bpb == pytest.approx(2.0)
    verdict, _ = judge(ledger, CANDIDATE, NEWER, 1.5)
    assert verdict is KEEP
    ledger.record(made(7, CANDIDATE, 1.5, verdict, parent=NEWER, segment=1))
    assert (ledger.incumbent, ledger.baseline) == (CANDIDATE, NEWER)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), cuts=st.tuples(*[st.integers(0, 60)] * 3))
def test_refolding_over_segments_is_folding_on(seed, cuts):
    """A segment may end before anything was measured in it, and the study be opened at any moment."""
    first, second, opened = sorted(cuts)
    done = simulated(seed, 2).run(60).trials
    trials = [replace(trial, segment=(i >= first) + 2 * (i >= second)) for i, trial in enumerate(done)]
    straight = Ledger.replay(BASELINE, trials)
    resumed = Ledger.replay(BASELINE, trials[:opened])
    if opened < len(trials):
        resumed.enter(trials[opened].segment)  # as on opening a study again
    for trial in trials[opened:]:
        resumed.record(trial)
    assert state(resumed) == state(straight)
