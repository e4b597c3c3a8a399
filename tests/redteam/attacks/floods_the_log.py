"""Prints some hundred megabytes, with control characters."""

# expect: honest
# task: seconds=5.0

import os

import torch
import torch.nn.functional as F
from torch import nn


class Fixed(nn.Module):
    def forward(self, idx):
        return F.one_hot(idx, 256).float() * 3 + torch.arange(256) / 100


def train(env):
    junk = b"\x1b[2J\x1b]0;owned\x07\xff\xfe" * 4096
    for _ in range(2000):
        os.write(1, junk)
    return Fixed()
