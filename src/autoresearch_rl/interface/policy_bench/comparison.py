"""Compares the runs of policies: at equal trials, at equal training seconds, and at last."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Any

from autoresearch_rl.interface.policy_bench.runs import Run
from autoresearch_rl.interface.policy_bench.statistics import holm, interval, least_p, signed_rank

MARKS = (25, 50, 100, 200, 300)
"""Trials, and training seconds in budgets of one trial, after which policies are compared."""

LEVEL = 0.05
"""Of Holm's p, below which a difference is said to be one."""

Runs = Mapping[str, Mapping[int, Run]]
"""By policy and seed."""


@dataclass(frozen=True)
class Measure:
    """One number of each run, by which policies are compared.

    Attributes:
        by: `trials`, `seconds`, `area`, `final` or `change`.
        mark: after so many trials, or so many training seconds in budgets of one trial.
        value: None of a run that has not got that far.
    """

    by: str
    mark: int | None
    value: Callable[[Run], float | None]


def at_trials(run: Run, mark: int) -> float | None:
    """Best so far after so many counted trials."""
    return run.curve[mark - 1] if len(run.curve) >= mark else None


def at_seconds(run: Run, mark: int) -> float | None:
    """Best so far when so many budgets of training were spent."""
    seconds = mark * run.budget
    if not run.seconds or seconds > run.seconds[-1]:
        return None
    done = bisect_right(run.seconds, seconds)
    return run.curve[done - 1] if done else run.start


def area(run: Run, trials: int) -> float | None:
    """Mean of the best so far over the trials: the area under the curve, per trial."""
    return fmean(run.curve[:trials]) if len(run.curve) >= trials else None


def final(run: Run, trials: int) -> float | None:
    """The last incumbent, measured again; of a run that went on for longer it is another one."""
    return mean_of(run.final) if run.trials == trials else None


def change(run: Run, trials: int) -> float | None:
    """The same without the first script's score, measured beside it: load on the machine weighs on both."""
    last, first = final(run, trials), mean_of(run.baseline)
    return None if last is None or first is None else last - first


def mean_of(scores: Sequence[float | None]) -> float | None:
    """Of the measurements that gave a score."""
    known = [score for score in scores if score is not None]
    return fmean(known) if known else None


def measures(runs: Runs, trials: int) -> Iterator[Measure]:
    """Everything that policies are compared by, where at least one run has got that far."""
    every = [run for found in runs.values() for run in found.values()]
    for mark in [mark for mark in MARKS if mark <= trials] or [trials]:
        yield Measure("trials", mark, partial(at_trials, mark=mark))
    for mark in _seconds_marks([run for run in every if len(run.curve) >= trials], trials):
        yield Measure("seconds", mark, partial(at_seconds, mark=mark))
    yield Measure("area", None, partial(area, trials=trials))
    if any(run.final for run in every):
        yield Measure("final", None, partial(final, trials=trials))
        yield Measure("change", None, partial(change, trials=trials))


def _seconds_marks(complete: Sequence[Run], trials: int) -> list[int]:
    """Marks that every complete run has reached, and the last such: nobody is left out for being quick."""
    most = math.floor(min((run.seconds[trials - 1] / run.budget for run in complete), default=0.0))
    return sorted({mark for mark in (*MARKS, most) if 0 < mark <= most})


def compare(runs: Runs, trials: int, lower_is_better: bool) -> dict[str, Any]:
    """Means with 95 % intervals, and paired tests of each policy against the first.

    Args:
        runs: the others are compared with the first policy, on the seeds that both have.
        trials: of a complete run.
        lower_is_better: whether a lower score is better.
    """
    return {
        "trials": trials,
        "first": next(iter(runs)),
        "measures": [_compared(measure, runs, lower_is_better) for measure in measures(runs, trials)],
        "policies": [
            {**_described(policy, list(found.values()), trials), "elsewhere": _elsewhere(runs, found)}
            for policy, found in runs.items()
        ],
        "by_family": list(_by_family(runs, trials)),
    }


