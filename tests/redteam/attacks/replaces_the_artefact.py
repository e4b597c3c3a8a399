"""Puts a pipe in the place of the descriptor of the model's file."""

# expect: crash

import os

from torch import nn


def is_artifact(fd):
    return os.path.islink(f"/proc/self/fd/{fd}") and "artifact" in os.readlink(f"/proc/self/fd/{fd}")


ARTIFACT = next(fd for fd in range(3, 64) if is_artifact(fd))


def train(env):
    _, write = os.pipe()
    os.set_blocking(write, False)
    os.dup2(write, ARTIFACT)
    return nn.Linear(2, 2)
