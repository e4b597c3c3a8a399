"""Fills the disk with files that have neither a name nor a descriptor: they are mapped."""

# expect: crash
# task: seconds=5.0

import ctypes
import os
import time

from torch import nn

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]


def train(env):
    for _ in range(100):
        fd = os.open("x", os.O_RDWR | os.O_CREAT)
        os.write(fd, bytes(4 << 20))
        libc.mmap(None, 4096, 1, 1, fd, 0)
        os.close(fd)
        os.unlink("x")
    time.sleep(1)
    return nn.Embedding(256, 256)
