"""Runs a script in this process at toy size: an environment with random tokens and a clock that jumps."""

from __future__ import annotations

import io
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

import autoresearch_rl

STEPS = 6
VOCAB = 50
LENGTH = 16
_NAME = "toy_script"

TASKS = Path(autoresearch_rl.__file__).parent / "tasks"
STDLIB = (TASKS / "stdlib" / "train.py").read_text(encoding="utf-8")
SCRIPT_FOLDER = Path(__file__).parent / "scripts"
MINIMAL = (SCRIPT_FOLDER / "minimal_style.txt").read_text(encoding="utf-8")
NANOGPT = (SCRIPT_FOLDER / "nanogpt_style.txt").read_text(encoding="utf-8")


def small(source: str) -> str:
    """The same script with a width of 32, two layers and short rows."""
    sizes = {
        "WIDTH = 128": "WIDTH = 32",
        "DEPTH = 4": "DEPTH = 2",
        "SEQ_LEN = 128": f"SEQ_LEN = {LENGTH}",
        "BATCH_SIZE = 16": "BATCH_SIZE = 8",
        "block_size: int = 128": f"block_size: int = {LENGTH}",
        "n_layer: int = 4": "n_layer: int = 2",
        "n_embd: int = 128": "n_embd: int = 32",
        "batch_size: int = 16": "batch_size: int = 8",
        "dim=64": "dim=32",
        "context=64": f"context={LENGTH}",
    }
    return replaced(source, sizes)


def replaced(source: str, parts: dict[str, str]) -> str:
    """A source with some of its text replaced."""
    for old, new in parts.items():
        source = source.replace(old, new)
    return source


SCRIPTS = {"stdlib": small(STDLIB), "nanogpt": small(NANOGPT), "minimal": small(MINIMAL)}


class Env:
    """What `train(env)` uses of the real environment."""

    def __init__(self) -> None:
        self.vocab_size, self.seq_len, self.seed, self.budget = VOCAB, LENGTH, 0, 1.0
        self.device = torch.device("cpu")
        self.progress = 0.0
        self.losses: list[float] = []

    def time_left(self) -> float:
        return 1.0 - self.progress

    def batches(self, batch_size: int, seq_len: int = LENGTH) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        generator = torch.Generator().manual_seed(1)
        for step in range(STEPS):
            self.progress = 0.99 * step / (STEPS - 1)
            rows = torch.randint(VOCAB, (batch_size, seq_len + 1), generator=generator)
            yield rows[:, :-1], rows[:, 1:]

    def watch(self, model: nn.Module) -> None:
        self.watched = model

    def report(self, **scalars: float) -> None:
        self.losses.append(float(scalars["loss"]))


def load(source: str) -> types.ModuleType:
    module = types.ModuleType(_NAME)
    sys.modules[_NAME] = module  # where pickle looks for the script's classes
    exec(compile(source, "train.py", "exec"), module.__dict__)
    return module


def train(source: str) -> tuple[nn.Module, list[float]]:
    """The model after a few steps, and the losses."""
    torch.manual_seed(0)
    env = Env()
    model = load(source).train(env)
    assert isinstance(model, nn.Module)
    return model.eval(), env.losses


@torch.no_grad()
def logits(model: nn.Module, idx: torch.Tensor) -> torch.Tensor:
    result = model(idx)
    assert isinstance(result, torch.Tensor)
    assert result.shape == (*idx.shape, VOCAB)
    assert result.isfinite().all()
    return result


def saved(model: nn.Module) -> bytes:
    buffer = io.BytesIO()
    torch.save(model, buffer)
    return buffer.getvalue()


def served(source: str, data: bytes) -> nn.Module:
    """The model in a process that has only imported the script."""
    load(source)
    model = torch.load(io.BytesIO(data), weights_only=False)
    assert isinstance(model, nn.Module)
    return model.eval()
