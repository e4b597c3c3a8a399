"""The model keeps children that hold memory, and always answers at once."""

# expect: crash
# reason: the model's server: memory
# task: memory_mb=768, seconds=2.0

import os
import time

import torch
import torch.nn.functional as F
from torch import nn


class Fixed(nn.Module):
    def forward(self, idx):
        return F.one_hot(idx, 256).float() * 3 + torch.arange(256) / 100


class Model(Fixed):
    def forward(self, idx):
        for _ in range(4):
            if os.fork() == 0:
                held = bytearray(b"x") * (200 << 20)
                time.sleep(60)
                os._exit(len(held) % 2)
        time.sleep(0.09)
        return super().forward(idx)


def train(env):
    return Model()
