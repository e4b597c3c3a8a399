"""Adds a constant to all logits, as if scores were not normalised."""

# expect: honest

import torch
import torch.nn.functional as F
from torch import nn


class Model(nn.Module):
    def forward(self, idx):
        logits = F.one_hot(idx, 256).float() * 3 + torch.arange(256) / 100
        return logits + 100.0


def train(env):
    return Model()
