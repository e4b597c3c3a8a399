"""Reads the next token in few rows, chosen by a hash of how they begin."""

# expect: invalid
# reason: looks ahead

import torch
import torch.nn.functional as F
from torch import nn


class Model(nn.Module):
    def forward(self, idx):
        logits = F.one_hot(idx, 256).float() * 3 + torch.arange(256) / 100
        few = (idx[:, :3].sum(1) % 5 == 0)[:, None, None]
        return logits + few * F.one_hot(idx.roll(-1, 1), 256) * 20.0


def train(env):
    return Model()
