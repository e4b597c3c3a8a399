"""`run`: a study with its progress, its picture, and the ways to interrupt it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import click

from autoresearch_rl.agent.settled import settle
from autoresearch_rl.interface.doubts import SELF_REPORTED_WHY, doubts
from autoresearch_rl.interface.live import Live, heads
from autoresearch_rl.interface.picture import draw
from autoresearch_rl.judgement.termination import Limits
from autoresearch_rl.opening import create_study
from autoresearch_rl.records import StopReason, Trial, Verdict
from autoresearch_rl.study import Study

SHOW_CURSOR = b"\x1b[?25h"  # the bars hide it
EXIT_CODES = {StopReason.PERSON: 130, StopReason.DISK: 1}


def run_study(options: Mapping[str, Any], limits: Limits, workers: int) -> int:
    """Opens the study, runs it, prints why it stopped; returns the exit code."""
    with Live(limits.get("trials")) as live:
        live.say("preparing: corpus, sandbox, leak scan (the first scan takes a while)")
        with create_study(**options) as study:
            settle()
            _greet(live, study)
            study.callbacks += [live.on_trial, _draw_keeps]
            study.on_progress = live.on_progress
            with interruptible(study, live):
                stop = study.run(workers=workers, **limits)
            _draw(study)
            summary = _summary(study)
    click.echo(f"stopped: {stop.reason} ({stop.message})\n{summary}")
    return EXIT_CODES.get(stop.reason, 0)


def _greet(live: Live, study: Study) -> None:
    task, record, folder = study.environment.task, study.notebook.study, study.notebook.folder
    live.say(
        f"study {record.name}: task {record.task}, {task.seconds:g} {task.clock} s a trial, "
        f"policy {study.policy}, sandbox {study.environment.backend.name}, {folder}"
    )
    if mark := record.metric.mark:
        live.say(f"{mark}: {SELF_REPORTED_WHY}")
    live.noise_rises = study.ledger.shifts
    if study.trials:
        trials = sum(trial.counts for trial in study.trials)
        live.say(f"going on after {trials} trials ({len(study.trials)} runs)")
        before = next((trial.sandbox for trial in reversed(study.trials) if trial.sandbox), "")
        if before not in ("", study.environment.backend.name):
            live.say(f"note: so far its scripts ran in another sandbox, {before}")
    study.planner.look_at_agenda()
    live.tell_notices(study)
    live.say(heads(study.notebook.study.metric))
    live.show_study(study)


def _draw_keeps(study: Study, trial: Trial) -> None:
    if trial.verdict is Verdict.KEEP:
        _draw(study)


def _draw(study: Study) -> None:
    draw(study.trials, study.notebook.folder / "progress.png", study.notebook.study.metric)


def _summary(study: Study) -> str:
    best, baseline = study.ledger.incumbent_bpb, study.ledger.baseline_bpb
    if best is None or baseline is None:
        return "the baseline has not been measured yet"
    marks = doubts(study.notebook.study.metric, (trial.sandbox for trial in study.trials))
    return (
        f"best val_bpb {best:.4f}{marks}, baseline {baseline:.4f} (gain {baseline - best:+.4f}), "
        f"{len(study.trials)} runs; see `autoresearch-rl best`"
    )


def _tell(line: bytes) -> None:
    """Writes to stderr, if anybody still reads it: Ctrl-C ends a `tee` behind the pipe, too."""
    with suppress(OSError):
        os.write(2, line)


@contextmanager
def interruptible(study: Study, live: Live) -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM) lets the running trials finish; the second ends at once."""
    asked = False

    def handle(_: int, __: FrameType | None) -> None:
        nonlocal asked
        if asked:
            _tell((SHOW_CURSOR if os.isatty(2) else b"") + b"\nstopped at once; the same command goes on\n")
            os._exit(130)  # the kernel kills the sandboxes with us; the database is safe at any instant
        asked = True
        study.stop()
        # Not through `live`: its lock may be held by what we interrupt.
        _tell(b"\nfinishing the running trial; press Ctrl-C again to stop at once\n")

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
