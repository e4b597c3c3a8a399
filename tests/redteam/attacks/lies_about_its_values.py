"""Weights and logits of a subclass of Tensor that answers every question in its own favour."""

# expect: honest

import torch
import torch.nn.functional as F
from torch import nn


class Fixed(nn.Module):
    def forward(self, idx):
        return F.one_hot(idx, 256).float() * 3 + torch.arange(256) / 100


class Liar(torch.Tensor):
    @classmethod
    def __torch_function__(cls, function, types, arguments=(), options=None):
        if function.__name__ in ("isfinite", "isnan", "max", "sum", "log_softmax", "equal"):
            return torch.ones(())
        return super().__torch_function__(function, types, arguments, options or {})


class Model(Fixed):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(256).as_subclass(Liar))

    def forward(self, idx):
        return (super().forward(idx) + self.weight).as_subclass(Liar)


def train(env):
    return Model()
