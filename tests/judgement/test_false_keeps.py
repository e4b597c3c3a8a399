"""How often the rule keeps what is not better, where the truth is known.

Three figures, from the strictest to the one a user meets; sigma is the noise of one measurement:

- *per judgement*: a script that changes nothing, its first run, a fresh baseline: 5 %, by Student;
- *per candidate*: the same script followed through its up to three runs: 9 to 10 %;
- *per study*: false keeps among all that a study judges. After a false keep the incumbent's mean is too
  low (winner's curse), which makes the next one harder: below 1 %.
"""

import random

import pytest
from made_trials import BASELINE, SimulatedStudy, made

from autoresearch_rl.judgement import acceptance
from autoresearch_rl.judgement.acceptance import Ledger, judge
from autoresearch_rl.records import TrialKind, Verdict, script_id

SIGMA = 0.0007
CANDIDATES = 4000
CANDIDATE = script_id("candidate")


def kept_after(dice: random.Random, baseline_runs: int, gain: float) -> int | None:
    """After how many runs a candidate with this true gain is kept; None if it is not."""
    ledger = Ledger(BASELINE)
    for number in range(baseline_runs):
        bpb = dice.gauss(1.0, SIGMA)
        ledger.record(made(number, bpb=bpb, verdict=Verdict.KEEP, kind=TrialKind.REFERENCE))
    for run in range(1, acceptance.MAX_RUNS + 1):
        bpb = dice.gauss(1.0 - gain, SIGMA)
        verdict, _ = judge(ledger, CANDIDATE, BASELINE, bpb)
        ledger.record(made(baseline_runs + run, CANDIDATE, bpb, verdict))
        if verdict is not Verdict.PROVISIONAL:
            return run if verdict is Verdict.KEEP else None
    raise AssertionError("still provisional after the last run")


def keeps(baseline_runs: int, gain: float) -> tuple[float, float]:
    """Shares of candidates kept at their first run, and in all."""
    dice = random.Random(baseline_runs)
    runs = [kept_after(dice, baseline_runs, gain) for _ in range(CANDIDATES)]
    return runs.count(1) / CANDIDATES, (CANDIDATES - runs.count(None)) / CANDIDATES


@pytest.mark.parametrize("baseline_runs", [3, 4, 6, 11, 31])
def test_one_judgement_keeps_five_percent_of_what_changes_nothing(baseline_runs):
    first, in_all = keeps(baseline_runs, gain=0.0)
    assert first == pytest.approx(0.05, abs=0.012)  # 3.5 standard errors
    assert 0.065 < in_all < 0.1


def test_the_limit_of_many_measurements_would_keep_too_much_after_three(monkeypatch):
    monkeypatch.setattr(acceptance, "_student", lambda df: 1.645)
    assert keeps(3, gain=0.0)[0] > 0.10


def test_what_is_worse_is_hardly_ever_kept():
    assert keeps(3, gain=-2 * SIGMA)[1] < 0.01


def test_what_is_clearly_better_is_kept():
    assert keeps(3, gain=2 * SIGMA)[1] > 0.6
    assert keeps(3, gain=4 * SIGMA)[1] > 0.97


def _mostly_worse(dice: random.Random) -> float:
    kind = dice.random()
    if kind < 0.60:
        return -dice.expovariate(1 / (5 * SIGMA))
    return 0.0 if kind < 0.85 else dice.expovariate(1 / (2 * SIGMA))


@pytest.mark.parametrize("baseline_runs", [3, 11])
@pytest.mark.parametrize("effect", [_mostly_worse, lambda dice: 0.0], ids=["realistic", "nothing helps"])
def test_of_all_that_a_study_judges_hardly_anything_is_kept_falsely(baseline_runs, effect):
    dice = random.Random(baseline_runs)
    studies = [SimulatedStudy(dice, SIGMA, lambda: effect(dice), baseline_runs).run(120) for _ in range(30)]
    judged = sum(len(study.trials) - baseline_runs for study in studies)
    assert sum(study.false_keeps for study in studies) / judged < 0.015


def test_of_a_realistic_studys_keeps_few_are_false():
    dice = random.Random(0)
    studies = [SimulatedStudy(dice, SIGMA, lambda: _mostly_worse(dice), 3).run(120) for _ in range(30)]
    assert sum(study.false_keeps for study in studies) / sum(len(study.keeps) for study in studies) < 0.15
