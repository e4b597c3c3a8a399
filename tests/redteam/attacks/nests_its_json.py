"""Sends JSON that is nested deeper than a parser likes."""

# expect: invalid
# reason: not JSON

import os
import stat
import struct


def is_socket(fd):
    try:
        return stat.S_ISSOCK(os.fstat(fd).st_mode)
    except OSError:
        return False


CONTROL = next(fd for fd in range(3, 64) if is_socket(fd))


def train(env):
    text = b"[" * 100_000
    os.write(CONTROL, struct.pack("<II", len(text), 0) + text)
