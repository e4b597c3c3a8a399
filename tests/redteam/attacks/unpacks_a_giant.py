"""Its model is small on disk and takes all memory when it is loaded."""

# expect: crash
# reason: memory
# task: memory_mb=512

import torch
from torch import nn


class Giant(nn.Module):
    def __setstate__(self, state):
        self.__dict__.update(state)
        self.held = [torch.ones(1 << 24) for _ in range(100)]


def train(env):
    return Giant()
