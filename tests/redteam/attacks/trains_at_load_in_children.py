"""Trains in the server, in children."""

# expect: invalid
# reason: CPU s to load

import os
import time

import torch.nn.functional as F
from torch import nn


def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


class Late(nn.Module):
    def __setstate__(self, state):
        self.__dict__.update(state)
        for _ in range(3):
            if (pid := os.fork()) == 0:
                burn(0.2)
                os._exit(0)
            os.waitpid(pid, 0)

    def forward(self, idx):
        return F.one_hot(idx, 256).float()


def train(env):
    return Late()
