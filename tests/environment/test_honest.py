"""Honest models get the score that they have in an ordinary process, in each sandbox."""

from __future__ import annotations

import math
import types
from dataclasses import replace

import pytest
import torch

from autoresearch_rl.environment.evaluator import leak_bound
from autoresearch_rl.environment.frozen import FrozenEnvironment
from autoresearch_rl.records import OutcomeStatus

# No clock decides anything here: the same data in the same order give the same model everywhere.
SCRIPT = """
import torch
import torch.nn.functional as F
from torch import nn

COMPILED = False
BFLOAT16 = False


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.qkv, self.out = nn.LayerNorm(48), nn.Linear(48, 144), nn.Linear(48, 48)

    def forward(self, x):
        q, k, v = self.qkv(self.norm(x)).unflatten(-1, (3, 2, 24)).transpose(1, 3).unbind(2)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return x + self.out(y.transpose(1, 2).flatten(2))


class Model(nn.Module):
    def __init__(self, vocab_size):
        super().__init__()
        self.embedding, self.block = nn.Embedding(vocab_size, 48), Block()
        self.head = nn.Linear(48, vocab_size)

    def forward(self, idx):
        with torch.autocast("cpu", torch.bfloat16, enabled=BFLOAT16):
            return self.head(F.gelu(self.block(self.embedding(idx)))).float()


def train(env):
    torch.manual_seed(7)
    model = Model(env.vocab_size)
    forward = torch.compile(model) if COMPILED else model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    tokens = torch.tensor(env.train_tokens[: 8 * 8 * 33]).long().view(8, 8, 33)
    for batch in tokens:
        loss = F.cross_entropy(forward(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return forward
"""


def variant(name: str) -> str:
    return SCRIPT.replace(f"{name} = False", f"{name} = True")


def reference(environment: FrozenEnvironment, script: str) -> float:
    """Bits per byte of what the script trains here, by torch's own cross-entropy."""
    module = types.ModuleType("train")
    exec(script.replace("COMPILED = True", "COMPILED = False"), module.__dict__)
    env = types.SimpleNamespace(vocab_size=256, train_tokens=environment.corpus.train_tokens)
    rows = torch.from_numpy(environment.rows["val"].tokens.astype("int64"))
    model = module.train(env).eval()
    with torch.inference_mode():
        logits = torch.cat([model(part[:, :-1]) for part in rows.split(64)])
    nats = torch.nn.functional.cross_entropy(logits.double().flatten(0, 1), rows[:, 1:].flatten())
    return float(nats) / math.log(2)


@pytest.mark.parametrize(("name", "tolerance"), [("PLAIN", 1e-6), ("COMPILED", 1e-6), ("BFLOAT16", 2e-3)])
def test_an_honest_model_has_the_score_of_an_ordinary_process(
    each_environment: FrozenEnvironment, name: str, tolerance: float
) -> None:
    script = variant(name)
    roomy = replace(each_environment.task, seconds=60.0, scratch_mb=256)  # a compiler takes 20 CPU seconds
    outcome = replace(each_environment, task=roomy).run(script, seed=1)
    assert outcome.status is OutcomeStatus.OK, outcome.reason + outcome.log
    assert outcome.val_bpb == pytest.approx(reference(each_environment, script), abs=tolerance)
    assert outcome.challenges == each_environment.task.rows
    assert leak_bound(outcome.challenges) == pytest.approx(3 / 64)
