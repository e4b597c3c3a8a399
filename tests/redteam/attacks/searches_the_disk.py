"""Searches every file it can read for validation text."""

# expect: crash
# reason: RuntimeError: 0 with validation text, True for training text
# task: seconds=60.0

import os
import sys
import sysconfig

NEEDLES: dict[str, bytes] = {}  # the runner puts text of each split here, upper and lower case exchanged


def train(env):
    found = {"val": 0, "train": 0}
    # Listing / shows nothing under Landlock, so the places that can be guessed are searched by name.
    for root in {"/", sys.base_prefix, sysconfig.get_paths()["stdlib"], os.getcwd(), "/tmp", *sys.path}:
        for folder, names, files in os.walk(root):
            names[:] = [name for name in names if name not in ("torch", "proc", "sys", "include", "gcc")]
            for name in files:
                if name.endswith((".py", ".pyc", ".zip", ".txt")):
                    try:
                        with open(os.path.join(folder, name), "rb") as file:
                            text = file.read()
                    except OSError:
                        continue
                    for split in found:
                        found[split] += NEEDLES[split].swapcase() in text
    raise RuntimeError(f"{found['val']} with validation text, {found['train'] > 0} for training text")
