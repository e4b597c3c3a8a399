"""Forks without end, each child too."""

# expect: no-score

import contextlib
import os


def train(env):
    while True:
        with contextlib.suppress(OSError):
            os.fork()
