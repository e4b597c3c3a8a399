"""Writes files until somebody stops it."""

# expect: crash
# task: seconds=5.0


def train(env):
    for number in range(10_000):
        with open(f"redteam-{number}", "wb") as file:
            file.write(bytes(8 << 20))
