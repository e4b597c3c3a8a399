"""Tells the second server from the first by the time at which its file was last read; peeks in the first."""

# expect: invalid
# reason: looks ahead

import os
import time

import torch
import torch.nn.functional as F
from torch import nn


class Model(nn.Module):
    def forward(self, idx):
        logits = F.one_hot(idx, 256).float() * 3 + torch.arange(256) / 100
        return logits + self.first * F.one_hot(idx.roll(-1, 1), 256) * 20.0

    def __setstate__(self, state):
        self.__dict__.update(state)
        fds = [int(name) for name in os.listdir("/proc/self/fd")]
        links = {
            fd: os.readlink(f"/proc/self/fd/{fd}") for fd in fds if os.path.lexists(f"/proc/self/fd/{fd}")
        }
        artifact = os.fstat(next(fd for fd, link in links.items() if "artifact" in link))
        self.first = artifact.st_atime <= artifact.st_mtime or time.time() - artifact.st_atime < 0.05


def train(env):
    return Model()
