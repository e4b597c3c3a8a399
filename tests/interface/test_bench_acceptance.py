"""`bench acceptance`: what it counts, its intervals, and that both forms show the same numbers."""

import json
import random
from statistics import fmean

import pytest
from click.testing import CliRunner
from scipy import stats

from autoresearch_rl.interface import bench_acceptance as bench
from autoresearch_rl.interface.bench_acceptance import Result, bench_acceptance, render_acceptance
from autoresearch_rl.interface.cli import cli
from autoresearch_rl.judgement.simulated import SCENARIOS

SMALL = ["bench", "acceptance", "--studies", "3", "--runs", "30"]


def test_both_forms_show_the_same_numbers() -> None:
    text = CliRunner().invoke(cli, SMALL)
    plain = CliRunner().invoke(cli, [*SMALL, "--json"])
    assert (text.exit_code, plain.exit_code) == (0, 0)
    facts = json.loads(plain.stdout)
    assert facts == bench_acceptance(3, 30, 0)
    assert text.stdout.rstrip("\n") == render_acceptance(facts)
    assert max(map(len, text.stdout.splitlines())) <= 120
    for name, scenario in SCENARIOS.items():
        assert f"{name}: {scenario.about}" in text.stdout
        ours = facts["scenarios"][name]["rules"]["ours"]
        assert f"{ours['repeats']:.1%}" in text.stdout
        assert f"{ours['raw_bias']['value']:.2f}" in text.stdout


def test_the_seed_decides() -> None:
    assert bench_acceptance(2, 20, 1) == bench_acceptance(2, 20, 1) != bench_acceptance(2, 20, 2)


@pytest.mark.parametrize("wrong", [["--studies", "1"], ["--runs", "3"], ["--seed", "-1"]])
def test_a_wrong_size_is_a_usage_error(wrong: list[str]) -> None:
    assert CliRunner().invoke(cli, ["bench", "acceptance", *wrong]).exit_code == 2


def test_rules_are_given_the_same_effects(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[float]] = []

    def watch(effects, dice, runs):
        seen.append(list(effects))
        return Result(1.0, 0, 0, 0.0, 0, 0, 0, 0, 0.0)

    monkeypatch.setattr(bench, "RULES", {"greedy": watch, "other": watch})
    bench_acceptance(2, 10, 0)
    assert seen[0::2] == seen[1::2]
    assert len({tuple(effects) for effects in seen}) == 2 * len(SCENARIOS)


@pytest.mark.parametrize("rule", ["greedy", "design", "ours"])
def test_what_is_clearly_better_is_kept_by_every_rule(rule: str) -> None:
    runs, effects = 40, [100.0] * 40
    result = bench.RULES[rule](effects, random.Random(0), runs)
    first = 1 if rule == "greedy" else 3
    assert (result.keeps, result.false, result.nulls, result.idle) == (runs - first, 0, 0, 0)
    assert result.gain == pytest.approx(100.0 * (runs - first))
    assert result.edits == result.keeps
    assert result.repeats == pytest.approx((first - 1) / runs)
    assert abs(result.raw) < 4


@pytest.mark.parametrize("rule", ["greedy", "design", "ours"])
def test_what_is_clearly_worse_is_kept_by_none(rule: str) -> None:
    result = bench.RULES[rule]([-100.0] * 40, random.Random(0), 40)
    assert (result.gain, result.keeps, result.nulls_kept) == (0.0, 0, 0)


@pytest.mark.parametrize("rule", ["greedy", "design", "ours"])
def test_every_keep_of_what_changes_nothing_is_false(rule: str) -> None:
    found = [bench.RULES[rule]([0.0] * 300, random.Random(seed), 300) for seed in range(20)]
    assert sum(one.keeps for one in found) > 0
    assert all(one.false == one.keeps and one.idle == one.edits == one.nulls_kept for one in found)
    assert all(one.nulls == pytest.approx(300 * (1 - one.repeats) - 1) for one in found)
    assert fmean(one.raw for one in found) < 0, "the winner's curse"


def test_the_designs_rule_runs_a_small_gain_up_to_three_times() -> None:
    """A gain of half a sigma is sometimes proven, sometimes given up after three runs."""
    found = [bench.design([0.5] * 60, random.Random(seed), 60) for seed in range(100)]
    assert 0.25 < fmean(one.repeats for one in found) < 0.45
    assert 1 < fmean(one.keeps for one in found) < 15


@pytest.mark.parametrize(("part", "whole"), [(0, 10), (3, 10), (10, 10), (17, 2000)])
def test_intervals_of_shares_are_wilsons(part: int, whole: int) -> None:
    found = bench._share(part, whole)
    expected = stats.binomtest(part, whole).proportion_ci(0.95, method="wilson")
    assert found is not None
    assert (found["low"], found["high"]) == pytest.approx((expected.low, expected.high), abs=1e-4)


def test_a_share_of_nothing_is_none() -> None:
    assert bench._share(0, 0) is None


def test_intervals_of_ratios_cover() -> None:
    dice, covered = random.Random(0), 0
    for _ in range(400):
        standard = [dice.gauss(10, 3) for _ in range(60)]
        found = bench._ratio([0.9 * value + dice.gauss(0, 2) for value in standard], standard)
        covered += found["low"] <= 0.9 <= found["high"]
    assert covered / 400 == pytest.approx(0.95, abs=0.045)


def test_a_rule_compared_with_itself_has_exactly_its_gain() -> None:
    found = bench._ratio([1.0, 2.0, 4.0], [1.0, 2.0, 4.0])
    assert (found["value"], found["low"], found["high"]) == pytest.approx((1.0, 1.0, 1.0))
