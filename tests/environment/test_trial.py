"""Whole trials in a real sandbox: what honest and broken scripts get. Hostile ones: `tests/redteam`."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autoresearch_rl.environment.frozen import FrozenEnvironment
from autoresearch_rl.errors import EnvironmentChanged
from autoresearch_rl.records import Outcome, OutcomeStatus
from tiny import BIGRAM

UNIGRAM_BPB = 4.4  # about what a model that has learnt nothing but letter frequencies reaches here

HEAD = "import torch\nfrom torch import nn\nimport torch.nn.functional as F\n"


def run(environment: FrozenEnvironment, script: str, **changes: object) -> Outcome:
    changed = replace(environment, task=replace(environment.task, **changes)) if changes else environment
    return changed.run(script, seed=1)


# --- honest


def test_an_honest_script_gets_the_score_of_an_independent_reference(
    each_environment: FrozenEnvironment,
) -> None:
    """A model without training has a score that can be computed here, from the rows alone."""
    script = HEAD + (
        "class Fixed(nn.Module):\n"
        "    def forward(self, idx):\n"
        "        return F.one_hot(idx, 256).float() * 3 + torch.arange(256) / 100\n"
        "def train(env):\n"
        "    return Fixed()\n"
    )
    outcome = run(each_environment, script)
    assert outcome.status is OutcomeStatus.OK, outcome.reason
    task = each_environment.task
    rows = each_environment.rows["val"].tokens.astype(int)
    logits = np.eye(256)[rows[:, :-1]] * 3 + np.arange(256) / 100
    nats = np.log(np.exp(logits).sum(-1)) - np.take_along_axis(logits, rows[:, 1:, None], -1)[..., 0]
    assert outcome.val_bpb == pytest.approx(nats.mean() / math.log(2), abs=1e-6)
    assert outcome.challenges == task.rows


def test_training_learns_within_the_budget_and_is_probed(environment: FrozenEnvironment) -> None:
    outcome = run(environment, BIGRAM)
    assert outcome.status is OutcomeStatus.OK, outcome.reason
    assert outcome.val_bpb is not None
    assert outcome.val_bpb < UNIGRAM_BPB
    assert outcome.train_seconds <= environment.task.seconds + environment.task.grace
    assert len(outcome.probes) >= 3
    assert outcome.probes[-1].bpb < outcome.probes[0].bpb
    assert outcome.scalars[-1]["loss"] < outcome.scalars[0]["loss"]
    assert outcome.peak_memory_mb > 50
    assert outcome.sandbox == environment.backend.name


def test_the_wall_clock_and_a_free_setup_work_too(environment: FrozenEnvironment) -> None:
    slow_setup = BIGRAM.replace("def train(env):\n", "def train(env):\n    import time; time.sleep(1.5)\n")
    outcome = run(environment, slow_setup, clock="wall", setup="free", seconds=0.4)
    assert outcome.status is OutcomeStatus.OK, outcome.reason
    assert outcome.train_seconds < 1.0
    outcome = run(environment, slow_setup, clock="wall", setup="counted", seconds=0.4)
    assert outcome.status is OutcomeStatus.TIMEOUT


# --- broken


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        ("    raise ValueError('no\\x1b[31m luck')\n", "crash", "ValueError: no luck"),
        ("    return None\n", "crash", "returned NoneType; expected a torch.nn.Module"),
        ("    import os; os._exit(7)\n", "crash", "exit code 7"),
        ("    import ctypes; ctypes.string_at(0)\n", "crash", "SIGSEGV"),
        ("    raise SystemExit(0)\n", "crash", "SystemExit"),
        ("    raise ValueError('\\ud800 half')\n", "crash", "ValueError: ? half"),
        ("    return nn.Embedding(256, 100)\n", "crash", "expected logits of shape (16, 32, 256)"),
        ("    return nn.Embedding(256, 256).to(torch.complex64)\n", "crash", "torch.complex64"),
        ("    m = nn.Embedding(256, 256); m.f = lambda: 0; return m\n", "crash", "pickle"),
        ("    m = nn.Embedding(256, 256); m.weight.data[:] = float('nan'); return m\n", "invalid", "finite"),
        ("    return nn.Linear(4000, 4000)\n", "crash", ""),
        ("    x = [torch.empty(1 << 24) for _ in range(200)]\n", "crash", "memory"),
    ],
)  # fmt: skip
def test_a_broken_script_gets_a_reason_and_no_score(
    environment: FrozenEnvironment, body: str, status: str, reason: str
) -> None:
    outcome = run(environment, f"{HEAD}def train(env):\n{body}", memory_mb=1024)
    assert (str(outcome.status), outcome.val_bpb) == (status, None), outcome.reason
    assert reason in outcome.reason
    assert "\x1b" not in outcome.reason + outcome.log


def test_a_traceback_shows_the_scripts_own_line(environment: FrozenEnvironment) -> None:
    outcome = run(environment, f"{HEAD}def train(env):\n    print('before')\n    return undefined_name\n")
    assert "undefined_name" in outcome.log
    assert 'File "train.py", line 6' in outcome.log
    assert outcome.log.startswith("before")


# --- the environment itself


def test_a_changed_task_file_stops_everything_and_is_named(environment: FrozenEnvironment) -> None:
    path = environment.task.folder / "task.toml"
    before = path.read_text()
    try:
        path.write_text(before + "# easier now\n")
        with pytest.raises(EnvironmentChanged, match=r"task\.toml has changed"):
            environment.run(BIGRAM, seed=0)
    finally:
        path.write_text(before)


def test_nothing_is_left_after_many_outcomes(environment: FrozenEnvironment) -> None:
    def count() -> tuple[int, int]:
        folders = len(list(Path("/tmp").glob(f"autoresearch-{os.getpid()}-*")))
        return len(os.listdir("/proc/self/fd")), folders

    run(environment, f"{HEAD}def train(env):\n    return None\n")
    before = count()
    for body in ("    return None\n", "    import os; os._exit(1)\n", "    return nn.Embedding(256, 256)\n"):
        run(environment, f"{HEAD}def train(env):\n{body}")
    assert count()[1] == before[1]
    assert count()[0] <= before[0] + 1  # a log reader may close its end a moment later
