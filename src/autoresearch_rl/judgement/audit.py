"""What stopping runs has saved, how often it was wrong, and what a perfect oracle would have saved.

A stop verdict is *false* if the run, left to go on as an audit, ended below what it had to beat. Times are
training seconds of the whole study, reference runs included.

The oracle knows how each run will end and may stop it when the pruner may: from the first look on, once
enough edits have ended. It stops every run that will not lead at once. No rule can be as fast: at the first
look the end of a run is not decided yet. Runs that were stopped count as runs that would not have led.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from scipy.special import betaincinv

from autoresearch_rl.judgement.pruning import FEWEST, FIRST_LOOK, margin_of, on_time
from autoresearch_rl.records import Trial, TrialKind, Verdict


@dataclass(frozen=True, slots=True)
class PruningRecord:
    """The pruner's record in one study.

    Attributes:
        pruned: runs that were stopped.
        audited: runs that went on although the verdict was to stop, and have ended.
        false: audited runs that ended below what they had to beat.
        spent: training seconds of the study.
        saved: training seconds that the stopped runs did not take.
        audit_seconds: training seconds that the audited runs took after their stop verdict.
        oracle_seconds: training seconds that the study would have taken with a perfect oracle.
    """

    pruned: int
    audited: int
    false: int
    spent: float
    saved: float
    audit_seconds: float
    oracle_seconds: float

    @property
    def false_rate(self) -> float | None:
        """Share of audited stop verdicts that were false; None before the first audit."""
        return self.false / self.audited if self.audited else None

    @property
    def false_bound(self) -> float | None:
        """95 % upper bound of that share (Clopper and Pearson, one-sided); None before the first audit."""
        if not self.audited:
            return None
        if self.false == self.audited:
            return 1.0
        return float(betaincinv(self.false + 1, self.audited - self.false, 0.95))

    @property
    def gain(self) -> float:
        """Trials per training second, relative to a study that stops nothing."""
        return _ratio(self.spent + self.saved, self.spent)

    @property
    def gain_obeyed(self) -> float:
        """The same if the audited verdicts had been obeyed too."""
        return _ratio(self.spent + self.saved, self.spent - self.audit_seconds)

    @property
    def oracle_gain(self) -> float:
        """The same for a perfect oracle."""
        return _ratio(self.spent + self.saved, self.oracle_seconds)


def pruning_record(trials: Sequence[Trial], budget: float) -> PruningRecord:
    """What the pruner has done in a study.

    Args:
        trials: of one study in order of completion.
        budget: training seconds of a trial.
    """
    spent = sum(trial.train_seconds for trial in trials)
    full = _full_run(trials, budget)
    pruned = [trial for trial in trials if trial.verdict is Verdict.PRUNED]
    audited = [trial for trial in trials if trial.stop_at is not None and trial.verdict.evaluated]
    return PruningRecord(
        pruned=len(pruned),
        audited=len(audited),
        false=sum((margin_of(trial) or 0.0) < 0 for trial in audited),
        spent=spent,
        saved=sum(max(0.0, full - trial.train_seconds) for trial in pruned),
        audit_seconds=sum(trial.train_seconds - (trial.stop_at or 0.0) for trial in audited),
        oracle_seconds=spent - sum(_spared(trial, budget) for trial in _prunable(trials)),
    )


def _full_run(trials: Sequence[Trial], budget: float) -> float:
    ended = [trial.train_seconds for trial in trials if trial.verdict.evaluated]
    return median(ended) if ended else budget


def _prunable(trials: Sequence[Trial]) -> Iterator[Trial]:
    """Explored trials that came after enough others and did not lead."""
    known = 0
    for trial in trials:
        margin = margin_of(trial) if trial.kind is TrialKind.EXPLORE else None
        if margin is None:
            continue
        if known >= FEWEST and (margin >= 0 or trial.verdict is Verdict.PRUNED):
            yield trial
        known += 1


def _spared(trial: Trial, budget: float) -> float:
    """Training seconds that a stop at the first look would have spared."""
    looks = [p.seconds for p in trial.probes if on_time(p.seconds / budget) >= FIRST_LOOK]
    return max(0.0, trial.train_seconds - looks[0]) if looks else 0.0


def _ratio(whole: float, part: float) -> float:
    return whole / part if part > 0 else 1.0
