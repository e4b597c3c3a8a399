"""Serves a trained model: fresh sandboxes, one a processor, that answer rows of tokens with logits.

Everything a server says is untrusted: bounded, timed, watched while it is silent, copied before use.
"""

from __future__ import annotations

import math
import os
import select
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from autoresearch_rl.environment import memory, sandbox
from autoresearch_rl.environment.inside import wire
from autoresearch_rl.environment.log import one_line
from autoresearch_rl.environment.task import Task

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]

MAX_SERVERS = 4  # side by side: faster than one with as many threads, above all beside another load
BATCH_BYTES = 16 << 20  # of logits in one answer, unless a single row is larger
BATCH_ROWS = 16  # what a processor's cache holds of a small model's activations
TICK = 0.1  # seconds between two looks at a silent server
FRAME_LIMIT = 30.0  # seconds for one answer, once it has begun
SECONDS_PER_TOKEN = 6e-5  # CPU seconds of serving always allowed: a million parameters take half of it
SHARE_FOR_SERVING = 0.5  # of the budget, is allowed, too: it is spread evenly over many batches
LEAST_START = 0.1  # CPU seconds always allowed to load a model and to warm up


class Refused(Exception):
    """The model cannot be scored; the message is the verdict's reason. `crash` tells a fault from a foul."""

    def __init__(self, reason: str, crash: bool = False) -> None:
        super().__init__(reason)
        self.crash = crash


@dataclass(frozen=True)
class Trained:
    """What a training run has left.

    Args:
        script: the source that trained it; the servers need its classes.
        artifact: descriptor of the frozen model file.
        spare: CPU seconds of budget and grace that the run has not used.
    """

    script: str
    artifact: int
    spare: float


Use = Callable[[slice, FloatArray], None]


def serve(task: Task, backend: sandbox.Backend, model: Trained, inputs: IntArray, use: Use) -> None:
    """Has all rows answered.

    Args:
        inputs: int[N, T], the rows.
        use: gets each span of rows with its logits, float32[B, T, V], finite; called from several threads.

    Raises:
        Refused: a server broke a rule, or `use` refused an answer.
        SandboxError: a sandbox could not be started or killed.
    """
    spans = deque(_spans(task, len(inputs)))

    def work() -> None:
        try:
            with Server(task, backend, model) as server:
                while spans:
                    with suppress(IndexError):  # another server took the last one
                        span = spans.popleft()
                        use(span, server.answer(inputs[span]))
                server.require_no_training()
        finally:
            spans.clear()  # after a refusal the others need not go on

    count = min(MAX_SERVERS, os.cpu_count() or 1, len(spans))
    with ThreadPoolExecutor(count) as pool:
        for done in [pool.submit(work) for _ in range(count)]:
            done.result()


