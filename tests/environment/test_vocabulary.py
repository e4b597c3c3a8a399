"""Large vocabularies: the score is per raw byte, and the trusted side stays small."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from autoresearch_rl.environment.evaluator import Rows
from tiny import TASK, make_task

TASK_8192 = TASK.replace("vocab_size = 256", "vocab_size = 8192").replace("seq_len = 32", "seq_len = 128")

# Its own process, because the peak of a process's memory never falls.
MEASURE = """
import json, math, resource, sys
from dataclasses import replace

import numpy as np

from autoresearch_rl.environment.evaluator import Rows
from autoresearch_rl.environment.frozen import open_environment
from autoresearch_rl.environment.task import load_task

SCRIPT = '''
import torch
from torch import nn


class Unigram(nn.Module):
    def __init__(self):
        super().__init__()
        self.logits = nn.Parameter(torch.arange(8192) / 4096)

    def forward(self, idx):
        return self.logits.expand(*idx.shape, 8192)


def train(env):
    return Unigram()
'''
environment = open_environment(load_task(sys.argv[1]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
random = np.random.default_rng(0)
rows = Rows(random.integers(8192, size=(200_000 // 128, 129)), random.integers(1, 9, size=8192))
outcome = replace(environment, rows={"val": rows}).run(SCRIPT, seed=0)
environment.close()
logits = np.arange(8192) / 4096
nats = np.log(np.exp(logits).sum()) - logits[rows.targets]
print(json.dumps({
    "reason": outcome.reason,
    "bpb": outcome.val_bpb,
    "expected": nats.sum() / (math.log(2) * rows.token_bytes[rows.targets].sum()),
    "challenges": outcome.challenges,
    "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
}))
"""


def test_200_thousand_tokens_of_a_vocabulary_of_8192_take_less_than_a_gigabyte(tmp_path: Path) -> None:
    task = make_task(tmp_path / "large", constants=TASK_8192.replace("seconds = 0.3", "seconds = 5.0"))
    done = subprocess.run([sys.executable, "-c", MEASURE, str(task)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["reason"] == ""
    assert found["bpb"] == pytest.approx(found["expected"], abs=1e-6)
    assert found["challenges"] == 200_000 // 128
    assert found["peak_mb"] < 1024


def test_bits_are_per_raw_byte() -> None:
    rows = Rows(np.array([[0, 1, 2]]), np.array([9, 1, 3]))
    assert rows.bits_per_byte(np.array([[math.log(2), 3 * math.log(2)]])) == pytest.approx(4 / (1 + 3))
