"""The serving side: loads script and artefact, answers rows of tokens with logits, until it is killed.

It is given no training data and no targets. Whatever it answers, the harness computes the score itself.
"""

from __future__ import annotations

import os
import socket
from typing import Any

import numpy as np
import torch

from . import script, wire


def _load(job: dict[str, Any], artifact: int) -> torch.nn.Module:
    script.load(job["script"])
    with os.fdopen(artifact, "rb") as file:
        model: torch.nn.Module = torch.load(file, map_location=job["device"], weights_only=False)
    return model.eval()


@torch.inference_mode()
def _answer(model: torch.nn.Module, rows: bytearray, job: dict[str, Any]) -> bytes:
    tokens = np.frombuffer(rows, dtype=np.int32).reshape(-1, job["seq_len"])
    logits = model(torch.from_numpy(tokens.astype(np.int64)).to(job["device"]))
    expected = (*tokens.shape, job["vocab_size"])
    shape = tuple(getattr(logits, "shape", ()))
    if shape != expected:
        found = f"a tensor of shape {shape}" if shape else type(logits).__name__
        raise ValueError(f"model(idx) returned {found}; expected logits of shape {expected}")
    if not logits.is_floating_point():
        raise TypeError(f"model(idx) returned logits of {logits.dtype}; expected a floating-point type")
    plain: bytes = logits.to(device="cpu", dtype=torch.float32).contiguous().numpy().tobytes()
    return plain


def run(sock: socket.socket, frame: wire.Frame) -> None:
    """Serves one model. `frame` carries the job and the descriptor of the artefact."""
    job = frame.body
    torch.set_num_threads(job["threads"])
    torch.manual_seed(0)
    try:
        model = _load(job, frame.fds[0])
        wire.send(sock, {"t": "loaded"})
        while True:
            rows = wire.receive(sock, max_payload=1 << 26)
            wire.send(sock, {"t": "logits"}, _answer(model, rows.payload, job))
    except wire.WireError:
        return
    except BaseException as error:
        script.print_traceback(error)
        wire.send(sock, {"t": "failed", "error": script.describe(error)})
