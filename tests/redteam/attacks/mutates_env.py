"""Grants itself another budget, seed and vocabulary."""

# expect: timeout
# reason: still running at


def train(env):
    env.budget, env.seed, env.vocab_size, env.seq_len = 1e9, 0, 2, 4
    env._start = 1e9
    for _ in env.batches(8):
        pass
