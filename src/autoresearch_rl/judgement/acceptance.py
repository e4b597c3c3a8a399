"""Climbs on what looks better, and keeps what is proven.

Every evaluated run of a script is one *measurement* of it. Two scripts matter:

- the *incumbent* is the best proven script: what is kept, reported and committed;
- the *leader* is what new edits start from: the incumbent, or a script that looks better than it.

A script that measures better than the leader it was made from leads from then on. It becomes the incumbent
once its mean beats the incumbent's beyond noise (Student's test, `noise.Noise.threshold`). Whatever leads is
measured again, with a fresh seed, whenever `WAIT` edits per measurement of it have not brought anything
better: a leader that led by luck falls back to the incumbent, and the incumbent's own score, and the noise,
stay up to date. So luck misleads for a few trials and is never kept, and many gains too small to be proven
alone are proven together.

In simulation (`autoresearch-rl bench acceptance`), with 124 runs each, this has 93 to 102 % of the true gain
of the greedy rule, and about 1 % of its keeps are false, or fewer, where 9 to 38 % of greedy's are. Proving
each edit before the next one may build on it has 65 to 89 %. Where hardly anything helps (3 % of the edits)
7 to 8 % of the keeps are false, one in thirteen studies, and 74 % of greedy's; where nothing helps, there is
one keep in ten studies.

What is proven is the bundle of edits since the last keep. Up to 38 % of the single edits in the bundles do
not help, about as many as with greedy.

A machine that becomes slower is noticed (`noise.has_risen`). One that becomes faster is not: whatever is
measured next looks better, and is kept.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

from autoresearch_rl.judgement.noise import Noise, has_risen, innovation, noise_of
from autoresearch_rl.records import Trial, TrialKind, Verdict

REFERENCE_RUNS = 3
"""Measurements, with different seeds, of the script that all are compared with: the first noise floor."""

WAIT = 6
"""New edits without anything better, per measurement of the leader, before it is measured again."""

MAX_RUNS = 5
"""Measurements after which a leader that is still not proven is given up."""

FRESH_RUNS = 2
"""Measurements made after a script was kept that a finished study has of its incumbent."""


class Ledger:
    """What the trials of a study add up to, read in their order of completion.

    It holds nothing that is not in the trials: recording them again gives the same ledger. Measurements
    count within their segment: another machine measures something else.

    Attributes:
        baseline: the first script of the segment.
        incumbent: the best proven script.
        leader: the script that new edits start from.
        anchor: the script that has to be measured `REFERENCE_RUNS` times before anything else.
        shifts: how often noise has risen so much that everything had to be measured anew.
    """

    def __init__(self, baseline: str) -> None:
        self.baseline = self.incumbent = self.leader = self.anchor = baseline
        self.segment = self.shifts = 0
        self._measurements: dict[str, list[float]] = defaultdict(list)
        self._innovations: list[float] = []
        self._baseline_runs: list[float] = []
        self._rebases: dict[int, Trial] = {}
        self._led = {baseline}  # scripts that have led since all was measured anew
        self._waited = 0  # edits since the leader was measured or began to lead
        self._runs_when_kept = 0  # of the incumbent's measurements, those that it was chosen by

    @classmethod
    def replay(cls, baseline: str, trials: Iterable[Trial]) -> Ledger:
        """The ledger after `trials`."""
        ledger = cls(baseline)
        for trial in trials:
            ledger.record(trial)
        return ledger

    def record(self, trial: Trial) -> None:
        """Add a judged trial.

        Raises:
            ValueError: its verdict says that it was evaluated, but it has no val_bpb.
        """
        self.enter(trial.segment)
        self._waited += trial.kind is TrialKind.EXPLORE and trial.verdict is not Verdict.REJECTED
        if trial.confirms is not None:
            self._rebases.pop(trial.confirms, None)
        measured = bool(self._measurements.get(trial.parent))
        if trial.verdict.evaluated:
            self._measure(trial)
        self._move(trial, comparable=measured)
        if has_risen(self._innovations):
            self._measure_anew()

    def enter(self, segment: int) -> None:
        """Goes on to a segment: the incumbent is its baseline, and nothing is measured yet."""
        if segment != self.segment:
            self.segment, self.baseline = segment, self.incumbent
            self._begin([])
            self._rebases.clear()
            self._baseline_runs.clear()

    # --- what is known

    def measurements(self, script: str) -> tuple[float, ...]:
        """All val_bpb of a script, oldest first."""
        return tuple(self._measurements.get(script, ()))

    def mean(self, script: str) -> float | None:
        """Mean of a script's measurements; None before the first."""
        return _mean(self.measurements(script))

    def has_led(self, script: str) -> bool:
        """Whether new edits start from a script, or did since all was measured anew."""
        return script in self._led

    @property
    def baseline_bpb(self) -> float | None:
        """Mean of the baseline's measurements, also of those before noise rose; None before the first."""
        return _mean(self._baseline_runs)

    @property
    def incumbent_bpb(self) -> float | None:
        """Mean of the incumbent's measurements, those it was chosen by too; None before the first."""
        return self.mean(self.incumbent)

    @property
    def fresh(self) -> tuple[float, ...]:
        """The incumbent's measurements made after it was kept: not chosen for being low."""
        return self.measurements(self.incumbent)[self._runs_when_kept :]

    @property
    def bar(self) -> float:
        """A first measurement in bits per byte that is not below this is discarded."""
        reference = self.mean(self.leader)
        return math.inf if reference is None else reference

    @property
    def noise(self) -> Noise:
        """Of one measurement, from all scripts that were measured more than once."""
        return noise_of(self._innovations)

    def noise_with(self, script: str, val_bpb: float) -> Noise:
        """The noise as it is once `script` has the measurement `val_bpb` too."""
        before = self.measurements(script)
        return noise_of([*self._innovations, innovation(before, val_bpb)]) if before else self.noise

    # --- what is to be run

    @property
    def rebases(self) -> tuple[int, ...]:
        """Trials that beat a former leader: their edits are to be applied to the present one and run."""
        return tuple(self._rebases)

    @property
    def due(self) -> str | None:
        """The leader, when it has to be measured again before more is built on it."""
        runs = len(self.measurements(self.leader))
        return self.leader if runs and self._waited >= WAIT * runs else None

    @property
    def settled(self) -> bool:
        """Whether nothing looks better than the incumbent and waits to be proven."""
        return self.leader == self.incumbent and not self._rebases

    @property
    def unsettled(self) -> str | None:
        """What has to be measured again before a study may call itself finished."""
        if self.leader != self.incumbent:
            return self.leader
        return self.incumbent if len(self.fresh) < FRESH_RUNS else None

    # --- bookkeeping

    def _measure(self, trial: Trial) -> None:
        if trial.val_bpb is None:
            raise ValueError(f"trial {trial.number} has the verdict {trial.verdict} but no val_bpb")
        runs = self._measurements[trial.script]
        if runs:
            self._innovations.append(innovation(runs, trial.val_bpb))
        runs.append(trial.val_bpb)
        if trial.script == self.baseline:
            self._baseline_runs.append(trial.val_bpb)

    def _move(self, trial: Trial, comparable: bool) -> None:
        """Incumbent and leader after a trial; `comparable` if its parent had been measured."""
        leads = trial.script == self.leader
        if trial.verdict is Verdict.KEEP:
            if trial.script != self.incumbent and trial.kind is not TrialKind.REFERENCE:
                self._keep(trial.script)
            self._waited *= not leads
        elif trial.verdict is Verdict.PROVISIONAL and (leads or (trial.parent == self.leader and comparable)):
            self._lead(trial.script)
        elif trial.verdict is Verdict.PROVISIONAL:
            self._rebases[trial.number] = trial
        elif leads:  # it is not proven, not better, or does not even run any more
            self._lead(self.incumbent)

    def _lead(self, script: str) -> None:
        self.leader, self._waited = script, 0
        self._led.add(script)

    def _keep(self, script: str) -> None:
        self.incumbent, self._runs_when_kept = script, len(self._measurements[script])
        self._lead(script)

    def _measure_anew(self) -> None:
        self.shifts += 1
        self._begin([])

    def _begin(self, innovations: list[float]) -> None:
        """Nothing is measured yet, and everything goes on from the incumbent."""
        self.anchor = self.incumbent
        self._led.clear()
        self._lead(self.incumbent)
        self._measurements.clear()
        self._runs_when_kept = 0
        self._innovations = innovations


