"""The serving side: loads script and artefact, answers rows of tokens with logits, until it is killed.

It is given no training data and no targets. Whatever it answers, the harness computes the score itself.
"""

from __future__ import annotations

import os
import socket
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray

from . import script, wire


def load(job: dict[str, Any], file: BinaryIO) -> torch.nn.Module:
    """The model that a script has left, for evaluation. All that it needs of the script is its top level."""
    script.load(job["script"])
    model: torch.nn.Module = torch.load(file, map_location=job["device"], weights_only=False)
    return model.eval()


@torch.inference_mode()
def answer(model: torch.nn.Module, tokens: NDArray[np.integer], job: dict[str, Any]) -> torch.Tensor:
    """Logits for rows of tokens: float32[B, T, V] on the CPU, of int[B, T].

    Raises:
        ValueError: they are of another shape.
        TypeError: they are no floating-point numbers.
    """
    logits = model(torch.from_numpy(tokens.astype(np.int64)).to(job["device"]))
    expected = (*tokens.shape, job["vocab_size"])
    shape = tuple(getattr(logits, "shape", ()))
    if shape != expected:
        found = f"a tensor of shape {shape}" if shape else type(logits).__name__
        raise ValueError(f"model(idx) returned {found}; expected logits of shape {expected}")
    if not logits.is_floating_point():
        raise TypeError(f"model(idx) returned logits of {logits.dtype}; expected a floating-point type")
    plain: torch.Tensor = logits.to(device="cpu", dtype=torch.float32).contiguous()
    return plain


def run(sock: socket.socket, frame: wire.Frame) -> None:
    """Serves one model. `frame` carries the job and the descriptor of the artefact."""
    job = frame.body
    torch.set_num_threads(job["threads"])
    torch.manual_seed(0)
    try:
        with os.fdopen(frame.fds[0], "rb") as file:
            model = load(job, file)
        wire.send(sock, {"t": "loaded"})
        while True:
            rows = np.frombuffer(wire.receive(sock, max_payload=1 << 26).payload, dtype=np.int32)
            logits = answer(model, rows.reshape(-1, job["seq_len"]), job)
            wire.send(sock, {"t": "logits"}, logits.numpy().tobytes())
    except wire.WireError:
        return
    except BaseException as error:
        script.print_traceback(error)
        wire.send(sock, {"t": "failed", "error": script.describe(error)})
