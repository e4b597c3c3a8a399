"""A project in the manner of karpathy/autoresearch, small enough to run for real in every test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PREPARE = '''"""Makes the data once; has what train.py must not change. Frozen."""

import math
import os

import torch

from letters import ALPHABET

TIME_BUDGET = 0.5 * 1  # seconds of training
MAX_SEQ_LEN = 16
CACHE_DIR = os.path.join(os.path.expanduser("~"), ".cache", "autoresearch")


def tokens(split):
    with open(os.path.join(CACHE_DIR, f"{split}.txt"), "rb") as file:
        return torch.frombuffer(bytearray(file.read()), dtype=torch.uint8).long()


@torch.no_grad()
def evaluate_bpb(model):
    text = tokens("val")
    loss = torch.nn.functional.cross_entropy(model(text[:-1]), text[1:])
    return loss.item() / math.log(2)


if __name__ == "__main__":
    os.makedirs(CACHE_DIR, exist_ok=True)
    for split, start in (("train", 0), ("val", 7)):
        with open(os.path.join(CACHE_DIR, f"{split}.txt"), "w") as file:
            file.write("".join(ALPHABET[(start + i * i) % 26] for i in range(4000)))
'''

TRAIN = '''"""Trains a one-layer model of bytes and scores it. This file is edited."""

import os
import time

import torch
from prepare import MAX_SEQ_LEN, TIME_BUDGET, evaluate_bpb, tokens

LEARNING_RATE = 0.1
BATCH_SIZE = 16

began = time.time()
model = torch.nn.Embedding(256, 256)
torch.nn.init.zeros_(model.weight)
optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
text = tokens("train")
step = 0
while time.time() - began < TIME_BUDGET:
    starts = torch.randint(len(text) - MAX_SEQ_LEN - 1, (BATCH_SIZE,))
    rows = torch.stack([text[s : s + MAX_SEQ_LEN + 1] for s in starts])
    loss = torch.nn.functional.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    step += 1
    print(f"\\rstep {step:05d} | loss {loss.item():.4f}", end="", flush=True)
print()
print("---")
print(f"val_bpb:          {evaluate_bpb(model):.6f}")
print(f"training_seconds: {time.time() - began:.1f}")
print(f"num_steps:        {step}")
'''

LETTERS = 'ALPHABET = "abcdefghijklmnopqrstuvwxyz"\n'


def make_project(folder: Path, train: str = TRAIN) -> Path:
    """The project, without its data."""
    folder.mkdir(parents=True)
    for name, text in (("prepare.py", PREPARE), ("letters.py", LETTERS), ("train.py", train)):
        (folder / name).write_text(text)
    (folder / "program.md").write_text("# What to try\n\nMake val_bpb low.\n")
    return folder


def make_data(project: Path, home: Path) -> Path:
    """Runs its prepare.py, as its user would, in a home of its own."""
    command = [sys.executable, "-B", "prepare.py"]
    subprocess.run(command, cwd=project, env=at_home(home), check=True)
    return home / ".cache" / "autoresearch"


def at_home(home: Path) -> dict[str, str]:
    """The environment of a user whose home this is; what libraries keep for themselves stays where it was."""
    real = os.environ.get("HOME", "/")
    kept = {"XDG_CACHE_HOME": f"{real}/.cache", "XDG_CONFIG_HOME": f"{real}/.config"}
    return {**kept, **os.environ, "HOME": str(home)}
