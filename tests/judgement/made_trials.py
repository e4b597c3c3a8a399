"""Short forms of trials for the tests of judgement, and a study whose truth is known."""

from __future__ import annotations

import random
from collections.abc import Callable

from autoresearch_rl.judgement.acceptance import Ledger, judge
from autoresearch_rl.records import Edit, Trial, TrialKind, Verdict, script_id

BASELINE = script_id("baseline")


def made(
    number: int,
    script: str = BASELINE,
    bpb: float | None = None,
    verdict: Verdict = Verdict.DISCARD,
    kind: TrialKind = TrialKind.EXPLORE,
    parent: str = BASELINE,
    confirms: int | None = None,
    train_seconds: float = 1.0,
    segment: int = 0,
) -> Trial:
    return Trial(
        number=number,
        kind=kind,
        parent=parent,
        script=script,
        edit=Edit(()),
        candidate=None,
        confirms=confirms,
        seed=0,
        verdict=verdict,
        reason="",
        incumbent_bpb=None,
        val_bpb=bpb,
        reward=0.0,
        train_seconds=train_seconds,
        wall_seconds=train_seconds,
        peak_memory_mb=0.0,
        sandbox="none",
        started=0.0,
        seconds={},
        segment=segment,
    )


class SimulatedStudy:
    """Asks, runs and judges like `study.py`, on scripts whose true bpb is known, with several workers.

    A worker starts a trial from the incumbent of that moment and reports it later, so incumbents move
    under running trials, and some provisional trials have to be re-applied.
    """

    def __init__(
        self,
        dice: random.Random,
        sigma: float,
        effect: Callable[[], float],
        baseline_runs: int,
        workers: int = 1,
    ) -> None:
        self.dice, self.sigma, self.effect, self.workers = dice, sigma, effect, workers
        self.truth = {BASELINE: 1.0}
        self.effects: dict[int, float] = {}
        self.ledger = Ledger(BASELINE)
        self.trials: list[Trial] = []
        self.running: list[tuple[int, str, str, int | None]] = []
        self.started = 0
        self.false_keeps = 0
        for _ in range(baseline_runs):
            self._tell(self.started, BASELINE, BASELINE, None, TrialKind.REFERENCE)
            self.started += 1

    def run(self, trials: int) -> SimulatedStudy:
        while len(self.trials) < trials:
            while len(self.running) < self.workers:
                self.running.append(self._ask())
                self.started += 1
            number, script, parent, confirms = self.running.pop(self.dice.randrange(len(self.running)))
            kind = TrialKind.EXPLORE if confirms is None else TrialKind.CONFIRM
            self._tell(number, script, parent, confirms, kind)
        return self

    def _ask(self) -> tuple[int, str, str, int | None]:
        number, parent = self.started, self.ledger.incumbent
        waiting = {item[3] for item in self.running}
        pending = next((p for p in self.ledger.pending if p.trial_number not in waiting), None)
        if pending is not None and not pending.rebase:
            self.effects[number] = self.effects[pending.trial_number]
            return number, pending.script, parent, pending.trial_number
        effect = self.effects[pending.trial_number] if pending else self.effect()
        script = script_id(f"{number}")
        self.truth[script] = self.truth[parent] - effect
        self.effects[number] = effect
        return number, script, parent, pending.trial_number if pending else None

    def _tell(self, number: int, script: str, parent: str, confirms: int | None, kind: TrialKind) -> None:
        bpb = self.truth[script] + (self.dice.gauss(0, self.sigma) if self.sigma else 0.0)
        verdict, _ = judge(self.ledger, script, parent, bpb)
        before = self.ledger.incumbent
        trial = made(number, script, bpb, verdict, kind, parent, confirms)
        self.ledger.record(trial)
        self.trials.append(trial)
        self.false_keeps += (
            script != before == parent
            and verdict is Verdict.KEEP
            and (self.truth[script] >= self.truth[before])
        )

    @property
    def keeps(self) -> list[Trial]:
        return [t for t in self.trials if t.verdict is Verdict.KEEP and t.kind is not TrialKind.REFERENCE]


def state(ledger: Ledger) -> tuple[object, ...]:
    """All that a ledger says."""
    facts = ledger.incumbent, ledger.incumbent_bpb, ledger.noise, ledger.pending
    return *facts, ledger.segment, ledger.baseline, ledger.bar
