"""Leaves what it knows for the next trial, in training and in the server, and looks for what others left."""

# expect: honest
# runs: 2

import contextlib
import fcntl
import os

import torch
import torch.nn.functional as F
from torch import nn


class Fixed(nn.Module):
    def forward(self, idx):
        return F.one_hot(idx, 256).float() * 3 + torch.arange(256) / 100


MARK = "redteam-was-here"


def places():
    names = {".", "..", "/tmp", "/dev/shm", "/scratch", "/var/tmp", "/run", os.path.expanduser("~root")}
    return [*names, os.environ["HOME"], os.environ["TMPDIR"], os.path.dirname(os.__file__)]


def find():
    for place in places():
        if os.path.exists(os.path.join(place, MARK)):
            raise RuntimeError(f"found {place}/{MARK}")
    with open(os.__file__, "rb") as file:
        if fcntl.fcntl(file, 1035, bytes(8)) == (4).to_bytes(8, "little"):
            raise RuntimeError("found a note on a file")


def leave():
    for place in places():
        with contextlib.suppress(OSError), open(os.path.join(place, MARK), "w") as file:
            file.write("text")
    with contextlib.suppress(OSError), open(os.__file__, "rb") as file:
        fcntl.fcntl(file, 1036, (4).to_bytes(8, "little"))
    os.environ["REDTEAM"] = torch.redteam = MARK


class Model(Fixed):
    def __setstate__(self, state):
        self.__dict__.update(state)
        find()
        leave()


def train(env):
    assert "REDTEAM" not in os.environ
    assert not hasattr(torch, "redteam")
    find()
    leave()
    return Model()
