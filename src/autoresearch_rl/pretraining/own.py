"""Past studies of the user as problems to train on: replays of their tasks, foretold from their trials."""

from __future__ import annotations

import hashlib
import math
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from autoresearch_rl.agent.scripts import Config
from autoresearch_rl.environment.task import load_task
from autoresearch_rl.errors import AutoResearchError, ConfigurationError
from autoresearch_rl.opening import database
from autoresearch_rl.pretraining.problems import SLACK, Game, draw_game
from autoresearch_rl.records import Metric
from autoresearch_rl.simulation.collect import Collection
from autoresearch_rl.simulation.conditions import Conditions
from autoresearch_rl.simulation.recorded import RealTrials
from autoresearch_rl.simulation.replay import Landscape, ReplayProblem
from autoresearch_rl.simulation.response import WORST, noise
from autoresearch_rl.storage.storage import Storage, StudyRecord

LEAST = 40  # measured runs of a task: fewer foretell nothing
NARROWEST = 1e-3  # bits per byte that can be gained, at least
SHARE = 0.5  # of the studies of a round; the others keep the policy from knowing these tasks alone
HEADROOM = 1.5  # times what the best script has gained: more is there than was found
LIKE = ("budget", "corpus", "tokenizer", "device", "hardware")
"""What studies of one landscape share: bits per byte of others say nothing beside theirs."""

Collections = dict[tuple[str, ...], Collection]
"""By task, and what is in `LIKE`."""


@dataclass(frozen=True, slots=True, eq=False)
class OwnTask:
    """A task with studies of its own.

    Attributes:
        landscape: foretells what its scripts measure.
        sigma: standard deviation of one measurement, bits per byte.
        starts: where the scripts that its studies began with differ from the task's own.
        best: foretold of the best script that was measured, bits per byte.
    """

    landscape: Landscape
    sigma: float
    starts: tuple[Config, ...]
    best: float

    @classmethod
    def of(cls, task: str, real: RealTrials) -> OwnTask:
        """From the trials of a task.

        Raises:
            ConfigurationError: they foretell nothing.
            StorageError: the task's script cannot be read.
        """
        landscape = Landscape.of(load_task(task), real)
        foretell = landscape.response.bpb
        found = [foretell(trial.config, {}) for trial in real.trials if trial.bpb is not None]
        best = min((bpb for bpb in found if bpb is not None), default=math.inf)
        if not 0.0 < best < WORST:
            raise ConfigurationError(f"its best script is foretold {best:.4g} bits per byte")
        # A study whose first script crashed has ended there.
        starts = tuple(trials[0].config for trials in real.studies.values() if trials[0].bpb is not None)
        return cls(landscape, noise(real), starts, best)

    def game(self, dice: random.Random) -> Game:
        """A replay of it, from the script that one of its studies began with."""
        problem = ReplayProblem(self.landscape, self.sigma, dice.choice(self.starts))
        start = problem.truth(problem.baseline)
        assert start is not None, "what has run is not foretold to crash"
        headroom = HEADROOM * max(start - self.best, self.sigma, NARROWEST)
        name = self.landscape.task.folder.name
        return Game(f"own {name}", problem, Conditions(), start, headroom, SLACK * headroom)


@dataclass(frozen=True, slots=True, eq=False)
class Own:
    """All tasks that past studies can teach.

    Attributes:
        digest: SHA-256 of the trials.
        said: what was found, and what was left out and why; a line each.
    """

    tasks: tuple[OwnTask, ...]
    digest: str
    said: tuple[str, ...]

    def draw(self, dice: random.Random) -> Game:
        """A game to train on: of one of the tasks, or as for the shipped prior."""
        return dice.choice(self.tasks).game(dice) if dice.random() < SHARE else draw_game(dice)


def read_own(paths: Sequence[Path]) -> Own:
    """The past studies in some databases (`studies.db`, or the folder that holds it).

    Raises:
        ConfigurationError: no task has enough measured runs.
        StorageError: a database cannot be read.
    """
    said: list[str] = []
    tasks, digest = [], hashlib.sha256()
    for task, real in _most(_collected(paths, said), said):
        try:
            if _runs(real) < LEAST:
                raise ConfigurationError(f"{_runs(real)} measured runs, {LEAST} are needed")
            tasks.append(OwnTask.of(task, real))
        except AutoResearchError as error:
            said.append(f"left out task {task}: {error}")
            continue
        said.append(f"task {task}: {_runs(real)} measured runs of {len(real.studies)} studies")
        digest.update(repr((task, real)).encode("utf-8", "surrogateescape"))
    if not tasks:
        where = ", ".join(map(str, paths))
        raise ConfigurationError(f"nothing to learn from in {where}: {'; '.join(said) or 'no studies'}")
    return Own(tuple(tasks), digest.hexdigest(), tuple(said))


def _collected(paths: Sequence[Path], said: list[str]) -> Collections:
    """All studies that can be used."""
    collections: Collections = {}
    databases = [database(path) if path.is_dir() else path for path in paths]
    for index, path in enumerate(dict.fromkeys(path.resolve() for path in databases)):
        with Storage.open(path, readonly=True) as storage:
            for study in storage.studies():
                unique = replace(study, name=f"{study.name} ({index})")
                if problem := _taken_in(collections, storage, unique):
                    said.append(f"left out study {study.name}: {problem}")
    return collections


def _most(collections: Collections, said: list[str]) -> Iterator[tuple[str, RealTrials]]:
    """Of each task the trials whose scores can be compared: of several such sets the largest."""
    by_task: dict[str, list[RealTrials]] = defaultdict(list)
    for (task, *_), collection in collections.items():
        by_task[task].append(collection.result())
    for task, sets in sorted(by_task.items()):
        most, *others = sorted(sets, key=_runs, reverse=True)
        if others:
            names = ", ".join(sorted(study.rpartition(" (")[0] for real in others for study in real.studies))
            said.append(f"left out {names}: another {' or '.join(LIKE)} than most runs of task {task} have")
        yield task, most


def _runs(real: RealTrials) -> int:
    return sum(trial.bpb is not None for trial in real.trials)


def _taken_in(collections: Collections, storage: Storage, study: StudyRecord) -> str | None:
    """Adds a study to those that it can be compared with; else why not."""
    task = study.settings["task"]
    like = (task, *(str(study.fingerprint.get(key)) for key in LIKE))
    if study.metric is Metric.SELF_REPORTED:
        return "its scores are what its scripts have printed"
    try:
        collection = collections.get(like) or Collection(task)
        collection.add(storage, study)
    except (AutoResearchError, UnicodeDecodeError) as error:
        return str(error).removesuffix(": leave it out")
    collections[like] = collection
    return None
