"""Answers in integers."""

# expect: crash
# reason: floating-point

import torch
import torch.nn.functional as F
from torch import nn


class Model(nn.Module):
    def forward(self, idx):
        logits = F.one_hot(idx, 256).float() * 3 + torch.arange(256) / 100
        return logits.long()


def train(env):
    return Model()
