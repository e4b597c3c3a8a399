"""Runs of the bench: one policy on one seed of one suite, and the file that they are collected in."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from autoresearch_rl.errors import ConfigurationError
from autoresearch_rl.records import Trial, TrialKind
from autoresearch_rl.storage.faults import storing

BEGINNING: Final = b'{"suite": '
"""Of every line: a torn one that does not begin like this is not ours."""

Key = tuple[str, int]
"""A policy and a seed."""


@dataclass(frozen=True, slots=True)
class Run:
    """One policy on one seed of a suite.

    Attributes:
        budget: training seconds of a trial that runs to its end.
        start: the score before the first counted trial.
        curve: the score of the incumbent after each counted trial.
        seconds: training seconds spent until then, on reference runs too.
        unique: share of the proposed edits that are different scripts.
        structural: share of the proposed edits that are no mere literals.
        ended: why there were fewer trials than wanted (the curve stays where it was), or nothing.
        final: fresh measurements of the last incumbent, None where it failed. Of real suites alone.
        baseline: the same of the first script, with the same seeds.
        family: of the problem, where a suite has several.
        tags: what else can be said of it: sparse, noisy, large.
        prior: the digest of the policy's prior, if it is one in a file.
        trials: how many were asked for; settling what leads may add some, after which `final` was measured.
        hardware: that the scripts were trained on, where they were: what a second buys depends on it.
    """

    suite: str
    policy: str
    seed: int
    budget: float
    start: float
    curve: tuple[float, ...]
    seconds: tuple[float, ...]
    unique: float
    structural: float
    ended: str = ""
    final: tuple[float | None, ...] = ()
    baseline: tuple[float | None, ...] = ()
    family: str = ""
    tags: tuple[str, ...] = ()
    prior: str = ""
    trials: int = 0
    hardware: str = ""

    @property
    def key(self) -> Key:
        """What it is a run of."""
        return self.policy, self.seed

    def prolonged(self, trials: int, why: str) -> Run:
        """The run as it would have gone on when nothing was left to try."""
        missing = trials - len(self.curve)
        if missing <= 0 or not self.curve:
            return self
        curve, seconds = self.curve + self.curve[-1:] * missing, self.seconds + self.seconds[-1:] * missing
        return replace(self, curve=curve, seconds=seconds, ended=why)


class Trace(NamedTuple):
    """What a run's trials add up to; see `Run`."""

    start: float
    curve: tuple[float, ...]
    seconds: tuple[float, ...]
    unique: float
    structural: float


def trace(steps: Iterable[tuple[Trial, float | None]]) -> Trace:
    """Follows a run.

    Args:
        steps: each trial, and the incumbent's score after it; None while it has to be measured anew.
    """
    start = last = spent = 0.0
    curve, seconds, trials = list[float](), list[float](), list[Trial]()
    for trial, score in steps:
        trials.append(trial)
        spent += trial.train_seconds
        last = last if score is None else round(score, 6)
        if trial.counts:
            curve.append(last)
            seconds.append(round(spent, 3))
        elif not curve:
            start = last
    return Trace(start, tuple(curve), tuple(seconds), *_kinds(trials))


def _kinds(trials: Sequence[Trial]) -> tuple[float, float]:
    """Shares of the proposed edits that are different scripts, and that are no mere literals."""
    proposed = [t for t in trials if t.kind is TrialKind.EXPLORE]
    structural = sum(any(s.topic for s in t.candidate.singles) for t in proposed if t.candidate)
    most = max(1, len(proposed))
    return round(len({t.script for t in proposed}) / most, 6), round(structural / most, 6)


# --- the file: JSON Lines, one run a line, the latest of the same run counts


def append(path: Path, run: Run) -> None:
    """Adds a run, so that it survives a kill.

    Raises:
        StorageError: it cannot be written.
    """
    with storing(path), path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(run)) + "\n")
        file.flush()
        os.fsync(file.fileno())


def read(path: Path, suite: str) -> dict[Key, Run]:
    """The runs of a suite in a file, none if there is no file. A torn last line is left out.

    Raises:
        ConfigurationError: the file holds something else.
        StorageError: it cannot be read.
    """
    whole, _ = _torn(path)
    found = (_run(line, path) for line in whole.splitlines())
    return {run.key: run for run in found if run.suite == suite}


def is_torn(path: Path) -> bool:
    """Whether a kill has torn the last line.

    Raises:
        ConfigurationError: the file holds something else.
        StorageError: it cannot be read.
    """
    return bool(_torn(path)[1])


def mend(path: Path) -> None:
    """Cuts off a last line that a kill has torn.

    Raises:
        ConfigurationError: the file holds something else.
        StorageError: it cannot be read or written.
    """
    whole, tail = _torn(path)
    for line in whole.splitlines():
        _run(line, path)  # nothing is cut off a file that is not ours
    if tail:
        with storing(path):
            os.truncate(path, len(whole))


def _torn(path: Path) -> tuple[bytes, bytes]:
    """The whole lines of a file, and the beginning of one more."""
    with storing(path):
        data = path.read_bytes() if path.exists() else b""
    cut = data.rfind(b"\n") + 1
    whole, tail = data[:cut], data[cut:]
    if not BEGINNING.startswith(tail[: len(BEGINNING)]):
        raise ConfigurationError(f"{path} is not a file of this bench: choose another --out")
    return whole, tail


def _run(line: bytes, path: Path) -> Run:
    try:
        fields: dict[str, Any] = json.loads(line)
        lists = {key: tuple(value) for key, value in fields.items() if isinstance(value, list)}
        run = Run(**{**fields, **lists})
        if len(run.curve) != len(run.seconds):
            raise ValueError(f"{len(run.curve)} scores at {len(run.seconds)} times")
        return run
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"{path} is not a file of this bench, choose another --out: {error}"
        ) from error
