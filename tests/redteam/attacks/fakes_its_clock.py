"""Turns back every clock it can reach and trains on."""

# expect: timeout
# reason: still running at

import time


def train(env):
    type(env).elapsed = lambda self: 0.0
    time.process_time = time.monotonic = time.time = lambda: 0.0
    for _ in env.batches(8):
        pass
