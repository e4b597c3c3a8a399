"""The records that travel through the loop: state -> edit -> outcome -> trial -> reward -> stop.

All are frozen. They know nothing of how they are made, stored or shown.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """What became of a trial."""

    KEEP = "keep"  # better than the incumbent, beyond noise
    PROVISIONAL = "provisional"  # looks better, not proven: may lead the search, is not kept yet
    DISCARD = "discard"  # not better
    PRUNED = "pruned"  # aborted by self-evaluation
    CRASH = "crash"
    TIMEOUT = "timeout"
    REJECTED = "rejected"  # the edit never ran
    INVALID = "invalid"  # ran, but broke a rule of the evaluation

    @property
    def evaluated(self) -> bool:
        """Whether a trial with this verdict has a trusted val_bpb."""
        return self in (Verdict.KEEP, Verdict.PROVISIONAL, Verdict.DISCARD)


class Metric(StrEnum):
    """Who computes the val_bpb of a task."""

    MEASURED = "measured"  # the harness, from the logits of the model that the script returned
    SELF_REPORTED = "self-reported"  # the script, which could print anything

    @property
    def mark(self) -> str:
        """The word that a score bears wherever it is shown; empty for a measured one."""
        return "SELF-REPORTED" if self is Metric.SELF_REPORTED else ""


class TrialKind(StrEnum):
    """Why a trial was run."""

    REFERENCE = "reference"  # measures the script that others are compared with: baseline or incumbent
    EXPLORE = "explore"  # tries a new edit
    CONFIRM = "confirm"  # runs what looks better again, with a fresh seed or on a newer leader


class StopReason(StrEnum):
    """Why a study stopped."""

    TRIALS = "trials"
    HOURS = "hours"
    TRAIN_SECONDS = "train_seconds"
    MONEY = "money"
    NO_GAIN = "no_gain"
    CONVERGED = "converged"  # a further gain is improbable
    EXHAUSTED = "exhausted"  # every candidate edit of the incumbent has been tried
    DISK = "disk"
    PERSON = "person"
    ENVIRONMENT = "environment"


@dataclass(frozen=True, slots=True)
class Change:
    """One replacement at a named site of the script. `old` and `new` are source text."""

    site: str
    old: str
    new: str

    def __str__(self) -> str:
        if "\n" not in self.old:
            return f"{self.site}: {self.old} -> {self.new}"
        new = [line.strip() for line in self.new.splitlines() if line not in self.old.splitlines()]
        more = f" and {len(new) - 1} more lines" if len(new) > 1 else ""
        return f"{self.site}: {new[0]}{more}" if new else f"{self.site}: lines deleted"


@dataclass(frozen=True, slots=True)
class Edit:
    """A structured diff: changes at disjoint sites, applied all or none."""

    changes: tuple[Change, ...]

    @property
    def inverse(self) -> Edit:
        """The edit that undoes this one."""
        return Edit(tuple(Change(c.site, c.new, c.old) for c in self.changes))

    def __str__(self) -> str:
        return "; ".join(map(str, self.changes)) or "no change"

    def to_json(self) -> list[list[str]]:
        """`[[site, old, new], ...]`."""
        return [[c.site, c.old, c.new] for c in self.changes]

    @classmethod
    def from_json(cls, rows: Sequence[Sequence[str]]) -> Edit:
        """Inverse of `to_json`."""
        return cls(tuple(Change(site, old, new) for site, old, new in rows))


@dataclass(frozen=True, slots=True)
class Candidate:
    """An edit that could be tried now, with what its generator knows about it."""

    edit: Edit
    generator: str  # "literals", "recipes", ...
    operator: str  # "scale", "step", "toggle", "choose", ...
    direction: int  # -1 smaller, +1 larger, 0 neither
    magnitude: float  # |ln(new / old)| of numbers, of momenta that of 1 - x; else 1.0
    topic: str = ""  # what it changes: the site's name when empty, else a recipe's, or a rule and a place
    odds: float = 0.0  # log-odds that it helps, against an ordinary edit, as its generator sees it
    parts: tuple[Candidate, ...] = ()  # of a compound one: the single ones that it is made of

    @property
    def singles(self) -> tuple[Candidate, ...]:
        """The single candidates it consists of: itself, unless it is compound."""
        return self.parts or (self,)

    @property
    def topics(self) -> tuple[str, ...]:
        """What it changes, for whoever keeps count."""
        if self.parts:
            return tuple(topic for part in self.parts for topic in part.topics)
        return (self.topic,) if self.topic else tuple(change.site for change in self.edit.changes)

    def __str__(self) -> str:
        """Its topic where that says more than the lines it changes."""
        if self.parts:
            return " + ".join(map(str, self.parts))
        return f"{self.generator}: {self.topic}" if self.topic else str(self.edit)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A trial that is about to run. `script` and `parent` are the SHA-256 of source texts."""

    number: int
    kind: TrialKind
    parent: str
    source: str  # the text that will run
    edit: Edit
    seed: int
    candidate: Candidate | None = None  # None for reference runs
    confirms: int | None = None  # the trial that this one re-runs
    bar: float = math.inf  # bits per byte: a score below it may come to lead and is challenged thoroughly
    started: float = field(default_factory=time.time)

    @property
    def script(self) -> str:
        """SHA-256 of the source that will run."""
        return script_id(self.source)


