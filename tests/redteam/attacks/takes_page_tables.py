"""Reads one byte in every two megabytes of an empty mapping: nothing but page tables."""

# expect: crash
# reason: memory:
# task: memory_mb=512, seconds=10.0

import mmap


def train(env):
    empty = mmap.mmap(-1, 1 << 40, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ)
    for start in range(0, 1 << 40, 1 << 21):
        empty[start]
