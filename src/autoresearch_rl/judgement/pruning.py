"""Stops runs that will not lead, and finds out how often that is wrong.

At each probe the run's end is forecast. What the study's earlier edits came to, relative to what they had to
beat, says what winners and losers look like before anything is known of this one, and the forecast's
likelihood under each of them which it resembles:

    L = mean over losers of N(forecast; end, sd) / mean over winners of the same

A sequential probability ratio test on L (Wald 1945) stops the run once L >= A, and leaves it alone for good
once L <= beta / (1 - 1 / A). A stops at most (1 - beta) / A of the winners. What a study should bound is how
many of all its runs are stopped wrongly: with a share w of winners among its edits that is w (1 - beta) / A,
so A = w (1 - beta) / `FALSE_PRUNES`. But never less than `EVIDENCE`: where hardly anything wins, no evidence
would be needed to stop a run, and the last winners would go with the rest.

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
from numpy.typing import NDArray

from autoresearch_rl.judgement.curves import Curve
from autoresearch_rl.judgement.forecast import Forecast, Forecaster, Mode
from autoresearch_rl.records import Probe, Proposal, Trial, TrialKind, Verdict

Array = NDArray[np.float64]

FALSE_PRUNES = 0.1
"""Bound on the share of all runs that are stopped although they would have led. Wald's inequality is far from
tight here: 4 % were measured, 7 % of the stopped runs (docs/log.md)."""

FALSE_RUNS = 0.05
"""Share of the losers that are left alone for good: beta."""

EVIDENCE = 4.0
"""Likelihood ratio below which nothing is stopped, however rare winners are. With 2, 12 of 162 stop verdicts
of real studies with structural edits were wrong; 4 spares 5 of these for 6 % of each loser's budget
(docs/log.md)."""

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
"""A probe is due at a tenth of the budget and comes when the step that passed it has ended: mostly no more
than this share of the budget later."""

PAPER_ALPHA = 1.0
"""In the paper's tau = best + alpha sigma_h: alpha, not given there."""

ODD = 10.0
"""Median deviations of the step from the last probe to the end beyond which a run teaches nothing."""

TINY: Final = 1e-300
"""Against a division by zero where no winner comes near a forecast."""