def _spans(task: Task, rows: int) -> Iterator[slice]:
    size = min(BATCH_ROWS, max(1, BATCH_BYTES // (4 * task.seq_len * task.vocab_size)))
    return (slice(start, min(start + size, rows)) for start in range(0, rows, size))


class Server:
    """A model being served. Use as a context manager: leaving it kills the sandbox."""

    def __init__(self, task: Task, backend: sandbox.Backend, model: Trained) -> None:
        self._task, self._tokens = task, 0
        self._allowed_start = max(LEAST_START, model.spare)
        self._sandbox = backend.start("server", self._limits())
        try:
            self._load(model)
        except BaseException:
            self.__exit__()
            raise
        self._deadline = time.monotonic() + task.deadline

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._sandbox.__exit__()

    def _limits(self) -> sandbox.Limits:
        task = self._task
        return sandbox.Limits(
            memory_mb=task.memory_mb,
            scratch_mb=task.scratch_mb,
            file_mb=task.scratch_mb,
            cpu_seconds=math.ceil(task.startup_limit + task.deadline),
        )

    def _load(self, model: Trained) -> None:
        task, fd = self._task, memory.reopened(model.artifact)
        job = {"script": model.script, "threads": 1, "device": task.device}
        job |= {"vocab_size": task.vocab_size, "seq_len": task.seq_len}
        before = self._sandbox.cpu_seconds()
        try:
            self._sandbox.submit(job, (fd,))
        finally:
            os.close(fd)
        self._expect("loaded", time.monotonic() + task.deadline, 0)
        self._spent = [before, self._sandbox.cpu_seconds()]

    def answer(self, rows: IntArray) -> FloatArray:
        """Logits float32[B, T, V], finite, of int[B, T] rows.

        Raises:
            Refused: the server broke a rule.
        """
        shape = (*rows.shape, self._task.vocab_size)
        self._ask(rows)
        payload = self._expect("logits", self._deadline, 4 * math.prod(shape))
        self._spent.append(self._sandbox.cpu_seconds())
        self._tokens += rows.size
        logits = np.frombuffer(payload, dtype=np.float32).reshape(shape)
        if not np.isfinite(logits).all():
            raise Refused("the model gave logits that are not finite")
        return logits

    def _ask(self, rows: IntArray) -> None:
        payload = np.ascontiguousarray(rows, dtype=np.int32).tobytes()
        try:
            wire.send(self._sandbox.control, {"t": "rows"}, payload)
        except wire.WireClosed as error:
            raise self._died() from error
        except wire.WireError as error:
            raise Refused(f"the model's server does not read: {error}") from error

    def _expect(self, kind: str, deadline: float, size: int) -> bytearray:
        self._watch_until_it_speaks(deadline)
        try:
            limit = min(deadline, time.monotonic() + FRAME_LIMIT)
            frame = wire.receive(self._sandbox.control, limit, max_payload=size)
        except wire.WireClosed as error:
            raise self._died() from error
        except wire.WireError as error:
            raise Refused(f"the model's server: {error}") from error
        if frame.type == "failed":
            raise Refused(f"the model cannot be served: {one_line(frame.body.get('error'))}", crash=True)
        if frame.type != kind or len(frame.payload) != size:
            found = f"{len(frame.payload)} bytes of {one_line(frame.type, 40)!r}"
            raise Refused(f"the model's server sent {found}, not {size} of {kind!r}")
        return frame.payload

    def _died(self) -> Refused:
        return Refused(f"the model's server died ({self._sandbox.exit_reason()})", crash=True)

    def _watch_until_it_speaks(self, deadline: float) -> None:
        poll = select.poll()
        poll.register(self._sandbox.control, select.POLLIN | select.POLLHUP)
        while True:  # who always answers at once is looked at, too
            if problem := self._sandbox.overuse():
                raise Refused(f"the model's server: {problem}", crash=True)
            if poll.poll(TICK * 1000):
                return
            if time.monotonic() > deadline:
                raise Refused(
                    f"the model's server: no answer before the deadline of {self._task.deadline:g} s"
                )

    def require_no_training(self) -> None:
        """Training ends with `train`: what serving costs beyond answering has to fit into the unused budget.

        Answering costs every batch the same. What a model does before its first answer, it can do unseen; so
        that counts, and a cheat that makes all batches as slow pays many times over. What it does later
        changes its answers, and the other server's differ.

        Raises:
            Refused: it took too much CPU time.
        """
        load, *batches = np.diff(self._spent).tolist()
        usual = float(np.median(batches[1:])) if len(batches) > 1 else sum(batches)
        start = load + max(0.0, batches[0] - usual) if batches else load
        if start > self._allowed_start:
            raise Refused(
                f"the model took {start:.2f} CPU s to load and to warm up, {self._allowed_start:.2f} s are "
                "left of its budget: training ends with `train`"
            )
        task, total = self._task, sum(batches)
        allowed = max(SHARE_FOR_SERVING * task.seconds, SECONDS_PER_TOKEN * self._tokens)
        if total > allowed:
            raise Refused(f"serving took {total:.1f} CPU s, and {allowed:.1f} s are allowed")
