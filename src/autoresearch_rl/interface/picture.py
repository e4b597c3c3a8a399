"""`progress.png`: all trials, the keeps, and the best so far."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from autoresearch_rl.errors import StorageError
from autoresearch_rl.lineage import path as lineage
from autoresearch_rl.records import Metric, Trial, TrialKind, Verdict

LABEL = 28  # characters of an edit beside its keep: longer ones run into the next
LABEL_WIDTH = 0.33  # of such a label, as a share of the trials: the last one has that much room on its right


def draw(trials: Sequence[Trial], path: Path, metric: Metric = Metric.MEASURED) -> None:
    """Draws a study, replacing the picture in one step. Without a scored trial there is nothing to draw.

    Raises:
        StorageError: the picture cannot be written.
    """
    scored = [trial for trial in trials if trial.val_bpb is not None]
    if not scored:
        return
    from matplotlib.figure import Figure  # 0.3 s that no other command needs

    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.subplots()
    for label, colour, size, chosen in _groups(scored):
        if chosen:
            numbers, scores = [t.number for t in chosen], [t.val_bpb or 0.0 for t in chosen]
            axes.scatter(numbers, scores, s=size, color=colour, label=f"{label} ({len(chosen)})", zorder=3)
    axes.step(*_best_so_far(scored), where="post", color="tab:green", linewidth=1.5, label="incumbent")
    pruned = [trial.number for trial in trials if trial.verdict is Verdict.PRUNED]
    failed = [t.number for t in trials if t.val_bpb is None and t.verdict is not Verdict.PRUNED]
    for label, colour, height, numbers in (
        ("pruned", "lightgrey", 0.02, pruned),
        ("no score", "tab:red", 0.05, failed),
    ):
        if numbers:
            axes.plot(numbers, [height] * len(numbers), "x", color=colour, label=f"{label} ({len(numbers)})",
                      transform=axes.get_xaxis_transform())  # fmt: skip
    _annotate(axes, trials)
    axes.set(
        xlabel="trial",
        ylabel=" ".join(["validation bits per byte", metric.mark]).rstrip(),
        xlim=_room(trials),
        ylim=_limits(scored),
    )
    if metric.mark:
        axes.set_title(f"{metric.mark} scores: the script computes its own", color="tab:red", fontsize=10)
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8, loc="upper right")
    save(figure, path)


def _groups(trials: Sequence[Trial]) -> list[tuple[str, str, int, list[Trial]]]:
    baseline = [t for t in trials if t.kind is TrialKind.REFERENCE]
    provisional = [t for t in trials if t.verdict is Verdict.PROVISIONAL]
    others = [t for t in trials if t.verdict is Verdict.DISCARD]
    return [
        ("discard", "lightgrey", 16, others),
        ("provisional", "tab:orange", 20, provisional),
        ("measured again", "black", 20, baseline),
        ("keep", "tab:green", 36, _keeps(trials)),
    ]


def _keeps(trials: Sequence[Trial]) -> list[Trial]:
    return [t for t in trials if t.verdict is Verdict.KEEP and t.kind is not TrialKind.REFERENCE]


def _best_so_far(trials: Sequence[Trial]) -> tuple[list[int], list[float]]:
    """The incumbent's first score, from the trial on that made it lead."""
    keeps = sorted([*_keeps(trials), *_firsts(trials)], key=trials.index)
    numbers = [t.number for t in keeps] + [max(t.number for t in trials)]
    scores = [t.val_bpb for t in keeps if t.val_bpb is not None]
    return numbers, [*scores, scores[-1]]


def _firsts(trials: Sequence[Trial]) -> list[Trial]:
    """The first run of each segment, which measures its baseline."""
    return list({trial.segment: trial for trial in reversed(trials)}.values())


def _room(trials: Sequence[Trial]) -> tuple[float, float]:
    """From before the first trial to behind the last, and behind the last keep's label."""
    margin, last = 0.04 * len(trials), max(trial.number for trial in trials)  # they end in any order
    label = max((t.number + LABEL_WIDTH * len(trials) for t in _keeps(trials)), default=0.0)
    return -margin - 0.5, max(last + margin + 0.5, label)


def _limits(trials: Sequence[Trial]) -> tuple[float, float]:
    """From below the best to a bit above the baseline: a drastic failure must not flatten the rest."""
    scores = [trial.val_bpb for trial in trials if trial.val_bpb is not None]
    low, first = min(scores), max(trial.val_bpb or 0.0 for trial in _firsts(trials))
    spread = max(first - low, 0.05)
    return low - 0.15 * spread, min(max(scores), first + spread) + 0.15 * spread


def _annotate(axes: object, trials: Sequence[Trial]) -> None:
    for trial in _keeps(trials):
        if trial.val_bpb is not None:
            axes.annotate(  # type: ignore[attr-defined]
                _label(trials, trial), (trial.number, trial.val_bpb), xytext=(5, 3),
                textcoords="offset points", fontsize=7, rotation=20, va="bottom", rotation_mode="anchor",
            )  # fmt: skip


def _label(trials: Sequence[Trial], kept: Trial) -> str:
    """The last edit of a keep, and how many more it rests on."""
    steps = lineage(trials, kept)
    what = steps[-1].what
    what = what if len(what) <= LABEL else what[: LABEL - 1].rstrip() + "…"
    return what + (f" and {len(steps) - 1} more" if steps[1:] else "")


def save(figure: object, path: Path) -> None:
    """Writes a picture in one step.

    Raises:
        StorageError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.tmp")
    try:
        figure.savefig(partial, dpi=130, format="png")  # type: ignore[attr-defined]
        os.replace(partial, path)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error
