"""`python -m autoresearch_rl.simulation.ranking`: whether the edits that should gain most really do.

Real studies of policy `random` chose their edits without looking, so they tell what a choice by expected
improvement would have gained: of the quarter that is expected to gain most, beside the average edit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np

from autoresearch_rl.agent.evidence import Reader, log_expected_improvement
from autoresearch_rl.agent.scripts import Config
from autoresearch_rl.errors import AutoResearchError
from autoresearch_rl.records import Candidate, Change, Edit, State, Trial, TrialKind, script_id
from autoresearch_rl.simulation.recorded import SHIPPED, Part, RealTrials, Recorded, read_trials
from autoresearch_rl.simulation.response import noise

QUARTER = 0.25
MOST = 5.0  # ordinary effects: a larger gain counts as one of this size, so that few do not decide


class Foreseen(NamedTuple):
    """An edit as it looked before it was tried, and what became of it."""

    expected: float  # logarithm of the expected improvement, in ordinary effects
    gained: float  # in ordinary effects, from 0 to `MOST`


@dataclass(frozen=True, slots=True)
class Lift:
    """What the quarter that was expected to gain most really gained, in multiples of the average edit."""

    studies: int
    mean: float
    error: float  # standard error over studies; nan of one


def lift(real: RealTrials) -> Lift | None:
    """Over all studies in which an edit has gained anything; None without such a study."""
    sigma = noise(real)
    studies = [list(_foreseen(trials, real.defaults, sigma)) for trials in real.studies.values()]
    lifts = [_lift(edits) for edits in studies if any(edit.gained > 0.0 for edit in edits)]
    if not lifts:
        return None
    error = float(np.std(lifts, ddof=1)) / math.sqrt(len(lifts)) if len(lifts) > 1 else math.nan
    return Lift(len(lifts), float(np.mean(lifts)), error)


def _lift(edits: Sequence[Foreseen]) -> float:
    best = sorted(edits, key=lambda edit: -edit.expected)[: math.ceil(QUARTER * len(edits))]
    return float(np.mean([edit.gained for edit in best]) / np.mean([edit.gained for edit in edits]))


def _foreseen(trials: Sequence[Recorded], defaults: Mapping[str, str], sigma: float) -> Iterator[Foreseen]:
    """The edits of one study, each by what was known before it."""
    history, reader = tuple(told(trials, defaults)), Reader()
    sources = {trial.number: _source(trial.config) for trial in trials}
    for i, (trial, seen) in enumerate(zip(trials, history, strict=True)):
        if trial.kind is TrialKind.EXPLORE and seen.candidate and trial.leader is not None:
            first = trials[0].bpb or math.nan
            state = State(
                i, sources[trial.parent], trial.leader, first, sigma, history[:i], (seen.candidate,)
            )
            evidence = reader.read(state)
            scale = evidence.scale
            expected = log_expected_improvement(evidence.mean / scale, evidence.sd / scale)[0]
            gain = 0.0 if trial.value is None else (trial.leader - trial.value) / scale
            yield Foreseen(float(expected), min(MOST, max(0.0, gain)))


def told(trials: Sequence[Recorded], defaults: Mapping[str, str]) -> Iterator[Trial]:
    """The trials of a study as agents see them; their differences from the baseline stand for scripts."""
    configs: dict[int, Config] = {}
    for trial in trials:
        configs[trial.number] = trial.config
        parts = [_single(part, configs[trial.parent], trial.config, defaults) for part in trial.parts]
        candidate = _candidate(trial.generator, parts) if parts else None
        yield Trial(
            number=trial.number,
            kind=trial.kind,
            parent=script_id(_source(configs[trial.parent])),
            script=script_id(_source(trial.config)),
            edit=candidate.edit if candidate else Edit(()),
            candidate=candidate,
            confirms=None,
            seed=0,
            verdict=trial.verdict,
            reason="",
            incumbent_bpb=trial.leader,
            val_bpb=trial.bpb,
            reward=0.0,
            train_seconds=trial.seconds,
            wall_seconds=trial.seconds,
            peak_memory_mb=0.0,
            sandbox="",
            started=0.0,
            seconds={},
            forecast=trial.forecast,
        )


def _source(config: Config) -> str:
    """What stands for the text of a script."""
    return repr(sorted(config.items()))


def _candidate(generator: str, parts: Sequence[Candidate]) -> Candidate:
    if len(parts) == 1:
        return parts[0]
    edit = Edit(tuple(change for part in parts for change in part.edit.changes))
    return Candidate(edit, generator, generator, 0, 1.0, parts=tuple(parts))


def _single(part: Part, before: Config, after: Config, defaults: Mapping[str, str]) -> Candidate:
    """A single edit; one that no literal tells about is a topic, which is switched on."""
    changes = tuple(
        Change(place, before.get(place, defaults[place]), after.get(place, defaults[place]))
        for place in part.places
    )
    topic = part.places[0] if len(changes) == 1 and changes[0].new == "on" else ""
    return Candidate(Edit(changes), part.generator, part.operator, part.direction, part.magnitude, topic)


@click.command()
@click.option("--file", type=click.Path(path_type=Path, dir_okay=False), default=SHIPPED, help="Of trials.")
def main(file: Path) -> None:
    """Print what the edits that were expected to gain most really gained."""
    try:
        real = read_trials(file)
    except AutoResearchError as error:
        raise click.ClickException(str(error)) from error
    for start in sorted({trial.start for trial in real.trials}):
        click.echo(f"from {start}: {_told(lift(real.begun(start)))}")


def _told(found: Lift | None) -> str:
    if found is None:
        return "no edit has gained anything"
    return (
        f"{found.mean:.2f} +- {found.error:.2f} times the gain of an average edit ({found.studies} studies)"
    )


if __name__ == "__main__":
    main()
