"""Starts as many threads as it can, with small stacks."""

# expect: crash
# reason: threads run
# task: seconds=5.0

import threading
import time


def train(env):
    threading.stack_size(1 << 15)
    while True:
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
