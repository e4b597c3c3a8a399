"""Stops runs that will not lead, and finds out how often that is wrong.

At each probe the run's end is forecast. What the study's earlier edits came to, relative to what they had to
beat, says how edits are distributed before anything is known of this one; the forecast's likelihood under
each of them says which it resembles. Both together give

    P(it leads) = sum over winners of N(forecast; end, sd) / the same sum over all

and a sequential probability ratio test on it: the run is stopped when that chance falls to `DOUBT`, and left
alone for good when it rises to `FAITH` (Wald 1945; with prior odds, Berger 1985, section 7.5). The share of
stopped runs that would have led is the mean of the chance over them, so below `DOUBT`: this is what an audit
measures. A test without the prior odds bounds the share of the winners that are stopped; edits that lead are
rare, so it asks for ten times the evidence and saves half as much (docs/log.md).

Some verdicts are not obeyed, by lot: they are the audit, and keep the forecaster learning from losers too.
"""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from autoresearch_rl.judgement.curves import Curve
from autoresearch_rl.judgement.forecast import Forecast, Forecaster, Mode
from autoresearch_rl.records import Probe, Proposal, Trial, TrialKind, Verdict

DOUBT = 0.1
"""Chance to lead at which a run is stopped. At the stop it is mostly lower: on recorded studies 3 to 4 % of
the stopped runs would have led, under the 5 % that are promised."""

FAITH = 0.95
"""Chance to lead at which a run is left alone for good."""

FIRST_LOOK = 0.3
"""Share of the budget before which nothing is stopped: schedules and warm-ups have hardly begun to tell."""

LAST_LOOK = 0.95
"""Share of the budget after which stopping saves nothing."""

FEWEST = 5
"""Edits whose end has to be known before a run is stopped."""

REMEMBERED = 200
"""Latest edits whose ends say how the next one may end."""

AUDIT = 0.1
"""Share of the stop verdicts that are not obeyed."""

LATE = 0.03
"""A probe comes when the step that passed a tenth of the budget has ended, and counts as taken there if that
is no more than this share of the budget later. Otherwise runs could not be compared at the same progress."""

PAPER_ALPHA = 1.0
"""In the paper's tau = best + alpha sigma_h: alpha, not given there."""

NORMAL_TAIL: Final = 40.0
"""Standard deviations beyond which a likelihood is left as it is: its exponential would be zero."""


class Pruner:
    """Learns from the judged trials of a study, in their order, and watches the running ones.

    Recording the same trials again gives the same pruner. It may be asked from several threads.
    """

    def __init__(self, budget: float, mode: Mode = "ensemble", audit: float = AUDIT) -> None:
        self.budget, self.mode, self.audit = budget, mode, audit
        self._lock = threading.Lock()
        self._segment = 0
        self._forecaster = Forecaster(mode)
        self._margins: list[float] = []
        self._finals: list[float] = []

    def record(self, trial: Trial) -> None:
        """Learn from a judged trial. What other hardware has brought is forgotten."""
        with self._lock:
            if trial.segment != self._segment:
                self._segment, self._forecaster = trial.segment, Forecaster(self.mode)
                self._margins, self._finals = [], []
            if trial.kind is TrialKind.EXPLORE and (margin := margin_of(trial)) is not None:
                self._margins = [*self._margins[1 - REMEMBERED :], margin]
            if trial.verdict.evaluated and trial.val_bpb is not None and trial.probes:
                self._forecaster.add(curve_of(trial.probes, self.budget, trial.val_bpb))
                self._finals = [*self._finals[1 - REMEMBERED :], trial.val_bpb]

    def watch(self, proposal: Proposal) -> Watch:
        """The test of one run. It never stops a run that has no bar to beat."""
        return Watch(self, proposal.bar, random.Random(proposal.seed).random() < self.audit)

    def forecast(self, probes: Sequence[Probe]) -> Forecast | None:
        """What a run with these probes will come to; None while there is nothing to go by."""
        if len(self._margins) < FEWEST:
            return None
        curve = curve_of(probes, self.budget)
        return self._forecaster.forecast(curve, float(curve.progress[-1])) if len(curve.progress) else None

    def chance(self, forecast: Forecast, bar: float) -> float:
        """The posterior probability that a run ends below its bar."""
        if self.mode == "paper":  # no test: worse than tau or not
            return float(forecast.value <= bar + PAPER_ALPHA * float(np.std(self._finals)))
        # A neutral edit is always conceivable, and counts as one that leads.
        margins = np.array([*self._margins, 0.0])
        wins = np.append(margins[:-1] < 0, True)
        distance = (forecast.value - bar - margins) / max(forecast.sd, 1e-9)
        likelihood = np.exp(-0.5 * np.minimum(distance, NORMAL_TAIL) ** 2)
        total = float(likelihood.sum())
        return float(likelihood[wins].sum()) / total if total else float(forecast.value < bar)

    def look(self, probes: Sequence[Probe], bar: float) -> tuple[Forecast, float] | None:
        """The forecast and the chance to lead of a running trial; None when it is no time to decide."""
        progress = on_time(probes[-1].seconds / self.budget)
        if not FIRST_LOOK <= progress <= LAST_LOOK or not math.isfinite(bar):
            return None
        with self._lock:
            forecast = self.forecast(probes)
            return (forecast, self.chance(forecast, bar)) if forecast else None


@dataclass(slots=True)
class Watch:
    """Follows one run. `stop_at` and `forecast` are set once it has been given up, obeyed or not.

    Attributes:
        stop_at: training seconds at the stop verdict.
        forecast: the val_bpb foreseen then.
    """

    pruner: Pruner
    bar: float
    audited: bool
    stop_at: float | None = None
    forecast: float | None = None
    _settled: bool = field(default=False, repr=False)

    def __call__(self, probes: Sequence[Probe]) -> str | None:
        """Why the run is to be stopped now, or None."""
        if self._settled or (seen := self.pruner.look(probes, self.bar)) is None:
            return None
        forecast, chance = seen
        self._settled = not DOUBT < chance < FAITH
        if chance > DOUBT:
            return None
        self.stop_at, self.forecast = probes[-1].seconds, forecast.value
        if self.audited:
            return None
        return (
            f"forecast {forecast.value:.4f} bpb, {self.bar:.4f} to beat: {chance:.1%} chance "
            f"at {self.stop_at / self.pruner.budget:.0%} of the budget"
        )


def margin_of(trial: Trial) -> float | None:
    """How far above its bar a trial ended, in bits per byte, or would have ended by its forecast."""
    end = trial.forecast if trial.verdict is Verdict.PRUNED else trial.val_bpb
    return None if end is None or trial.incumbent_bpb is None else end - trial.incumbent_bpb


def curve_of(probes: Sequence[Probe], budget: float, val_bpb: float | None = None) -> Curve:
    """The learning curve of a run: its probes, and its val_bpb at the end of the budget if it got there."""
    taken = [(on_time(probe.seconds / budget), probe) for probe in probes]
    taken = [(at, probe) for at, probe in taken if at <= LAST_LOOK]
    end = [] if val_bpb is None else [(1.0, val_bpb)]
    readings = [*((at, probe.bpb) for at, probe in taken), *end]
    return Curve.of(readings, [(at, probe.lr) for at, probe in taken if probe.lr is not None])


def on_time(progress: float) -> float:
    """The progress at which a probe was due, if it came no more than `LATE` after it."""
    due = math.floor(progress * 10 + 1e-9) / 10
    return due if due > 0 and progress - due <= LATE else progress
