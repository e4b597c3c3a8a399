"""Which edits a keep rests on."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_trials import BASELINE, made, simulated

from autoresearch_rl.lineage import origin, path
from autoresearch_rl.records import Change, Edit, Trial, TrialKind, Verdict, script_id

A, B, C = map(script_id, "abc")
EDITS = [Edit((Change(name, "1", "2"),)) for name in "abc"]
CONFIRM, REFERENCE = TrialKind.CONFIRM, TrialKind.REFERENCE
FIRST = made(0, bpb=1.0, verdict=Verdict.KEEP, kind=REFERENCE)
LED = made(1, A, 0.99, Verdict.PROVISIONAL, edit=EDITS[0])


def edits(trials: list[Trial], kept: Trial) -> tuple[Edit, ...]:
    return tuple(trial.edit for trial in path(trials, kept))


def test_the_origin_is_the_first_run_of_a_script():
    again = made(2, A, 0.99, Verdict.PROVISIONAL, CONFIRM, confirms=1, edit=EDITS[0])
    assert origin([FIRST, LED, again], A) is LED
    assert origin([FIRST, LED], BASELINE) is FIRST
    with pytest.raises(StopIteration):
        origin([FIRST], A)


def test_a_keep_proven_at_once_rests_on_its_own_edit():
    kept = made(1, A, 0.9, Verdict.KEEP, edit=EDITS[0])
    assert edits([FIRST, kept], kept) == (EDITS[0],)


def test_a_keep_rests_on_all_edits_since_the_incumbent_before_oldest_first():
    second = made(2, B, 0.98, Verdict.PROVISIONAL, parent=A, edit=EDITS[1])
    third = made(3, C, 0.97, Verdict.PROVISIONAL, parent=B, edit=EDITS[2])
    kept = made(4, C, 0.97, Verdict.KEEP, CONFIRM, parent=B, confirms=3, edit=EDITS[2])
    assert edits([FIRST, LED, second, third, kept], kept) == tuple(EDITS)


def test_the_path_ends_at_the_incumbent_of_that_time():
    kept = made(2, A, 0.99, Verdict.KEEP, CONFIRM, confirms=1, edit=EDITS[0])
    later = made(3, B, 0.9, Verdict.KEEP, parent=A, edit=EDITS[1])
    trials = [FIRST, LED, kept, later]
    assert edits(trials, later) == (EDITS[1],)
    assert edits(trials, kept) == (EDITS[0],)


def test_what_was_kept_later_changes_nothing():
    kept = made(2, B, 0.9, Verdict.KEEP, parent=A, edit=EDITS[1])
    later = made(3, A, 0.8, Verdict.KEEP, CONFIRM, confirms=1, edit=EDITS[0])
    assert edits([FIRST, LED, kept, later], kept) == (EDITS[0], EDITS[1])


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10**6), workers=st.integers(1, 4))
def test_the_paths_of_all_keeps_are_the_edits_of_the_incumbent(seed, workers):
    study = simulated(seed, workers, "steady", crashes=0.1).run(60)
    incumbent, steps = BASELINE, []
    for trial in study.trials:
        if trial.verdict is Verdict.KEEP and trial.script != incumbent:
            incumbent = trial.script
            steps += path(study.trials, trial)
    names = [step.edit.changes[0].site for step in steps]
    assert incumbent == study.ledger.incumbent
    assert sorted(names) == study.sources[incumbent].split("+")[1:]
