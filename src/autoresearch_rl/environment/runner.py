"""Runs one script under the budget: the clock, the watch and the kill are here, outside the sandbox.

Commit (DESIGN, "Why the score can be trusted", 1): the model leaves through an inherited, size-capped file
in memory; the sandbox is killed and its death confirmed before anyone looks at that file.
"""

from __future__ import annotations

import math
import os
import select
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from autoresearch_rl.environment import memory, sandbox
from autoresearch_rl.environment.inside import wire
from autoresearch_rl.environment.log import one_line
from autoresearch_rl.environment.task import Task
from autoresearch_rl.records import OutcomeStatus, Probe

TICK = 0.05  # seconds between two looks at the clocks
STALL_SECONDS = 20.0  # of wall time in which a script on the CPU clock must use some CPU
STALL_CPU = 0.05
WALL_PER_CPU = 12.0  # we saw a shared machine slow down 8-fold; a script that waits longer than that is idle
MAX_REPORTS = 400
MAX_HAND_OVERS = 8  # of the training data: who asks and does not read what we answer would make us wait
FRAME_LIMIT = 0.5  # seconds for one message: ours are small and sent at once
NATS_PER_BIT = math.log(2)


@dataclass(frozen=True)
class Progress:
    """What a running trial tells to whoever watches it."""

    phase: str  # "start", "train", "evaluate"
    seconds: float
    budget: float
    bpb: float | None = None  # the latest probe


OnProgress = Callable[[Progress], None]
GiveUp = Callable[[Sequence[Probe]], str | None]


def ignore(_: Progress) -> None:
    """Watches nothing."""


def never(_: Sequence[Probe]) -> None:
    """Gives no run up."""


@dataclass
class Run:
    """What came of training one script. `artifact` is a frozen descriptor iff `status` is ok."""

    status: OutcomeStatus = OutcomeStatus.CRASH
    reason: str = ""
    artifact: int | None = None
    train_seconds: float = 0.0
    run_seconds: float = 0.0
    peak_memory_mb: float = 0.0
    probes: list[Probe] = field(default_factory=list)
    scalars: list[Mapping[str, float]] = field(default_factory=list)
    log: str = ""


@dataclass(frozen=True)
class Data:
    """Descriptors of the sealed files a session may get."""

    train: int
    probe: int
    dtype: str
    bytes_per_token: float = 1.0  # of the probe rows


def train(
    task: Task,
    process: sandbox.Sandbox,
    script: str,
    seed: int,
    data: Data,
    on_progress: OnProgress = ignore,
    give_up: GiveUp = never,
) -> Run:
    """Trains one script in a fresh sandbox and kills it. What the script does is an outcome, not an error.

    Args:
        process: of the role `session`, started with `limits(task)`; it is dead afterwards.
        give_up: asked after each probe; a reason ends the run.

    Raises:
        SandboxError: the sandbox could not be killed; the script is not to blame.
    """
    run = Run()
    began = time.monotonic()
    artifact = memory.writable("artifact", task.artifact_mb)
    try:
        with process:
            watch = _Watch(task, process, run, data, on_progress, give_up)
            watch.submit(script, seed, artifact)
            watch.until_over()
            process.kill()
            run.run_seconds = time.monotonic() - began
            run.log = process.log.text()
        if run.status is OutcomeStatus.OK:
            memory.freeze(artifact)
            run.artifact = os.dup(artifact)
    finally:
        os.close(artifact)
    return run


def limits(task: Task) -> sandbox.Limits:
    """What a training run may use."""
    cpu = task.startup_limit + task.threads * (task.seconds + task.grace)
    return sandbox.Limits(
        memory_mb=task.memory_mb,
        scratch_mb=task.scratch_mb,
        file_mb=max(task.scratch_mb, task.artifact_mb),
        cpu_seconds=math.ceil(cpu) + 5 if task.clock == "cpu" else 1 << 30,
    )


def job(task: Task, script: str, seed: int, dtype: str) -> dict[str, Any]:
    """What the inside has to know to train a script."""
    return {
        "script": script, "seed": seed, "threads": task.threads,
        "vocab_size": task.vocab_size, "seq_len": task.seq_len, "dtype": dtype,
        "seconds": task.seconds, "clock": task.clock, "setup": task.setup,
        "device": task.device,
    }  # fmt: skip


