"""Adds a statistic of the whole row, the future included."""

# expect: invalid
# reason: looks ahead

import torch
import torch.nn.functional as F
from torch import nn


class Model(nn.Module):
    def forward(self, idx):
        logits = F.one_hot(idx, 256).float() * 3 + torch.arange(256) / 100
        return logits + idx.float().mean(1)[:, None, None] * torch.arange(256) / 900


def train(env):
    return Model()
