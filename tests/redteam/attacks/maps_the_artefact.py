"""Keeps the model's file mapped for writing, in a child too, and changes it after the commit."""

# expect: honest

import mmap
import os
import time

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
    shared = mmap.mmap(ARTIFACT, 4096)
    if os.fork() == 0:
        time.sleep(0.02)
        while True:
            shared[0:8] = shared[0:8]
            time.sleep(0.001)
    return Fixed()
