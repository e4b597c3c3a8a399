"""The termination oracle: a study is perpetual unless it can be said why it stops."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from autoresearch_rl.errors import ConfigurationError, StorageError
from autoresearch_rl.judgement.acceptance import Ledger
from autoresearch_rl.judgement.convergence import DELTA, FEWEST, outlook
from autoresearch_rl.records import Proposal, StopReason, Trial, TrialKind, Verdict

MIN_FREE_BYTES = 200_000_000


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a study stops: a reason for programs and a line for people."""

    reason: StopReason
    message: str


class Limits(TypedDict, total=False):
    """What a study may spend. Each may be left out or None, for no limit.

    Attributes:
        trials: all recorded trials of the study, of earlier processes too, except reference runs. The few
            runs that settle which script is best come on top.
        hours: wall time of this process.
        train_seconds: training time of all recorded trials, reference runs too, on the task's clock.
        money: price of all recorded trials, in the currency of `price`.
        price: of an hour of one worker (a GPU-hour, say); needed with `money`.
        patience: new edits since the last confirmed gain. Never stops while what leads is not proven.
        converged: the probability below which one more gain is not waited for, by `convergence.outlook` for
            gains above the noise of one measurement; `convergence.DELTA` when left out. Never stops while
            what leads is not proven.
    """

    trials: int | None
    hours: float | None
    train_seconds: float | None
    money: float | None
    price: float | None
    patience: int | None
    converged: float | None


class TerminationOracle:
    """Says when to stop, and why.

    Args:
        folder: the study's folder, whose disk is watched.
        limits: see `Limits`.
        min_free_bytes: what has to be free on the disk of `folder`; None: do not look.

    Raises:
        ConfigurationError: a limit is not positive, or there is money without a price.
    """

    def __init__(
        self, folder: Path, limits: Limits | None = None, min_free_bytes: int | None = MIN_FREE_BYTES
    ) -> None:
        self.folder, self.limits, self.min_free_bytes = folder, limits or {}, min_free_bytes
        for name, limit in {**self.limits, "min_free_bytes": min_free_bytes}.items():
            if limit is not None and not limit > 0:  # type: ignore[operator]  # a TypedDict's values are objects
                raise ConfigurationError(f"{name} must be positive, but got {limit}")
        if self.limits.get("money") is not None and self.limits.get("price") is None:
            raise ConfigurationError("money needs the price of an hour: add --price")

    def should_stop(self, trials: Sequence[Trial], ledger: Ledger, elapsed_seconds: float) -> Stop | None:
        """The first reason to stop, or None: first what a study may not overrun to settle what is best.

        Args:
            trials: all recorded trials of the study in order of completion.
            ledger: what they add up to.
            elapsed_seconds: wall time since this process started the study.

        Raises:
            StorageError: the free space of the disk cannot be read.
        """
        return (
            self._on_disk()
            or self._on_hours(elapsed_seconds)
            or self._on_train_seconds(trials)
            or self._on_money(trials)
            or self._on_trials(trials)
            or self._on_patience(trials, ledger)
            or self._on_convergence(trials, ledger)
        )

    def has_room(self, trials: Sequence[Trial], running: Sequence[Proposal]) -> bool:
        """Whether one more trial fits under the limit of trials, with those that run already."""
        under_way = sum(proposal.kind is not TrialKind.REFERENCE for proposal in running)
        limit = self.limits.get("trials")
        return limit is None or sum(trial.counts for trial in trials) + under_way < limit

    def _on_disk(self) -> Stop | None:
        if self.min_free_bytes is None:
            return None
        free = _free_bytes(self.folder)
        if free >= self.min_free_bytes:
            return None
        message = f"{free / 1e6:.0f} MB free at {self.folder}, {self.min_free_bytes / 1e6:.0f} MB needed"
        return Stop(StopReason.DISK, message)

    def _on_trials(self, trials: Sequence[Trial]) -> Stop | None:
        done = sum(trial.counts for trial in trials)
        limit = self.limits.get("trials")
        if limit is None or done < limit:
            return None
        return Stop(StopReason.TRIALS, f"{done} trials recorded, the limit of {limit} is reached")

    def _on_hours(self, elapsed_seconds: float) -> Stop | None:
        hours, limit = elapsed_seconds / 3600, self.limits.get("hours")
        if limit is None or hours < limit:
            return None
        return Stop(StopReason.HOURS, f"{hours:.2f} hours passed, the limit is {limit:g}")

    def _on_train_seconds(self, trials: Sequence[Trial]) -> Stop | None:
        spent, limit = sum(trial.train_seconds for trial in trials), self.limits.get("train_seconds")
        if limit is None or spent < limit:
            return None
        message = f"{spent:.0f} seconds of training spent, the limit is {limit:g}"
        return Stop(StopReason.TRAIN_SECONDS, message)

    def _on_money(self, trials: Sequence[Trial]) -> Stop | None:
        limit, price = self.limits.get("money"), self.limits.get("price")
        if limit is None or price is None:
            return None
        hours = sum(trial.wall_seconds for trial in trials) / 3600
        if (spent := price * hours) < limit:
            return None
        message = f"{spent:.2f} spent ({hours:.2f} h at {price:g}), the limit is {limit:g}"
        return Stop(StopReason.MONEY, message)

    def _on_patience(self, trials: Sequence[Trial], ledger: Ledger) -> Stop | None:
        waited, limit = explored_since_gain(trials), self.limits.get("patience")
        if limit is None or waited < limit or not ledger.settled:
            return None
        message = f"no confirmed gain in {waited} trials, the patience is {limit}"
        return Stop(StopReason.NO_GAIN, message)

    def _on_convergence(self, trials: Sequence[Trial], ledger: Ledger) -> Stop | None:
        delta = self.limits.get("converged", DELTA)
        if delta is None or not ledger.settled or explored_since_gain(trials) < FEWEST:
            return None
        ahead = outlook(trials, ledger.noise.sd)
        if not ahead.converged(delta):
            return None
        message = (
            f"{ahead.probability:.1%} chance of a gain above {ahead.epsilon:.4f} bpb in the next "
            f"{ahead.horizon} edits, which would take {ahead.hours or 0.0:.2f} h; "
            f"the last of {ahead.gains} gains was {ahead.since_gain} edits ago"
        )
        return Stop(StopReason.CONVERGED, message)


def explored_since_gain(trials: Sequence[Trial]) -> int:
    """How many explore trials were completed after the last confirmed gain."""
    count = 0
    for trial in reversed(trials):
        if trial.verdict is Verdict.KEEP and trial.kind is not TrialKind.REFERENCE:
            break
        count += trial.kind is TrialKind.EXPLORE and trial.counts
    return count


def _free_bytes(folder: Path) -> int:
    try:
        return shutil.disk_usage(folder).free
    except OSError as error:
        raise StorageError(f"cannot read the free space at {folder}: {error.strerror}") from error
