"""Trains on the library's files before it touches the training data."""

# expect: timeout
# reason: still running at

import os

import torch


def train(env):
    with open(os.__file__, "rb") as file:
        text = torch.tensor(list(file.read()))
    table = torch.zeros(256, 256)
    while True:
        for x, y in zip(text[:-1].split(64), text[1:].split(64), strict=True):
            table[x, y] += 1.0
