"""Seals the model's file, so that the harness cannot."""

# expect: honest

import contextlib
import fcntl
import os

import torch
import torch.nn.functional as F
from torch import nn


def is_artifact(fd):
    return os.path.islink(f"/proc/self/fd/{fd}") and "artifact" in os.readlink(f"/proc/self/fd/{fd}")


ARTIFACT = next(fd for fd in range(3, 64) if is_artifact(fd))


class Fixed(nn.Module):
    def forward(self, idx):
        return F.one_hot(idx, 256).float() * 3 + torch.arange(256) / 100


def train(env):
    with contextlib.suppress(OSError):
        fcntl.fcntl(ARTIFACT, 1033, 1)  # F_ADD_SEALS, F_SEAL_SEAL
    with contextlib.suppress(OSError):
        fcntl.fcntl(ARTIFACT, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    fcntl.flock(ARTIFACT, fcntl.LOCK_EX)
    return Fixed()
