"""The termination oracle: a study is perpetual unless it can be said why it stops."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autoresearch_rl.errors import ConfigurationError, StorageError
from autoresearch_rl.records import Proposal, StopReason, Trial, TrialKind, Verdict

MIN_FREE_BYTES = 200_000_000


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a study stops: a reason for programs and a line for people."""

    reason: StopReason
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminationOracle:
    """Says when to stop, and why. Every limit may be None, for never.

    Attributes:
        folder: the study's folder, whose disk is watched.
        trials: all recorded trials of the study, of earlier processes too, except baseline runs.
        hours: wall time of this process.
        train_seconds: training time of all recorded trials, baseline runs too, on the task's clock.
        patience: explore trials since the last confirmed gain. Never stops while a provisional trial
            waits for its confirming run.
        min_free_bytes: what has to be free on the disk of `folder`.

    Raises:
        ConfigurationError: a limit is not positive.
    """

    folder: Path
    trials: int | None = None
    hours: float | None = None
    train_seconds: float | None = None
    patience: int | None = None
    min_free_bytes: int | None = MIN_FREE_BYTES

    def __post_init__(self) -> None:
        for name in ("trials", "hours", "train_seconds", "patience", "min_free_bytes"):
            limit = getattr(self, name)
            if limit is not None and not limit > 0:
                raise ConfigurationError(f"{name} must be positive, but got {limit}")

    def should_stop(self, trials: Sequence[Trial], elapsed_seconds: float) -> Stop | None:
        """The first reason to stop, or None.

        Args:
            trials: all recorded trials of the study in order of completion.
            elapsed_seconds: wall time since this process started the study.

        Raises:
            StorageError: the free space of the disk cannot be read.
        """
        return (
            self._on_disk()
            or self._on_trials(trials)
            or self._on_hours(elapsed_seconds)
            or self._on_train_seconds(trials)
            or self._on_patience(trials)
        )

    def has_room(self, trials: Sequence[Trial], running: Sequence[Proposal]) -> bool:
        """Whether one more trial fits under the limit of trials, with those that run already."""
        counted: list[Trial | Proposal] = [*trials, *running]
        return self.trials is None or sum(t.kind is not TrialKind.BASELINE for t in counted) < self.trials

    def _on_disk(self) -> Stop | None:
        if self.min_free_bytes is None:
            return None
        free = _free_bytes(self.folder)
        if free >= self.min_free_bytes:
            return None
        message = f"{free / 1e6:.0f} MB free at {self.folder}, {self.min_free_bytes / 1e6:.0f} MB needed"
        return Stop(StopReason.DISK, message)

    def _on_trials(self, trials: Sequence[Trial]) -> Stop | None:
        done = sum(trial.kind is not TrialKind.BASELINE for trial in trials)
        if self.trials is None or done < self.trials:
            return None
        return Stop(StopReason.TRIALS, f"{done} trials recorded, the limit is {self.trials}")

    def _on_hours(self, elapsed_seconds: float) -> Stop | None:
        hours = elapsed_seconds / 3600
        if self.hours is None or hours < self.hours:
            return None
        return Stop(StopReason.HOURS, f"{hours:.2f} hours passed, the limit is {self.hours:g}")

    def _on_train_seconds(self, trials: Sequence[Trial]) -> Stop | None:
        spent = sum(trial.train_seconds for trial in trials)
        if self.train_seconds is None or spent < self.train_seconds:
            return None
        message = f"{spent:.0f} seconds of training spent, the limit is {self.train_seconds:g}"
        return Stop(StopReason.TRAIN_SECONDS, message)

    def _on_patience(self, trials: Sequence[Trial]) -> Stop | None:
        waited = explored_since_gain(trials)
        if self.patience is None or waited < self.patience or _any_pending(trials):
            return None
        message = f"no confirmed gain in {waited} trials, the patience is {self.patience}"
        return Stop(StopReason.NO_GAIN, message)


def explored_since_gain(trials: Sequence[Trial]) -> int:
    """How many explore trials were completed after the last confirmed gain."""
    count = 0
    for trial in reversed(trials):
        if trial.verdict is Verdict.KEEP and trial.kind is not TrialKind.BASELINE:
            break
        count += trial.kind is TrialKind.EXPLORE
    return count


def _any_pending(trials: Sequence[Trial]) -> bool:
    provisional = {trial.number for trial in trials if trial.verdict is Verdict.PROVISIONAL}
    return bool(provisional - {trial.confirms for trial in trials})


def _free_bytes(folder: Path) -> int:
    try:
        return shutil.disk_usage(folder).free
    except OSError as error:
        raise StorageError(f"cannot read the free space at {folder}: {error.strerror}") from error
