"""A task small enough to run for real in every test: a bigram model, a fraction of a CPU-second."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

BIGRAM = '''"""A bigram model."""

import torch
from torch import nn

LEARNING_RATE = 0.1
BATCH_SIZE = 32
DECAY = True
BETAS = (0.9, 0.95)


class Bigram(nn.Module):
    def __init__(self, vocab_size):
        super().__init__()
        self.table = nn.Embedding(vocab_size, vocab_size)
        nn.init.zeros_(self.table.weight)

    def forward(self, idx):
        return self.table(idx)


def train(env):
    model = Bigram(env.vocab_size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, betas=BETAS)
    env.watch(model)
    for x, y in env.batches(BATCH_SIZE):
        lr = LEARNING_RATE * (1 - env.progress) if DECAY else LEARNING_RATE
        for group in optimizer.param_groups:
            group["lr"] = lr
        loss = nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        env.report(loss=loss.item(), lr=lr)
    return model
'''

TASK = """
name = "tiny"
summary = "For tests."
[budget]
seconds = 0.3
clock = "cpu"
setup = "counted"
startup_limit = 60.0
threads = 1
[data]
corpus = "stdlib"
vocab_size = 256
seq_len = 32
[evaluation]
bytes = 4096
probe_rows = 8
deadline = 60.0
[limits]
memory_mb = 2048
scratch_mb = 16
artifact_mb = 8
script_bytes = 65536
"""


def make_task(folder: Path, script: str = BIGRAM, constants: str = TASK) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "task.toml").write_text(constants)
    (folder / "train.py").write_text(script)
    return folder


def skip_without(backend: str) -> None:
    """Users need not have bubblewrap; our CI has."""
    if backend == "bubblewrap" and shutil.which("bwrap") is None:
        assert not os.environ.get("CI"), "CI has to test both sandboxes: install bubblewrap"
        pytest.skip("bwrap is not installed: only the Landlock sandbox is tested")
