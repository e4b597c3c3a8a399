"""Hangs when it is asked."""

# expect: invalid
# reason: deadline
# task: deadline=1.0

import time

from torch import nn


def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


class Late(nn.Module):
    def forward(self, idx):
        time.sleep(3600)


def train(env):
    return Late()
