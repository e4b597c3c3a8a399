"""One NaN among many numbers, to switch off a comparison."""

# expect: invalid
# reason: not finite

import torch
import torch.nn.functional as F
from torch import nn


class Model(nn.Module):
    def forward(self, idx):
        logits = F.one_hot(idx, 256).float() * 3 + torch.arange(256) / 100
        logits[-1, -1, 7] = float("nan")
        return logits


def train(env):
    return Model()
