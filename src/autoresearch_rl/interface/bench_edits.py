"""`bench edits`: how many edits a script has, and what share of random ones is valid, builds and trains."""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autoresearch_rl.agent.slate import draw_slate
from autoresearch_rl.environment import runner
from autoresearch_rl.environment.frozen import FrozenEnvironment, open_environment
from autoresearch_rl.environment.log import one_line
from autoresearch_rl.environment.task import load_task
from autoresearch_rl.errors import ConfigurationError, EditError
from autoresearch_rl.records import Candidate, OutcomeStatus
from autoresearch_rl.target.edits import apply, validate
from autoresearch_rl.target.script import Script
from autoresearch_rl.target.space import Space, full_space

SECONDS = 2.0  # of training
ROUND = 50  # candidates that are drawn before the compound ones are made anew
REASONS = 8  # of each kind that are shown


@dataclass(frozen=True, slots=True)
class _Tried:
    """One random candidate. A problem is None where all is well, or where it did not come to that."""

    candidate: Candidate
    invalid: str | None = None
    unbuilt: str | None = None
    check_seconds: float | None = None  # wall
    ran: bool = False
    crash: str | None = None


def bench_edits(path: Path, task: str, sample: int, trained: int, seed: int, sandbox: str) -> dict[str, Any]:
    """Counts the candidates of a script, and tries random ones, drawn as an agent does that knows nothing.

    Args:
        path: of the script.
        task: whose data and limits count; trials take 2 s instead of its budget.
        sample: how many random candidates are checked.
        trained: about how many of those that pass the shape check are trained.

    Raises:
        ConfigurationError: the script cannot be read, or is no script of this task.
        TaskError, SandboxError: see `open_environment`.
    """
    script = _read(path)
    loaded = load_task(task, SECONDS)
    if problem := validate(script.source, loaded.script_bytes):
        raise ConfigurationError(f"{path}: {problem}")
    space = full_space(loaded.device, loaded.script_bytes)
    began = time.process_time()
    found = space.candidates(script)
    generation = time.process_time() - began
    drawn = list(_draw(space, script, sample, seed))
    environment = open_environment(loaded, sandbox)
    try:
        tried = _try_all(environment, script, drawn, trained, seed)
    finally:
        environment.close()
    return {
        "script": str(path),
        "task": task,
        "generation_seconds": generation,
        "distinct": len({space.result(script, candidate) for candidate in drawn}),
        "all": _facts(found, tried),
        "generators": {
            name: _facts(_of(found, name), [t for t in tried if t.candidate.generator == name])
            for name in space.shares()
        },
        "check_seconds": _median(t.check_seconds for t in tried),
        "problems": {
            "not valid": _reasons(t.invalid for t in tried),
            "shape check": _reasons(t.unbuilt for t in tried),
            "crash": _reasons(t.crash for t in tried),
        },
    }


def _read(path: Path) -> Script:
    try:
        return Script(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
    except (UnicodeDecodeError, EditError) as error:
        raise ConfigurationError(f"{path} cannot be read as a script: {error}") from error


def _draw(space: Space, script: Script, sample: int, seed: int) -> Iterator[Candidate]:
    """Random candidates, none twice; fewer where there are no more."""
    rng, tried, left = np.random.default_rng(seed), set[str](), sample
    while left and (found := space.candidates(script, tried)):
        for candidate in draw_slate(found, min(ROUND, left), rng, lambda c: math.exp(c.odds), space.shares()):
            tried.add(space.result(script, candidate))
            left -= 1
            yield candidate


def _try_all(
    environment: FrozenEnvironment, script: Script, drawn: Sequence[Candidate], trained: int, seed: int
) -> list[_Tried]:
    """Tries candidates on all cores; about `trained` of them, evenly spread, are trained if they build."""
    every = max(1, len(drawn) // trained) if trained else len(drawn) + 1

    def attempt(numbered: tuple[int, Candidate]) -> _Tried:
        number, candidate = numbered
        return _try(environment, script, candidate, seed, train=number % every == every - 1)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(attempt, enumerate(drawn)))


def _try(
    environment: FrozenEnvironment, script: Script, candidate: Candidate, seed: int, *, train: bool
) -> _Tried:
    source, problem = _applied(script, candidate, environment.task.script_bytes)
    if problem:
        return _Tried(candidate, problem)
    began = time.monotonic()
    unbuilt = environment.check(source, seed)
    seconds = time.monotonic() - began
    if unbuilt or not train:
        return _Tried(candidate, None, unbuilt, seconds)
    return _Tried(candidate, None, None, seconds, ran=True, crash=_crash(environment, source, seed))


def _applied(script: Script, candidate: Candidate, limit: int) -> tuple[str, str | None]:
    """The edited script, and what is wrong with it."""
    try:
        after = apply(script, candidate.edit)
        if apply(after, candidate.edit.inverse).source != script.source:
            return after.source, "does not invert"
    except EditError as error:
        return "", one_line(error)
    return after.source, validate(after.source, limit)


def _crash(environment: FrozenEnvironment, source: str, seed: int) -> str | None:
    """Why a script does not train. To be too slow for the short budget is no crash."""
    process = environment.backend.start("session", runner.limits(environment.task))
    run = runner.train(environment.task, process, source, seed, environment.data)
    if run.artifact is not None:
        os.close(run.artifact)
    return None if run.status in (OutcomeStatus.OK, OutcomeStatus.TIMEOUT) else run.reason


def _of(candidates: Sequence[Candidate], generator: str) -> list[Candidate]:
    return [candidate for candidate in candidates if candidate.generator == generator]


def _facts(found: Sequence[Candidate], tried: Sequence[_Tried]) -> dict[str, Any]:
    valid = [t for t in tried if t.invalid is None]
    ran = [t for t in valid if t.ran]
    return {
        "candidates": len(found),
        "tried": len(tried),
        "valid": _share(len(valid), len(tried)),
        "shape_check": _share(sum(t.unbuilt is None for t in valid), len(valid)),
        "ran": len(ran),
        "trains": _share(sum(t.crash is None for t in ran), len(ran)),
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None


def _reasons(reasons: Iterable[str | None]) -> dict[str, int]:
    return dict(Counter(reason for reason in reasons if reason).most_common(REASONS))


def render_edits(facts: Mapping[str, Any]) -> str:
    """`bench_edits` for people."""
    total, check = facts["all"], facts["check_seconds"]
    lines = [
        f"{facts['script']}: {total['candidates']} candidates in {facts['generation_seconds']:.2f} CPU s; "
        f"{facts['distinct']} distinct ones of {total['tried']} drawn",
        f"{'generator':<13}{'candidates':>10}{'drawn':>7}{'valid':>8}{'shape check':>13}{'trains':>9}    of",
        *(_row(name, row) for name, row in (*facts["generators"].items(), ("all", total))),
    ]
    if check is not None:
        lines.append(f"a shape check takes {check:.2f} s (median), a training {SECONDS:g} s")
    for kind, reasons in facts["problems"].items():
        lines += [f"{kind}: {count} x {reason}" for reason, count in reasons.items()]
    return "\n".join(lines)


def _row(name: str, row: Mapping[str, Any]) -> str:
    return (
        f"{name:<13}{row['candidates']:>10}{row['tried']:>7}{_percent(row['valid']):>8}"
        f"{_percent(row['shape_check']):>13}{_percent(row['trains']):>9}{row['ran']:>6}"
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
