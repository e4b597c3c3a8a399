"""The trusted score: bits per byte, computed here from logits that two sandboxes serve.

Server A answers the real rows. Server B, started fresh and without any way to know what A saw, answers rows
with the same beginnings, other endings, other neighbours and another order: a causal model must give the
same logits for the same beginning. A model that looks ahead, remembers, or mixes rows does not
(DESIGN, "Why the score can be trusted", 2-4).
"""

from __future__ import annotations

import heapq
import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoresearch_rl.environment import memory, sandbox
from autoresearch_rl.environment.inside import wire
from autoresearch_rl.environment.log import one_line
from autoresearch_rl.environment.task import Task

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.integer]

TOLERANCE = 1e-4  # nats of a log-probability: room for fp32 rounding between two batch orders
NEGLIGIBLE = -30.0  # log-probabilities below it on both sides are not compared
SECONDS_PER_TOKEN = 6e-5  # CPU seconds of serving always allowed: a million parameters take half of it
SLOW_FIRST = 4.0  # how many times the median the first batch may take: what is put off must not be training


class Refused(Exception):
    """The model cannot be scored; the message is the verdict's reason. `crash` tells a fault from a foul."""

    def __init__(self, reason: str, crash: bool = False) -> None:
        super().__init__(reason)
        self.crash = crash


@dataclass(frozen=True)
class Evaluation:
    """A trusted score."""

    bpb: float
    challenges: int  # rows re-checked
    largest_difference: float  # of a log-probability in nats, between the two servers


@dataclass
class _Answers:
    """What server A gave: the sum of the losses, and the logits of the rows that will be challenged."""

    nats: float = 0.0
    kept: dict[int, FloatArray] = field(default_factory=dict)
    _easiest: list[tuple[float, int]] = field(default_factory=list)

    def keep_if_easy(self, row: int, nats: float, logits: FloatArray, count: int) -> None:
        """Keeps the logits of the `count` rows with the lowest loss: a cheat shows where it gains most."""
        if len(self._easiest) < count or -self._easiest[0][0] > nats:
            heapq.heappush(self._easiest, (-nats, row))
            self.kept.setdefault(row, logits.copy())
            if len(self._easiest) > count:
                self.kept.pop(heapq.heappop(self._easiest)[1], None)


def evaluate(
    task: Task, backend: sandbox.Backend, script: str, artifact: int, rows: IntArray, seed: int
) -> Evaluation:
    """Scores a trained model on rows of tokens.

    Args:
        script: the source that trained it; the servers need its classes.
        artifact: descriptor of the frozen model file.
        rows: uint[N, T + 1], each token one byte.
        seed: of the challenges; the script must not know it.

    Raises:
        Refused: the model broke a rule or cannot be served.
        SandboxError: a sandbox could not be started or killed.
    """
    job = {"script": script, "vocab_size": task.vocab_size, "seq_len": task.seq_len}
    random = np.random.default_rng(seed)
    # Both import torch at the same time; B gets the script only when A is dead.
    with _start(task, backend) as second:
        with _start(task, backend) as first:
            _ready(task, first, job, artifact)
            answers = _serve(task, first, rows, random)
        _ready(task, second, job, artifact)
        difference = _challenge(task, second, rows, answers, random)
    return Evaluation(answers.nats / (math.log(2) * rows[:, 1:].size), len(answers.kept), difference)


def _start(task: Task, backend: sandbox.Backend) -> sandbox.SandboxProcess:
    threads = max(task.threads, min(4, os.cpu_count() or 1))
    limits = sandbox.Limits(
        memory_mb=task.memory_mb,
        scratch_mb=task.scratch_mb,
        file_mb=task.scratch_mb,
        cpu_seconds=math.ceil((task.startup_limit + task.deadline) * threads),
        threads=threads,
    )
    return backend.start("server", limits)


