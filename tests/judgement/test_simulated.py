"""The simulated study: it works as the real one does, and its scenarios are what they say."""

import math
import random
from pathlib import Path
from statistics import fmean

import pytest
from made_trials import SIGMA, made, simulated

from autoresearch_rl.judgement.simulated import SCENARIOS, SimulatedStudy
from autoresearch_rl.opening import create_study
from autoresearch_rl.records import Proposal, Trial, TrialKind, Verdict
from told import scored


def shape(proposals: list[Proposal], trials: list[Trial]) -> list[object]:
    """What was asked for, whatever the scripts and edits are called."""
    numbers = {trial.number: k for k, trial in enumerate(trials)}
    names: dict[str, int] = {}
    rows = [
        (p.kind, names.setdefault(p.parent, len(names)), names.setdefault(p.script, len(names)), p.bar)
        for p in proposals
    ]
    confirms = [None if p.confirms is None else numbers[p.confirms] for p in proposals]
    return [rows, confirms, [(trial.verdict, trial.val_bpb, trial.reason) for trial in trials]]


def test_it_asks_and_judges_as_the_real_study_does(tiny_task: Path, tmp_path: Path) -> None:
    """With one worker; with several, the real study may come to the same script in two ways."""
    dice = random.Random(1)
    study = SimulatedStudy(dice, 0.0, lambda: dice.gauss(0.0, 0.003))
    asked: list[tuple[Proposal, Proposal]] = []
    with create_study(str(tiny_task), "one", tmp_path / "home", policy="random") as real:
        while len(study.trials) < 40:
            mine, theirs = study.ask(), real.ask()
            assert mine is not None
            assert theirs is not None
            asked.append((mine, theirs))
            study.level = dice.gauss(0.0, 0.004)
            study.tell(mine)
            real.tell(theirs, scored(study.trials[-1].val_bpb or 0.0))
        left, right = zip(*asked, strict=True)
        assert shape(list(left), study.trials) == shape(list(right), list(real.trials))
    assert {trial.kind for trial in study.trials} == set(TrialKind)


def test_effects_of_edits_add_up() -> None:
    study = simulated(1, scenario="early").run(80)
    for script, bpb in study.truth.items():
        assert bpb == pytest.approx(1.0 - sum(study.effects(script)))
    assert study.gain == pytest.approx(sum(study.effects(study.ledger.incumbent)))
    assert len(study.effects()) == sum(trial.kind is TrialKind.EXPLORE for trial in study.trials)


def test_false_keeps_are_counted_by_the_truth() -> None:
    nothing, useful = simulated(0), simulated(0)
    nothing.effect, useful.effect = (lambda: 0.0), (lambda: SIGMA)
    nothing.run(2000)
    useful.run(2000)
    assert nothing.false_keeps == len(nothing.kept) - 1 > 0
    assert useful.false_keeps == 0 < len(useful.kept) - 1


def test_repeats_are_runs_of_scripts_that_had_been_run() -> None:
    study = simulated(2).run(100)
    again = [trial for trial in study.trials if trial.kind is not TrialKind.EXPLORE]
    assert study.repeats == len(again) - 1, "the first run of the baseline is none"


def test_what_was_not_challenged_on_every_row_is_discarded() -> None:
    study = SimulatedStudy(random.Random(0), 0.0, lambda: -0.01).run(3)
    proposal = study.ask()
    assert proposal is not None
    study.ledger.record(made(99, bpb=1.1, verdict=Verdict.KEEP, kind=TrialKind.REFERENCE))
    assert proposal.bar == 1.0 < 1.01 < study.ledger.bar
    study.tell(proposal)
    assert (study.trials[-1].val_bpb, study.trials[-1].verdict) == (1.01, Verdict.DISCARD)


def test_a_crash_has_no_measurement_and_is_never_built_on() -> None:
    study = simulated(3, 2, crashes=0.5).run(100)
    crashed = {trial.script for trial in study.trials if trial.verdict is Verdict.CRASH}
    assert crashed
    assert all(trial.val_bpb is None for trial in study.trials if trial.script in crashed)
    assert not crashed & {trial.parent for trial in study.trials}


def greedy(scenario: str, seed: int, runs: int = 124) -> list[tuple[int, float]]:
    """When greedy keeps, and how much it measures then, in sigma."""
    dice, keeps = random.Random(f"{scenario} {seed}"), []
    truth, best = 0.0, dice.gauss()
    for k in range(runs):
        effect = SCENARIOS[scenario].effect(dice, k)
        measured = truth - effect + dice.gauss()
        if measured < best:
            keeps.append((k, best - measured))
            truth, best = truth - effect, measured
    return keeps


@pytest.mark.parametrize(
    ("scenario", "keeps", "small", "gain", "first", "first_gain"),
    # The log has 22 keeps, 12 small ones, 40 sigma; 10 keeps and 35 sigma within the first 13.
    [("as logged", 21, 8, 39, 9, 29), ("steady", 21, 9, 38, 3, 4.6)],
)
def test_two_scenarios_resemble_the_public_log(scenario, keeps, small, gain, first, first_gain) -> None:
    studies = [greedy(scenario, seed) for seed in range(400)]
    found = [
        (
            len(study),
            sum(step < 0.0005 / SIGMA for _, step in study),
            sum(step for _, step in study),
            sum(k < 13 for k, _ in study),
            sum(step for k, step in study if k < 13),
        )
        for study in studies
    ]
    for column, documented in zip(
        zip(*found, strict=True), (keeps, small, gain, first, first_gain), strict=True
    ):
        error = math.sqrt(fmean((x - fmean(column)) ** 2 for x in column) / len(column))
        assert fmean(column) == pytest.approx(documented, abs=0.5 + 3 * error)


@pytest.mark.parametrize(
    ("scenario", "helps", "mean"), [("early", 0.3, 10.0), ("saturated", 0.03, 2.0), ("nothing", 0.0, None)]
)
def test_as_many_edits_help_as_a_scenario_says(scenario, helps, mean) -> None:
    dice = random.Random(scenario)
    effects = [SCENARIOS[scenario].effect(dice, k) for k in range(50_000)]
    gains = [effect for effect in effects if effect > 0]
    assert len(gains) / 50_000 == pytest.approx(helps, abs=0.008)
    assert mean is None or fmean(gains) == pytest.approx(mean, rel=0.12)
