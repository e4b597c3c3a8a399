"""Stopping what will not lead, on learning curves whose ends are known."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import numpy as np
import pytest
from made_trials import made

from autoresearch_rl.judgement import pruning
from autoresearch_rl.judgement.audit import pruning_record
from autoresearch_rl.judgement.forecast import Forecast
from autoresearch_rl.judgement.pruning import FEWEST, FIRST_LOOK, Pruner, curve_of, margin_of, on_time
from autoresearch_rl.records import Edit, Probe, Proposal, Trial, TrialKind, Verdict

BUDGET = 3.0
NOISE = 0.01


def probes(dice: random.Random, end: float, noise: float = NOISE) -> tuple[Probe, ...]:
    """Nine probes of a run that ends at `end`, each a bit after the tenth that it belongs to."""
    level = end + dice.gauss(0, noise)
    return tuple(
        Probe(
            BUDGET * (k / 10 + dice.uniform(0, 0.02)),
            0.1 + level + 2.0 * ((10 - k) / 10) ** 2 * (0.5 + 0.5 * end / 3.5) + dice.gauss(0, noise),
        )
        for k in range(1, 10)
    )


def proposal(number: int, bar: float) -> Proposal:
    return Proposal(number, TrialKind.EXPLORE, "", "x = 1\n", Edit(()), number, bar=bar)


def losses(dice: random.Random) -> float:
    """How far above the bar an edit ends: mostly worse, some neutral, some better."""
    kind = dice.random()
    return (
        dice.expovariate(8) if kind < 0.75 else dice.gauss(0, 0.01) if kind < 0.85 else -dice.expovariate(8)
    )


def study(pruner: Pruner, seed: int, trials: int = 150, bar: float = 3.5) -> list[Trial]:
    """A study in which every edit is compared with the same bar."""
    dice, done = random.Random(seed), []
    for number in range(trials):
        end = bar + losses(dice)
        readings, watch = probes(dice, end), pruner.watch(proposal(number, bar))
        seen = next((k for k in range(1, 10) if watch(readings[:k])), None)
        trial = replace(
            made(number, f"{number}", end + dice.gauss(0, NOISE), train_seconds=BUDGET),
            incumbent_bpb=bar, probes=readings, stop_at=watch.stop_at, forecast=watch.forecast,
        )  # fmt: skip
        if seen:
            trial = replace(
                trial, verdict=Verdict.PRUNED, val_bpb=None, probes=readings[:seen],
                train_seconds=readings[seen - 1].seconds,
            )  # fmt: skip
        pruner.record(trial)
        done.append(trial)
    return done


def test_of_the_stopped_runs_few_would_have_led_and_most_time_is_saved():
    """Every verdict is audited, so every one is known to be right or wrong."""
    records = [pruning_record(study(Pruner(BUDGET, audit=1.0), seed), BUDGET) for seed in range(3)]
    audited, false = sum(r.audited for r in records), sum(r.false for r in records)
    assert audited > 200
    assert false / audited < 0.05
    assert all(record.pruned == 0 and record.gain == 1.0 for record in records)
    for record in records:
        assert 0.8 * record.oracle_gain < record.gain_obeyed <= record.oracle_gain


def test_a_tenth_of_the_verdicts_is_not_obeyed_by_lot_of_the_seed():
    record = pruning_record(trials := study(Pruner(BUDGET), 0, 250), BUDGET)
    share = record.audited / (record.audited + record.pruned)
    assert share == pytest.approx(0.1, abs=0.07)  # 3 standard errors of 160 lots
    assert record.gain > 1.4
    again = study(Pruner(BUDGET), 0, 250)
    assert again == trials, "the same seeds, the same decisions"


def test_nothing_is_stopped_before_enough_edits_have_ended_nor_before_the_first_look():
    trials = study(Pruner(BUDGET, audit=1.0), 1)
    assert all(trial.stop_at is None for trial in trials[:FEWEST])
    stops = [trial.stop_at for trial in trials if trial.stop_at is not None]
    assert min(stops) >= FIRST_LOOK * BUDGET
    assert any(stop < 0.35 * BUDGET for stop in stops)


def test_what_has_no_bar_is_never_stopped():
    pruner = Pruner(BUDGET, audit=0.0)
    study(pruner, 2, 50)
    hopeless = probes(random.Random(0), 9.0)
    assert pruner.watch(proposal(7, math.inf))(hopeless[:5]) is None
    reason = pruner.watch(proposal(7, 3.5))(hopeless[:5])
    assert reason is not None
    assert reason.startswith("forecast 9.")
    assert " of the budget, 3.5000 to beat: evidence " in reason


def test_a_run_that_looks_sure_to_lead_is_left_alone_for_good():
    pruner = Pruner(BUDGET, audit=0.0)
    study(pruner, 3, 60)
    watch, splendid = pruner.watch(proposal(0, 3.5)), probes(random.Random(0), 2.5)
    for k in range(1, 6):
        assert watch(splendid[:k]) is None
    collapsed = (*splendid[:5], Probe(0.6 * BUDGET, 9.0))
    assert watch(collapsed) is None
    assert pruner.watch(proposal(0, 3.5))(collapsed) is not None


def test_other_hardware_begins_anew():
    pruner = Pruner(BUDGET, audit=0.0)
    trials = study(pruner, 4, 50)
    hopeless = probes(random.Random(0), 9.0)[:5]
    assert pruner.watch(proposal(0, 3.5))(hopeless)
    pruner.record(replace(trials[0], segment=1))
    assert pruner.watch(proposal(0, 3.5))(hopeless) is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -1e29, 1e29, 0.0])
@pytest.mark.parametrize("seconds", [-1.0, 0.0, 1e-12, 1e29])
def test_a_script_that_reports_nonsense_harms_only_itself(value: float, seconds: float):
    pruner = Pruner(BUDGET, audit=0.0)
    trials = study(pruner, 5, 40)
    nonsense = tuple(Probe(seconds + k * 0.3, value, value) for k in range(9))
    for number in range(10):
        pruner.record(replace(trials[0], verdict=Verdict.DISCARD, val_bpb=3.6, probes=nonsense))
        pruner.watch(proposal(number, 3.5))(nonsense)
    dice = random.Random(9)
    good, bad = probes(dice, 3.2), probes(dice, 5.0)
    assert all(pruner.watch(proposal(0, 3.5))(good[:k]) is None for k in range(1, 10))
    assert pruner.watch(proposal(0, 3.5))(bad[:6]) is not None


def test_a_run_that_diverges_beyond_measure_is_no_lesson_and_no_error():
    pruner = Pruner(BUDGET, audit=0.0)
    trials = study(pruner, 5, 40)
    pruner.record(replace(trials[0], verdict=Verdict.DISCARD, val_bpb=2e6))
    assert pruner.watch(proposal(0, 3.5))(probes(random.Random(1), 5.0)[:6]) is not None


def test_one_run_that_looked_good_and_ended_badly_does_not_stop_winners():
    pruner = Pruner(BUDGET, audit=0.0)
    trials, dice = study(pruner, 5, 60), random.Random(2)
    poison = replace(trials[0], verdict=Verdict.DISCARD, val_bpb=8.0, probes=probes(dice, 3.3))
    for _ in range(3):
        pruner.record(poison)
    winners = [probes(dice, 3.3) for _ in range(20)]
    assert all(pruner.watch(proposal(0, 3.5))(w[:k]) is None for w in winners for k in range(3, 8))


def test_without_curves_of_runs_that_ended_nothing_is_stopped():
    pruner = Pruner(BUDGET, audit=0.0)
    for trial in study(Pruner(BUDGET, audit=1.0), 5, 40):
        pruner.record(replace(trial, probes=()))
    assert pruner.watch(proposal(0, 3.5))(probes(random.Random(1), 9.0)[:6]) is None


def test_the_papers_rule_stops_what_its_power_law_puts_above_best_plus_sigma():
    pruner = Pruner(BUDGET, "paper", audit=0.0)
    trials = study(pruner, 6, 40)
    ends = [trial.val_bpb for trial in trials if trial.val_bpb is not None]
    level = sum(ends) / len(ends)
    sigma = math.sqrt(sum((end - level) ** 2 for end in ends) / len(ends))
    flat = lambda bpb: tuple(Probe(0.3 * k, bpb) for k in range(1, 6))  # noqa: E731
    assert pruner.watch(proposal(0, 3.5))(flat(3.5 + 0.99 * sigma)) is None
    watch = pruner.watch(proposal(0, 3.5))
    assert watch(flat(3.5 + 0.99 * sigma)) is None
    assert watch(flat(3.5 + 1.01 * sigma)) is not None, "it is asked at every probe"


def test_a_look_counts_at_the_tenth_it_was_due_at_and_a_reading_when_it_was_taken():
    assert [on_time(p) for p in (0.05, 0.1, 0.129, 0.15, 0.3, 0.6000001)] == [0.05, 0.1, 0.1, 0.15, 0.3, 0.6]
    curve = curve_of((Probe(0.31, 5.0, 1e-3), Probe(0.75, 4.0), Probe(2.95, 3.0)), BUDGET, 3.25)
    assert curve.progress.tolist() == pytest.approx([0.31 / 3, 0.25, 1.0])
    assert curve.values.tolist() == [5.0, 4.0, 3.25]
    assert curve.rates.tolist() == [[pytest.approx(0.31 / 3), 1e-3]]


def taught(*margins: float) -> Pruner:
    pruner = Pruner(BUDGET, audit=0.0)
    for number, margin in enumerate(margins):
        pruner.record(replace(made(number, f"{number}", 3.5 + margin), incumbent_bpb=3.5))
    return pruner


def told(value: float, error: float = 0.1) -> Forecast:
    return Forecast(value, value - 1, value + 1, error, np.array([1.0]), np.array([1.0]))


def test_the_evidence_is_the_likelihood_ratio_of_losers_to_winners():
    forecast = told(3.55)
    normal = {m: math.exp(-(((0.05 - m) / forecast.sd) ** 2) / 2) for m in (-0.2, -0.1, 0, 0.1, 0.3, 0.5)}
    losers, winners = [normal[m] for m in (0.1, 0.3, 0.5)], [normal[m] for m in (-0.2, -0.1, 0)]
    found = taught(-0.2, -0.1, 0.1, 0.3, 0.5).evidence(forecast, 3.5)
    assert found == pytest.approx(np.mean(losers) / np.mean(winners))
    assert taught(-0.2, -0.1).evidence(told(9.0), 3.5) == 0.0, "no loser is known to resemble"
    assert taught(*[0.1] * 9).evidence(told(99.0, 1e-4), 3.5) > 1e9


def test_the_more_edits_win_the_more_evidence_is_needed():
    few, many = taught(-0.1, *[0.1] * 98).boundaries, taught(*[-0.1] * 49, *[0.1] * 50).boundaries
    assert few[1] == pruning.EVIDENCE
    assert many[1] == pytest.approx(0.5 * 0.95 / 0.1)
    assert few[0] == pytest.approx(0.05 / (1 - 1 / pruning.EVIDENCE))


def test_where_nothing_has_won_what_is_as_good_as_the_bar_still_goes_on():
    """Pruned runs count as losers: without a least evidence a study would stop everything in the end."""
    pruner = taught(*[0.02, 0.05, 0.1, 0.2] * 50)
    assert pruner.evidence(told(3.5, 0.05), 3.5) < pruner.boundaries[1]
    assert pruner.evidence(told(3.7, 0.05), 3.5) > pruner.boundaries[1]


# --- the record


def trial(number: int, bpb: float | None, seconds: float = BUDGET, stop_at: float | None = None) -> Trial:
    verdict = Verdict.DISCARD if bpb is not None else Verdict.PRUNED
    readings = tuple(Probe(0.3 * k, 4.0) for k in range(1, 10) if 0.3 * k <= seconds)
    forecast = 4.5 if stop_at is not None else None
    return replace(
        made(number, f"{number}", bpb, verdict, train_seconds=seconds),
        incumbent_bpb=4.0, probes=readings, stop_at=stop_at, forecast=forecast,
    )  # fmt: skip


def test_the_record_counts_what_was_saved_and_what_an_oracle_would_have_saved():
    """Five that teach, then: pruned at 1.5, audited and right, audited and wrong, a winner, a slow loser."""
    first = [trial(number, 4.2) for number in range(FEWEST)]
    rest = [trial(5, None, 1.5, 1.5), trial(6, 4.1, stop_at=1.2), trial(7, 3.9, stop_at=1.8), trial(8, 3.5)]
    record = pruning_record([*first, *rest, trial(9, 4.3)], BUDGET)
    assert (record.pruned, record.audited, record.false) == (1, 2, 1)
    assert record.spent == pytest.approx(9 * 3.0 + 1.5)
    assert record.saved == pytest.approx(1.5)
    assert record.audit_seconds == pytest.approx(1.8 + 1.2)
    assert record.gain == pytest.approx(30 / 28.5)
    assert record.gain_obeyed == pytest.approx(30 / 25.5)
    # The oracle stops trials 5, 6 and 9 at 0.9 s, and lets 7 and 8 go on.
    assert record.oracle_seconds == pytest.approx(28.5 - 0.6 - 2.1 - 2.1)
    assert record.false_rate == 0.5


def test_the_bound_on_false_stops_is_that_of_clopper_and_pearson():
    from scipy.stats import binomtest

    for false, audited in ((0, 29), (1, 40), (5, 5), (3, 60)):
        rows = [trial(n, 3.9 if n < false else 4.1, stop_at=1.0) for n in range(audited)]
        expected = binomtest(false, audited, alternative="less").proportion_ci(0.95).high
        assert pruning_record(rows, BUDGET).false_bound == pytest.approx(expected)
    empty = pruning_record([], BUDGET)
    assert (empty.false_bound, empty.false_rate, empty.gain, empty.oracle_gain) == (None, None, 1.0, 1.0)


def test_a_pruned_trial_is_as_far_from_its_bar_as_was_foreseen():
    assert margin_of(trial(0, None, 1.0, 1.0)) == 0.5
    assert margin_of(trial(0, 4.25)) == 0.25
    assert margin_of(made(0, bpb=4.0)) is None
