"""Spends its time in grandchildren whose parent ends at once."""

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
            if os.fork() == 0:
                burn(0.1)
                os._exit(0)
            os._exit(0)
        os.waitpid(pid, 0)
        time.sleep(0.12)
