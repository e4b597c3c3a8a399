"""Which edits made a script: a keep may rest on several that were never proven one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import takewhile

from autoresearch_rl.records import Trial, Verdict


def origin(trials: Sequence[Trial], script: str) -> Trial:
    """The first trial that ran a script: the one whose edit made it; for the baseline, its first run.

    Raises:
        StopIteration: no trial ran it.
    """
    return next(trial for trial in trials if trial.script == script)


def ancestors(trials: Sequence[Trial], script: str) -> Iterator[Trial]:
    """The trials whose edits lead from the baseline to a script, from its own back to the first.

    Args:
        trials: of the study in order of completion.
        script: one that they ran; of any other nothing is known.
    """
    first: dict[str, Trial] = {}
    for trial in trials:
        first.setdefault(trial.script, trial)
    step = first.get(script)
    while step and step.parent != step.script:
        yield step
        step = first.get(step.parent)


def path(trials: Sequence[Trial], kept: Trial) -> tuple[Trial, ...]:
    """The trials whose edits lead from the incumbent before to a kept trial's script, oldest first.

    Args:
        trials: of the study in order of completion, at least those up to `kept`.
        kept: one of them, with the verdict keep, that is no reference run.
    """
    before = trials[: trials.index(kept)]
    incumbents = {trial.script for trial in before if trial.verdict is Verdict.KEEP}
    earlier = takewhile(lambda step: step.script not in incumbents, ancestors(trials, kept.parent))
    return tuple(reversed([kept, *earlier]))
