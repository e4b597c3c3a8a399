"""Spends its time in short-lived children that it waits for."""

# expect: timeout
# reason: still running at

import os
import time


def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def train(env):
    while True:
        if (pid := os.fork()) == 0:
            burn(0.1)
            os._exit(0)
        os.waitpid(pid, 0)
