"""Spends its time in threads, and ends its first one."""

# expect: timeout
# reason: still running at

import ctypes
import hashlib
import threading


def work():
    data = bytes(1 << 24)
    while True:
        hashlib.sha256(data).digest()  # without the interpreter's lock


def train(env):
    for _ in range(3):
        threading.Thread(target=work, daemon=True).start()
    ctypes.CDLL(None).syscall(60, 0)  # exit of this thread alone
