"""Keeps what is better beyond noise.

Every evaluated run of a script is one *measurement* of it. Repeated runs of the same script, pooled over
all scripts of the study, say how much one measurement wanders: sigma, with its degrees of freedom. A
candidate with n_c measurements beats a reference with n_i of them iff the difference of their means
exceeds

    t(0.95, df) * sigma * sqrt(1 / n_c + 1 / n_i)

which is Student's one-sided two-sample test with pooled variance (Student 1908). The familiar factor 1.64
is the limit for many repetitions; after three baseline runs (df = 2) it is 2.92, and using 1.64 there would
keep 12 % of the scripts that change nothing.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

# The quantile of scipy.stats.t, without the second that importing scipy.stats takes.
from scipy.special import stdtrit

from autoresearch_rl.records import Trial, TrialKind, Verdict

LEVEL = 0.95
"""One minus the chance that one judgement keeps a script that changes nothing.

A script that looks better is judged up to `MAX_RUNS` times. Over all of them a script that changes nothing
has a chance of 8 to 9 % (simulated in the tests).
"""

SD_FLOOR = 1e-4
"""Bits per byte. Identical repetitions must not make every last digit a discovery."""

FUTILITY = 1.0
"""Standard errors of the gain below which another run is not worth its price.

Half of the edits that change nothing look better by luck. Running every one of them again, as a bound of 0
would, costs a fifth of a study's gain (docs/log.md).
"""

MAX_RUNS = 3
"""Measurements after which a script that is still not proven is given up."""


@dataclass(frozen=True, slots=True)
class Noise:
    """Standard deviation of one measurement in bits per byte, and its degrees of freedom.

    `sd` is never below `SD_FLOOR`. With `df` 0 nothing has been repeated and nothing can be proven.
    """

    sd: float
    df: int

    def error(self, candidate_runs: int, reference_runs: int) -> float:
        """Standard error of the difference of two means, in bits per byte."""
        return self.sd * math.sqrt(1 / candidate_runs + 1 / reference_runs)

    def threshold(self, candidate_runs: int, reference_runs: int) -> float:
        """The gain, in bits per byte, that the difference of two means has to exceed."""
        return _student(self.df) * self.error(candidate_runs, reference_runs) if self.df else math.inf


@dataclass(frozen=True, slots=True)
class Pending:
    """A provisional trial that still needs a confirming run.

    With `rebase` the incumbent has moved since: apply the trial's edit to the new one and run that.
    Otherwise run `script` again with a fresh seed.
    """

    trial_number: int
    script: str
    rebase: bool


class Ledger:
    """What the trials of a study add up to, read in their order of completion.

    It holds nothing that is not in the trials: recording them again gives the same ledger. Measurements
    count within their segment: another machine measures something else.
    """

    def __init__(self, baseline: str) -> None:
        self.incumbent = self.baseline = baseline
        self.segment = 0
        self._measurements: dict[str, list[float]] = defaultdict(list)
        self._provisional: dict[int, Trial] = {}

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
        if trial.verdict.evaluated:
            self._measure(trial)
        if trial.confirms is not None:
            self._provisional.pop(trial.confirms, None)
        if trial.verdict is Verdict.PROVISIONAL:
            self._provisional[trial.number] = trial
        # A late repetition of the baseline is recorded as kept, but does not bring it back.
        if trial.verdict is Verdict.KEEP and trial.kind is not TrialKind.BASELINE:
            self.incumbent = trial.script

    def enter(self, segment: int) -> None:
        """Goes on to a segment: the incumbent is its baseline, and nothing is measured yet."""
        if segment != self.segment:
            self.segment, self.baseline = segment, self.incumbent
            self._measurements.clear()
            self._provisional.clear()

    def measurements(self, script: str) -> tuple[float, ...]:
        """All val_bpb of a script, oldest first."""
        return tuple(self._measurements.get(script, ()))

    def mean(self, script: str) -> float | None:
        """Mean of a script's measurements; None before the first."""
        values = self.measurements(script)
        return _mean(values) if values else None

    @property
    def incumbent_bpb(self) -> float | None:
        """Mean of the incumbent's measurements; None before the first."""
        return self.mean(self.incumbent)

    @property
    def bar(self) -> float:
        """A first measurement in bits per byte that is not below this is discarded."""
        reference = self.incumbent_bpb
        if reference is None:
            return math.inf
        return reference - FUTILITY * self.noise.error(1, len(self.measurements(self.incumbent)))

    @property
    def noise(self) -> Noise:
        """Pooled over all scripts that were measured more than once."""
        return pooled_noise(self._measurements.values())

    @property
    def pending(self) -> tuple[Pending, ...]:
        """Provisional trials that wait for a confirming run, in the order to run them."""
        return tuple(
            Pending(number, trial.script, rebase=trial.parent != self.incumbent)
            for number, trial in self._provisional.items()
        )

    def noise_with(self, script: str, val_bpb: float) -> Noise:
        """The noise as it is once `script` has the measurement `val_bpb` too."""
        groups = {**self._measurements, script: [*self.measurements(script), val_bpb]}
        return pooled_noise(groups.values())

    def _measure(self, trial: Trial) -> None:
        if trial.val_bpb is None:
            raise ValueError(f"trial {trial.number} has the verdict {trial.verdict} but no val_bpb")
        self._measurements[trial.script].append(trial.val_bpb)


