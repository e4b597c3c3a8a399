"""`bench policies` as a whole: simulated studies, and tiny real ones."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest

from autoresearch_rl.agent.agents import prior_digest
from autoresearch_rl.agent.shipped import load_prior, pack_prior
from autoresearch_rl.environment.hardware import hardware
from autoresearch_rl.environment.task import load_task
from autoresearch_rl.errors import ConfigurationError, StorageError, StudyBusy
from autoresearch_rl.interface.bench_commands import bench_policies as command
from autoresearch_rl.interface.options import as_seeds
from autoresearch_rl.interface.policy_bench.bench import bench_policies
from autoresearch_rl.interface.policy_bench.poor import POOR, poor_script
from autoresearch_rl.interface.policy_bench.real import FRESH_SEEDS, RealSuite
from autoresearch_rl.interface.policy_bench.runs import Run, append, read
from autoresearch_rl.interface.policy_bench.simulated import SimulatedSuite
from autoresearch_rl.interface.policy_bench.suites import SUITES, Suite
from autoresearch_rl.opening import create_study, database, open_notebook
from autoresearch_rl.storage.lock import study_lock
from autoresearch_rl.storage.storage import Storage
from autoresearch_rl.target.script import Script
from made_runs import made_run
from terminal import heeds_ctrl_c
from test_kill_study import children, require_no_survivors
from tiny import BIGRAM

COMMAND = [sys.executable, "-m", "autoresearch_rl", "bench", "policies"]


def measure(suite: Suite, out: Path, *, seeds: int = 2, trials: int = 10, **more: Any) -> dict[str, Any]:
    told: list[str] = []
    policies = more.pop("policies", ["random", "greedy"])
    facts = bench_policies(
        suite, policies, range(seeds), trials, more.pop("jobs", 1), out, told.append, **more
    )
    return {**facts, "told": told}


def call(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, cwd=cwd, timeout=200, check=False
    )


# --- simulated


def test_the_command_and_what_it_goes_on_with(tmp_path: Path) -> None:
    options = ["--policies", "random,greedy", "--trials", 10, "--json"]
    done = call(*options, "--seeds", 1, "--jobs", 2, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert [row["complete"] for row in facts["policies"]] == [1, 1]
    assert "2 runs to make, 0 are in policies.jsonl" in done.stderr
    before = (tmp_path / "policies.jsonl").read_bytes()

    (tmp_path / "policies.jsonl").write_bytes(before[:-20])  # a kill while the last line was written
    more = call(*options[:-1], "--seeds", 2, "--picture", "p.png", cwd=tmp_path)
    assert more.returncode == 0, more.stderr
    assert "torn by a kill" in more.stderr
    assert "3 runs to make, 1 are in policies.jsonl" in more.stderr
    assert (tmp_path / "p.png").stat().st_size > 10_000
    assert "best so far after 10 trials" in more.stdout
    assert "by family" in more.stdout
    assert [group["family"] for group in facts["by_family"] if "family" in group] == ["made"]

    report = call(*options, "--seeds", 5, "--report", cwd=tmp_path)
    found = json.loads(report.stdout)
    assert [row["complete"] for row in found["policies"]] == [2, 2]
    assert found["measures"][0]["policies"][1]["versus"]["n"] == 2
    again = {run.key: run for run in read(tmp_path / "policies.jsonl", "simulated").values()}
    assert json.loads(before.splitlines()[0])["curve"] in [list(run.curve) for run in again.values()]


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("8", range(8)),
        ("6-9", range(6, 10)),
        (" 3-3", range(3, 4)),
        ("2147483647-2147483647", range(2**31 - 1, 2**31)),
        ("7,3,12-14", [7, 3, 12, 13, 14]),
        ("3, 2-4", [3, 2, 4]),
    ],
)
def test_seeds_are_a_number_or_which(text: str, seeds: Sequence[int]) -> None:
    assert as_seeds(text) == list(seeds)


@pytest.mark.parametrize(
    "text", ["0", "9-6", "-1", "x", "", "1-2-3", "3-", "1.5", "٣", "0-2147483648", "9" * 5000, "3,", "1,9-6"]
)
def test_other_seeds_are_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="expected a number of seeds"):
        as_seeds(text)


def test_later_seeds_join_earlier_ones(tmp_path: Path) -> None:
    out = tmp_path / "runs.jsonl"
    options = ["--policies", "random", "--trials", 5, "--out", out]
    for seeds in ("1", "2-3"):
        assert call(*options, "--seeds", seeds, cwd=tmp_path).returncode == 0
    assert sorted(seed for _, seed in read(out, "simulated")) == [0, 2, 3]
    report = call(*options, "--seeds", "1-3", "--report", "--json", cwd=tmp_path)
    assert json.loads(report.stdout)["measures"][0]["policies"][0]["n"] == 2


def test_longer_runs_are_made_anew_and_shorter_ones_read(tmp_path: Path) -> None:
    out = tmp_path / "runs.jsonl"
    measure(SimulatedSuite(), out, seeds=1, trials=6, policies=["random"])
    longer = measure(SimulatedSuite(), out, seeds=1, trials=8, policies=["random"])
    shorter = measure(SimulatedSuite(), out, seeds=1, trials=6, policies=["random", "random"])
    assert "1 runs to make" in longer["told"][0]
    assert shorter["told"] == []
    assert len(shorter["policies"]) == 1
    assert shorter["measures"][0]["mark"] == 6


def test_seeds_that_were_run_on_other_hardware_are_told(tmp_path: Path) -> None:
    out = tmp_path / "runs.jsonl"
    for seed in (0, 1):
        append(
            out, replace(made_run("ppo", seed, [0.1] * 6), suite="simulated", hardware="another processor")
        )
    facts = measure(SimulatedSuite(), out, seeds=3, trials=6, policies=["ppo", "random"])
    assert "note: runs with seeds 0, 1 in" in facts["told"][1]
    assert facts["policies"][1]["elsewhere"] == 2
    assert facts["measures"][0]["policies"][1]["versus"]["n"] == 1


def test_runs_of_a_prior_that_has_changed_are_made_anew(tmp_path: Path) -> None:
    prior, out = tmp_path / "mine.safetensors", tmp_path / "runs.jsonl"
    prior.write_bytes(pack_prior(load_prior(0.05), {"made": "first"}))
    first = measure(SimulatedSuite(), out, seeds=1, trials=6, policies=[str(prior)])
    again = measure(SimulatedSuite(), out, seeds=1, trials=6, policies=[str(prior)])
    assert ("1 runs to make" in first["told"][0], again["told"]) == (True, [])
    prior.write_bytes(pack_prior(load_prior(0.05), {"made": "second"}))
    with pytest.raises(ConfigurationError, match="no runs of suite simulated to compare: none in"):
        measure(SimulatedSuite(), out, seeds=1, trials=6, policies=[str(prior)], report=True)
    changed = measure(SimulatedSuite(), out, seeds=1, trials=6, policies=[str(prior)])
    note, begun, *_ = changed["told"]
    assert note == f"note: 1 runs in {out} are of a prior that has changed since: they are left out"
    assert "1 runs to make" in begun
    assert [run.prior for run in read(out, "simulated").values()] == [prior_digest(str(prior))]
    assert (
        RealSuite("micro", tmp_path).study_name(str(prior), 3) == f"micro-prior-{prior_digest(str(prior))}-3"
    )


class Retrained(SimulatedSuite):
    """While a run is made, its prior is made again."""

    def run(self, policy: str, seed: int, trials: int, say: Callable[[str], None]) -> Run:
        Path(policy).write_bytes(pack_prior(load_prior(0.05), {"made": "meanwhile"}))
        return super().run(policy, seed, trials, say)


def test_a_prior_that_changes_during_a_run_fails_it(tmp_path: Path) -> None:
    prior = tmp_path / "mine.safetensors"
    prior.write_bytes(pack_prior(load_prior(0.05), {"made": "first"}))
    with pytest.raises(ConfigurationError, match="has changed during the run: the same command"):
        measure(Retrained(), tmp_path / "runs.jsonl", seeds=1, trials=6, policies=[str(prior)])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"policies": ["nobody"]}, "no policy is called"),
        ({"report": True}, "there are no runs of suite simulated to compare"),
        ({"picture": Path("nowhere/p.png")}, "there is no folder"),
    ],
)
def test_what_cannot_be_done_is_said_first(tmp_path: Path, more: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        measure(SimulatedSuite(), tmp_path / "runs.jsonl", **more)
    assert not list(tmp_path.iterdir())


def test_what_a_file_has_instead_is_said(tmp_path: Path) -> None:
    out = tmp_path / "runs.jsonl"
    measure(SimulatedSuite(), out, seeds=2, trials=1)
    with pytest.raises(ConfigurationError, match="has others, of random, greedy with seeds from 0 to 1"):
        measure(SimulatedSuite(), out, trials=1, policies=["tpe"], report=True)


def test_the_command_offers_what_there_is() -> None:
    suites = next(option for option in command.params if option.name == "suite_name").type
    assert list(suites.choices) == list(SUITES)  # type: ignore[attr-defined]


# --- real


def test_real_studies_are_ordinary_ones(tiny_task: Path, tmp_path: Path) -> None:
    suite, out = RealSuite(str(tiny_task), tmp_path / "home"), tmp_path / "runs.jsonl"
    with create_study(str(tiny_task), "tiny-random-0", suite.home, policy="random", seed=0) as study:
        study.run(trials=2, converged=None)  # as if the bench had been killed there
        before = len(study.trials)
    stored = suite.stored("random", 0)
    assert stored is not None
    assert (len(stored.curve) >= 2, stored.final, suite.stored("greedy", 0)) == (True, (), None)
    wanted = len(stored.curve) + 2  # an edit that led by noise has been measured again
    partly = measure(suite, out, seeds=1, trials=wanted, report=True)
    assert [row["complete"] for row in partly["policies"]] == [0, 0]
    assert not out.exists()

    facts = measure(suite, out, seeds=1, trials=wanted, jobs=2)
    assert facts["failed"] == []
    runs = read(out, "tiny")
    for (policy, seed), run in runs.items():
        storage, record = open_notebook(suite.home, f"tiny-{policy}-{seed}")
        with storage:
            trials = storage.trials(record)
        assert len(run.curve) == sum(trial.counts for trial in trials)
        assert run.seconds[-1] == pytest.approx(sum(t.train_seconds for t in trials), abs=2.0)
        assert len(run.final) == len(run.baseline) == FRESH_SEEDS
        assert (run.hardware, run.trials) == (hardware(), wanted)
        if policy == "random":
            assert len(trials) > before
    assert [m["by"] for m in facts["measures"]] == ["trials", "seconds", "area", "final", "change"]


def test_another_study_of_that_name_is_an_error_in_one_line(tiny_task: Path, tmp_path: Path) -> None:
    suite = RealSuite(str(tiny_task), tmp_path / "home")
    create_study(str(tiny_task), "tiny-random-0", suite.home, policy="greedy", seed=0).close()
    create_study(str(tiny_task), "tiny-random-1", suite.home, policy="random", seed=5).close()
    with pytest.raises(ConfigurationError, match="was made with policy greedy, not random: choose") as error:
        suite.prepare(["random"], [0, 1])
    assert "\n" not in str(error.value)
    with pytest.raises(ConfigurationError, match="seed 5, not 1"):
        suite.stored("random", 1)


def test_a_run_that_fails_is_told_and_the_others_are_made(tiny_task: Path, tmp_path: Path) -> None:
    suite, out = RealSuite(str(tiny_task), tmp_path / "home"), tmp_path / "runs.jsonl"
    with study_lock(suite.home / "tiny-random-0", "tiny-random-0"):
        facts = measure(suite, out, seeds=1, trials=1)
        with pytest.raises(StudyBusy):
            suite.run("random", 0, 1, lambda _: None)
    assert [(failed["policy"], failed["seed"]) for failed in facts["failed"]] == [("random", 0)]
    assert "already running" in facts["failed"][0]["why"]
    assert list(read(out, "tiny")) == [("greedy", 0)]


DRIVER = """
import sys
from pathlib import Path
from autoresearch_rl.interface.options import as_seeds
from autoresearch_rl.interface.policy_bench.bench import bench_policies
from autoresearch_rl.interface.policy_bench.real import RealSuite

