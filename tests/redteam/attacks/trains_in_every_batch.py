"""Trains in the server, the same time in each batch."""

# expect: invalid
# reason: serving took

import time

import torch.nn.functional as F
from torch import nn


def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


class Late(nn.Module):
    def forward(self, idx):
        burn(0.35)
        return F.one_hot(idx, 256).float()


def train(env):
    return Late()
