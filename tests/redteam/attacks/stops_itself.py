"""Stops its own process, so that no polite signal arrives."""

# expect: timeout
# reason: hung
# rules: STALL_SECONDS=0.8

import os
import signal


def train(env):
    os.kill(os.getpid(), signal.SIGSTOP)
