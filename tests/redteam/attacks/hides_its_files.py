"""Fills the disk with files that have no name."""

# expect: crash
# task: seconds=5.0

import os
import time

from torch import nn


def train(env):
    for _ in range(100):
        fd = os.open("x", os.O_RDWR | os.O_CREAT)
        os.unlink("x")
        os.write(fd, bytes(4 << 20))
    time.sleep(1)
    return nn.Embedding(256, 256)
