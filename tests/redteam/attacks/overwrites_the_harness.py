"""Writes to the files of the harness, of torch and of Python, by every way there is to write."""

# expect: honest

import os
import sys

import torch
import torch.nn.functional as F
from torch import nn


class Fixed(nn.Module):
    def forward(self, idx):
        return F.one_hot(idx, 256).float() * 3 + torch.arange(256) / 100


def append(path):
    with open(path, "ab") as file:
        file.write(b"\n")


def through_a_hard_link(path):
    os.link(path, "linked")
    append("linked")


def through_a_symbolic_link(path):
    os.symlink(path, f"link-{hash(path)}")
    append(f"link-{hash(path)}")


def beside(path):
    append(f"{path}.redteam")


def replaced(path):
    append("own.py")
    os.replace("own.py", path)


WAYS = [append, through_a_hard_link, through_a_symbolic_link, beside, replaced, os.unlink,
        lambda path: os.truncate(path, 0), lambda path: os.rename(path, "moved"),
        lambda path: os.mkdir(path + "-redteam"), lambda path: os.utime(path)]  # fmt: skip


def train(env):
    folder = sys.modules["inside"].__path__[0]
    targets = [os.path.join(folder, name) for name in ("server.py", "session.py", "wire.py", "zygote.py")]
    targets += [torch.__file__, os.__file__, os.path.join(os.path.dirname(folder), "evaluator.py")]
    for way in WAYS:
        for path in targets:
            try:
                way(path)
            except OSError:
                continue
            raise RuntimeError(f"{way} wrote {path}")
    return Fixed()
