"""Fills the disk with nameless files in the table of descriptors of one thread alone."""

# expect: crash
# task: seconds=5.0

import ctypes
import os
import threading
import time

from torch import nn


def work(written):
    ctypes.CDLL(None).syscall(436, 1000, 1001, 2)  # close_range, CLOSE_RANGE_UNSHARE
    for _ in range(100):
        fd = os.open("x", os.O_RDWR | os.O_CREAT)
        os.unlink("x")
        written.append(os.write(fd, bytes(4 << 20)))
    time.sleep(1)


def train(env):
    written = []
    thread = threading.Thread(target=work, args=(written,))
    thread.start()
    thread.join()
    if len(written) < 100:
        raise RuntimeError("the disk is full")
    return nn.Embedding(256, 256)
