"""Begins a message and never ends it, so that the harness waits and does not watch."""

# expect: invalid
# reason: no answer before the deadline

import os
import stat


def is_socket(fd):
    try:
        return stat.S_ISSOCK(os.fstat(fd).st_mode)
    except OSError:
        return False


CONTROL = next(fd for fd in range(3, 64) if is_socket(fd))


def train(env):
    os.write(CONTROL, b"\x10")
    while True:
        pass