@dataclass(frozen=True, slots=True)
class Probe:
    """A small validation reading during training, made inside the sandbox: for forecasting only."""

    seconds: float  # of the budget's clock
    bpb: float
    lr: float | None = None  # the learning rate that the script last reported


class OutcomeStatus(StrEnum):
    """How the run of a script ended, before it is judged."""

    OK = "ok"
    PRUNED = "pruned"
    CRASH = "crash"
    TIMEOUT = "timeout"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What running and evaluating one script gave. `val_bpb` is present iff `status` is ok."""

    status: OutcomeStatus
    reason: str  # one line; empty when ok
    val_bpb: float | None
    probes: tuple[Probe, ...]
    train_seconds: float  # on the task's clock (CPU or wall)
    start_seconds: float  # wall: sandbox start and imports
    run_seconds: float  # wall: from the hand-over of the script to the model
    evaluate_seconds: float  # wall: commit, serve, challenge
    peak_memory_mb: float
    sandbox: str
    challenges: int = 0  # rows re-checked in the second server
    log: str = ""  # untrusted text, stripped and bounded
    scalars: tuple[Mapping[str, float], ...] = ()  # what the script reported
    extra_bpb: Mapping[str, float] = field(default_factory=dict)  # other splits, by name

    @property
    def wall_seconds(self) -> float:
        """All wall time of the trial inside the environment."""
        return self.start_seconds + self.run_seconds + self.evaluate_seconds


@dataclass(frozen=True, slots=True)
class Trial:
    """One experiment, judged. `script` and `parent` are the SHA-256 of source texts."""

    number: int
    kind: TrialKind
    parent: str  # the script the edit was applied to
    script: str  # the script that ran
    edit: Edit
    candidate: Candidate | None  # None for reference runs
    confirms: int | None  # the trial that this one re-runs
    seed: int
    verdict: Verdict
    reason: str
    incumbent_bpb: float | None  # mean of the parent's measurements when this was judged
    val_bpb: float | None
    reward: float
    train_seconds: float
    wall_seconds: float
    peak_memory_mb: float
    sandbox: str
    started: float  # seconds since the epoch
    seconds: Mapping[str, float]  # wall seconds by phase: start, run, evaluate, loop, learn
    metrics: Mapping[str, float] = field(default_factory=dict)  # the agent's, at its last update
    challenges: int = 0  # rows that were asked again with another ending
    segment: int = 0  # measurements of different segments were made on different hardware
    probes: tuple[Probe, ...] = ()
    stop_at: float | None = None  # training seconds at which the pruner gave it up, obeyed or not
    forecast: float | None = None  # the val_bpb it foresaw then; rests on what the script itself reported

    @property
    def what(self) -> str:
        """What it tries, in one line."""
        return str(self.candidate or self.edit)

    @property
    def counts(self) -> bool:
        """Whether it is one of the trials that limits count: what never ran cost nothing."""
        return self.kind is not TrialKind.REFERENCE and self.verdict is not Verdict.REJECTED

    @property
    def gain(self) -> float | None:
        """Improvement over the script that was edited, in bits per byte; positive is better."""
        if self.val_bpb is None or self.incumbent_bpb is None:
            return None
        return self.incumbent_bpb - self.val_bpb


@dataclass(frozen=True, slots=True)
class State:
    """What the agent sees before trial `number`: the paper's (c_t, h_t, d_t), and the candidates."""

    number: int
    script: str  # source of the leader, which edits start from
    incumbent_bpb: float  # the mean of its measurements
    baseline_bpb: float
    noise: float  # standard deviation of one measurement, bits per byte
    history: tuple[Trial, ...]
    candidates: tuple[Candidate, ...]
    shares: Mapping[str, float] = field(default_factory=dict)  # of attention, by generator; none when empty
    join: Callable[[Sequence[Candidate]], Candidate | None] | None = None  # one of several; None: they clash


def script_id(source: str) -> str:
    """SHA-256 of a script's source, hexadecimal: the identity of a script."""
    return hashlib.sha256(source.encode("utf-8", "surrogateescape")).hexdigest()


def candidate_to_json(candidate: Candidate) -> dict[str, Any]:
    """A JSON-ready form of a candidate."""
    return {
        "edit": candidate.edit.to_json(),
        "generator": candidate.generator,
        "operator": candidate.operator,
        "direction": candidate.direction,
        "magnitude": candidate.magnitude,
        "topic": candidate.topic,
        "odds": candidate.odds,
        "parts": [candidate_to_json(part) for part in candidate.parts],
    }


def candidate_from_json(row: Mapping[str, Any]) -> Candidate:
    """Inverse of `candidate_to_json`; what earlier versions did not write has its default."""
    return Candidate(
        Edit.from_json(row["edit"]),
        row["generator"],
        row["operator"],
        row["direction"],
        row["magnitude"],
        row.get("topic", ""),
        row.get("odds", 0.0),
        tuple(map(candidate_from_json, row.get("parts", ()))),
    )
