"""The training side: gives `train(env)` its data and clock, takes probes, hands the model over.

The script shares this process and can change anything in it, so the harness trusts nothing said here:
it has its own clock, and it scores the model elsewhere.
"""

from __future__ import annotations

import mmap
import os
import random
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from . import script, wire

PROBES = 10  # a tenth of the budget apart (PAPER.md, "Self-evaluation")
REPORTS = 200  # at most, evenly spread: a script may report at every step


def warm_up() -> None:
    """Makes torch import what it puts off until the first optimizer: 1.5 s that are nobody's training."""
    layer = nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(layer.parameters())
    loss = nn.functional.cross_entropy(layer(torch.zeros(1, 2)), torch.zeros(1, dtype=torch.long))
    torch.autograd.backward(loss)
    optimizer.step()


def _cpu_seconds() -> float:
    """CPU seconds of this process and of the children it has waited for (a compiler, say)."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


class Env:
    """What a script sees of the world: `train(env) -> nn.Module`, `model(idx[B, T]) -> logits[B, T, V]`."""

    def __init__(self, sock: socket.socket, job: dict[str, Any], probe_rows: NDArray[np.integer]) -> None:
        self.vocab_size: int = job["vocab_size"]
        self.seq_len: int = job["seq_len"]
        self.seed: int = job["seed"]
        self.budget: float = job["seconds"]
        self.device = torch.device(job["device"])
        self.scratch = Path.cwd()
        self._sock = sock
        self._dtype = job["dtype"]
        self._clock = _cpu_seconds if job["clock"] == "cpu" else time.monotonic
        self._start = self._clock() if job["setup"] == "counted" else None
        self._tokens: NDArray[np.integer] | None = None
        self._probe_rows = probe_rows
        self._watched: nn.Module | None = None
        self._probed = self._reported = 0.0

    # --- the clock

    def elapsed(self) -> float:
        """Seconds of the budget used so far."""
        return 0.0 if self._start is None else self._clock() - self._start

    @property
    def progress(self) -> float:
        """Share of the budget used so far, 0..1."""
        return min(1.0, self.elapsed() / self.budget)

    def time_left(self) -> float:
        """Seconds of the budget left, never negative."""
        return max(0.0, self.budget - self.elapsed())

    # --- data

    @property
    def train_tokens(self) -> NDArray[np.integer]:
        """The whole training split, 1-D and read-only. Its first use starts a clock that does not run yet."""
        if self._tokens is None:
            wire.send(self._sock, {"t": "data"})
            fd = wire.receive(self._sock, max_fds=1).fds[0]
            self._tokens = np.frombuffer(mmap.mmap(fd, 0, prot=mmap.PROT_READ), dtype=self._dtype)
            os.close(fd)
            if self._start is None:
                self._start = self._clock()
        return self._tokens

    def warmup_batch(self, batch_size: int, seq_len: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Random tokens of the shape of a batch, for compilation. LongTensor[B, T], twice."""
        shape = (batch_size, seq_len or self.seq_len)
        generator = torch.Generator().manual_seed(self.seed)
        x, y = (torch.randint(self.vocab_size, shape, generator=generator) for _ in range(2))
        return x.to(self.device), y.to(self.device)

    def batches(
        self, batch_size: int, seq_len: int | None = None
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Random windows of the training split, until no further step fits into the budget.

        Yields:
            x, y: LongTensor[B, T], `y` one token ahead of `x`.
        """
        tokens = self.train_tokens
        length = self._window(batch_size, seq_len, len(tokens))
        generator, window = np.random.default_rng(self.seed), np.arange(length + 1)
        step, before = 0.0, self.elapsed()
        while self.elapsed() + step < self.budget:
            starts = generator.integers(0, len(tokens) - length, size=batch_size)
            batch = torch.from_numpy(tokens[starts[:, None] + window].astype(np.int64)).to(self.device)
            yield batch[:, :-1], batch[:, 1:]
            step, before = self.elapsed() - before, self.elapsed()
            if self._probe_if_due():
                before = self.elapsed()

    def _window(self, batch_size: int, seq_len: int | None, tokens: int) -> int:
        length = seq_len or self.seq_len
        if batch_size < 1 or not 1 <= length < tokens:
            raise ValueError(f"no batch of {batch_size} x {length} tokens")
        return length

    # --- what the script tells

    def watch(self, model: nn.Module) -> None:
        """Lets the harness take validation probes of `model` between batches."""
        self._watched = model

    def report(self, **scalars: float) -> None:
        """Records scalars such as `loss` and `lr` for the learning curve."""
        now = self.elapsed()
        if now - self._reported >= self.budget / REPORTS:
            self._reported = now
            values = {name[:40]: float(value) for name, value in list(scalars.items())[:8]}
            wire.send(self._sock, {"t": "report", "seconds": now, "values": values})

    def _probe_if_due(self) -> bool:
        now = self.elapsed()
        if self._watched is None or now - self._probed < self.budget / PROBES:
            return False
        self._probed = now
        wire.send(self._sock, {"t": "probe", "seconds": now, "nats": self._probe(self._watched)})
        return True

    @torch.no_grad()
    def _probe(self, model: nn.Module) -> float:
        """Mean nats per token on the probe rows."""
        training = model.training
        model.eval()
        rows = torch.from_numpy(self._probe_rows.astype(np.int64)).to(self.device)
        logits = model(rows[:, :-1])
        loss = nn.functional.cross_entropy(logits.flatten(0, 1).float(), rows[:, 1:].flatten())
        model.train(training)
        return float(loss)


def save(model: object, file: BinaryIO) -> None:
    """Writes what `train` has returned.

    Raises:
        TypeError: it is no module.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"train(env) returned {type(model).__name__}; expected a torch.nn.Module")
    torch.save(getattr(model, "_orig_mod", model), file)  # what torch.compile wraps


def prepare(job: dict[str, Any]) -> None:
    """Sets threads and seeds, before the script is loaded."""
    torch.set_num_threads(job["threads"])
    random.seed(job["seed"])
    np.random.seed(job["seed"] % 2**32)
    torch.manual_seed(job["seed"])


warm_up()


def run(sock: socket.socket, frame: wire.Frame) -> None:
    """Trains once. `frame` carries the job and the descriptors of the artefact and of the probe rows."""
    job = frame.body
    artifact, probes = frame.fds
    rows = np.fromfile(os.fdopen(probes, "rb"), dtype=job["dtype"]).reshape(-1, job["seq_len"] + 1)
    prepare(job)
    env = Env(sock, job, rows)
    try:
        model = script.load(job["script"]).train(env)
        with os.fdopen(artifact, "wb") as file:
            save(model, file)
            file.truncate()
        wire.send(sock, {"t": "committed"})
    except BaseException as error:  # SystemExit and KeyboardInterrupt are the script's doing, too
        script.print_traceback(error)
        wire.send(sock, {"t": "failed", "error": script.describe(error)})