def judge(ledger: Ledger, script: str, parent: str, val_bpb: float) -> tuple[Verdict, str]:
    """The verdict on a measurement that is not yet in the ledger, and one line that says why.

    Args:
        ledger: all trials recorded so far.
        script: SHA-256 of the script that was measured.
        parent: SHA-256 of the script that its edit was applied to.
        val_bpb: the measurement, bits per byte.

    Raises:
        ValueError: the parent has never been measured, so there is nothing to compare with.
    """
    if script == ledger.incumbent:
        return Verdict.KEEP, "measures the incumbent"
    verdict, reason = _compare(ledger, script, parent, val_bpb)
    if parent != ledger.incumbent and verdict is not Verdict.DISCARD:
        return Verdict.PROVISIONAL, f"beat its parent, but the incumbent has moved: re-apply; {reason}"
    return verdict, reason


def _compare(ledger: Ledger, script: str, reference: str, val_bpb: float) -> tuple[Verdict, str]:
    candidate = (*ledger.measurements(script), val_bpb)
    standard = ledger.measurements(reference)
    if not standard:
        raise ValueError(f"script {reference[:7]} has never been measured: measure it before its offspring")
    gain = _mean(standard) - _mean(candidate)
    noise = ledger.noise_with(script, val_bpb)
    threshold = noise.threshold(len(candidate), len(standard))
    facts = f"gain {gain:+.5f} bpb, {threshold:.5f} needed ({len(candidate)} against {len(standard)} runs)"
    if gain > threshold:
        return Verdict.KEEP, facts
    if gain <= FUTILITY * noise.error(len(candidate), len(standard)):
        return Verdict.DISCARD, facts
    if len(candidate) < MAX_RUNS:
        return Verdict.PROVISIONAL, facts
    return Verdict.DISCARD, f"not proven after {len(candidate)} runs: {facts}"


def pooled_noise(groups: Iterable[Sequence[float]]) -> Noise:
    """Pooled standard deviation of groups of measurements; groups of one say nothing."""
    squares, df = 0.0, 0
    for group in groups:
        if len(group) > 1:
            mean = _mean(group)
            squares += math.fsum((value - mean) ** 2 for value in group)
            df += len(group) - 1
    return Noise(max(math.sqrt(squares / df), SD_FLOOR) if df else SD_FLOOR, df)


@lru_cache(maxsize=1024)
def _student(df: int) -> float:
    return float(stdtrit(df, LEVEL))


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
