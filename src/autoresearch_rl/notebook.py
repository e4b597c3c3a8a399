"""The lab notebook of one study: every trial, in memory and on disk, always the same in both.

The database is the truth. The trial's folder is written before its transaction and the git commit and
results.tsv after it, so whatever a kill interrupts is written again from the database.
"""

from __future__ import annotations

from pathlib import Path

from autoresearch_rl.errors import ConfigurationError
from autoresearch_rl.judgement.acceptance import Ledger
from autoresearch_rl.lineage import path
from autoresearch_rl.records import Outcome, Trial, TrialKind, Verdict
from autoresearch_rl.storage.journal import Journal
from autoresearch_rl.storage.storage import Storage, StudyRecord
from autoresearch_rl.target.edits import diff
from autoresearch_rl.target.normal import normal_id
from autoresearch_rl.target.workspace import Workspace


class Notebook:
    """What a study has found out so far. Only one process at a time may write to it."""

    def __init__(self, storage: Storage, study: StudyRecord, folder: Path) -> None:
        self.storage, self.study, self.folder = storage, study, folder
        self.trials: list[Trial] = list(storage.trials(study))
        self.ledger = Ledger.replay(study.baseline, self.trials)
        self.ledger.enter(study.segment)
        self.journal = Journal(folder, study.metric)
        self.workspace = Workspace(folder / "repo", study.name)
        self._sources: dict[str, str] = {}
        self.tried = {normal_id(self.source(script)) for script in {trial.script for trial in self.trials}}
        self._write_derived()

    def source(self, script: str) -> str:
        """The text of a script by its SHA-256."""
        if script not in self._sources:
            self._sources[script] = self.storage.script(script)
        return self._sources[script]

    def trial(self, number: int) -> Trial:
        """A trial by its number.

        Raises:
            ConfigurationError: there is none.
        """
        for trial in self.trials:
            if trial.number == number:
                return trial
        raise ConfigurationError(
            f"study {self.study.name} has no trial {number}: it has {len(self.trials)} trials"
        )

    @property
    def next_number(self) -> int:
        """The number of the next trial to be recorded."""
        return max((trial.number for trial in self.trials), default=-1) + 1

    def add(self, trial: Trial, outcome: Outcome | None, source: str, checkpoint: tuple[str, bytes]) -> None:
        """Writes a judged trial down, with the policy as it is after it, in one transaction.

        Raises:
            StorageError: nothing of the trial was recorded.
        """
        self.journal.write(trial, outcome, source, diff(self.source(trial.parent), source))
        self.storage.commit(self.study, trial, source, checkpoint)
        self._sources[trial.script] = source
        self.trials.append(trial)
        self.ledger.record(trial)
        self.tried.add(normal_id(source))
        self._write_derived(trial)

    def _write_derived(self, latest: Trial | None = None) -> None:
        """Brings the git branch and results.tsv up to date with the database."""
        for trial in [latest] if latest else self.trials:
            if trial.verdict is Verdict.KEEP and (trial.kind is not TrialKind.REFERENCE or trial.number == 0):
                self.workspace.ensure(self.source(trial.script), self._message(trial), trial.number)
        commits = {
            commit.trial: commit.sha for commit in self.workspace.commits() if commit.trial is not None
        }
        self.journal.rebuild(self.trials, commits)

    def _message(self, trial: Trial) -> str:
        mark = f" {self.study.metric.mark}".rstrip()
        if trial.kind is TrialKind.REFERENCE:
            return f"Baseline: {trial.val_bpb:.4f} val_bpb{mark}"
        edits = "; ".join(step.what for step in path(self.trials, trial))
        return f"{edits}\n\nval_bpb {trial.val_bpb:.4f}{mark} ({trial.reason})"
