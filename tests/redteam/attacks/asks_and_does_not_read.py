"""Asks for the data for ever and reads no answer, so that the harness waits and does not watch."""

# expect: invalid
# reason: again and again

import json
import os
import stat
import struct


def is_socket(fd):
    try:
        return stat.S_ISSOCK(os.fstat(fd).st_mode)
    except OSError:
        return False


CONTROL = next(fd for fd in range(3, 64) if is_socket(fd))


def say(body, payload=b""):
    text = json.dumps(body).encode()
    os.write(CONTROL, struct.pack("<II", len(text), len(payload)) + text + payload)


def train(env):
    while True:
        say({"t": "data"})
