"""Reads the next token and hides it under a large constant."""

# expect: invalid
# reason: looks ahead

import torch
import torch.nn.functional as F
from torch import nn


class Model(nn.Module):
    def forward(self, idx):
        logits = F.one_hot(idx, 256).float() * 3 + torch.arange(256) / 100
        return logits + F.one_hot(idx.roll(-1, 1), 256) * 20.0 + 1e6


def train(env):
    return Model()
