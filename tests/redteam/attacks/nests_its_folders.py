"""Nests folders deeper than a path can name."""

# expect: crash
# task: seconds=5.0

import os


def train(env):
    for _ in range(3000):
        os.mkdir("redteam")
        os.chdir("redteam")
    raise RuntimeError("done")
