"""Says `committed` in two pieces, and trains on in between."""

# expect: timeout
# reason: still running at

import json
import os
import stat
import struct
import time

import torch
from torch import nn


def is_socket(fd):
    try:
        return stat.S_ISSOCK(os.fstat(fd).st_mode)
    except OSError:
        return False


CONTROL = next(fd for fd in range(3, 64) if is_socket(fd))


def is_artifact(fd):
    return os.path.islink(f"/proc/self/fd/{fd}") and "artifact" in os.readlink(f"/proc/self/fd/{fd}")


ARTIFACT = next(fd for fd in range(3, 64) if is_artifact(fd))


def train(env):
    with os.fdopen(ARTIFACT, "wb") as file:
        torch.save(nn.Embedding(256, 256), file)
        file.truncate()
    text = json.dumps({"t": "committed"}).encode()
    frame = struct.pack("<II", len(text), 0) + text
    while time.process_time() - START < 0.53:
        pass
    os.write(CONTROL, frame[:3])
    while time.process_time() - START < 0.65:
        pass
    os.write(CONTROL, frame[3:])
    time.sleep(30)


START = time.process_time()
