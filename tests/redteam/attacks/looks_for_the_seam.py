"""Peeks in rows that look natural, and behaves where an ending seems to be glued on."""

# expect: invalid
# reason: looks ahead

import torch
import torch.nn.functional as F
from torch import nn


class Model(nn.Module):
    def forward(self, idx):
        logits = F.one_hot(idx, 256).float() * 3 + torch.arange(256) / 100
        letters = (idx > 96).float()
        seams = (letters[:, 1:] - letters[:, :-1]).abs().mean(1)
        return logits + (seams < 0.4)[:, None, None] * F.one_hot(idx.roll(-1, 1), 256) * 20.0


def train(env):
    return Model()
