"""Ignores the given seed and sets its own. Allowed: it gets what its model deserves."""

# expect: trained

import torch
from torch import nn


def train(env):
    torch.manual_seed(1234)
    env.seed = 1234
    model = nn.Embedding(env.vocab_size, env.vocab_size)
    nn.init.zeros_(model.weight)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for x, y in env.batches(32):
        loss = nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model
