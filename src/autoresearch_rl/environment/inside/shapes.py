"""The shape check: a script's whole life in small, before it costs a trial.

It trains for three steps on random tokens, is saved and loaded as a server would, and answers two batches.
There is no data here and no score, so a script that sees through the check has gained a trial, no more.
"""

from __future__ import annotations

import io
import operator
import socket
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from . import script, server, session, wire

ROWS = 2  # of a batch, at most: larger ones cost time and show nothing more
SHARES = (0.0, 0.5, 0.95)  # of the budget, at each step: what a script does late is seen, too
LOOK = 0.25  # of the budget, gone with every look at the clock: who samples by himself comes to an end
LOOK_IN_STEP = 1 / 256  # likewise, while a batch is worked on: several looks in a step see about the same
BLOCK = 1 << 16  # random tokens, repeated
TOLERANCE = 1e-4  # nats, as in the evaluation; of larger logits, this share of them


class Env(session.Env):
    """What a script sees of the world, without data and with a clock that moves by steps and by looks.

    Args:
        most: rows of a batch; `clipped` tells whether the script asked for more.
    """

    def __init__(self, sock: socket.socket, job: dict[str, Any], most: int) -> None:
        self._random = np.random.default_rng(job["seed"])
        rows = self._random.integers(job["vocab_size"], size=(ROWS, job["seq_len"] + 1))
        super().__init__(sock, job, rows)
        self.clipped = False
        self._most, self._size = most, job["train_tokens"]
        self._spent, self._look, self._steps = 0.0, LOOK, 0

    def elapsed(self) -> float:
        """Seconds of the budget used so far, as it were. Every look moves it on: who waits meets the end."""
        now = self._spent
        self._spent = min(1.0, now + self._look)
        return now * self.budget

    @property
    def train_tokens(self) -> NDArray[np.integer]:
        """Random tokens, as many as there are in the training split but for very large ones."""
        if self._tokens is None:
            block = self._random.integers(self.vocab_size, size=BLOCK, dtype=self._dtype)
            self._tokens = np.resize(block, self._size)
            self._tokens.setflags(write=False)
        return self._tokens

    def warmup_batch(self, batch_size: int, seq_len: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Random tokens of the shape of a batch, clipped. LongTensor[B, T], twice."""
        return super().warmup_batch(self._clip(batch_size), seq_len)

    def batches(
        self, batch_size: int, seq_len: int | None = None
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Random tokens for a few steps, whatever the number of iterators.

        Yields:
            x, y: LongTensor[B, T], B clipped, `y` one token ahead of `x`.
        """
        shape = (self._clip(batch_size), self._window(batch_size, seq_len, self._size) + 1)
        while self._steps < len(SHARES):
            self._spent = max(self._spent, SHARES[self._steps])
            self._steps += 1
            self._look = LOOK_IN_STEP
            batch = torch.from_numpy(self._random.integers(self.vocab_size, size=shape)).to(self.device)
            try:
                yield batch[:, :-1], batch[:, 1:]
            finally:  # also when the script lets go of this iterator, and takes a new one for each step
                self._look = LOOK
                if self.is_over:
                    self._spent = 1.0
        if self._watched is not None:
            self._probe(self._watched)

    @property
    def is_over(self) -> bool:
        """Whether all batches have been handed out."""
        return self._steps == len(SHARES)

    def _clip(self, batch_size: int) -> int:
        rows = operator.index(batch_size)
        self.clipped = self.clipped or rows > self._most
        return min(rows, self._most)

    def report(self, **scalars: float) -> None:
        """Takes whatever is a number."""
        for value in scalars.values():
            float(value)


def _uncompiled(model: Any = None, **_: object) -> Any:
    """Stands for `torch.compile`, also as a decorator: the same kind of wrapper, and nothing is compiled."""
    if isinstance(model, nn.Module):
        return torch._dynamo.disable(model)  # type: ignore[no-untyped-call]
    return _uncompiled if model is None else model


def _live(job: dict[str, Any], env: Env) -> None:
    """Trains, saves, loads and answers, by the code of the session and of the server.

    Raises:
        BaseException: what the script raises, and what is wrong with its model.
    """
    session.prepare(job)
    file = io.BytesIO()
    session.save(script.load(job["script"]).train(env), file)
    if (size := file.tell()) > job["artifact_mb"] << 20:
        raise ValueError(f"the model takes {size / 2**20:.0f} MB, {job['artifact_mb']} MB are allowed")
    file.seek(0)
    _examine(server.load(job, file), job)


def _examine(model: nn.Module, job: dict[str, Any]) -> None:
    """Asks about one row twice: beside one that begins alike, and in another place beside a third.

    Both batches are of one size, because with another one a matrix product may round differently.

    Raises:
        ValueError: the model would be refused by every evaluation.
    """
    length = job["seq_len"]
    half = max(1, length // 2)
    rows = np.random.default_rng(job["seed"]).integers(job["vocab_size"], size=(3, length))
    rows[1, :half] = rows[0, :half]
    first, second = (server.answer(model, rows[picked], job) for picked in ([0, 1], [2, 0]))
    if not (first.isfinite().all() and second.isfinite().all()):
        raise ValueError("the model gives logits that are not finite")
    if _differ(first[0, :half], first[1, :half]):
        raise ValueError(
            f"the model's answer for the first {half} tokens of a row changes with what follows them: "
            "it looks ahead, or is not deterministic"
        )
    if _differ(first[0], second[1]):
        raise ValueError(
            "the model's answer for a row changes with the other rows of its batch: "
            "it mixes rows, remembers, or is not deterministic"
        )


def _differ(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two sets of logits, [T, V], give other log-probabilities than rounding can explain."""
    scale = max(1.0, float(one.abs().max()))
    difference = one.log_softmax(-1) - other.log_softmax(-1)
    return float(difference.abs().max()) > TOLERANCE * scale


def _fault(sock: socket.socket, job: dict[str, Any], most: int) -> tuple[str, bool]:
    """What is wrong with a script, or an empty string; and whether it asked for more than `most` rows."""
    env = Env(sock, job, most)
    try:
        _live(job, env)
    except BaseException as error:  # SystemExit and KeyboardInterrupt are the script's doing, too
        # Its batches have ended, where real ones go on.
        if isinstance(error.__cause__ or error, StopIteration) and env.is_over:
            return "", env.clipped
        return script.describe(error), env.clipped
    return "", env.clipped


def run(sock: socket.socket, frame: wire.Frame) -> None:
    """Checks one script. `frame` carries the job."""
    torch.compile = _uncompiled
    fault, clipped = _fault(sock, frame.body, ROWS)
    if fault and clipped:  # a script may count on the batch size that it asked for
        fault, _ = _fault(sock, frame.body, sys.maxsize)
    wire.send(sock, {"t": "failed", "error": fault} if fault else {"t": "checked"})
