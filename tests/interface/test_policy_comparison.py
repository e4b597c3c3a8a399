"""What is said of runs whose truth is known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from matplotlib.image import imread

from autoresearch_rl.interface.policy_bench.comparison import Runs, at_seconds, at_trials, compare
from autoresearch_rl.interface.policy_bench.drawing import draw_policies
from autoresearch_rl.interface.policy_bench.runs import Run
from autoresearch_rl.interface.policy_bench.table import render_policies
from made_runs import made_run


def by_seed(runs: list[Run]) -> dict[int, Run]:
    return {run.seed: run for run in runs}


def studies(policy: str, end: float, seeds: int = 8, trials: int = 25) -> dict[int, Run]:
    """They fall to `end` at the last trial, a bit more with each seed."""
    return by_seed([made_run(policy, s, [4.0] * (trials - 1) + [end - 0.01 * s]) for s in range(seeds)])


def facts(runs: Runs, trials: int = 25, lower_is_better: bool = True) -> dict[str, Any]:
    rest = {"suite": "made", "unit": "bits", "lower_is_better": lower_is_better, "failed": []}
    rest["seeds"] = list(range(8))
    return {**rest, **compare(runs, trials, lower_is_better)}


def row(found: dict[str, Any], by: str, policy: str) -> dict[str, Any]:
    measure = next(m for m in found["measures"] if m["by"] == by)
    return next(r for r in measure["policies"] if r["policy"] == policy)


@pytest.mark.parametrize(("lower_is_better", "verdict"), [(True, "worse"), (False, "better")])
def test_a_policy_that_ends_higher_in_each_pair(lower_is_better: bool, verdict: str) -> None:
    runs = {"ppo": studies("ppo", 3.0), "tpe": studies("tpe", 3.5), "other": studies("other", 3.0)}
    found = facts(runs, lower_is_better=lower_is_better)
    tpe, other = row(found, "trials", "tpe"), row(found, "trials", "other")
    assert tpe["mean"] == pytest.approx(3.465)
    assert tpe["versus"]["mean"] == pytest.approx(0.5)
    assert (tpe["versus"]["p"], tpe["versus"]["p_holm"]) == pytest.approx((2 / 256, 4 / 256))
    assert (tpe["versus"]["verdict"], other["versus"]["verdict"]) == (verdict, "level")
    assert row(found, "trials", "ppo")["versus"] is None
    assert row(found, "area", "tpe")["mean"] == pytest.approx((24 * 4.0 + 3.465) / 25)


def test_few_pairs_say_nothing() -> None:
    """Six pairs of one policy could show a difference; of two policies, after Holm, they could not."""
    runs = {"ppo": studies("ppo", 3.0, 6), "tpe": studies("tpe", 3.5, 6)}
    assert row(facts(runs), "trials", "tpe")["versus"]["verdict"] == "worse"
    found = facts({**runs, "random": studies("random", 3.6, 6)})
    assert [row(found, "trials", p)["versus"]["verdict"] for p in ("tpe", "random")] == ["too few"] * 2


def test_pairs_are_what_both_have() -> None:
    some = {seed: run for seed, run in studies("tpe", 3.5).items() if seed in (2, 3)}
    started = by_seed([made_run("random", 0, [3.9, 3.8])])
    found = facts({"ppo": studies("ppo", 3.0, 3), "tpe": some, "random": started, "none": {}})
    tpe = row(found, "trials", "tpe")
    assert (tpe["n"], tpe["versus"]["n"]) == (2, 1)
    assert row(found, "trials", "random")["n"] == row(found, "trials", "none")["n"] == 0
    assert row(found, "trials", "random")["versus"] is None
    assert [r["complete"] for r in found["policies"]] == [3, 2, 0, 0]
    json.dumps(found, allow_nan=False)
    told = render_policies(found)
    assert [f"{complete}/8" in told for complete in (3, 2, 0)] == [True] * 3, "of the seeds asked for"


def test_runs_on_different_hardware_are_no_pair() -> None:
    ppo, tpe = studies("ppo", 3.0), studies("tpe", 3.5)
    for seed in (6, 7):
        ppo[seed] = replace(ppo[seed], hardware="another processor")
    tpe[7] = replace(tpe[7], hardware="another processor")
    found = facts({"ppo": ppo, "tpe": tpe})
    tpe_row = row(found, "trials", "tpe")
    assert (tpe_row["n"], tpe_row["versus"]["n"]) == (8, 7)
    assert [described["elsewhere"] for described in found["policies"]] == [0, 1]
    assert "tpe: 1 runs make no pairs" in render_policies(found)
    assert "no pairs" not in render_policies(facts({"ppo": studies("ppo", 3.0), "tpe": studies("tpe", 3.5)}))


def test_equal_seconds() -> None:
    run = made_run("ppo", 0, [3.9, 3.5, 3.0], [6.0, 7.0, 9.0])
    assert [at_seconds(run, mark) for mark in (2, 3, 4, 5)] == [4.0, 3.9, 3.5, None]
    assert [at_trials(run, mark) for mark in (1, 3, 4)] == [3.9, 3.0, None]


def test_seconds_are_compared_as_far_as_all_have_come() -> None:
    quick = by_seed([made_run("quick", 0, [4.0] * 19 + [3.0] * 41, [1.0 * k for k in range(1, 61)])])
    slow = by_seed([made_run("slow", 0, [4.0] * 29 + [3.0] * 31)])
    found = facts({"quick": quick, "slow": slow}, 60)
    marks = [(m["by"], m["mark"]) for m in found["measures"]]
    assert marks == [("trials", 25), ("trials", 50), ("seconds", 25), ("seconds", 30), ("area", None)]
    assert [r["mean"] for r in found["measures"][3]["policies"]] == [3.0, 3.0]
    assert [r["mean"] for r in found["measures"][2]["policies"]] == [3.0, 4.0]


def test_what_was_measured_again() -> None:
    ppo = by_seed([made_run("ppo", 0, [3.0] * 3, final=[3.1, None, 3.3])])
    tpe = by_seed([made_run("tpe", 0, [3.0] * 3, final=[3.5] * 3, ended="no edit is left")])
    found = facts({"ppo": ppo, "tpe": tpe}, 3)
    assert row(found, "final", "ppo")["mean"] == pytest.approx(3.2)
    assert row(found, "final", "tpe")["versus"]["mean"] == pytest.approx(0.3)
    told = render_policies(found)
    assert "ppo: 1 fresh measurements failed" in told
    assert "tpe: 1 runs had nothing left to try before their end" in told


def test_what_was_gained_beside_the_first_script() -> None:
    """Load that weighs on the first script and on the last of a run alike changes nothing."""
    ppo = by_seed([made_run("ppo", s, [3.0], final=[3.1]) for s in range(3)])
    tpe = by_seed([made_run("tpe", s, [3.0], final=[3.5]) for s in range(3)])
    tpe[1] = replace(tpe[1], final=(3.6,), baseline=(4.1,))
    found = facts({"ppo": ppo, "tpe": tpe}, 1)
    assert row(found, "change", "ppo")["mean"] == pytest.approx(-0.9)
    assert row(found, "change", "tpe")["mean"] == pytest.approx(-0.5)
    assert "minus the first script" in render_policies(found)


def test_what_was_measured_again_belongs_to_the_trials_that_were_asked_for() -> None:
    ppo = by_seed([made_run("ppo", s, [3.0] * 9, final=[2.9]) for s in range(3)])
    tpe = by_seed([made_run("tpe", s, [3.0] * 5, final=[3.2]) for s in range(3)])
    ppo[2] = replace(ppo[2], trials=5)  # settling what leads added four
    found = facts({"ppo": ppo, "tpe": tpe}, 5)
    assert [row(found, "final", p)["n"] for p in ("ppo", "tpe")] == [1, 3]
    assert row(found, "trials", "ppo")["n"] == 3
    assert "ppo: 2 runs were made with another number of trials" in render_policies(found)


def test_too_few_is_what_could_not_have_been_shown() -> None:
    """Of two policies the one with few pairs may have the larger p, which Holm does not raise."""
    runs = {"ppo": studies("ppo", 3.0, 20), "tpe": studies("tpe", 3.5, 20), "other": studies("other", 3.5, 6)}
    runs["other"][0] = replace(runs["other"][0], curve=(4.0,) * 24 + (2.9,))
    found = facts(runs)
    assert row(found, "trials", "other")["versus"]["verdict"] == "level"


def test_the_picture(tmp_path: Path) -> None:
    runs = {"ppo": studies("ppo", 3.0), "tpe": studies("tpe", 3.5, 1), "none": {}}
    path = tmp_path / "policies.png"
    assert draw_policies(runs, 25, "bits", path)
    assert imread(path)[..., :3].std() > 0.05, "not an empty page"
    assert list(tmp_path.iterdir()) == [path]
    assert not draw_policies(runs, 26, "bits", tmp_path / "nothing.png")


def test_families_and_tags_are_told_apart() -> None:
    def of(policy: str, seed: int, score: float, family: str, *tags: str) -> Run:
        return replace(made_run(policy, seed, [score, score]), family=family, tags=tags)

    runs = {
        "ppo": {0: of("ppo", 0, 0.5, "made"), 1: of("ppo", 1, 0.1, "sparse", "sparse", "large")},
        "tpe": {0: of("tpe", 0, 0.3, "made"), 1: of("tpe", 1, 0.2, "sparse", "sparse", "large")},
    }
    runs["ppo"][2] = replace(made_run("ppo", 2, [0.9]), family="made")  # not complete
    found = compare(runs, 2, lower_is_better=False)["by_family"]
    assert [group.get("family") or group["tag"] for group in found] == ["made", "sparse", "large", "sparse"]
    means = [[(row["n"], row["mean"]) for row in group["policies"]] for group in found]
    assert means == [[(1, 0.5), (1, 0.3)], *[[(1, 0.1), (1, 0.2)]] * 3]
    assert compare({"ppo": {0: made_run("ppo", 0, [1.0])}}, 1, lower_is_better=False)["by_family"] == []
