"""Sends signals to the harness, to the first process, to its group and to everybody."""

# expect: honest

import contextlib
import ctypes
import os
import signal

import torch
import torch.nn.functional as F
from torch import nn


class Fixed(nn.Module):
    def forward(self, idx):
        return F.one_hot(idx, 256).float() * 3 + torch.arange(256) / 100


def train(env):
    libc = ctypes.CDLL(None)
    own = os.getpid()
    targets = {0, -1, 1, -own, os.getppid(), -os.getppid(), *range(max(2, own - 50), own + 50)} - {own}
    for pid in targets:
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP):
            with contextlib.suppress(OSError):
                os.kill(pid, number)
                raise RuntimeError(f"signal {number} to {pid}")
            libc.syscall(234, pid, pid, number)  # tgkill
            libc.syscall(129, pid, number, bytes(128))  # rt_sigqueueinfo
            libc.syscall(200, pid, number)  # tkill
    return Fixed()
