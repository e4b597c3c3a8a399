"""Peeks at first sight of a prefix, and repeats its own answer when it meets it again."""

# expect: invalid
# reason: looks ahead

import torch
import torch.nn.functional as F
from torch import nn


class Model(nn.Module):
    def forward(self, idx):
        logits = F.one_hot(idx, 256).float() * 3 + torch.arange(256) / 100
        peeked = logits + F.one_hot(idx.roll(-1, 1), 256) * 20.0
        cache = self.__dict__.setdefault("cache", {})
        for row, tokens in enumerate(idx.tolist()):
            for end in range(1, len(tokens) + 1):
                key = tuple(tokens[:end])
                peeked[row, end - 1] = cache.setdefault(key, peeked[row, end - 1].clone())
        return peeked


def train(env):
    return Model()