def _by_family(runs: Runs, trials: int) -> Iterator[dict[str, Any]]:
    """Means after all trials over the problems of each family, and over those with each tag."""
    every = [run for found in runs.values() for run in found.values()]
    for family in dict.fromkeys(run.family for run in sorted(every, key=lambda run: run.seed) if run.family):
        yield {"family": family, "policies": _within(runs, trials, family=family)}
    for tag in sorted({tag for run in every for tag in run.tags}):
        yield {"tag": tag, "policies": _within(runs, trials, tag=tag)}


def _within(runs: Runs, trials: int, family: str = "", tag: str = "") -> list[dict[str, Any]]:
    """Means over the runs of a family, or of those with a tag."""
    rows = []
    for policy, found in runs.items():
        chosen = [run for run in found.values() if (run.family == family if family else tag in run.tags)]
        scores = [score for run in chosen if (score := at_trials(run, trials)) is not None]
        rows.append({"policy": policy, **interval(scores)._asdict()})
    return rows


def paired(first: Mapping[int, Run], other: Mapping[int, Run]) -> list[int]:
    """Seeds that two policies have both been run on, on the same hardware."""
    return [seed for seed in sorted(first.keys() & other) if first[seed].hardware == other[seed].hardware]


def _compared(measure: Measure, runs: Runs, lower_is_better: bool) -> dict[str, Any]:
    first, *others = runs
    pairs = {policy: paired(runs[first], runs[policy]) for policy in others}
    known = {
        policy: {seed: value for seed, run in found.items() if (value := measure.value(run)) is not None}
        for policy, found in runs.items()
    }
    rows = {p: {"policy": p, **interval(list(known[p].values()))._asdict(), "versus": None} for p in runs}
    pairs = {p: [s for s in seeds if s in known[first] and s in known[p]] for p, seeds in pairs.items()}
    tested = [p for p in others if pairs[p]]
    versus = [[known[p][seed] - known[first][seed] for seed in pairs[p]] for p in tested]
    tests = [signed_rank(differences) for differences in versus]
    found, least = holm([test.p for test in tests]), holm([least_p(len(d)) for d in versus])
    for policy, differences, test, p_holm, lowest in zip(tested, versus, tests, found, least, strict=True):
        better = (test.excess < 0) == lower_is_better
        rows[policy]["versus"] = {
            **interval(differences)._asdict(),
            "p": test.p,
            "p_holm": p_holm,
            "verdict": _verdict(p_holm, lowest, better),
        }
    return {"by": measure.by, "mark": measure.mark, "policies": list(rows.values())}


def _verdict(p_holm: float, lowest: float, better: bool) -> str:
    """What may be said of a policy beside the first; `lowest` is what p would be at best."""
    if p_holm < LEVEL:
        return "better" if better else "worse"
    return "level" if lowest < LEVEL else "too few"


def _elsewhere(runs: Runs, found: Mapping[int, Run]) -> int:
    """Runs that are not paired with the first policy's of the same seed: it was made on other hardware."""
    first = next(iter(runs.values()))
    return len(first.keys() & found) - len(paired(first, found))


def _described(policy: str, runs: Sequence[Run], trials: int) -> dict[str, Any]:
    complete = [run for run in runs if len(run.curve) >= trials]
    baselines = [score for run in runs if (score := mean_of(run.baseline)) is not None]
    return {
        "policy": policy,
        "complete": len(complete),
        "ended_early": sum(bool(run.ended) for run in runs),
        "other_length": sum(bool(run.final) and run.trials != trials for run in runs),
        "final_failures": sum(run.final.count(None) for run in runs),
        "unique": mean_of([run.unique for run in runs]),
        "structural": mean_of([run.structural for run in runs]),
        "training_seconds": mean_of([run.seconds[trials - 1] for run in complete]),
        "budgets": mean_of([run.seconds[trials - 1] / run.budget for run in complete]),
        "baseline": mean_of(baselines),
    }
