"""The model sends an answer of its own before the real one."""

# expect: invalid
# reason: looks ahead

import json
import os
import stat
import struct

import torch
import torch.nn.functional as F
from torch import nn


def is_socket(fd):
    try:
        return stat.S_ISSOCK(os.fstat(fd).st_mode)
    except OSError:
        return False


CONTROL = next(fd for fd in range(3, 64) if is_socket(fd))


class Fixed(nn.Module):
    def forward(self, idx):
        return F.one_hot(idx, 256).float() * 3 + torch.arange(256) / 100


class Model(Fixed):
    def forward(self, idx):
        text = json.dumps({"t": "logits"}).encode()
        logits = (F.one_hot(idx.roll(-1, 1), 256).float() * 9).numpy().tobytes()
        with open(CONTROL, "wb", closefd=False) as file:
            file.write(struct.pack("<II", len(text), len(logits)) + text + logits)
        return super().forward(idx)


def train(env):
    return Model()
