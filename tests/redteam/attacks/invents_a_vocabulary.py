"""Answers for twice as many tokens, to move probability out of sight."""

# expect: crash
# reason: expected logits of shape

import torch
import torch.nn.functional as F
from torch import nn


class Model(nn.Module):
    def forward(self, idx):
        logits = F.one_hot(idx, 256).float() * 3 + torch.arange(256) / 100
        return torch.cat([logits, logits], -1)


def train(env):
    return Model()
