"""Opens sockets of every family and type, pairs included."""

# expect: honest

import ctypes

import torch
import torch.nn.functional as F
from torch import nn


class Fixed(nn.Module):
    def forward(self, idx):
        return F.one_hot(idx, 256).float() * 3 + torch.arange(256) / 100


libc = ctypes.CDLL(None, use_errno=True)


def train(env):
    for family in range(47):
        for kind in (1, 2, 3, 5):
            pair = (ctypes.c_int * 2)()
            if libc.socket(family, kind, 0) >= 0 or libc.socketpair(family, kind, 0, pair) >= 0:
                raise RuntimeError(f"a socket of family {family}, type {kind}")
    return Fixed()
