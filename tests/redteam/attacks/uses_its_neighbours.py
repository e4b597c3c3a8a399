"""Reads the other rows of the batch."""

# expect: invalid
# reason: looks ahead

import torch
import torch.nn.functional as F
from torch import nn


class Model(nn.Module):
    def forward(self, idx):
        logits = F.one_hot(idx, 256).float() * 3 + torch.arange(256) / 100
        return logits + logits.mean(0, keepdim=True)


def train(env):
    return Model()
