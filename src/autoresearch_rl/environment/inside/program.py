"""The side of an adopted script: runs it as `__main__`, as `python train.py` would in its project's folder.

It trains and scores itself, and what it prints is all that the harness asks of it. What it imports lies in
a folder that it can read and not write; its home is the scratch folder, with the data at the usual place.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from . import script, wire


def run(sock: socket.socket, frame: wire.Frame) -> None:
    """Runs one script to its end and exits with its exit code. `frame` carries the job."""
    code = 1
    try:
        _settle(frame.body)
        script.load(frame.body["script"], "__main__")
        code = 0
    except SystemExit as ending:
        code = _exit_code(ending)
    except BaseException as error:
        script.print_traceback(error)
        with contextlib.suppress(wire.WireError):  # the script has closed it
            wire.send(sock, {"t": "failed", "error": script.describe(error)})
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    os._exit(code)


def _settle(job: dict[str, Any]) -> None:
    """Makes the scratch folder what the script expects, and seeds whatever it does not seed itself."""
    for link, target in job["links"].items():
        with contextlib.suppress(OSError):  # it leads there already, by the link before
            Path(link).parent.mkdir(parents=True, exist_ok=True)
            Path(link).symlink_to(target)
    Path("train.py").write_text(job["script"], encoding="utf-8")  # for those who read their own source
    sys.path[:0] = [job["folder"], os.getcwd()]
    sys.argv = ["train.py"]
    torch.set_num_threads(job["threads"])
    random.seed(job["seed"])
    np.random.seed(job["seed"] % 2**32)
    torch.manual_seed(job["seed"])


def _exit_code(ending: SystemExit) -> int:
    """As Python has it: nothing is 0, and a text is printed and is 1."""
    if ending.code is None or isinstance(ending.code, int):
        return (ending.code or 0) & 0xFF
    print(ending.code, file=sys.stderr)
    return 1