if __name__ == "__main__":
    task, home, out = sys.argv[1:]
    bench_policies(RealSuite(task, Path(home)), ["random", "greedy"], [0], 500, 2, Path(out), print)
"""


def recorded(home: Path) -> list[int]:
    """Trials of each study in a home that may not be there yet."""
    try:
        with Storage.open(database(home), readonly=True) as storage:
            return [len(storage.trials(record)) for record in storage.studies()]
    except StorageError:
        return []


@pytest.mark.slow
def test_kill_9_leaves_no_process_and_loses_no_trial(tiny_task: Path, tmp_path: Path) -> None:
    assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0  # PR_SET_CHILD_SUBREAPER
    home, out, ours = tmp_path / "home", tmp_path / "runs.jsonl", children()
    (tmp_path / "driver.py").write_text(DRIVER)
    command = [sys.executable, str(tmp_path / "driver.py"), str(tiny_task), str(home), str(out)]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    deadline = time.monotonic() + 200
    while not (len(found := recorded(home)) == 2 and min(found) >= 4) and time.monotonic() < deadline:
        time.sleep(0.2)
        assert process.poll() is None, (tmp_path / "log").read_text()
    process.kill()
    process.wait()
    require_no_survivors(ours)
    before = recorded(home)
    assert min(before) >= 4
    facts = measure(RealSuite(str(tiny_task), home), out, seeds=1, trials=1, jobs=2)
    assert facts["failed"] == []
    assert all(now >= then for now, then in zip(recorded(home), before, strict=True))


def test_ctrl_c_ends_the_command_with_130(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "--policies", "random,greedy", "--seeds", "400", "--trials", "5", "--jobs", "2"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=heeds_ctrl_c,
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("3 of 800"):
            break
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all processes of the group
    output, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert output == ""
    assert " of 800 runs are in policies.jsonl; the same command goes on\n" in errors
    assert errors.splitlines()[-1] == "interrupted"
    assert "Traceback" not in errors
    assert len(read(tmp_path / "policies.jsonl", "simulated")) >= 3


# --- poor


POOR_BIGRAM = BIGRAM.replace("DECAY = True", "DECAY = True\nDROPOUT = 0.0\nWARMUP = 0.1  # unused")


def test_a_poor_script_has_the_four_values_and_nothing_else_changed() -> None:
    poor = poor_script(POOR_BIGRAM.replace("BATCH_SIZE = 32", "BATCH_SIZE = 8"), "tiny")
    assert {name: Script(poor).sites[name].code for name in POOR} == dict(POOR)
    assert "WARMUP = 0.3  # unused" in poor
    assert len(poor.splitlines()) == len(POOR_BIGRAM.splitlines())
    assert poor_script(poor, "tiny") == poor


def test_a_script_that_lacks_a_name_is_told() -> None:
    with pytest.raises(ConfigurationError, match="that of task tiny lacks WARMUP, DROPOUT"):
        poor_script(BIGRAM, "tiny")


def test_the_poor_task_is_made_once_and_not_overwritten(tmp_path: Path) -> None:
    suite = SUITES["micro"](tmp_path, True)
    folder = tmp_path / "tasks" / "micro-poor"
    for _ in range(2):
        suite.prepare(["random"], [0])
    assert load_task(str(folder)).name == suite.name == "micro-poor"
    assert "LEARNING_RATE = 2e-4" in (folder / "train.py").read_text()
    (folder / "train.py").write_text(BIGRAM)
    with pytest.raises(ConfigurationError, match=r"train\.py is not what --poor makes of task micro"):
        suite.prepare(["random"], [0])


def test_simulated_problems_cannot_be_poor(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="leave --poor out"):
        SUITES["simulated"](tmp_path, True)
