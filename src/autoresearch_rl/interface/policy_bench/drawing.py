"""The picture of a comparison: mean best so far, over trials and over training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from autoresearch_rl.interface.picture import save
from autoresearch_rl.interface.policy_bench.comparison import Runs, at_seconds, at_trials
from autoresearch_rl.interface.policy_bench.runs import Run
from autoresearch_rl.interface.policy_bench.statistics import interval

Value = Callable[[Run, int], float | None]


def draw_policies(runs: Runs, trials: int, unit: str, path: Path) -> bool:
    """Draws the complete runs with 95 % bands, in one file; whether there were any.

    Raises:
        StorageError: the picture cannot be written.
    """
    complete = {p: [run for run in found.values() if len(run.curve) >= trials] for p, found in runs.items()}
    complete = {policy: found for policy, found in complete.items() if found}
    if not complete:
        return False
    from matplotlib.figure import Figure

    spent = min(int(run.seconds[trials - 1] / run.budget) for found in complete.values() for run in found)
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for policy, found in complete.items():
        _curve(left, found, range(1, trials + 1), at_trials, f"{policy}: mean of {len(found)}, 95 % interval")
        _curve(right, found, range(spent + 1), at_seconds, policy)
    left.set(xlabel="trials", ylabel=f"the best script so far: {unit}")
    right.set(xlabel="training seconds, in budgets of one trial")
    for axes in (left, right):
        axes.grid(alpha=0.25)
    left.legend(fontsize=8)
    save(figure, path)
    return True


def _curve(axes: Any, runs: Sequence[Run], marks: Sequence[int], value: Value, label: str) -> None:
    """The mean over the runs at each mark, and its interval, where there are two runs."""
    rows = [interval([v for run in runs if (v := value(run, mark)) is not None]) for mark in marks]
    (line,) = axes.step(marks, [row.mean for row in rows], where="post", linewidth=1.5, label=label)
    if len(runs) > 1:
        low, high = [row.low for row in rows], [row.high for row in rows]
        axes.fill_between(marks, low, high, step="post", alpha=0.15, color=line.get_color(), linewidth=0)
