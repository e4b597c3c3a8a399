"""Replayed studies: real scripts, real candidates, and scores from a surrogate of real trials.

What is edited is the task's own `train.py`, by the generators that real studies have. Only what a script
measures is foretold (`response.py`), from studies with odd seeds, which nothing may be tuned on. The
surrogate is a model: it knows no more of a script than which places differ from the baseline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

from autoresearch_rl.agent.agents import make_agent
from autoresearch_rl.agent.scripts import Config, Move, moves
from autoresearch_rl.environment.task import Task, load_task
from autoresearch_rl.errors import EditError
from autoresearch_rl.records import Candidate, Change, Edit, Trial, script_id
from autoresearch_rl.simulation.recorded import BASELINE, POOR, RealTrials, read_trials
from autoresearch_rl.simulation.response import Kind, Response, noise
from autoresearch_rl.simulation.study import SimulatedStudy
from autoresearch_rl.storage.faults import storing
from autoresearch_rl.target.edits import apply, splices
from autoresearch_rl.target.generators.compound import NAME, integers, join
from autoresearch_rl.target.normal import spliced
from autoresearch_rl.target.script import Script
from autoresearch_rl.target.space import full_space

NO_CHANGE: Config = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Landscape:
    """A task whose training is foretold: what its replays have in common.

    Attributes:
        task: brings the limits that candidates have to keep.
        source: its own script.
        response: what scripts measure.
    """

    task: Task
    source: str
    response: Response

    @classmethod
    def of(cls, task: Task, real: RealTrials) -> Landscape:
        """From trials of the task.

        Raises:
            StorageError: its script cannot be read.
        """
        with storing(task.baseline):
            return cls(task, task.baseline.read_text(encoding="utf-8"), Response(real))


class ReplayProblem:
    """A task with a surrogate in the place of its training. For one study.

    Args:
        landscape: the task.
        sigma: standard deviation of one measurement, bits per byte.
        start: where the script that the study begins with differs from the task's own.
    """

    def __init__(self, landscape: Landscape, sigma: float, start: Config = NO_CHANGE) -> None:
        self._response, self.sigma = landscape.response, sigma
        self._places = {name: site.code for name, site in Script(landscape.source).sites.items()}
        self.baseline = _changed(landscape.source, start)
        self._space = full_space(landscape.task.device, landscape.task.script_bytes)
        self.shares = self._space.shares()
        self._configs: dict[str, Config] = {self.baseline: start}
        self._normals = {script_id(self.baseline): Script(self.baseline).normal.id}
        self._named: dict[Edit, Candidate] = {}  # what was offered: edits do not say what they are about
        self._kinds: dict[str, Kind] = {}
        self._refused: dict[str, str] = {}
        self._latest = Script(self.baseline)

    # --- the script

    def apply(self, source: str, edit: Edit) -> str:
        """See `Problem`."""
        script = self._script(source)
        try:
            places = splices(script, edit)
        except EditError as error:
            raise KeyError(str(error)) from error
        result = spliced(source, places)
        if result not in self._configs:
            normal = script.normal.after(places)
            self._normals[script_id(result)] = normal or result
            if normal is None:
                self._refused[result] = "does not parse"
            elif not script.divisors.keep(integers(script, edit.changes)):
                self._refused[result] = "shape check: sizes do not divide each other"
            self._configs[result] = self._moved(self._configs[source], edit)
        return result

    def refuses(self, source: str) -> str | None:
        """Why a script must not run."""
        return self._refused.get(source)

    def truth(self, source: str) -> float | None:
        """See `Problem`."""
        return self._response.bpb(self._configs[source], self._kinds)

    def config(self, source: str) -> Config:
        """Where a script differs from the task's baseline."""
        return self._configs[source]

    def _moved(self, config: Config, edit: Edit) -> Config:
        after = dict(config)
        for move in self._moves(edit):
            if move.new == self._places.setdefault(move.place, move.old):
                after.pop(move.place, None)
            else:
                after[move.place] = move.new
        return after

    def _moves(self, edit: Edit) -> Sequence[Move]:
        candidate = self._named.get(edit)
        for single in candidate.singles if candidate else ():
            for move in moves(single.edit, single):
                self._kinds.setdefault(move.place, (single.generator, single.operator))
        return moves(edit, candidate)

    def _script(self, source: str) -> Script:
        if self._latest.source != source:
            self._latest = Script(source)
        return self._latest

    # --- the candidates

    def candidates(self, source: str) -> list[Candidate]:
        """See `Problem`: all, sets of edits included, as if nothing had been tried."""
        return self.offers(source, ())

    def offers(self, source: str, history: Sequence[Trial]) -> list[Candidate]:
        """What a real study would offer after these trials."""
        tried = {self._normals[trial.script] for trial in history}
        found = self._space.candidates(self._script(source), tried, history)
        for candidate in found:
            self._named[candidate.edit] = candidate
        return found

    def join(self, source: str, parts: Sequence[Candidate], history: Sequence[Trial]) -> Candidate | None:
        """One candidate of several; None where they clash, or were tried."""
        script = self._script(source)
        joined = join(script, parts, NAME, NAME)
        if joined is None:
            return None
        result = script.normal.after(splices(script, joined.edit))
        if result is None or result in {self._normals[trial.script] for trial in history}:
            return None
        self._named[joined.edit] = joined
        return joined


def shipped_problem(poor: bool = False) -> ReplayProblem:
    """The micro task, foretold from the shipped trials of odd seeds.

    Args:
        poor: begin with the script that the poor studies began with, not with the task's own.

    Raises:
        ConfigurationError, StorageError: the shipped trials are damaged, or cannot be read.
    """
    real = read_trials().half(True).begun(POOR if poor else BASELINE)
    # The reference that was measured first is the script that a study began with.
    return ReplayProblem(_shipped_landscape(), noise(real), real.trials[0].config if poor else NO_CHANGE)


@lru_cache(maxsize=1)
def _shipped_landscape() -> Landscape:
    real = read_trials()
    return Landscape.of(load_task(real.task), real.half(True))


def replay(policy: str, seed: int, trials: int, poor: bool = False) -> SimulatedStudy:
    """A replayed study of a policy; the seed is that of its noise and its agent.

    Raises:
        ConfigurationError: no policy has that name.
    """
    return SimulatedStudy(shipped_problem(poor), make_agent(policy, seed), seed).run(trials)


def _changed(source: str, values: Config) -> str:
    script = Script(source)
    changes = (Change(place, script.sites[place].code, text) for place, text in values.items())
    return apply(script, Edit(tuple(changes))).source if values else source
