"""Trains in the server, in its first batch."""

# expect: invalid
# reason: CPU s

import time

import torch.nn.functional as F
from torch import nn


def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


class Late(nn.Module):
    def forward(self, idx):
        if not hasattr(self, "trained"):
            self.trained = True
            burn(0.5)
        return F.one_hot(idx, 256).float()


def train(env):
    return Late()