def _ready(task: Task, server: sandbox.SandboxProcess, job: dict[str, Any], artifact: int) -> None:
    """Gives a warm server its model."""
    server.wait_ready(task.startup_limit)
    fd = memory.reopened(artifact)
    try:
        server.submit(job, (fd,))
    finally:
        os.close(fd)
    before = server.cpu_seconds()
    _expect(server, "loaded", time.monotonic() + task.deadline, 0)
    if (spent := server.cpu_seconds() - before) > task.grace:
        raise Refused(
            f"the model took {spent:.1f} CPU s to load, {task.grace:.1f} s are allowed: "
            "training ends with `train`"
        )


def _expect(server: sandbox.SandboxProcess, kind: str, deadline: float, size: int) -> bytes:
    try:
        frame = wire.receive(server.control, deadline, max_payload=size)
    except wire.WireError as error:
        if not server.alive():
            raise Refused(f"the model's server died ({server.exit_reason()})", crash=True) from error
        raise Refused(f"the model's server: {error}") from error
    if frame.type == "failed":
        raise Refused(f"the model cannot be served: {one_line(frame.body.get('error'))}", crash=True)
    if frame.type != kind or len(frame.payload) != size:
        raise Refused(
            f"the model's server sent {len(frame.payload)} bytes of {one_line(frame.type, 40)!r}, not {size}"
        )
    return frame.payload


def _logits(
    task: Task, server: sandbox.SandboxProcess, inputs: IntArray
) -> Iterator[tuple[slice, FloatArray]]:
    """Batches of logits float32[B, T, V], copied into private memory. The server works one batch ahead."""
    deadline = time.monotonic() + task.deadline
    spans = [slice(i, min(i + task.batch_rows, len(inputs))) for i in range(0, len(inputs), task.batch_rows)]

    def ask(span: slice) -> None:
        try:
            wire.send(
                server.control, {"t": "rows"}, np.ascontiguousarray(inputs[span], dtype=np.int32).tobytes()
            )
        except wire.WireError as error:
            raise Refused(f"the model's server does not read: {error}") from error

    ask(spans[0])
    spent = [server.cpu_seconds()]
    for span, following in zip(spans, [*spans[1:], None], strict=True):
        if following is not None and len(spent) > 1:  # the first batch is timed alone
            ask(following)
        shape = (span.stop - span.start, task.seq_len, task.vocab_size)
        payload = _expect(server, "logits", deadline, 4 * math.prod(shape))
        logits = np.frombuffer(payload, dtype=np.float32).reshape(shape)
        if not np.isfinite(logits).all():
            raise Refused("the model gave logits that are not finite")
        spent.append(server.cpu_seconds())
        if following is not None and len(spent) == 2:
            ask(following)
        if problem := server.overuse():
            raise Refused(f"the model's server: {problem}")
        yield span, logits
    _require_even_work(task, np.diff(spent), inputs.size)


def _require_even_work(task: Task, seconds: FloatArray, tokens: int) -> None:
    """Serving must not hide training: neither in the first batch nor in all together.

    What is trained in between batches shows as a difference between the two servers.

    Args:
        seconds: CPU seconds, float[n], between two answers.
        tokens: that were answered in all.
    """
    first, total = float(seconds[0]), float(seconds.sum())
    usual = float(np.median(seconds[1:])) if len(seconds) > 1 else first
    if first > SLOW_FIRST * usual + task.grace:
        raise Refused(
            f"the model took {first:.1f} CPU s for its first batch and {usual:.2f} s for the others"
        )
    allowed = max(task.seconds + task.grace, SECONDS_PER_TOKEN * tokens)
    if total > allowed:
        raise Refused(f"serving took {total:.1f} CPU s, and {allowed:.1f} s are allowed")


def log_partition(logits: FloatArray) -> FloatArray:
    """ln of the sum of exp over the whole vocabulary: float64[..., 1] from float32[..., V]."""
    top = logits.max(axis=-1, keepdims=True)
    return np.asarray(top + np.log(np.exp(logits - top).sum(axis=-1, keepdims=True, dtype=np.float64)))


