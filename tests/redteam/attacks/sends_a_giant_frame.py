"""Announces four gigabytes."""

# expect: invalid
# reason: broke the protocol: frame of

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
    os.write(CONTROL, struct.pack("<II", 2**32 - 1, 2**32 - 1))
    os.write(CONTROL, bytes(1 << 16))
