"""Its model is larger than the file that it may leave in."""

# expect: crash

from torch import nn


def train(env):
    return nn.Embedding(256, 1 << 14)
