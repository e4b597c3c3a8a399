"""The history as scripts: where each differs from the baseline, and what it measured.

An edit is a step from one script to another; what was learnt about it belongs to the places and values it
leads to, whichever way the search went there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from autoresearch_rl.records import Candidate, Edit, Trial, Verdict

SHARE = 0.8  # from here to one a number is taken for a momentum or the like; less may be a learning rate
MOST_BPB = 1e6  # what is worse is a failure
SHRINK = 0.7  # of the loss that was foreseen of a run that was pruned, what is true on average

Config = Mapping[str, str]
"""Values by place, where they are not the baseline's."""


class Move(NamedTuple):
    """What an edit does at one place. A structural edit is a place that gets switched on."""

    place: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Measurement:
    """One evaluated run, or one that was pruned."""

    config: Config
    bpb: float
    start: float  # mean of the script it was made from; its own score for reference runs
    foreseen: bool  # a forecast, since the run was pruned
    segment: int  # of the hardware


def moves(edit: Edit, candidate: Candidate | None = None) -> tuple[Move, ...]:
    """What an edit does, place by place; an edit that its generator names is one place."""
    found: list[Move] = []
    for single in candidate.singles if candidate else ():
        if single.topic:
            found.append(Move(single.topic, "", "on"))
        else:
            found += [Move(change.site, change.old, change.new) for change in single.edit.changes]
    if candidate:
        return tuple(found)
    return tuple(Move(change.site, change.old, change.new) for change in edit.changes)


def measured_bpb(trial: Trial) -> float | None:
    """What a run measured; of one that was pruned, what it would most likely have. None for all others.

    Runs are stopped for looking bad, so on average they are better than they look.
    """
    if trial.verdict is not Verdict.PRUNED:
        return trial.val_bpb if trial.verdict.evaluated else None
    if trial.forecast is None or trial.incumbent_bpb is None:
        return trial.forecast
    return trial.incumbent_bpb + SHRINK * (trial.forecast - trial.incumbent_bpb)


class Scripts:
    """Reads a growing history once, in its order.

    Attributes:
        defaults: the baseline's value of each place that was ever changed.
        measured: every evaluated or pruned run.
        failed: the scripts that crashed or broke a rule.
    """

    def __init__(self) -> None:
        self.defaults: dict[str, str] = {}
        self.measured: list[Measurement] = []
        self.failed: list[Config] = []
        self._configs: dict[str, Config] = {}
        self._read = 0

    def read(self, history: Sequence[Trial]) -> None:
        """Take in the trials that are new; those before must be the ones it has read."""
        for trial in history[self._read :]:
            self._add(trial)
        self._read = len(history)

    def config(self, script: str) -> Config:
        """Of a script by its SHA-256; one that was never made by an edit is the baseline."""
        return self._configs.get(script, {})

    def after(self, script: str, edit: Edit, candidate: Candidate | None = None) -> Config:
        """Of what an edit makes of a script."""
        config = dict(self.config(script))
        for move in moves(edit, candidate):
            if move.new == self.defaults.get(move.place, move.old):
                config.pop(move.place, None)
            else:
                config[move.place] = move.new
        return config

    def _add(self, trial: Trial) -> None:
        for move in moves(trial.edit, trial.candidate):
            self.defaults.setdefault(move.place, move.old)
        self._configs.setdefault(trial.script, self.after(trial.parent, trial.edit, trial.candidate))
        bpb, foreseen = measured_bpb(trial), trial.verdict is Verdict.PRUNED
        if bpb is not None and abs(bpb) < MOST_BPB:
            start = bpb if trial.incumbent_bpb is None else trial.incumbent_bpb
            start = max(-MOST_BPB, min(MOST_BPB, start))
            self.measured.append(Measurement(self.config(trial.script), bpb, start, foreseen, trial.segment))
        else:
            self.failed.append(self.config(trial.script))


@lru_cache(maxsize=1 << 16)
def number(default: str, text: str) -> float:
    """A value on the scale of steps: its logarithm; of a share near one that of 1 - x; nan for no number.

    Args:
        default: the baseline's value at the place, which tells what kind of number it is.
        text: the value.
    """
    value = finite(text)
    if value is None:
        return math.nan
    if _is_near_one(default):
        return -math.log(1.0 - value) if value < 1.0 else math.nan
    return math.log(abs(value)) if value else math.nan


def _is_near_one(default: str) -> bool:
    """Whether it is a momentum, or another share of which what lacks to one counts."""
    value = finite(default)
    return value is not None and SHARE <= value < 1.0


def finite(text: str) -> float | None:
    """The value of a plain, finite number, else None."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
