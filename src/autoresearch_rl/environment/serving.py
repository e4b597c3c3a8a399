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
SLOW_FIRST = 4.0  # how many times the median the first batch may take: what is put off must not be training


class Refused(Exception):
    """The model cannot be scored; the message is the verdict's reason. `crash` tells a fault from a foul."""

    def __init__(self, reason: str, crash: bool = False) -> None:
        super().__init__(reason)
        self.crash = crash


Use = Callable[[slice, FloatArray], None]


def serve(
    task: Task, backend: sandbox.Backend, script: str, artifact: int, inputs: IntArray, use: Use
) -> None:
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
            with Server(task, backend, script, artifact) as server:
                while spans:
                    with suppress(IndexError):  # another server took the last one
                        span = spans.popleft()
                        use(span, server.answer(inputs[span]))
                server.require_even_work()
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

    def __init__(self, task: Task, backend: sandbox.Backend, script: str, artifact: int) -> None:
        self._task, self._tokens = task, 0
        self._sandbox = backend.start("server", self._limits())
        try:
            self._load(script, artifact)
        except BaseException:
            self.__exit__()
            raise
        self._spent = [self._sandbox.cpu_seconds()]
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

    def _load(self, script: str, artifact: int) -> None:
        task, fd = self._task, memory.reopened(artifact)
        job = {"script": script, "threads": 1}
        job |= {"vocab_size": task.vocab_size, "seq_len": task.seq_len}
        before = self._sandbox.cpu_seconds()
        try:
            self._sandbox.submit(job, (fd,))
        finally:
            os.close(fd)
        self._expect("loaded", time.monotonic() + task.deadline, 0)
        if (spent := self._sandbox.cpu_seconds() - before) > task.grace:
            raise Refused(
                f"the model took {spent:.1f} CPU s to load, {task.grace:.1f} s are allowed: "
                "training ends with `train`"
            )

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
        except wire.WireError as error:
            raise Refused(f"the model's server does not read: {error}") from error

    def _expect(self, kind: str, deadline: float, size: int) -> bytearray:
        self._watch_until_it_speaks(deadline)
        try:
            limit = min(deadline, time.monotonic() + FRAME_LIMIT)
            frame = wire.receive(self._sandbox.control, limit, max_payload=size)
        except wire.WireClosed as error:
            reason = self._sandbox.exit_reason()
            raise Refused(f"the model's server died ({reason})", crash=True) from error
        except wire.WireError as error:
            raise Refused(f"the model's server: {error}") from error
        if frame.type == "failed":
            raise Refused(f"the model cannot be served: {one_line(frame.body.get('error'))}", crash=True)
        if frame.type != kind or len(frame.payload) != size:
            found = f"{len(frame.payload)} bytes of {one_line(frame.type, 40)!r}"
            raise Refused(f"the model's server sent {found}, not {size} of {kind!r}")
        return frame.payload

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

    def require_even_work(self) -> None:
        """Serving must not hide training: neither in the first batch nor in all together.

        What is trained in between batches shows as a difference between servers.

        Raises:
            Refused: it took too much CPU time.
        """
        task, seconds = self._task, np.diff(self._spent)
        if not len(seconds):
            return
        first, total = float(seconds[0]), float(seconds.sum())
        usual = float(np.median(seconds[1:])) if len(seconds) > 1 else first
        if first > SLOW_FIRST * usual + task.grace:
            raise Refused(
                f"the model took {first:.1f} CPU s for its first batch and {usual:.2f} s for the others"
            )
        allowed = max(task.seconds + task.grace, SECONDS_PER_TOKEN * self._tokens)
        if total > allowed:
            raise Refused(f"serving took {total:.1f} CPU s, and {allowed:.1f} s are allowed")
