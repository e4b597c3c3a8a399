"""Sleeps for ever."""

# expect: timeout
# reason: hung
# rules: STALL_SECONDS=0.8

import time


def train(env):
    time.sleep(3600)
