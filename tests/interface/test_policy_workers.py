"""Processes that work, fail, die, and end with their parent."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from autoresearch_rl.errors import StorageError
from autoresearch_rl.interface.policy_bench.runs import Key, Run
from autoresearch_rl.interface.policy_bench.workers import Failed, Say, spread
from made_runs import made_run
from terminal import heeds_ctrl_c


def work(key: Key, say: Say) -> Run:
    """Does what the policy's name says."""
    policy, seed = key
    if policy == "fail":
        raise StorageError("no space\nleft")
    if policy == "die":
        os._exit(7)
    say(f"begins {seed}")
    return made_run(policy, seed, [float(os.getpid())])


def wait_for_ever(key: Key, say: Say) -> Run:
    say(f"waits in {os.getpid()}")
    time.sleep(600)
    raise AssertionError


def test_jobs_are_done_by_as_many_processes_and_none_is_left() -> None:
    told: list[str] = []
    jobs = [("run", seed) for seed in range(5)]
    found = dict(spread(work, jobs, 2, told.append))
    runs = [found[job] for job in jobs]
    assert [run.seed for run in runs if isinstance(run, Run)] == [0, 1, 2, 3, 4]
    assert sorted(told) == [f"begins {seed}" for seed in range(5)]
    pids = {run.curve[0] for run in runs if isinstance(run, Run)}
    assert 1 <= len(pids) <= 2
    assert float(os.getpid()) not in pids
    assert not multiprocessing.active_children()


def test_what_fails_or_dies_does_not_end_the_rest() -> None:
    jobs = [("fail", 0), ("die", 0), ("run", 0)]
    found = dict(spread(work, jobs, 1, lambda _: None))
    assert found["fail", 0] == Failed("no space left")
    assert found["die", 0] == Failed("its process ended with exit code 7")
    assert isinstance(found["run", 0], Run)


def test_a_caller_who_stops_ends_them() -> None:
    for _ in spread(work, [("run", seed) for seed in range(9)], 2, lambda _: None):
        break
    assert not multiprocessing.active_children()


PARENT = """
import sys
from autoresearch_rl.interface.policy_bench.workers import spread
import test_policy_workers

if __name__ == "__main__":
    jobs = [("x", 0), ("x", 1)]
    list(spread(test_policy_workers.wait_for_ever, jobs, 2, lambda text: print(text, flush=True)))
"""


def begun(tmp_path: Path) -> tuple[subprocess.Popen[str], list[int]]:
    """A parent and its two workers."""
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    parent = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": path}, start_new_session=True, preexec_fn=heeds_ctrl_c,
    )  # fmt: skip
    assert parent.stdout is not None
    return parent, [int(parent.stdout.readline().split()[-1]) for _ in range(2)]


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if os.waitpid(pid, os.WNOHANG)[0]:  # they come to us when their parent dies
                return True
        except ChildProcessError:
            if not Path(f"/proc/{pid}").exists():
                return True
        time.sleep(0.02)
    return False


def test_kill_9_leaves_no_process(tmp_path: Path) -> None:
    assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0  # PR_SET_CHILD_SUBREAPER
    parent, workers = begun(tmp_path)
    parent.kill()
    parent.communicate()
    assert all(map(gone, workers))


def test_ctrl_c_in_the_terminal_is_for_the_parent_alone(tmp_path: Path) -> None:
    parent, workers = begun(tmp_path)
    os.killpg(parent.pid, signal.SIGINT)
    _, errors = parent.communicate(timeout=20)
    assert errors.count("KeyboardInterrupt") == 1, errors
    assert all(map(gone, workers))
