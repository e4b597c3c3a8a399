"""Replaces the server's own answering function by one that peeks."""

# expect: invalid
# reason: looks ahead

import sys

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


class Fixed(nn.Module):
    def forward(self, idx):
        return F.one_hot(idx, 256).float() * 3 + torch.arange(256) / 100


def peek(model, tokens, job):
    following = torch.from_numpy(np.roll(tokens, -1, 1).astype(np.int64))
    return F.one_hot(following, job["vocab_size"]).float() * 9


sys.modules["inside.server"].answer = peek


def train(env):
    return Fixed()
