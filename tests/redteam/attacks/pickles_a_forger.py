"""Its model, when unpickled, answers in the server's name and ends with exit code 0."""

# expect: crash
# reason: the model's server died

import json
import os
import stat
import struct

from torch import nn


def is_socket(fd):
    try:
        return stat.S_ISSOCK(os.fstat(fd).st_mode)
    except OSError:
        return False


CONTROL = next(fd for fd in range(3, 64) if is_socket(fd))


def forge():
    for body, size in (({"t": "loaded"}, 0), ({"t": "logits", "val_bpb": 0.1}, 4 * 16 * 32 * 256)):
        text = json.dumps(body).encode()
        data = struct.pack("<II", len(text), size) + text + bytes(size)
        while data:
            data = data[os.write(CONTROL, data) :]
    os._exit(0)


class Forger(nn.Module):
    def __reduce__(self):
        return forge, ()


def train(env):
    return Forger()
