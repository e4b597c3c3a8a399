"""Its model, when unpickled, runs a command and leaves a file."""

# expect: crash

import subprocess
import sys

from torch import nn


class Bomb(nn.Module):
    def __reduce__(self):
        script = "import os; [open(os.path.join(d, 'redteam'), 'w') for d in ('/tmp', '/dev/shm', '/root')]"
        return subprocess.call, ([sys.executable, "-c", script],)


def train(env):
    return Bomb()
