"""`python -m autoresearch_rl.simulation.collect HOME...`: real studies become a file of trials."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import click

from autoresearch_rl.agent.scripts import Config, Scripts, moves
from autoresearch_rl.environment.task import load_task
from autoresearch_rl.errors import AutoResearchError, ConfigurationError
from autoresearch_rl.opening import database
from autoresearch_rl.records import Candidate, Change, Edit, Trial, Verdict
from autoresearch_rl.simulation.recorded import (
    BASELINE,
    POOR,
    SHIPPED,
    Part,
    RealTrials,
    Recorded,
    write_trials,
)
from autoresearch_rl.storage.faults import storing
from autoresearch_rl.storage.storage import Storage, StudyRecord
from autoresearch_rl.target.edits import apply
from autoresearch_rl.target.script import Script


class Collection:
    """Trials of studies of one task, as differences from its baseline.

    Args:
        task: a shipped task, or a task folder.
    """

    def __init__(self, task: str) -> None:
        baseline = load_task(task).baseline
        with storing(baseline):
            self._script = Script(baseline.read_text(encoding="utf-8"))
        self._baseline = _literals(self._script)
        self.task = Path(task).name
        self._defaults: dict[str, str] = {}
        self._trials: list[Recorded] = []

    def add(self, storage: Storage, study: StudyRecord) -> None:
        """Takes in a study.

        Raises:
            ConfigurationError: it began with a script that differs from the baseline in more than literals,
                or went on with other hardware.
            StorageError: the database failed.
        """
        start = self._start(study, storage.script(study.baseline))
        if study.segment:
            raise ConfigurationError(f"study {study.name} went on with other hardware: leave it out")
        trials, scripts = storage.trials(study), Scripts()
        scripts.read(trials)
        for place, default in scripts.defaults.items():
            self._defaults.setdefault(place, self._baseline.get(place, default))
        self._defaults |= {place: self._baseline[place] for place in start}
        first: dict[str, int] = {}  # trial of each script
        for trial in trials:
            first.setdefault(trial.script, trial.number)
            if trial.verdict is not Verdict.REJECTED:
                config = {**start, **scripts.config(trial.script)}
                self._trials.append(self._recorded(study, start, trial, config, first[trial.parent]))

    def _start(self, study: StudyRecord, source: str) -> Config:
        """Where the script that a study began with differs from the task's."""
        script, baseline = Script(source), self._baseline
        start = {place: text for place, text in _literals(script).items() if text != baseline.get(place)}
        if start.keys() <= baseline.keys():
            back = Edit(tuple(Change(place, text, baseline[place]) for place, text in start.items()))
            if apply(script, back).normal.id == self._script.normal.id:
                return start
        raise ConfigurationError(
            f"study {study.name} began with another program than task {self.task}: leave it out"
        )

    def _recorded(
        self, study: StudyRecord, start: Config, trial: Trial, config: Config, parent: int
    ) -> Recorded:
        return Recorded(
            study=study.name,
            start=POOR if start else BASELINE,
            seed=study.settings["seed"],
            number=trial.number,
            parent=parent,
            kind=trial.kind,
            verdict=trial.verdict,
            config={place: text for place, text in config.items() if text != self._defaults[place]},
            generator=trial.candidate.generator if trial.candidate else "",
            parts=tuple(_part(single) for single in trial.candidate.singles) if trial.candidate else (),
            bpb=trial.val_bpb,
            forecast=trial.forecast,
            leader=trial.incumbent_bpb,
            seconds=trial.train_seconds,
        )

    def result(self) -> RealTrials:
        """All, by study, in the order of their numbers."""
        trials = sorted(self._trials, key=lambda trial: (trial.start, trial.seed, trial.study, trial.number))
        return RealTrials(self.task, self._defaults, tuple(trials))


def collect(homes: Sequence[Path], task: str, names: str = "*", least: int = 1) -> RealTrials:
    """The trials of all studies of a task in some homes.

    Args:
        homes: folders of studies.
        task: a shipped task, or a task folder.
        names: a pattern that the names of the studies match.
        least: studies with fewer trials that count are left out: they are not finished.

    Raises:
        ConfigurationError: there is none, two have the same name, or one does not belong to the task.
        StorageError: a database cannot be read.
    """
    collection, seen = Collection(task), set[str]()
    for home in homes:
        with Storage.open(database(home), readonly=True) as storage:
            for study in _wanted(storage, names, least):
                if study.name in seen:
                    raise ConfigurationError(f"two studies are called {study.name}: collect them apart")
                seen.add(study.name)
                collection.add(storage, study)
    if not seen:
        raise ConfigurationError(
            f"no study called {names} with {least} trials in {', '.join(map(str, homes))}"
        )
    return collection.result()


def _wanted(storage: Storage, names: str, least: int) -> Iterator[StudyRecord]:
    for study in storage.studies():
        if fnmatchcase(study.name, names) and sum(t.counts for t in storage.trials(study)) >= least:
            yield study


def _literals(script: Script) -> Mapping[str, str]:
    return {name: site.code for name, site in script.sites.items()}


def _part(single: Candidate) -> Part:
    places = tuple(move.place for move in moves(single.edit, single))
    return Part(single.generator, single.operator, single.direction, single.magnitude, places)


@click.command()
@click.argument("homes", nargs=-1, required=True, type=click.Path(path_type=Path, file_okay=False))
@click.option("--task", default="micro", show_default=True, help="Whose baseline scripts are compared with.")
@click.option("--names", default="*", show_default=True, help="Pattern that names of studies match.")
@click.option("--least", type=int, default=1, show_default=True, help="Trials of a study that is taken.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), default=SHIPPED, help="The file.")
def main(homes: Sequence[Path], task: str, names: str, least: int, out: Path) -> None:
    """Write the trials of the studies under HOMES to one file; the same studies give the same bytes."""
    try:
        real = collect(homes, task, names, least)
        write_trials(out, real)
    except AutoResearchError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{len(real.trials)} trials of {len(real.studies)} studies in {out}")


if __name__ == "__main__":
    main()
