"""The real suites: each run is an ordinary study, so it goes on where it was killed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autoresearch_rl.agent.agents import prior_digest
from autoresearch_rl.environment.task import load_task
from autoresearch_rl.errors import ConfigurationError, StorageError
from autoresearch_rl.interface.policy_bench.poor import poor_task
from autoresearch_rl.interface.policy_bench.runs import Run, trace
from autoresearch_rl.interface.scoring import each_seed
from autoresearch_rl.judgement.acceptance import Ledger
from autoresearch_rl.opening import DEFAULTS, create_study, database
from autoresearch_rl.planner import trial_seed
from autoresearch_rl.records import StopReason, Trial, TrialKind
from autoresearch_rl.storage.storage import Storage, StudyRecord
from autoresearch_rl.study import Study

FRESH_SEEDS = 3
"""Measurements of the last incumbent, and of the first script, that nothing was chosen by."""

TELL_EVERY = 10  # trials

ENDS = (StopReason.TRIALS, StopReason.EXHAUSTED)


@dataclass(frozen=True)
class RealSuite:
    """Studies of a task. A score is the mean of the incumbent's measurements, in bits per byte.

    Args:
        task: a shipped task, or a task folder.
        home: folder of the studies.
        poor: start from a script that is poor on purpose.
    """

    task: str
    home: Path
    poor: bool = False
    unit: str = "validation bits per byte"
    lower_is_better: bool = True

    @property
    def name(self) -> str:
        """Of its runs; studies are called after it."""
        return Path(self.task).name + ("-poor" if self.poor else "")

    def study_name(self, policy: str, seed: int) -> str:
        """Of the study that is this run."""
        digest = prior_digest(policy)
        return f"{self.name}-{f'prior-{digest}' if digest else policy}-{seed}"

    def prepare(self, policies: Sequence[str], seeds: Sequence[int]) -> None:
        """Makes the poor task, and looks whether the studies that are there are the ones that are meant.

        Raises:
            ConfigurationError: a study of that name is another one, or the script cannot be made poor.
            StorageError: the home cannot be used.
        """
        if self.poor:
            poor_task(self.task, self._poor_folder)
        with Storage.open(database(self.home)) as storage:  # its schema is made once, not by every process
            for policy, seed in ((policy, seed) for seed in seeds for policy in policies):
                if record := storage.study(self.study_name(policy, seed)):
                    self._require_meant(record, policy, seed)

    def run(self, policy: str, seed: int, trials: int, say: Callable[[str], None]) -> Run:
        """Begins the study, or goes on with it, and measures its first and last script with fresh seeds.

        Raises:
            AutoResearchError: the study cannot be brought to its end.
        """
        name = self.study_name(policy, seed)

        def tell(study: Study, trial: Trial) -> None:
            done = sum(t.counts for t in study.trials)
            if trial.counts and done % TELL_EVERY == 0:
                say(f"{name}: {done} of {trials} trials, best {study.ledger.incumbent_bpb or 0.0:.4f}")

        with create_study(self._task, name, self.home, policy=policy, seed=seed, callbacks=[tell]) as study:
            stop = study.run(trials=trials, converged=None)
            if stop.reason not in ENDS:
                raise StorageError(f"study {name} stopped before its end: {stop.message}")
            made = within(study.trials, trials)
            run = self._traced(study.notebook.study, made, study.environment.task.seconds)
            final, baseline = _measured_again(study, made)
            return replace(run.prolonged(trials, stop.message), final=final, baseline=baseline)

    def stored(self, policy: str, seed: int) -> Run | None:
        """What the study has so far, without fresh measurements.

        Raises:
            ConfigurationError: a study of that name is another one.
            StorageError: the database is damaged.
        """
        if not database(self.home).exists():
            return None
        with Storage.open(database(self.home), readonly=True) as storage:
            if (record := storage.study(self.study_name(policy, seed))) is None:
                return None
            self._require_meant(record, policy, seed)
            run = self._traced(record, storage.trials(record), load_task(record.settings["task"]).seconds)
            return run if run.curve else None

    # --- what a study is

    @property
    def _poor_folder(self) -> Path:
        return self.home / "tasks" / self.name

    @property
    def _task(self) -> str:
        """The task as a study records it."""
        folder = self._poor_folder if self.poor else Path(self.task)
        return str(folder.resolve()) if (folder / "task.toml").is_file() else self.task

    def _require_meant(self, record: StudyRecord, policy: str, seed: int) -> None:
        meant: dict[str, Any] = {**DEFAULTS, "task": self._task, "policy": policy, "seed": seed}
        for key, value in meant.items():
            if record.settings.get(key) != value:
                raise ConfigurationError(
                    f"study {record.name} in {self.home} was made with {key} {record.settings.get(key)}, "
                    f"not {value}: choose another --home"
                )

    def _traced(self, record: StudyRecord, trials: Sequence[Trial], budget: float) -> Run:
        if record.segment:
            raise ConfigurationError(
                f"study {record.name} went on with other hardware: its scores cannot be compared; "
                "choose another --home"
            )
        return Run(self.name, record.settings["policy"], record.settings["seed"], budget,
                   *trace(_scores(record.baseline, trials)),
                   hardware=str(record.fingerprint["hardware"]))  # fmt: skip


def within(trials: Sequence[Trial], most: int) -> Sequence[Trial]:
    """A study as it was after so many counted trials and what settled them: before the next new edit."""
    counted = 0
    for number, trial in enumerate(trials):
        if counted >= most and trial.kind is TrialKind.EXPLORE:
            return trials[:number]
        counted += trial.counts
    return trials


def _scores(baseline: str, trials: Sequence[Trial]) -> Iterator[tuple[Trial, float | None]]:
    ledger = Ledger(baseline)
    for trial in trials:
        ledger.record(trial)
        yield trial, ledger.incumbent_bpb


def _measured_again(
    study: Study, made: Sequence[Trial]
) -> tuple[tuple[float | None, ...], tuple[float | None, ...]]:
    """Last incumbent and first script, with the same fresh seeds: no trial has a number below 0."""
    first = study.notebook.study.baseline
    last = Ledger.replay(first, made).incumbent
    scripts = list(dict.fromkeys((last, first)))
    sources = [study.notebook.source(script) for script in scripts]
    seeds = [trial_seed(study.seed, -1 - k) for k in range(FRESH_SEEDS)]
    outcomes = [found for _, found in each_seed(study.environment, sources, seeds)]
    scores = {s: tuple(found[k].val_bpb for found in outcomes) for k, s in enumerate(scripts)}
    return scores[last], scores[first]
