"""Spends its time in children that send no signal when they end, and that nobody waits for."""

# expect: timeout
# reason: still running at

import ctypes
import os
import time


def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def train(env):
    libc = ctypes.CDLL(None)
    while True:
        if libc.syscall(56, 0, 0, 0, 0, 0) == 0:  # clone without SIGCHLD
            burn(0.1)
            os._exit(0)
        time.sleep(0.12)
