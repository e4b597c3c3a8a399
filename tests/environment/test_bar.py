"""What cannot lead is challenged less."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from autoresearch_rl.environment.evaluator import Rows
from autoresearch_rl.environment.frozen import FrozenEnvironment

# Every byte is as likely as any other: 8 bits per byte, without training.
UNIFORM = """
import torch
from torch import nn


class Uniform(nn.Module):
    def forward(self, idx):
        return torch.zeros(*idx.shape, 256)


def train(env):
    return Uniform()
"""


@pytest.mark.parametrize(("bar", "challenges"), [(0.0, 64), (7.9, 64), (8.1, 512), (math.inf, 512)])
def test_a_score_below_the_bar_is_challenged_on_every_row(
    environment: FrozenEnvironment, bar: float, challenges: int
) -> None:
    tokens = environment.corpus.rows("val", 512, environment.task.seq_len)
    larger = replace(environment, rows={"val": Rows(tokens, environment.rows["val"].token_bytes)})
    outcome = larger.run(UNIFORM, seed=1, bar=bar)
    assert outcome.val_bpb == pytest.approx(8.0), outcome.reason
    assert outcome.challenges == challenges
