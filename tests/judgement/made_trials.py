"""Short forms of trials and studies for the tests of judgement."""

from __future__ import annotations

import random

from autoresearch_rl.judgement.acceptance import Ledger
from autoresearch_rl.judgement.simulated import SCENARIOS, SimulatedStudy
from autoresearch_rl.records import Edit, Trial, TrialKind, Verdict, script_id

BASELINE = script_id("baseline")
SIGMA = 0.0007


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
    edit: Edit | None = None,
) -> Trial:
    return Trial(
        number=number,
        kind=kind,
        parent=parent,
        script=script,
        edit=edit or Edit(()),
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


def simulated(
    seed: int, workers: int = 1, scenario: str = "as logged", crashes: float = 0.0
) -> SimulatedStudy:
    """A study of a scenario, of whose new edits a share crashes."""
    dice, effect = random.Random(f"{seed} effects"), SCENARIOS[scenario].effect
    tried = 0

    def next_effect() -> float:
        nonlocal tried
        tried += 1
        return float("nan") if dice.random() < crashes else SIGMA * effect(dice, tried - 1)

    return SimulatedStudy(random.Random(f"{seed} noise"), SIGMA, next_effect, workers)


def state(ledger: Ledger) -> dict[str, object]:
    """All that a ledger says."""
    scripts = sorted({ledger.baseline, ledger.incumbent, ledger.leader, ledger.anchor})
    return {
        "scripts": (ledger.baseline, ledger.incumbent, ledger.leader, ledger.anchor),
        "measurements": [ledger.measurements(script) for script in scripts],
        "means": (ledger.baseline_bpb, ledger.incumbent_bpb, ledger.bar),
        "led": [ledger.has_led(script) for script in scripts],
        "noise": ledger.noise,
        "fresh": ledger.fresh,
        "next": (ledger.rebases, ledger.due, ledger.unsettled, ledger.settled),
        "epoch": (ledger.segment, ledger.shifts),
    }