def judge(ledger: Ledger, script: str, parent: str, val_bpb: float) -> tuple[Verdict, str]:
    """The verdict on a measurement that is not yet in the ledger, and one line that says why.

    Args:
        ledger: all trials recorded so far.
        script: SHA-256 of the script that was measured.
        parent: SHA-256 of the script that its edit was applied to.
        val_bpb: the measurement, bits per byte.
    """
    if script == ledger.incumbent:
        return Verdict.KEEP, "measures the incumbent"
    if script == ledger.leader:
        return _prove(ledger, script, val_bpb)
    if ledger.has_led(script) or script == parent:
        return Verdict.DISCARD, "led once, and does no longer"
    reference = ledger.mean(parent)
    if reference is None:
        return Verdict.PROVISIONAL, "noise has risen since it began: to be run again"
    gain = reference - _sure_mean((*ledger.measurements(script), val_bpb))
    facts = f"gain {gain:+.5f} bpb over its parent"
    if gain <= 0:
        return Verdict.DISCARD, facts
    if parent != ledger.leader:
        return Verdict.PROVISIONAL, f"{facts}, but the leader has moved: to be applied to the new one"
    return _prove(ledger, script, val_bpb)


def _prove(ledger: Ledger, script: str, val_bpb: float) -> tuple[Verdict, str]:
    """Compares a script that leads, or would, with the incumbent."""
    candidate = (*ledger.measurements(script), val_bpb)
    standard = ledger.measurements(ledger.incumbent)
    gain = _sure_mean(standard) - _sure_mean(candidate)
    threshold = ledger.noise_with(script, val_bpb).threshold(len(candidate), len(standard))
    facts = (
        f"gain {gain:+.5f} bpb over the incumbent, {threshold:.5f} needed "
        f"({len(candidate)} against {len(standard)} runs)"
    )
    if gain > threshold:
        return Verdict.KEEP, facts
    if gain <= 0:
        return Verdict.DISCARD, facts
    if len(candidate) >= MAX_RUNS:
        return Verdict.DISCARD, f"not proven after {len(candidate)} runs: {facts}"
    return Verdict.PROVISIONAL, facts


def _mean(values: Sequence[float]) -> float | None:
    return _sure_mean(values) if values else None


def _sure_mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
