"""The model writes raw bytes between two answers."""

# expect: invalid
# reason: the model's server: frame of

import os
import stat

import torch
import torch.nn.functional as F
from torch import nn


def is_socket(fd):
    try:
        return stat.S_ISSOCK(os.fstat(fd).st_mode)
    except OSError:
        return False


CONTROL = next(fd for fd in range(3, 64) if is_socket(fd))


class Fixed(nn.Module):
    def forward(self, idx):
        return F.one_hot(idx, 256).float() * 3 + torch.arange(256) / 100


class Model(Fixed):
    def forward(self, idx):
        os.write(CONTROL, bytes(range(256)))
        return super().forward(idx)


def train(env):
    return Model()
