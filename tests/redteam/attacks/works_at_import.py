"""Trains at its top level, before `train` is called."""

# expect: timeout
# reason: still running at

import time


def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


burn(30.0)


def train(env):
    return None
