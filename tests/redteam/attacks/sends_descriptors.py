"""Sends open files to the harness, which must not keep them."""

# expect: honest

import json
import os
import socket
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


def train(env):
    text = json.dumps({"t": "report", "seconds": 0, "values": {"x": 1}}).encode()
    sock = socket.socket(fileno=CONTROL)
    for _ in range(4):
        socket.send_fds(sock, [struct.pack("<II", len(text), 0) + text], [0, 1, 2] * 20)
    sock.detach()
    return Fixed()
