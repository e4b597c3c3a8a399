"""Closes the socket to the harness and trains on."""

# expect: crash
# reason: closed its channel

import os
import stat


def is_socket(fd):
    try:
        return stat.S_ISSOCK(os.fstat(fd).st_mode)
    except OSError:
        return False


CONTROL = next(fd for fd in range(3, 64) if is_socket(fd))


def train(env):
    os.close(CONTROL)
    while True:
        pass
