"""The file of real trials: what was tried in real studies of one task, and what it measured.

Gzipped JSON Lines. The first line is about the task, each further one is a trial. A script is written as its
differences from the task's own baseline, place by place (`agent/scripts.py`), wherever its study began.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from autoresearch_rl.agent.scripts import Config
from autoresearch_rl.errors import ConfigurationError
from autoresearch_rl.records import TrialKind, Verdict
from autoresearch_rl.storage.faults import storing

SHIPPED = Path(__file__).parent / "data" / "micro.jsonl.gz"
"""Trials of the micro task; the file beside it says how they were made."""

FORMAT = 1
BASELINE, POOR = "baseline", "poor"
"""Where a study began: at the task's own script, or elsewhere."""


class Part(NamedTuple):
    """One single edit: who proposed it, and the places that it changes."""

    generator: str
    operator: str
    direction: int
    magnitude: float
    places: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Recorded:
    """One real trial.

    Attributes:
        start: `BASELINE` or `POOR`.
        parent: number of the first trial of the script that was edited, its own where none was.
        config: the script that ran, by its differences from the task's baseline.
        generator: of the candidate; empty for reference runs.
        parts: the single edits that it consists of.
        leader: bits per byte of the script that was edited, the mean of its measurements.
        seconds: of training.
    """

    study: str
    start: str
    seed: int
    number: int
    parent: int
    kind: TrialKind
    verdict: Verdict
    config: Config
    generator: str
    parts: tuple[Part, ...]
    bpb: float | None
    forecast: float | None
    leader: float | None
    seconds: float

    @property
    def value(self) -> float | None:
        """What it measured; of a run that was pruned, what was foreseen."""
        return self.forecast if self.verdict is Verdict.PRUNED else self.bpb

    @property
    def failed(self) -> bool:
        """Whether it ran and gave no score."""
        return self.verdict in (Verdict.CRASH, Verdict.TIMEOUT, Verdict.INVALID)


@dataclass(frozen=True, slots=True)
class RealTrials:
    """What a file holds.

    Attributes:
        task: the name of the shipped task.
        defaults: the baseline's value of each place; that of a number which a recipe brings.
        trials: in the order of studies and numbers.
    """

    task: str
    defaults: Mapping[str, str]
    trials: tuple[Recorded, ...]

    def half(self, odd: bool) -> RealTrials:
        """Those of studies with odd or even seeds.

        Odd ones are for the replay suite; what is tuned or pretrained may see only even ones.
        """
        return replace(self, trials=tuple(trial for trial in self.trials if trial.seed % 2 == odd))

    def begun(self, start: str) -> RealTrials:
        """Those of studies that began there."""
        return replace(self, trials=tuple(trial for trial in self.trials if trial.start == start))

    @property
    def studies(self) -> dict[str, list[Recorded]]:
        """The trials of each study."""
        found: dict[str, list[Recorded]] = {}
        for trial in self.trials:
            found.setdefault(trial.study, []).append(trial)
        return found


@lru_cache(maxsize=4)
def read_trials(path: Path = SHIPPED) -> RealTrials:
    """The trials of a file.

    Raises:
        ConfigurationError: it is not such a file.
        StorageError: it cannot be read.
    """
    with storing(path):
        data = path.read_bytes()
    try:
        head, *lines = map(json.loads, gzip.decompress(data).decode().splitlines())
        if head["format"] != FORMAT:
            raise ValueError(f"format {head['format']}, expected {FORMAT}")
        trials = tuple(_trial(head["studies"][line[0]], line[1:]) for line in lines)
        return RealTrials(head["task"], head["defaults"], trials)
    except (OSError, EOFError, ValueError, KeyError, IndexError, TypeError) as error:
        raise ConfigurationError(f"{path} is not a file of real trials: {error!r}") from error


def write_trials(path: Path, real: RealTrials) -> None:
    """Writes a file: the same trials, the same bytes.

    Raises:
        StorageError: it cannot be written.
    """
    studies = {trial.study: (trial.start, trial.seed) for trial in real.trials}
    names = list(studies)
    head = {
        "format": FORMAT,
        "task": real.task,
        "studies": [[name, *studies[name]] for name in names],
        "defaults": dict(sorted(real.defaults.items())),
    }
    rows: Sequence[Any] = [head, *([names.index(t.study), *_row(t)] for t in real.trials)]
    text = "".join(json.dumps(row, separators=(",", ":"), ensure_ascii=False) + "\n" for row in rows)
    with storing(path):
        path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def _row(trial: Recorded) -> list[Any]:
    return [
        trial.number,
        trial.parent,
        trial.kind.value,
        trial.verdict.value,
        _rounded(trial.bpb),
        _rounded(trial.forecast),
        _rounded(trial.leader),
        round(trial.seconds, 2),
        trial.generator,
        [[p.generator, p.operator, p.direction, round(p.magnitude, 3), list(p.places)] for p in trial.parts],
        dict(sorted(trial.config.items())),
    ]


def _rounded(bpb: float | None) -> float | None:
    return None if bpb is None else round(bpb, 5)


def _trial(study: Sequence[Any], row: Sequence[Any]) -> Recorded:
    number, parent, kind, verdict, bpb, forecast, leader, seconds, generator, parts, config = row
    name, start, seed = study
    return Recorded(
        study=name,
        start=start,
        seed=seed,
        number=number,
        parent=parent,
        kind=TrialKind(kind),
        verdict=Verdict(verdict),
        config=config,
        generator=generator,
        parts=tuple(_part(*part) for part in parts),
        bpb=bpb,
        forecast=forecast,
        leader=leader,
        seconds=seconds,
    )


def _part(generator: str, operator: str, direction: int, magnitude: float, places: Sequence[str]) -> Part:
    return Part(generator, operator, direction, magnitude, tuple(places))
