"""Takes more memory than is allowed, in many processes."""

# expect: crash
# reason: memory:
# task: memory_mb=1024, seconds=5.0

import os
import time


def train(env):
    for _ in range(20):
        if os.fork() == 0:
            held = bytearray(b"x") * (200 << 20)
            time.sleep(60)
            os._exit(len(held) % 2)
    time.sleep(60)
