"""Makes more files than anybody wants to count."""

# expect: crash
# task: seconds=10.0


def train(env):
    for number in range(10**9):
        open(f"redteam-{number}", "w").close()
