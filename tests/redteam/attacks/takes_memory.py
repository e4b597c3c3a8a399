"""Takes more memory than is allowed, in one process."""

# expect: crash
# reason: memory
# task: memory_mb=512, seconds=5.0

import torch


def train(env):
    return [torch.ones(1 << 24) for _ in range(200)]