def position_nats(logits: FloatArray, targets: IntArray) -> FloatArray:
    """Cross-entropy of each position in nats: float64[..., T] from float32[..., T, V] and int[..., T].

    The log-softmax runs over the whole vocabulary, so unnormalised scores gain nothing.
    """
    chosen = np.take_along_axis(logits, targets[..., None].astype(np.int64), axis=-1)
    return np.asarray((log_partition(logits) - chosen)[..., 0])


def _difference(one: FloatArray, other: FloatArray) -> float:
    """The largest difference of two log-softmaxes. A constant added to all logits must not hide one."""
    first, second = one - log_partition(one), other - log_partition(other)
    relevant = np.maximum(first, second) > NEGLIGIBLE
    return float(np.abs(first - second)[relevant].max())


def _serve(
    task: Task, server: sandbox.SandboxProcess, rows: IntArray, random: np.random.Generator
) -> _Answers:
    answers, uniform = _Answers(), max(1, min(len(rows), task.challenge_rows) * 3 // 4)
    drawn = set(random.choice(len(rows), uniform, replace=False).tolist())
    for span, logits in _logits(task, server, rows[:, :-1]):
        losses = position_nats(logits, rows[span, 1:]).sum(axis=-1)
        answers.nats += float(losses.sum())
        for offset, nats in enumerate(losses.tolist()):
            row = span.start + offset
            if row in drawn:
                answers.kept[row] = logits[offset].copy()
            else:
                answers.keep_if_easy(row, nats, logits[offset], task.challenge_rows - uniform)
    return answers


def _challenge(
    task: Task, server: sandbox.SandboxProcess, rows: IntArray, answers: _Answers, random: np.random.Generator
) -> float:
    """Compares prefixes under other suffixes; returns the largest difference of a log-probability."""
    picked = random.permutation(sorted(answers.kept))
    losses = [position_nats(answers.kept[row], rows[row, 1:]) for row in picked]
    changed, cuts = perturb(rows[:, :-1], picked, np.array(losses), random)
    largest = 0.0
    for span, logits in _logits(task, server, changed):
        for row, cut, answer in zip(picked[span], cuts[span], logits, strict=True):
            largest = max(largest, _difference(answers.kept[row][:cut], answer[:cut]))
            if largest > TOLERANCE:
                raise Refused(
                    f"the model's answer for the first {cut} tokens of a row changed by {largest:.2g} when "
                    "only what follows them did: it looks ahead, remembers, or is not deterministic"
                )
    return largest


def perturb(
    inputs: IntArray, picked: IntArray, losses: FloatArray, random: np.random.Generator
) -> tuple[IntArray, IntArray]:
    """Rows whose beginnings are kept and whose endings come from other rows: natural text, nothing to detect.

    A model that peeks gives itself away at the last position before the cut. Half of the cuts are drawn
    uniformly, half after one of the four positions with the lowest loss. One row in eight is repeated whole.

    Args:
        inputs: int[N, T].
        picked: int[n], the rows to be challenged.
        losses: float[n, T], of their positions.

    Returns:
        int[n, T] rows, and int[n] cuts: tokens before `cut` are the original's, the one at `cut` differs.
    """
    length = inputs.shape[1]
    changed = inputs[picked].astype(np.int64)
    cuts = random.integers(1, length, size=len(picked))
    easiest = np.argsort(losses[:, :-1], axis=1)[:, :4] + 1
    cuts[1::2] = easiest[np.arange(len(picked)), random.integers(easiest.shape[1], size=len(picked))][1::2]
    cuts[::8] = length
    for row, cut in zip(changed, cuts, strict=True):
        if cut < length:
            donors = inputs[random.permutation(len(inputs))[:64]]
            differing = donors[donors[:, cut] != row[cut]]
            row[cut:] = differing[0, cut:] if len(differing) else row[cut:] ^ 1
    return changed, cuts
