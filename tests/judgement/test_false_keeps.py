"""How often the rule keeps what is not better, and what it gains, where the truth is known.

Four figures, from the strictest to the one a user meets; sigma is the noise of one measurement:

- *per look*: a script that changes nothing, its first run: 1 %, by Student; after three reference runs a bit
  less, for the same noise then judges many;
- *per leader*: the same script run up to five times: 2 to 3 %;
- *per study*: of a study's keeps 0 to 1 % are false where something can be found, 6 to 11 % where hardly
  anything can; where nothing helps there is one keep in ten studies;
- *per edit*: what is kept is a bundle, better than the bundle before, but single edits in it need not help.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from made_trials import BASELINE, SIGMA, made, simulated

from autoresearch_rl.interface.bench_acceptance import bench_acceptance
from autoresearch_rl.judgement import noise
from autoresearch_rl.judgement.acceptance import MAX_RUNS, Ledger, judge
from autoresearch_rl.records import TrialKind, Verdict, script_id

CANDIDATES = 4000
CANDIDATE = script_id("candidate")


def kept_after(dice: random.Random, baseline_runs: int, gain: float) -> int | None:
    """After how many runs a candidate with this true gain is kept; None if it is not."""
    ledger = Ledger(BASELINE)
    for number in range(baseline_runs):
        bpb = dice.gauss(1.0, SIGMA)
        ledger.record(made(number, bpb=bpb, verdict=Verdict.KEEP, kind=TrialKind.REFERENCE))
    for run in range(1, MAX_RUNS + 1):
        bpb = dice.gauss(1.0 - gain, SIGMA)
        verdict, _ = judge(ledger, CANDIDATE, BASELINE, bpb)
        ledger.record(made(baseline_runs + run, CANDIDATE, bpb, verdict))
        if verdict is not Verdict.PROVISIONAL or ledger.shifts:
            return run if verdict is Verdict.KEEP else None
    raise AssertionError("still provisional after the last run")


def keeps(baseline_runs: int, gain: float) -> tuple[float, float]:
    """Shares of candidates kept at their first run, and in all."""
    dice = random.Random(baseline_runs)
    runs = [kept_after(dice, baseline_runs, gain) for _ in range(CANDIDATES)]
    return runs.count(1) / CANDIDATES, (CANDIDATES - runs.count(None)) / CANDIDATES


@pytest.mark.parametrize("baseline_runs", [3, 6, 11, 31])
def test_one_look_keeps_one_percent_of_what_changes_nothing(baseline_runs):
    first, in_all = keeps(baseline_runs, gain=0.0)
    assert first == pytest.approx(0.01, abs=0.0063)  # 4 standard errors
    assert 0.015 < in_all < 0.038


def test_the_limit_of_many_measurements_would_keep_too_much_after_three(monkeypatch):
    monkeypatch.setattr(noise, "_student", lambda df: 2.326)
    assert keeps(3, gain=0.0)[0] > 0.05


def test_what_is_worse_is_hardly_ever_kept():
    assert keeps(3, gain=-2 * SIGMA)[1] < 0.002


def test_what_is_clearly_better_is_kept():
    assert keeps(3, gain=2 * SIGMA)[1] > 0.45
    assert keeps(3, gain=4 * SIGMA)[1] > 0.95
    assert keeps(11, gain=2 * SIGMA)[1] > 0.82


# --- whole studies


@pytest.fixture(scope="module")
def facts() -> dict[str, Any]:
    """With one worker, by scenario and rule."""
    return {name: one["rules"] for name, one in bench_acceptance(300, 124, 0)["scenarios"].items()}


@pytest.mark.parametrize("scenario", ["as logged", "early", "steady"])
def test_hardly_a_keep_is_false_and_the_gain_is_that_of_greedy(facts, scenario):
    ours = facts[scenario]["ours"]
    assert ours["false"]["high"] < 0.05
    assert ours["of_greedy"]["value"] > 0.9
    assert facts[scenario]["greedy"]["false"]["low"] > 5 * ours["false"]["high"]


@pytest.mark.parametrize("scenario", ["as logged", "early", "steady"])
def test_proving_each_edit_first_finds_less(facts, scenario):
    assert facts[scenario]["design"]["of_greedy"]["high"] < facts[scenario]["ours"]["of_greedy"]["low"]


def test_where_hardly_anything_helps_more_keeps_are_false_but_few_of_them(facts):
    ours, design, greedy = (facts["saturated"][rule] for rule in ("ours", "design", "greedy"))
    assert 0.05 < ours["false"]["high"] < 0.12, "5 % is not held here: the documentation says so"
    assert ours["false"]["high"] < design["false"]["low"] / 3 < greedy["false"]["low"] / 3
    assert ours["of_greedy"]["low"] > 0.85


def test_where_nothing_helps_nearly_nothing_is_kept(facts):
    ours = facts["nothing"]["ours"]
    assert ours["keeps"] < 0.2 < 0.5 < facts["nothing"]["design"]["keeps"]
    assert ours["nulls_kept"]["high"] < 0.01
    assert ours["gain"] > facts["nothing"]["greedy"]["gain"]


@pytest.mark.parametrize("scenario", ["as logged", "steady"])
def test_single_edits_of_what_is_kept_need_not_help(facts, scenario):
    """No rule that climbs on what looks better is free of it: this is the price of its gain."""
    ours, greedy, design = (facts[scenario][rule] for rule in ("ours", "greedy", "design"))
    assert ours["idle"]["value"] == pytest.approx(greedy["idle"]["value"], abs=0.06)
    assert design["idle"]["high"] < ours["idle"]["low"]


@pytest.mark.parametrize("scenario", ["as logged", "early", "steady", "saturated", "nothing"])
def test_fresh_runs_are_free_of_the_winners_curse(facts, scenario):
    raw, fresh = facts[scenario]["ours"]["raw_bias"], facts[scenario]["ours"]["fresh_bias"]
    assert facts[scenario]["greedy"]["raw_bias"]["high"] < raw["low"]
    if scenario in ("as logged", "steady", "saturated"):
        assert raw["high"] < fresh["low"]
    error = (fresh["high"] - fresh["low"]) / 3.92
    assert abs(fresh["value"]) < 3.5 * error
    assert abs(fresh["value"]) < 0.1


def test_measuring_again_takes_less_than_a_tenth_of_the_runs(facts):
    assert all(0.03 < facts[name]["ours"]["repeats"] < 0.1 for name in facts)


def test_several_workers_keep_no_more_falsely():
    studies = [simulated(seed, 4, "steady").run(124) for seed in range(100)]
    keeps = sum(len(study.kept) - 1 for study in studies)
    assert keeps > 300
    assert sum(study.false_keeps for study in studies) / keeps < 0.03


def test_a_machine_that_becomes_slower_makes_no_false_keeps():
    studies = [simulated(seed, 1, "saturated").run(60) for seed in range(60)]
    before = sum(study.false_keeps for study in studies)
    for study in studies:
        study.level = 10 * SIGMA
        study.run(124)
    assert sum(study.ledger.shifts > 0 for study in studies) > 50
    assert (sum(study.false_keeps for study in studies) - before) / len(studies) < 0.2
