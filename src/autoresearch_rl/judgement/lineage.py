"""Which edits made a script: a keep may rest on several that were never proven one by one."""

from __future__ import annotations

from collections.abc import Sequence

from autoresearch_rl.records import Trial, Verdict


def origin(trials: Sequence[Trial], script: str) -> Trial:
    """The first trial that ran a script: the one whose edit made it; for the baseline, its first run.

    Raises:
        StopIteration: no trial ran it.
    """
    return next(trial for trial in trials if trial.script == script)


def path(trials: Sequence[Trial], kept: Trial) -> tuple[Trial, ...]:
    """The trials whose edits lead from the incumbent before to a kept trial's script, oldest first.

    Args:
        trials: of the study in order of completion, at least those up to `kept`.
        kept: one of them, with the verdict keep, that is no reference run.
    """
    before = trials[: trials.index(kept)]
    incumbents = {trial.script for trial in before if trial.verdict is Verdict.KEEP}
    made, parent = [kept], kept.parent
    while parent not in incumbents and (step := origin(trials, parent)).parent != parent:
        made.append(step)
        parent = step.parent
    return tuple(reversed(made))