class Pruner:
    """Learns from the judged trials of a study, in their order, and watches the running ones.

    Recording the same trials again gives the same pruner. It may be asked from several threads.
    """

    def __init__(self, budget: float, mode: Mode = "ensemble", audit: float = AUDIT) -> None:
        self.budget, self.mode, self.audit = budget, mode, audit
        self._lock = threading.Lock()
        self._segment = 0
        self._forecaster = Forecaster(mode, LATE)
        self._margins: list[float] = []
        self._finals: list[float] = []
        self._steps: list[float] = []  # from the last probe to the end

    def record(self, trial: Trial) -> None:
        """Learn from a judged trial. What other hardware has brought is forgotten."""
        with self._lock:
            if trial.segment != self._segment:
                self._segment, self._forecaster = trial.segment, Forecaster(self.mode, LATE)
                self._margins, self._finals, self._steps = [], [], []
            if trial.kind is TrialKind.EXPLORE and (margin := margin_of(trial)) is not None:
                self._margins = [*self._margins[1 - REMEMBERED :], margin]
            if trial.verdict.evaluated and trial.val_bpb is not None:
                self._learn(curve_of(trial.probes, self.budget, trial.val_bpb))

    def _learn(self, curve: Curve) -> None:
        """Learns from a run that has ended; not from one that diverged, or was handed over as another model.

        Runs that resemble it so far would be expected to end like it.
        """
        if not curve.complete or len(curve.values) < 2:
            return
        last = float(curve.values[-1] - curve.values[-2])
        usual = np.median(self._steps) if self._steps else last
        spread = np.median(np.abs(np.array(self._steps) - usual)) if self._steps else 0.0
        odd = len(self._steps) >= FEWEST and abs(last - usual) > ODD * max(spread, 1e-3 * abs(curve.final))
        self._steps = [*self._steps[1 - REMEMBERED :], last]
        if not odd:
            self._forecaster.add(curve)
            self._finals = [*self._finals[1 - REMEMBERED :], curve.final]

    def watch(self, proposal: Proposal) -> Watch:
        """The test of one run. It never stops a run that has no bar to beat."""
        return Watch(self, proposal.bar, random.Random(proposal.seed).random() < self.audit)

    def forecast(self, probes: Sequence[Probe]) -> Forecast | None:
        """What a run with these probes will come to; None while there is nothing to go by."""
        if min(len(self._margins), len(self._finals)) < FEWEST:
            return None
        curve = curve_of(probes, self.budget)
        return self._forecaster.forecast(curve, float(curve.progress[-1])) if len(curve.progress) else None

    def evidence(self, forecast: Forecast, bar: float) -> float:
        """The likelihood ratio against a run: how much better the study's losers explain its forecast."""
        if self.mode == "paper":  # no test: worse than tau or not
            tau = bar + PAPER_ALPHA * float(np.std(self._finals))
            return math.inf if forecast.value > tau else 1.0  # undecided: it is asked at every probe
        distance = (forecast.value - bar - self._ends()) / max(forecast.sd, 1e-9)
        likelihood = np.exp(-0.5 * (distance**2 - (distance**2).min()))  # the greatest is 1
        wins = self._ends() <= 0
        return float(likelihood[~wins].mean() / (likelihood[wins].mean() + TINY)) if not wins.all() else 0.0

    @property
    def boundaries(self) -> tuple[float, float]:
        """The evidence at which a run is left alone for good, and at which it is stopped."""
        share = float((self._ends() <= 0).mean())
        stop = max(EVIDENCE, share * (1 - FALSE_RUNS) / FALSE_PRUNES)
        return FALSE_RUNS / (1 - 1 / stop), stop

    def _ends(self) -> Array:
        """Where the study's edits ended relative to their bars. A neutral one is always conceivable. [N]"""
        return np.array([*self._margins, 0.0])

    def look(self, probes: Sequence[Probe], bar: float) -> Look | None:
        """What can be said of a running trial; None when it is no time to decide."""
        progress = on_time(probes[-1].seconds / self.budget)
        if not FIRST_LOOK <= progress <= LAST_LOOK or not math.isfinite(bar):
            return None
        with self._lock:
            if (forecast := self.forecast(probes)) is None:
                return None
            return Look(forecast.value, self.evidence(forecast, bar), *self.boundaries)


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a running trial: the val_bpb foreseen, the evidence against it, and the two boundaries."""

    forecast: float
    evidence: float
    go_on: float
    stop: float


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
        self._settled = not seen.go_on < seen.evidence < seen.stop
        if seen.evidence < seen.stop:
            return None
        self.stop_at, self.forecast = probes[-1].seconds, seen.forecast
        if self.audited:
            return None
        progress = self.stop_at / self.pruner.budget
        return (
            f"forecast {seen.forecast:.4f} bpb at {progress:.0%} of the budget, {self.bar:.4f} to beat: "
            f"evidence {seen.evidence:.3g}, {seen.stop:.3g} is enough"
        )


def margin_of(trial: Trial) -> float | None:
    """How far above its bar a trial ended, in bits per byte, or would have ended by its forecast."""
    end = trial.forecast if trial.verdict is Verdict.PRUNED else trial.val_bpb
    return None if end is None or trial.incumbent_bpb is None else end - trial.incumbent_bpb


def curve_of(probes: Sequence[Probe], budget: float, val_bpb: float | None = None) -> Curve:
    """The learning curve of a run: its probes, and its val_bpb at the end of the budget if it got there."""
    taken = [(probe.seconds / budget, probe) for probe in probes if probe.seconds <= LAST_LOOK * budget]
    end = [] if val_bpb is None else [(1.0, val_bpb)]
    readings = [*((at, probe.bpb) for at, probe in taken), *end]
    return Curve.of(readings, [(at, probe.lr) for at, probe in taken if probe.lr is not None])


def on_time(progress: float) -> float:
    """The progress at which a probe was due if it came no more than `LATE` after it; else as it is."""
    due = math.floor(progress * 10 + 1e-9) / 10
    return due if due > 0 and progress - due <= LATE else progress
