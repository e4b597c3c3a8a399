"""Progress on stderr: two bars where there is a terminal, a line per trial where there is none."""

from __future__ import annotations

import os
import threading
from collections import Counter
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from autoresearch_rl.environment.runner import Progress as TrialProgress
from autoresearch_rl.interface.doubts import doubts
from autoresearch_rl.records import Metric, Proposal, Trial, TrialKind, Verdict
from autoresearch_rl.study import Study

_STYLES = {
    Verdict.KEEP: "bold green",
    Verdict.PROVISIONAL: "yellow",
    Verdict.DISCARD: "dim",
    Verdict.PRUNED: "dim",
    Verdict.INVALID: "bold red",
}


class Live:
    """Shows a running study. `on_trial` and `on_progress` are callbacks for `Study`."""

    def __init__(self, limit: int | None = None) -> None:
        self.console = _Console(stderr=True, highlight=False, soft_wrap=False)
        self._limit = limit
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[facts]}", markup=False),
            console=self.console,
            refresh_per_second=4,
            disable=not self.console.is_terminal,
        )
        self._study = self._bars.add_task("study", total=limit, facts="starting")
        self._trials: dict[int, TaskID] = {}
        self._lock = threading.Lock()
        self.noise_rises = 0
        self._notices: tuple[str, ...] = ()

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def say(self, text: str) -> None:
        """A line above the bars."""
        self.console.print(Text(text), soft_wrap=not self.console.is_terminal)

    def on_trial(self, study: Study, trial: Trial) -> None:
        """Prints the verdict and moves the study's bar."""
        with self._lock:
            if task := self._trials.pop(trial.number, None):
                self._bars.remove_task(task)
        metric = study.notebook.study.metric
        line = Text(trial_line(trial, metric), style=_STYLES.get(trial.verdict, "red"), no_wrap=True)
        # A terminal gets what fits on one line; a file gets everything.
        self.console.print(line, overflow="ellipsis" if self.console.is_terminal else "ignore", crop=False)
        if study.ledger.shifts > self.noise_rises:
            self.noise_rises = study.ledger.shifts
            self.say("noise has risen: what was measured before no longer counts, the best is measured anew")
        self.tell_notices(study)
        self.show_study(study)

    def tell_notices(self, study: Study) -> None:
        """What is to be known about the agenda, once."""
        for notice in study.planner.notices:
            if notice not in self._notices:
                self.say(f"note: {notice}")
        self._notices = study.planner.notices

    def show_study(self, study: Study) -> None:
        """Sets the study's bar."""
        trials, best = study.trials, study.ledger.incumbent_bpb
        done = sum(trial.counts for trial in trials)
        counts = Counter(str(trial.verdict) for trial in trials if trial.kind is not TrialKind.REFERENCE)
        marks = doubts(study.notebook.study.metric)
        facts = [f"best {best:.4f} bpb{marks}"] if best is not None else []
        facts += [f"{count} {verdict}" for verdict, count in sorted(counts.items())]
        self._bars.update(
            self._study,
            completed=done,
            description=f"trial {done}" + (f"/{self._limit}" if self._limit else ""),
            facts=", ".join(facts) or "measuring the baseline",
        )

    def on_progress(self, proposal: Proposal, progress: TrialProgress) -> None:
        """Moves the bar of a running trial."""
        with self._lock:
            if proposal.number not in self._trials:
                self._trials[proposal.number] = self._bars.add_task(
                    f"  #{proposal.number}", total=1.0, facts=""
                )
            task = self._trials[proposal.number]
        probe = f", probe {progress.bpb:.3f} bpb" if progress.bpb is not None else ""
        words = {"start": "starting", "train": f"{progress.seconds:.1f}/{progress.budget:g} s{probe}"}
        self._bars.update(
            task,
            completed=min(1.0, progress.seconds / progress.budget),
            facts=words.get(progress.phase, f"evaluating{probe}"),
        )


class _Console(Console):
    """Stderr, whose reader may be gone: Ctrl-C ends a `tee` behind the pipe, too, and the study goes on."""

    def on_broken_pipe(self) -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def heads(metric: Metric = Metric.MEASURED) -> str:
    """Of the columns of `trial_line`."""
    mark = " " * len(_mark(metric))
    return f"{'run':<5} {'verdict':<11} {'val_bpb':>7}{mark} {'gain':>8}  {'wall':>7}  edit"


def trial_line(trial: Trial, metric: Metric = Metric.MEASURED) -> str:
    """One line about a trial."""
    score = f"{trial.val_bpb:.4f}" if trial.val_bpb is not None else "-"
    gain = f"{trial.gain:+.4f}" if trial.gain is not None else ""
    what = trial.what if trial.edit.changes else "the best script as it is"
    if trial.confirms is not None:
        what = f"again #{trial.confirms}: {what}"
    fell = trial.confirms is not None and trial.verdict is Verdict.DISCARD
    why = f"  ({trial.reason})" if fell or not trial.verdict.evaluated else ""
    what += "  UNTRUSTED" if "UNTRUSTED" in trial.sandbox else ""
    name = str(trial.kind if trial.kind is TrialKind.REFERENCE else trial.verdict)
    head = f"#{trial.number:<4} {name:<11} {score:>7}{_mark(metric)} {gain:>8}"
    return f"{head}  {trial.wall_seconds:5.1f} s  {what}{why}"


def _mark(metric: Metric) -> str:
    """Beside the score, for a terminal cuts the end of a line off."""
    return f" {metric.mark}".rstrip()
