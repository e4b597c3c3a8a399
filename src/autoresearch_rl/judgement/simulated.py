"""Studies whose truth is known: edits with made effects, judged by the real ledger.

A simulated study asks, runs and judges in the order of `study.py`, but a run takes no time: it gives the
true bits per byte of its script and normal noise. The effects of edits add up. With several workers a trial
starts from the leader of that moment and is told later, in any order.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from autoresearch_rl.judgement.acceptance import REFERENCE_RUNS, Ledger, judge
from autoresearch_rl.records import Change, Edit, Proposal, Trial, TrialKind, Verdict, script_id

BASELINE = "baseline"
"""Source of the first script; further edits are written behind it."""

Effect = Callable[[random.Random, int], float]
"""True gain of the k-th new edit (k from 0), in standard deviations of one measurement."""


class SimulatedStudy:
    """One study with known truth.

    Attributes:
        sigma: standard deviation of one measurement, bits per byte; may be changed between runs.
        level: what the machine adds to each measurement, bits per byte; may be changed between runs.
        truth: true bits per byte of each script, by its SHA-256.
        sources: text of each script.
        kept: incumbents in their order, the baseline first.
    """

    def __init__(
        self, dice: random.Random, sigma: float, effect: Callable[[], float], workers: int = 1
    ) -> None:
        """Args: `effect` gives the true gain of the next new edit in bits per byte, nan if it crashes."""
        self.dice, self.sigma, self.effect, self.workers = dice, sigma, effect, workers
        self.level = 0.0
        first = script_id(BASELINE)
        self.truth: dict[str, float] = {first: 1.0}
        self.sources = {first: BASELINE}
        self.kept = [first]
        self.ledger = Ledger(first)
        self.trials: list[Trial] = []
        self.running: list[Proposal] = []
        self._effects: dict[Edit, float] = {}  # a crash has none: nan
        self._number = 0

    def run(self, trials: int) -> SimulatedStudy:
        """Goes on until there are this many trials."""
        while len(self.trials) < trials:
            while len(self.running) < self.workers and self.ask():
                pass
            self.tell(self.dice.choice(self.running))
        return self

    def settle(self) -> SimulatedStudy:
        """Ends the running trials, then measures what a finished study has to have measured."""
        while self.running:
            self.tell(self.running[-1])
        while script := self.ledger.unsettled:
            self.tell(self._again(script))
        return self

    @property
    def false_keeps(self) -> int:
        """Keeps that are in truth no better than the incumbent before."""
        pairs = zip(self.kept, self.kept[1:], strict=False)
        return sum(self.truth[after] >= self.truth[before] for before, after in pairs)

    @property
    def gain(self) -> float:
        """True gain of the incumbent over the baseline, bits per byte."""
        return self.truth[self.kept[0]] - self.truth[self.ledger.incumbent]

    @property
    def repeats(self) -> int:
        """Runs of scripts that had been run before."""
        return len(self.trials) - len({trial.script for trial in self.trials})

    def effects(self, script: str | None = None) -> list[float]:
        """True gains of the edits in a script, in bits per byte; without one, of all that were tried."""
        if script is None:
            return list(self._effects.values())
        inside = set(self.sources[script].split("+"))
        return [effect for edit, effect in self._effects.items() if _name(edit) in inside]

    # --- as `study.py` does it

    def ask(self) -> Proposal | None:
        """Starts the next trial; None while it has to wait for a running one."""
        if proposal := self._next():
            self.running.append(proposal)
        return proposal

    def _next(self) -> Proposal | None:
        ledger, anchor = self.ledger, self.ledger.anchor
        if len(ledger.measurements(anchor)) + self._measuring(anchor) < REFERENCE_RUNS:
            return self._again(anchor)
        if len(ledger.measurements(anchor)) < REFERENCE_RUNS:
            return None  # still running
        under_way = {proposal.confirms for proposal in self.running}
        for number in ledger.rebases:
            if number not in under_way:
                return self._rebase(number)
        due = ledger.due
        return self._again(due) if due and not self._measuring(due) else self._new()

    def _measuring(self, script: str) -> int:
        return sum(p.script == script for p in self.running if p.kind is not TrialKind.EXPLORE)

    def _again(self, script: str) -> Proposal:
        if script == self.ledger.incumbent:
            return self._propose(TrialKind.REFERENCE, script, Edit(()))
        made = next(trial for trial in self.trials if trial.script == script)
        return self._propose(TrialKind.CONFIRM, made.parent, made.edit, confirms=made.number)

    def _rebase(self, number: int) -> Proposal:
        edit = next(trial.edit for trial in self.trials if trial.number == number)
        return self._propose(TrialKind.CONFIRM, self.ledger.leader, edit, confirms=number)

    def _new(self) -> Proposal:
        edit = Edit((Change(f"edit {len(self._effects)}", "off", "on"),))
        self._effects[edit] = self.effect()
        return self._propose(TrialKind.EXPLORE, self.ledger.leader, edit, bar=self.ledger.bar)

    def _propose(
        self, kind: TrialKind, parent: str, edit: Edit, confirms: int | None = None, bar: float = math.inf
    ) -> Proposal:
        source = self._apply(parent, edit)
        self._number += 1
        return Proposal(self._number - 1, kind, parent, source, edit, 0, None, confirms, bar)

    def _apply(self, parent: str, edit: Edit) -> str:
        source = self.sources[parent]
        if not edit.changes:
            return source
        source = "+".join([BASELINE, *sorted([*source.split("+")[1:], _name(edit)])])
        script = script_id(source)
        self.sources[script] = source
        self.truth.setdefault(script, self.truth[parent] - self._effects[edit])
        return source

    def tell(self, proposal: Proposal) -> None:
        """Ends a trial, running or not, with what its script measures."""
        self.running = [other for other in self.running if other is not proposal]
        if math.isnan(self.truth[proposal.script]):
            return self._record(_trial(proposal, Verdict.CRASH, "", None))
        bpb = self.truth[proposal.script] + self.level + self.dice.gauss(0.0, self.sigma)
        verdict, reason = judge(self.ledger, proposal.script, proposal.parent, bpb)
        if verdict in (Verdict.KEEP, Verdict.PROVISIONAL) and bpb >= proposal.bar:
            verdict = Verdict.DISCARD  # not challenged on every row
        return self._record(_trial(proposal, verdict, reason, bpb))

    def _record(self, trial: Trial) -> None:
        self.trials.append(trial)
        self.ledger.record(trial)
        if self.ledger.incumbent != self.kept[-1]:
            self.kept.append(self.ledger.incumbent)


def _name(edit: Edit) -> str:
    return edit.changes[0].site


def _trial(proposal: Proposal, verdict: Verdict, reason: str, bpb: float | None) -> Trial:
    return Trial(
        number=proposal.number,
        kind=proposal.kind,
        parent=proposal.parent,
        script=proposal.script,
        edit=proposal.edit,
        candidate=None,
        confirms=proposal.confirms,
        seed=0,
        verdict=verdict,
        reason=reason,
        incumbent_bpb=None,
        val_bpb=bpb,
        reward=0.0,
        train_seconds=1.0,
        wall_seconds=1.0,
        peak_memory_mb=0.0,
        sandbox="none",
        started=0.0,
        seconds={},
    )


# --- scenarios


@dataclass(frozen=True, slots=True)
class Scenario:
    """What edits do.

    Attributes:
        about: one line for people.
        effect: of the k-th new edit, in sigma.
    """

    about: str
    effect: Effect


def _as_logged(dice: random.Random, k: int) -> float:
    """11 of the first 13 edits help, with median 1.5 sigma; of the others a third, with median .5."""
    helps, size, spread = (0.85, 1.5, 1.1) if k < 13 else (0.35, 0.5, 0.8)
    return _mixture(dice, helps, 0.25 * (k >= 13), (size, spread), (0.6, 1.2))


def _steady(dice: random.Random, _: int) -> float:
    return _mixture(dice, 0.25, 0.25, (0.7, 1.3), (1.0, 1.2))


def _mixture(
    dice: random.Random, helps: float, nothing: float, gain: tuple[float, float], loss: tuple[float, float]
) -> float:
    """Log-normal gains and losses, each given by its median and the deviation of its logarithm."""
    kind = dice.random()
    if kind < helps:
        return dice.lognormvariate(math.log(gain[0]), gain[1])
    return 0.0 if kind < helps + nothing else -dice.lognormvariate(math.log(loss[0]), loss[1])


def _early(dice: random.Random, _: int) -> float:
    return dice.expovariate(0.1) * (1 if dice.random() < 0.3 else -1)


def _saturated(dice: random.Random, _: int) -> float:
    kind = dice.random()
    if kind < 0.03:
        return dice.expovariate(0.5)
    if kind < 0.28:
        return 0.0
    return -dice.expovariate(0.2) if kind < 0.78 else -abs(dice.gauss(0.0, 0.3))


def _nothing(dice: random.Random, _: int) -> float:
    return 0.0 if dice.random() < 0.5 else -dice.lognormvariate(math.log(1.3), 1.0)


SCENARIOS: Final[Mapping[str, Scenario]] = {
    "as logged": Scenario("large gains first, then many small ones, as karpathy's log has them", _as_logged),
    "steady": Scenario("the same keeps and gain, but at the same pace all the time", _steady),
    "early": Scenario("30 % of the edits help, by 10 sigma on average", _early),
    "saturated": Scenario("3 % of the edits help, by 2 sigma on average", _saturated),
    "nothing": Scenario("nothing helps: half of the edits do nothing, half are worse", _nothing),
}
"""Calibrated with greedy on 124 runs. The log (noise .0007 bpb): 22 keeps, 12 of them below .0005 bpb, 40
sigma measured in all, 10 keeps and 35 sigma within the first 13. `as logged`: 21 keeps, 8 below .0005, 39
sigma; 9 keeps and 29 sigma within the first 13. `steady`: 21 keeps, 9 below .0005, 38 sigma."""
