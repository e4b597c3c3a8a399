"""Learns from the rows that it is asked about."""

# expect: invalid
# reason: looks ahead

import torch
import torch.nn.functional as F
from torch import nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(256, 256)

    def forward(self, idx):
        with torch.inference_mode(False), torch.enable_grad():
            table = nn.Parameter(self.table.weight.detach().clone())
            tokens = idx.clone()
            loss = F.cross_entropy(table[tokens[:, :-1]].flatten(0, 1), tokens[:, 1:].flatten())
            loss.backward()
            self.table.weight.data -= 500 * table.grad
        return self.table(idx)


def train(env):
    return Model()
