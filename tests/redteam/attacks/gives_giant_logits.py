"""Finite logits whose differences overflow, so that a comparison of infinities says nothing."""

# expect: worse

import torch
import torch.nn.functional as F
from torch import nn


class Model(nn.Module):
    def forward(self, idx):
        logits = F.one_hot(idx, 256).float() * 3 + torch.arange(256) / 100
        logits[:] = 3e38
        logits[..., ::2] = -3e38
        return logits + F.one_hot(idx.roll(-1, 1), 256) * 20.0


def train(env):
    return Model()