class _Watch:
    """Follows one training run and ends it by the rules."""

    def __init__(
        self,
        task: Task,
        process: sandbox.Sandbox,
        run: Run,
        data: Data,
        on_progress: OnProgress,
        give_up: GiveUp,
    ) -> None:
        self.task, self.process, self.run, self.data = task, process, run, data
        self.on_progress, self.give_up = on_progress, give_up
        self.over = False
        self.submitted = self.zero = 0.0
        self.counting = task.setup == "counted"
        self.hand_overs = 0
        self.stall = (0.0, 0.0)  # wall and CPU when it last showed life

    def submit(self, script: str, seed: int, artifact: int) -> None:
        probe = memory.reopened(self.data.probe)
        try:
            self.submitted = time.monotonic()
            self.zero = self._clock()
            self.stall = (self.submitted, self.process.cpu_seconds())
            self.process.submit(job(self.task, script, seed, self.data.dtype), (artifact, probe))
        finally:
            os.close(probe)

    def until_over(self) -> None:
        """Returns when the run has ended, by itself or by a rule."""
        poll = select.poll()
        poll.register(self.process.control, select.POLLIN | select.POLLHUP)
        while not self.over:
            if poll.poll(TICK * 1000):
                self._read()
            if not self.over:
                self._look()

    # --- the clock and the rules

    def _clock(self) -> float:
        return self.process.cpu_seconds() if self.task.clock == "cpu" else time.monotonic()

    def _elapsed(self) -> float:
        return self._clock() - self.zero if self.counting else 0.0

    def _look(self) -> None:
        now, elapsed = time.monotonic(), self._elapsed()
        self.run.train_seconds = elapsed
        self.run.peak_memory_mb = max(self.run.peak_memory_mb, self.process.peak_memory_mb())
        last = self.run.probes[-1].bpb if self.run.probes else None
        self.on_progress(Progress("train", elapsed, self.task.seconds, last))
        if not self.process.alive():
            self._died()
        elif reason := self._overrun(now, elapsed):
            self._end(OutcomeStatus.TIMEOUT, reason)
        elif problem := self.process.overuse():
            self._end(OutcomeStatus.CRASH, problem)

    def _overrun(self, now: float, elapsed: float) -> str | None:
        task, wall = self.task, now - self.submitted
        if elapsed > task.seconds + task.grace:
            return f"still running at {elapsed:.1f} s of a budget of {task.seconds:g} s"
        if not self.counting and wall > task.startup_limit:
            return f"no training data used within the {task.startup_limit:g} s allowed for set-up"
        return self._idle(now, wall) if task.clock == "cpu" else None

    def _idle(self, now: float, wall: float) -> str | None:
        """On the CPU clock a script that waits spends nothing, so waiting has limits of its own."""
        cpu = self.process.cpu_seconds()
        if cpu - self.stall[1] > STALL_CPU:
            self.stall = (now, cpu)
        elif now - self.stall[0] > STALL_SECONDS:
            return f"hung: no work in {STALL_SECONDS:g} s"
        if wall > (limit := WALL_PER_CPU * self.task.seconds + STALL_SECONDS):
            return f"idle: {cpu:.1f} CPU s in the {limit:.0f} s allowed"
        return None

    def _end(self, status: OutcomeStatus, reason: str = "") -> None:
        self.over, self.run.status, self.run.reason = True, status, reason

    def _died(self) -> None:
        """The process ended before it handed over a model; its last messages may still wait."""
        while not self.over:
            self._read()

    def _ended_early(self) -> None:
        reason = self.process.exit_reason()
        self._end(OutcomeStatus.CRASH, f"the script ended before it returned a model ({reason})")

    # --- what it says

    def _read(self) -> None:
        try:
            self._handle(wire.receive(self.process.control, time.monotonic() + FRAME_LIMIT))
        except wire.WireClosed:
            self._ended_early()
        except wire.WireError as error:
            self._end(OutcomeStatus.INVALID, f"the sandbox broke the protocol: {error}")

    def _handle(self, frame: wire.Frame) -> None:
        match frame.type:
            case "data":
                self._hand_over()
            case "probe":
                self._probe(_number(frame.body, "seconds"), _number(frame.body, "nats"))
            case "report":
                self._report(frame)
            case "committed":
                self._committed()
            case "failed":
                self._end(OutcomeStatus.CRASH, one_line(frame.body.get("error", "no reason given")))
            case other:
                self._end(
                    OutcomeStatus.INVALID, f"the sandbox sent an unknown message: {one_line(other, 40)!r}"
                )

    def _committed(self) -> None:
        """The model has arrived, but not necessarily in time: this message may have been held back."""
        now, elapsed = time.monotonic(), self._elapsed()
        self.run.train_seconds = elapsed
        reason = self._overrun(now, elapsed)
        self._end(OutcomeStatus.TIMEOUT if reason else OutcomeStatus.OK, reason or "")

    def _hand_over(self) -> None:
        self.hand_overs += 1
        if self.hand_overs > MAX_HAND_OVERS:
            self._end(OutcomeStatus.INVALID, "the sandbox asked for the training data again and again")
            return
        train = memory.reopened(self.data.train)
        try:
            wire.send(self.process.control, {"t": "data"}, fds=(train,))
        finally:
            os.close(train)
        if not self.counting:
            self.zero, self.counting = self._clock(), True

    def _probe(self, seconds: float | None, nats: float | None) -> None:
        if seconds is None or nats is None or len(self.run.probes) >= MAX_REPORTS:
            return
        rates = (scalars["lr"] for scalars in reversed(self.run.scalars) if "lr" in scalars)
        bpb = nats / (NATS_PER_BIT * self.data.bytes_per_token)
        self.run.probes.append(Probe(seconds, bpb, next(rates, None)))
        if reason := self.give_up(self.run.probes):
            self.run.train_seconds = self._elapsed()
            self._end(OutcomeStatus.PRUNED, reason)

    def _report(self, frame: wire.Frame) -> None:
        values = frame.body.get("values")
        if isinstance(values, dict) and len(self.run.scalars) < MAX_REPORTS:
            scalars = {one_line(name, 40): _number(values, name) for name in list(values)[:8]}
            scalars["seconds"] = _number(frame.body, "seconds")
            self.run.scalars.append({name: value for name, value in scalars.items() if value is not None})


def _number(body: Mapping[str, object], name: str) -> float | None:
    """A finite number of an untrusted message, else None."""
    value = body.get(name)
    if isinstance(value, (int, float)) and abs(value) < 1e30:
        return float(value)
    return None
