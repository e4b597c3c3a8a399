"""Reads files of learning curves that others have trained.

Such a file has the columns `run,kind,step,total_steps,time_s,loss,bpb` and perhaps `lr`; `kind` is `train`
or `val`. Which of its runs are used, and how:

- Values are bits per byte, or the loss in nats where fewer than half of the runs have bits per byte.
- The budget is what most runs have in common: a time, unless more runs reach their `total_steps` than end
  within 3 % of one time; then progress is counted in steps.
- A run is useful if it ends within 3 % of that budget and has 8 validation readings or more.
- Runs are taken in the order of the first date in their names, then of their names, numbers by value.
"""

from __future__ import annotations

import csv
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from autoresearch_rl.errors import ConfigurationError
from autoresearch_rl.judgement.curves import Curve

READINGS = 8
"""Validation readings of a useful run."""

SAME = 0.03
"""Two budgets are the same if they differ by no more than this share."""

UNITS = {"bpb": "bits per byte", "loss": "nats"}


@dataclass
class _Run:
    """The rows of one run: (seconds, step, total steps) with bits per byte, loss and learning rate."""

    name: str
    clocks: list[tuple[float, float, float]] = field(default_factory=list)
    bpb: list[float] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    rates: list[tuple[tuple[float, float, float], float]] = field(default_factory=list)


@dataclass(frozen=True)
class Curves:
    """The useful runs of a file, in their order."""

    names: tuple[str, ...]
    curves: tuple[Curve, ...]
    runs: int  # in the file
    unit: str
    budget: str


def read_curves(path: Path) -> Curves:
    """The useful runs of a file of curves.

    Raises:
        ConfigurationError: the file cannot be read, lacks a column, or has no useful run.
    """
    runs = _read(path)
    scored = {unit: [run for run in runs if _readings(run, unit) >= READINGS] for unit in UNITS}
    unit = "bpb" if 2 * len(scored["bpb"]) >= len(scored["loss"]) else "loss"
    if not scored[unit]:
        raise ConfigurationError(f"{path} has no useful run: none has {READINGS} validation readings")
    clock, budget, useful = _budget(scored[unit], unit)
    if not useful:
        raise ConfigurationError(f"{path} has no useful run: no time_s, and no run reaches its total_steps")
    ordered = sorted(useful, key=_chronological)
    curves = tuple(_curve(run, unit, clock) for run in ordered)
    names = tuple(run.name for run in ordered)
    return Curves(names, curves, len(runs), UNITS[unit], budget)


Clock = Callable[[tuple[float, float, float]], float]


def _budget(runs: Sequence[_Run], unit: str) -> tuple[Clock, str, list[_Run]]:
    """The budget that most runs have in common: progress by it, its name, and the runs that end with it."""
    ends = [max(_finite(run, unit, lambda c: c[0]), default=math.nan) for run in runs]
    common = max((_near(ends, end) for end in ends), key=len)
    seconds = float(np.median(common)) if common else math.nan
    timed = [run for run, end in zip(runs, ends, strict=True) if abs(end - seconds) <= SAME * seconds]
    stepped = [run for run in runs if max(_finite(run, unit, _by_steps), default=0.0) >= 1 - SAME]
    if len(stepped) > len(timed):
        return _by_steps, "total_steps", stepped
    return lambda clock: clock[0] / seconds, f"{seconds:.0f} s", timed


def _near(ends: Sequence[float], end: float) -> list[float]:
    return [other for other in ends if end > 0 and abs(other - end) <= SAME * end]


def _by_steps(clock: tuple[float, float, float]) -> float:
    return clock[1] / clock[2] if clock[2] > 0 else math.nan


def _finite(run: _Run, unit: str, clock: Clock) -> list[float]:
    """The moments of a run's readings, by a clock."""
    pairs = zip(map(clock, run.clocks), _values(run, unit), strict=True)
    return [moment for moment, value in pairs if math.isfinite(moment) and math.isfinite(value)]


def _values(run: _Run, unit: str) -> list[float]:
    return run.bpb if unit == "bpb" else run.loss


def _readings(run: _Run, unit: str) -> int:
    """How many moments of a run have a reading; a log that was appended twice has no more of them."""
    pairs = zip(run.clocks, _values(run, unit), strict=True)
    return len({clock[:2] for clock, value in pairs if math.isfinite(value)})


def _curve(run: _Run, unit: str, clock: Clock) -> Curve:
    rates = ((clock(moment), rate) for moment, rate in run.rates)
    return Curve.of(zip(map(clock, run.clocks), _values(run, unit), strict=True), rates)


def _chronological(run: _Run) -> tuple[str, list[tuple[int, str]]]:
    date = re.search(r"(20\d\d)-?([01]\d)-?([0-3]\d)", run.name)
    parts = re.findall(r"\d+|\D+", run.name)
    return "".join(date.groups()) if date else "", [(int(p), "") if p.isdecimal() else (-1, p) for p in parts]


def _read(path: Path) -> list[_Run]:
    runs: dict[str, _Run] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            _require_columns(path, rows.fieldnames or ())
            for row in rows:
                if row["run"]:
                    _add_row(runs.setdefault(row["run"], _Run(row["run"])), row)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigurationError(f"cannot read the curves in {path}: {reason}") from error
    return list(runs.values())


def _require_columns(path: Path, columns: Iterable[str]) -> None:
    missing = [name for name in ("run", "kind") if name not in columns]
    missing += [] if {"bpb", "loss"} & set(columns) else ["bpb or loss"]
    missing += [] if "time_s" in columns or {"step", "total_steps"} <= set(columns) else ["time_s"]
    if missing:
        what = "run,kind,step,total_steps,time_s,loss,bpb"
        raise ConfigurationError(f"{path} lacks the column {', '.join(missing)}; expected {what}")


def _add_row(run: _Run, row: Mapping[str, str | None]) -> None:
    numbers: dict[str, float] = defaultdict(lambda: math.nan)
    numbers |= {name: _number(text) for name, text in row.items()}
    clock = (numbers["time_s"], numbers["step"], numbers["total_steps"])
    if row["kind"] == "val":
        run.clocks.append(clock)
        run.bpb.append(numbers["bpb"])
        run.loss.append(numbers["loss"])
    if math.isfinite(numbers["lr"]):
        run.rates.append((clock, numbers["lr"]))


def _number(text: str | None) -> float:
    """An empty or unreadable cell is a missing reading, not an error: logs are like that."""
    try:
        return float(text or "nan")
    except (TypeError, ValueError):
        return math.nan
