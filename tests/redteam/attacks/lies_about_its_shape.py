"""Returns a subclass of Tensor that claims the right shape and holds less."""

# expect: invalid
# reason: bytes of 'logits', not

import torch
from torch import nn


class Liar(torch.Tensor):
    shape = (16, 32, 256)

    def to(self, *arguments, **options):
        return torch.zeros(3)


class Model(nn.Module):
    def forward(self, idx):
        return torch.zeros(1).as_subclass(Liar)


def train(env):
    return Model()
