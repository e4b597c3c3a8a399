"""Works just enough not to be taken for hung."""

# expect: timeout
# reason: idle
# task: seconds=3.0
# rules: STALL_SECONDS=4.0, WALL_PER_CPU=0.2

import time


def train(env):
    while True:
        time.sleep(0.5)
        sum(range(1_500_000))
