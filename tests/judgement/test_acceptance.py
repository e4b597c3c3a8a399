"""The judge, case by case, and what the ledger has measured again."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_trials import BASELINE, simulated
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

from autoresearch_rl.judgement.acceptance import FRESH_RUNS, MAX_RUNS, WAIT, Ledger, judge
from autoresearch_rl.judgement.noise import SD_FLOOR, Noise
from autoresearch_rl.judgement.simulated import SimulatedStudy
from autoresearch_rl.records import Verdict, script_id

# --- the judge


@pytest.mark.parametrize(
    ("bpb", "verdict"),
    # t(0.99, 2) = 6.965, sigma = 0.001, sqrt(1 + 1/3) = 1.1547: 0.00804 is needed
    [(0.9919, KEEP), (0.9920, PROVISIONAL), (0.9999, PROVISIONAL), (1.0, DISCARD), (1.1, DISCARD)],
)
def test_the_rule(bpb, verdict):
    found, reason = judge(measured().ledger, CANDIDATE, BASELINE, bpb)
    assert found is verdict
    if verdict is not DISCARD:
        assert "0.00804 needed (1 against 3 runs)" in reason


def test_measuring_the_incumbent_again_keeps_it():
    told = Told(1.0)
    assert told.tell(BASELINE, 2.0, kind=REFERENCE) == (KEEP, "measures the incumbent")
    assert (told.ledger.incumbent, told.ledger.incumbent_bpb) == (BASELINE, 1.5)


def test_what_looks_better_leads_and_is_not_kept():
    ledger = led(0.995).ledger
    assert (ledger.leader, ledger.incumbent, ledger.settled) == (CANDIDATE, BASELINE, False)
    assert ledger.bar == 0.995


def test_a_leader_is_kept_once_its_mean_is_proven():
    # sd = sqrt(2e-6 / 3), t(0.99, 3) = 4.541, sqrt(1/2 + 1/3): 0.00338 is needed
    told = led(0.9950)
    assert judge(told.ledger, CANDIDATE, BASELINE, 0.9990)[0] is PROVISIONAL
    assert told.tell(CANDIDATE, 0.9950, kind=CONFIRM)[0] is KEEP
    assert (told.ledger.leader, told.ledger.incumbent) == (CANDIDATE, CANDIDATE)
    assert told.ledger.settled


def test_gains_too_small_to_be_proven_alone_are_proven_together():
    told = led(0.9950)
    verdict, reason = told.tell(NEWER, 0.9900, parent=CANDIDATE)
    assert verdict is KEEP
    assert "over the incumbent" in reason
    assert told.ledger.incumbent == NEWER


def test_what_beats_the_incumbent_but_not_the_leader_is_discarded():
    told = led(0.9950)
    assert told.tell(NEWER, 0.9960, parent=CANDIDATE)[0] is DISCARD
    assert told.ledger.leader == CANDIDATE


def test_a_leader_that_is_not_better_falls_back_to_the_incumbent():
    told = led(0.9950)
    assert told.tell(CANDIDATE, 1.0051, kind=CONFIRM)[0] is DISCARD
    assert (told.ledger.leader, told.ledger.incumbent, told.ledger.due) == (BASELINE, BASELINE, None)


def test_a_leader_that_is_not_proven_after_its_last_run_is_given_up():
    told = led(*[0.9999] * (MAX_RUNS - 1))
    verdict, reason = told.tell(CANDIDATE, 0.9999, kind=CONFIRM)
    assert verdict is DISCARD
    assert reason.startswith(f"not proven after {MAX_RUNS} runs")
    assert told.ledger.leader == BASELINE


@pytest.mark.parametrize("verdict", [Verdict.CRASH, Verdict.TIMEOUT, Verdict.INVALID])
def test_a_leader_that_does_not_run_again_falls_back(verdict):
    told = led(0.9950)
    told.add(CANDIDATE, None, verdict, CONFIRM, BASELINE, 3)
    assert told.ledger.leader == BASELINE
    assert told.ledger.measurements(CANDIDATE) == (0.9950,)


def test_an_incumbent_that_crashes_once_is_still_the_incumbent():
    told = kept()
    told.explore(WAIT)
    assert told.ledger.due == NEWER
    told.add(NEWER, None, Verdict.CRASH, REFERENCE, NEWER)
    assert (told.ledger.leader, told.ledger.due) == (NEWER, None)


def test_what_led_once_does_not_come_back():
    told = led(0.9950)
    told.tell(NEWER, 0.9949, parent=CANDIDATE)
    assert told.ledger.leader == NEWER
    assert told.tell(CANDIDATE, 0.9000, kind=CONFIRM) == (DISCARD, "led once, and does no longer")
    told.tell(NEWER, 1.1, parent=CANDIDATE, kind=CONFIRM)
    assert told.ledger.leader == BASELINE
    assert told.tell(CANDIDATE, 0.9000, kind=CONFIRM)[0] is DISCARD


def test_a_late_run_of_a_former_incumbent_moves_nothing():
    told = kept()
    assert told.tell(BASELINE, 0.8, kind=REFERENCE)[0] is DISCARD
    assert (told.ledger.incumbent, told.ledger.leader, told.ledger.rebases) == (NEWER, NEWER, ())
    assert told.ledger.baseline_bpb == pytest.approx((3 * 1.0 + 0.8) / 4)


def test_identical_repetitions_do_not_make_every_digit_a_discovery():
    ledger = Told(1.0, 1.0, 1.0).ledger
    assert ledger.noise == Noise(SD_FLOOR, 2)
    assert judge(ledger, CANDIDATE, BASELINE, 1.0 - 2e-4)[0] is PROVISIONAL


def test_without_repetitions_nothing_is_proven():
    assert judge(Told(4.0).ledger, CANDIDATE, BASELINE, 1.0)[0] is PROVISIONAL


def test_the_runs_of_the_candidate_itself_say_how_noisy_a_run_is():
    told = Told(4.0)
    told.tell(CANDIDATE, 1.0)
    assert judge(told.ledger, CANDIDATE, BASELINE, 1.0)[0] is KEEP
    assert judge(told.ledger, CANDIDATE, BASELINE, 1.5)[0] is PROVISIONAL


def test_only_evaluated_trials_are_measurements():
    told = Told(1.0)
    told.add(BASELINE, 0.1, Verdict.INVALID)
    told.add(BASELINE, 0.1, Verdict.PRUNED)
    assert told.ledger.measurements(BASELINE) == (1.0,)
    assert told.ledger.measurements(CANDIDATE) == ()


def test_an_evaluated_trial_without_a_measurement_is_misuse():
    with pytest.raises(ValueError, match="trial 1 has the verdict keep but no val_bpb"):
        Told(1.0).add(BASELINE, None, KEEP)


def test_the_bar_is_where_a_first_run_is_discarded():
    for told, parent in ((measured(), BASELINE), (led(0.9950), CANDIDATE)):
        for bpb, discarded in ((told.ledger.bar - 1e-9, False), (told.ledger.bar + 1e-9, True)):
            assert (judge(told.ledger, NEWER, parent, bpb)[0] is DISCARD) == discarded
    assert Ledger(BASELINE).bar == math.inf


# --- several workers


@pytest.mark.parametrize("bpb", [0.95, 0.998])
def test_what_beat_a_parent_that_leads_no_longer_is_to_be_reapplied(bpb):
    told = kept()
    verdict, reason = told.tell(CANDIDATE, bpb)
    assert verdict is PROVISIONAL
    assert "the leader has moved" in reason
    assert told.ledger.rebases == (4,)
    assert (told.ledger.leader, told.ledger.settled) == (NEWER, False)


def test_what_did_not_beat_its_parent_is_discarded_wherever_the_leader_is():
    assert judge(kept().ledger, CANDIDATE, BASELINE, 1.0001)[0] is DISCARD


@pytest.mark.parametrize("verdict", list(Verdict))
def test_a_rebase_resolves_the_trial_whatever_its_verdict(verdict):
    told = kept()
    told.tell(CANDIDATE, 0.95)
    told.tell(OTHER, 0.95)
    told.add(script_id("candidate on newer"), 0.91, verdict, CONFIRM, NEWER, 4)
    assert told.ledger.rebases == (5,)


def test_a_rebase_that_beat_a_leader_which_has_moved_again_waits_for_the_next():
    told = led(0.9950)
    told.tell(NEWER, 0.9949)  # from the baseline, which leads no longer
    on_candidate, on_other = script_id("newer on candidate"), script_id("other on candidate")
    told.tell(on_other, 0.9940, parent=CANDIDATE)
    told.tell(on_candidate, 0.9945, CANDIDATE, CONFIRM, confirms=4)
    assert told.ledger.leader == on_other
    assert told.ledger.rebases == (6,)


def test_an_edit_whose_parent_leads_again_is_judged_by_all_its_runs():
    """While it ran, another script led, and fell; so applying the edit again gives the same script."""
    told = led(0.9950)
    told.tell(NEWER, 0.9940)
    told.tell(CANDIDATE, 1.1, kind=CONFIRM, confirms=3)
    assert (told.ledger.leader, told.ledger.rebases) == (BASELINE, (4,))
    worse, better = (judge(told.ledger, NEWER, BASELINE, bpb) for bpb in (1.0061, 1.0059))
    assert worse[0] is DISCARD
    assert "over its parent" in worse[1]
    assert better[0] is PROVISIONAL
    told.tell(NEWER, 0.9940, kind=CONFIRM, confirms=4)
    assert (told.ledger.leader, told.ledger.rebases) == (NEWER, ())
    assert told.ledger.measurements(NEWER) == (0.9940, 0.9940)


def test_another_run_of_an_incumbent_is_not_another_keep():
    """Two workers may run the same script: one explores it, the other comes to it by a rebase."""
    told = kept()
    told.tell(CANDIDATE, 0.8999, parent=NEWER)
    assert told.ledger.leader == CANDIDATE
    told.tell(NEWER, 0.9001, kind=CONFIRM, confirms=3)
    assert (told.ledger.incumbent, told.ledger.leader) == (NEWER, CANDIDATE)
    assert told.ledger.fresh == (0.9001,)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), workers=st.integers(1, 5), scenario=st.sampled_from(["steady", "nothing"]))
def test_whatever_has_to_be_reapplied_is(seed, workers, scenario):
    study, waiting = simulated(seed, workers, scenario, crashes=0.1), set()
    for count in range(1, 60):
        waiting |= set(study.run(count).ledger.rebases)
    study.effect = lambda: math.nan
    while study.ledger.rebases:
        study.run(len(study.trials) + 1)
    assert waiting <= {trial.confirms for trial in study.trials}


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), workers=st.integers(1, 5))
def test_without_noise_the_incumbent_is_all_edits_that_help(seed, workers):
    dice = random.Random(seed)
    study = SimulatedStudy(dice, 0.0, lambda: dice.choice([0.01, 0.02, -0.01]), workers).run(40)
    helpful = sum(effect for effect in study.effects() if effect > 0)
    study.effect = lambda: math.nan
    study.run(160)  # time to apply again what beat a former leader
    assert study.ledger.settled
    assert study.gain == pytest.approx(helpful)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), workers=st.integers(1, 4))
def test_without_noise_the_incumbent_never_gets_worse(seed, workers):
    dice = random.Random(seed)
    study = SimulatedStudy(dice, 0.0, lambda: dice.gauss(-0.001, 0.002), workers).run(40)
    incumbents = [study.truth[script] for script in study.kept]
    assert incumbents == sorted(incumbents, reverse=True)
    assert study.false_keeps == 0


# --- measuring again


def test_a_leader_is_due_after_ever_more_edits():
    told = led(0.9950)
    for runs in range(1, 4):
        told.explore(runs * WAIT - 1)
        assert told.ledger.due is None
        told.explore(1)
        assert told.ledger.due == CANDIDATE
        assert told.tell(CANDIDATE, 0.9999, kind=CONFIRM)[0] is PROVISIONAL
        assert told.ledger.due is None


def test_the_incumbent_is_due_as_well():
    told = measured()
    told.explore(3 * WAIT - 1)
    assert told.ledger.due is None
    told.explore(1)
    assert told.ledger.due == BASELINE
    told.tell(BASELINE, 1.0, kind=REFERENCE)
    told.explore(4 * WAIT - 1)
    assert told.ledger.due is None, "it waits from its latest run"
    told.explore(1)
    assert told.ledger.due == BASELINE


def test_a_new_leader_starts_to_wait_and_one_that_waited_is_forgotten():
    told = led(0.9950)
    told.explore(WAIT - 1)
    told.tell(NEWER, 0.9940, parent=CANDIDATE)
    assert told.ledger.due is None
    told.explore(WAIT)
    assert told.ledger.due == NEWER


def test_edits_that_never_ran_make_nothing_due():
    told = led(0.9950)
    told.explore(3 * WAIT, Verdict.REJECTED)
    assert told.ledger.due is None


def test_a_late_run_of_the_incumbent_does_not_let_a_leader_wait_longer():
    told = led(0.9950)
    told.explore(WAIT)
    told.tell(BASELINE, 1.0, kind=REFERENCE)
    assert told.ledger.due == CANDIDATE


def test_a_finished_study_has_fresh_runs_of_its_incumbent():
    told = led(0.9950)
    assert told.ledger.unsettled == CANDIDATE
    told.tell(CANDIDATE, 0.9950, kind=CONFIRM)
    assert (told.ledger.incumbent, told.ledger.fresh) == (CANDIDATE, ())
    for run in range(FRESH_RUNS):
        assert told.ledger.unsettled == CANDIDATE
        told.tell(CANDIDATE, 0.9960 + run / 1000, kind=REFERENCE)
    assert told.ledger.unsettled is None
    assert told.ledger.fresh == (0.9960, 0.9970)
    assert told.ledger.incumbent_bpb == pytest.approx((0.9950 + 0.9950 + 0.9960 + 0.9970) / 4)


def test_all_runs_of_the_baseline_are_fresh():
    assert measured().ledger.fresh == (1.0, 1.001, 0.999)
    assert measured().ledger.unsettled is None


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), workers=st.integers(1, 4), factor=st.sampled_from([1.0, 5.0]))
def test_settling_ends(seed, workers, factor):
    study = simulated(seed, workers, "saturated").run(40)
    study.sigma *= factor
    before = len(study.trials) + len(study.running)
    study.settle()
    assert study.ledger.unsettled is None
    assert study.ledger.leader == study.ledger.incumbent
    assert len(study.trials) - before <= 3 * (MAX_RUNS + FRESH_RUNS)
