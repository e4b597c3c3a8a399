"""`bench forecast`: which runs it takes, what it counts, and what it says to bad files."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from autoresearch_rl.errors import ConfigurationError
from autoresearch_rl.interface.bench import _stops, bench_forecast, render_forecast
from autoresearch_rl.interface.cli import cli
from autoresearch_rl.interface.curve_file import read_curves
from calling import call
from made_curves import COLUMNS, Recipe, edited, made_study, rows_of, write_csv

Rows = list[tuple[object, ...]]


def study_rows(runs: int = 12) -> Rows:
    curves = made_study(1, runs)
    return [row for k, c in enumerate(curves) for row in rows_of(f"t/2026-03-{k + 1:02d}_x/a.log", c)]


def test_both_forms_show_the_same_numbers(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "curves.csv", study_rows())
    text = CliRunner().invoke(cli, ["bench", "forecast", "--curves", str(path)])
    plain = CliRunner().invoke(cli, ["bench", "forecast", "--curves", str(path), "--json"])
    assert (text.exit_code, plain.exit_code) == (0, 0)
    facts = json.loads(plain.stdout)
    assert facts == bench_forecast(path)
    assert text.stdout.rstrip("\n") == render_forecast(facts)
    assert text.stdout.startswith("12 of 12 runs are useful; budget 300 s; errors in bits per byte")
    ours = facts["forecasts"]["ours"]["50"]
    assert f"{ours['median']:.4f}" in text.stdout
    assert ours["runs"] == 12
    assert ours["median"] < facts["forecasts"]["power law"]["50"]["median"]
    stops = facts["stops"]["ours"]["all pairs"]
    assert stops["winners"] + stops["losers"] == sum(range(5, 12))


def test_rows_may_come_in_any_order(tmp_path: Path) -> None:
    rows = study_rows(8)
    first = bench_forecast(write_csv(tmp_path / "a.csv", rows))
    random.Random(0).shuffle(rows)
    second = bench_forecast(write_csv(tmp_path / "b.csv", rows))
    assert {**first, "file": ""} == {**second, "file": ""}


def test_runs_are_taken_by_date_then_name(tmp_path: Path) -> None:
    curve = Recipe().run(np.random.default_rng(0))
    names = ["z/2026-03-17_a/s10", "a/2026-03-18_a/s1", "z/2026-03-17_a/s9", "b/2025-12-31/s1"]
    path = write_csv(tmp_path / "c.csv", [row for name in names for row in rows_of(name, curve)])
    assert read_curves(path).names == (names[3], names[2], names[0], names[1])


def test_the_loss_is_used_where_bits_per_byte_are_missing(tmp_path: Path) -> None:
    rows = [(*row[:6], "") for row in study_rows(8)]
    facts = bench_forecast(write_csv(tmp_path / "nats.csv", rows))
    bits = bench_forecast(write_csv(tmp_path / "bits.csv", study_rows(8)))
    assert (facts["unit"], bits["unit"]) == ("nats", "bits per byte")
    median = facts["forecasts"]["ours"]["50"]["median"]
    assert median == pytest.approx(3 * bits["forecasts"]["ours"]["50"]["median"], rel=1e-6)


def test_the_budget_is_what_most_runs_share(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    timed = [rows_of(f"run{k}", Recipe().run(rng), seconds=300 + k, total=5000) for k in range(6)]
    timed += [rows_of(f"long{k}", Recipe().run(rng), seconds=4000 + 999 * k, total=5000) for k in range(3)]
    # Stopped by the clock: none reaches its total_steps.
    rows = [(name, kind, step // 2, *rest) for one in timed for name, kind, step, *rest in one]
    rows += [row for row in rows_of("early", Recipe().run(rng)) if row[4] < 200]
    rows += 2 * rows_of("sparse", Recipe().run(rng, readings=7))
    found = read_curves(write_csv(tmp_path / "timed.csv", rows))
    assert (found.names, found.runs) == (tuple(f"run{k}" for k in range(6)), 11)
    assert found.budget == "302 s"
    assert all(curve.complete for curve in found.curves)


def test_runs_of_unlike_speed_are_aligned_by_steps(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    curves = [edited(Recipe(), rng).run(rng) for _ in range(7)]
    rows = [row for k, c in enumerate(curves) for row in rows_of(f"run{k}", c, seconds=200.0 * 1.3**k)]
    found = read_curves(write_csv(tmp_path / "steps.csv", rows))
    assert (found.budget, len(found.names)) == ("total_steps", 7)
    assert found.curves[6].progress == pytest.approx(curves[6].progress, abs=0.001)
    untimed = [(*row[:4], "", *row[5:]) for row in rows]
    assert read_curves(write_csv(tmp_path / "untimed.csv", untimed)).budget == "total_steps"


def test_learning_rates_are_read_where_there_are_any(tmp_path: Path) -> None:
    rows = [(*row, 0.1 if row[4] < 200 else 0.02) for row in study_rows(3)]
    found = read_curves(write_csv(tmp_path / "lr.csv", rows, (*COLUMNS, "lr")))
    assert found.curves[0].until(0.5).rate == 1.0
    assert found.curves[0].rate == pytest.approx(0.2)


def test_cells_that_are_no_numbers_are_missing_readings(tmp_path: Path) -> None:
    rows = study_rows(8)
    rows += [
        ("t/2026-03-01_x/a.log", "val", 500, 1000, 150.0, cell, cell) for cell in ("nan", "inf", "-", "")
    ]
    facts = bench_forecast(write_csv(tmp_path / "holes.csv", rows))
    clean = bench_forecast(write_csv(tmp_path / "clean.csv", study_rows(8)))
    assert facts["forecasts"] == clean["forecasts"]


def test_stops_are_counted_pair_by_pair() -> None:
    finals = np.array([5.0, 4.0, 3.0, 4.5, 5.5, 2.0, 6.0])
    never = -np.inf
    # Run 5 wins against all five and is stopped against those that end below 3.5; run 6 loses against all
    # six and is stopped by half time against those below 4.2.
    bounds = np.full((7, 3), never)
    bounds[5], bounds[6] = [never, 3.5, 1.0], [4.2, 1.0, 9.0]
    stops = _stops(bounds, finals)
    every, best = stops["all pairs"], stops["best so far"]
    assert (every["winners"], every["winners_stopped"]) == (5, 1)
    assert (every["losers"], every["losers_stopped_by_half"]) == (6, 3)
    assert (best["winners"], best["winners_stopped"], best["losers"]) == (1, 1, 1)
    assert best["losers_stopped_by_half_rate"] == 1.0


def test_one_run_is_enough_for_errors_but_not_for_stops(tmp_path: Path) -> None:
    facts = bench_forecast(write_csv(tmp_path / "one.csv", study_rows(1)))
    assert facts["forecasts"]["ours"]["30"]["runs"] == 1
    assert facts["stops"]["ours"]["all pairs"]["winners_stopped_rate"] is None
    assert render_forecast(facts).endswith("-")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "No such file"),
        ("", "lacks the column run, kind"),
        ("run,kind,step,loss\n", "lacks the column time_s"),
        ("run,kind,time_s\n", "lacks the column bpb or loss"),
        ("run,kind,step,total_steps,time_s,loss,bpb\n", "no useful run"),
        ("run,kind,step,total_steps,time_s,loss,bpb\na,val,1,1,1,1,1\n", "no useful run"),
        ("run,kind,loss,time_s\n" + "".join(f"a,val,{k},\n" for k in range(9)), "no useful run: no time_s"),
        ("\udcff\udcfe", "cannot read"),
    ],
)
def test_a_bad_file_gets_one_clear_line(tmp_path: Path, text: str | None, says: str) -> None:
    path = tmp_path / "curves.csv"
    if text is not None:
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigurationError, match=says) as caught:
        bench_forecast(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_command_fails_with_code_2(tmp_path: Path) -> None:
    result = call("bench", "forecast", "--curves", tmp_path)
    assert result.returncode == 2
    assert result.stderr == f"error: cannot read the curves in {tmp_path}: Is a directory\n"
