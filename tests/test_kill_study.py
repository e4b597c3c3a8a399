"""kill -9 at any instant loses at most the running trial, and counts none twice."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from autoresearch_rl.agent.agents import make_agent
from autoresearch_rl.environment.frozen import open_environment
from autoresearch_rl.environment.task import load_task
from autoresearch_rl.opening import create_study, database, open_notebook
from autoresearch_rl.records import Trial, TrialKind, Verdict

KILLS = 20
START, TRIAL = 4.0, 1.5  # seconds: half of the kills hit the start, half come after a first verdict


def children() -> set[int]:
    """Processes whose parent is this one; orphans of what we kill come to us (subreaper)."""
    lists = Path("/proc/self/task").glob("*/children")
    return {int(pid) for file in lists for pid in file.read_text().split()}


def reap(pids: set[int]) -> set[int]:
    """Collects the dead among `pids`; returns those that live on."""
    alive = set()
    for pid in pids:
        try:
            done, _ = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            continue
        if not done:
            alive.add(pid)
    return alive


def require_no_survivors(ours: set[int]) -> None:
    deadline = time.monotonic() + 10
    while (left := reap(children() - ours)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left, [Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ") for pid in left]


def require_consistent(home: Path, before: tuple[Trial, ...]) -> tuple[Trial, ...]:
    """What was recorded stays as it was; the policy is the one after the last recorded trial."""
    if not database(home).exists():
        return ()
    storage, study = open_notebook(home, "killed") if _exists(home) else (None, None)
    if storage is None or study is None:
        return ()
    with storage:
        trials = storage.trials(study)
        saved = storage.checkpoint(study)
    assert trials[: len(before)] == before
    assert [trial.number for trial in trials] == list(range(len(trials)))
    for trial in trials:
        assert (home / "killed" / "trials" / f"{trial.number:04d}" / "result.json").is_file()
    if trials:
        assert saved is not None
        assert saved[0] == trials[-1].number
        make_agent("ppo", 0).restore(saved[2])
    return trials


def wait_for_a_verdict(log: Path, known: int) -> None:
    """Returns when the study has printed the verdict of a trial that was not recorded before."""
    deadline = time.monotonic() + 120
    while f"\n#{known}" not in log.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)


def _exists(home: Path) -> bool:
    from autoresearch_rl.storage.storage import Storage

    with Storage.open(database(home)) as storage:  # a kill during the very first migration is mended here
        return storage.study("killed") is not None


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_kill_9_at_random_moments(tiny_task: Path, tmp_path: Path) -> None:
    assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0  # PR_SET_CHILD_SUBREAPER
    open_environment(
        load_task(str(tiny_task))
    ).close()  # remembers the leak scan: the kills are for the study
    home, ours = tmp_path / "home", children()
    command = [sys.executable, "-m", "autoresearch_rl", "run", str(tiny_task), "--study", "killed"]
    moments = random.Random(20261122)
    trials: tuple[Trial, ...] = ()
    for number in range(KILLS):
        with (tmp_path / "log").open("ab") as log:
            process = subprocess.Popen([*command, "--home", str(home)], stdout=log, stderr=log)
        if number % 2:
            wait_for_a_verdict(tmp_path / "log", len(trials))
        time.sleep(moments.uniform(0.0, TRIAL if number % 2 else START))
        assert process.poll() is None, (tmp_path / "log").read_text()[-2000:]
        process.send_signal(signal.SIGKILL)
        process.wait()
        require_no_survivors(ours)
        trials = require_consistent(home, trials)
    assert len(trials) >= KILLS // 2
    require_whole(home, trials)


def require_whole(home: Path, trials: tuple[Trial, ...]) -> None:
    """Opening the study once more brings all derived files up to date."""
    with create_study(name="killed", home=home) as study:
        assert tuple(study.trials) == trials
        commits = [commit.trial for commit in study.notebook.workspace.commits()]
    lines = (home / "killed" / "results.tsv").read_text().splitlines()
    assert len(lines) == len(trials) + 1
    keeps = [t.number for t in trials if t.verdict is Verdict.KEEP and t.kind is not TrialKind.REFERENCE]
    assert commits == [0, *keeps]
