"""Trains in the server, when it is loaded."""

# expect: invalid
# reason: CPU s to load

import time

import torch.nn.functional as F
from torch import nn


def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


class Late(nn.Module):
    def __setstate__(self, state):
        self.__dict__.update(state)
        burn(0.6)

    def forward(self, idx):
        return F.one_hot(idx, 256).float()


def train(env):
    return Late()
