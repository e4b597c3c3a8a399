"""Asks a sandbox whether a script is worth a trial: built, trained for a few steps on noise, and examined.

The answer is untrusted, as everything that is said in there: who lies gets a trial, and is judged by that.
"""

from __future__ import annotations

import math
import os
import select
import time
from dataclasses import replace
from typing import Any

import numpy as np

from autoresearch_rl.environment import runner, sandbox
from autoresearch_rl.environment.inside import wire
from autoresearch_rl.environment.log import one_line
from autoresearch_rl.environment.task import Task

TICK = 0.05  # seconds between two looks at a silent sandbox
LEAST_LIMIT = 10.0  # wall seconds that a check may always take: a usual one takes a fraction of one
MOST_TOKENS = 1 << 24  # of the training split, that the check stands in for


def check(task: Task, backend: sandbox.Backend, script: str, seed: int, data: runner.Data) -> str | None:
    """Lives through a script in small, in a fresh sandbox, and kills it.

    Args:
        data: its size and type alone; none of it goes into the sandbox.

    Returns:
        None when the script passes, else the reason in one line: untrusted text, cleaned.

    Raises:
        SandboxError: the sandbox could not be started or killed; the script is not to blame.
    """
    limit = time_limit(task)
    limits = replace(runner.limits(task), cpu_seconds=math.ceil(limit) + 5)
    with backend.start("shapes", limits) as process:
        process.submit(_job(task, script, seed, data))
        reason = _spoken(process, limit) or _verdict(process)
        process.kill()
    return reason


def time_limit(task: Task) -> float:
    """Wall seconds for one check. What takes longer could hardly train for more than a few steps either."""
    return max(LEAST_LIMIT, min(task.seconds, task.startup_limit / 4))


def _job(task: Task, script: str, seed: int, data: runner.Data) -> dict[str, Any]:
    tokens = os.fstat(data.train).st_size // np.dtype(data.dtype).itemsize
    job = {**runner.job(task, script, seed, data.dtype), "threads": 1}
    return {**job, "train_tokens": min(tokens, MOST_TOKENS), "artifact_mb": task.artifact_mb}


def _spoken(process: sandbox.Sandbox, limit: float) -> str | None:
    """Waits until the sandbox speaks or ends; else the rule that it broke."""
    deadline = time.monotonic() + limit
    poll = select.poll()
    poll.register(process.control, select.POLLIN | select.POLLHUP)
    while not poll.poll(TICK * 1000) and process.alive():
        if problem := process.overuse():
            return problem
        if time.monotonic() > deadline:
            return f"no model after {limit:g} s, where a few small steps were asked for"
    return None


def _verdict(process: sandbox.Sandbox) -> str | None:
    try:
        frame = wire.receive(process.control, time.monotonic() + runner.FRAME_LIMIT)
    except wire.WireClosed:
        return f"the script ended before it returned a model ({process.exit_reason()})"
    except wire.WireError as error:
        return f"the sandbox broke the protocol: {error}"
    if frame.type == "checked":
        return None
    if frame.type != "failed":
        return f"the sandbox sent an unknown message: {one_line(frame.type, 40)!r}"
    reason = frame.body.get("error")
    return (one_line(reason) if isinstance(reason, str) else "") or "no reason given"
