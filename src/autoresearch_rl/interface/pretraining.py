"""`pretrain`: makes a prior on simulated studies, and says what it learns on the way."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from autoresearch_rl.agent.threads import one_thread
from autoresearch_rl.interface.live import Live
from autoresearch_rl.pretraining.pretrain import Plan, Pretraining, Round


def pretrain(work: Path, out: Path, plan: Plan) -> dict[str, Any]:
    """Runs or goes on with a pretraining, and writes the prior.

    Args:
        work: folder of the rounds.
        out: file of the prior.
        plan: what to do.

    Raises:
        ConfigurationError: the folder holds a pretraining with another plan.
        StorageError: its files are damaged.
    """
    one_thread()
    run, number = Pretraining(work, plan), plan.warm_rounds + plan.ppo_rounds
    with Live() as live:
        if run.rounds:
            live.say(f"going on after round {len(run.rounds)} of {number}")
        prior = run.run(lambda done: live.say(_line(done, number)))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(prior)
    return {
        "prior": str(out),
        "bytes": len(prior),
        "sha256": hashlib.sha256(prior).hexdigest(),
        "decisions": sum(done.decisions for done in run.rounds),
        "cpu_seconds": sum(done.cpu_seconds for done in run.rounds),
        "rounds": [asdict(done) for done in run.rounds],
    }


def _line(done: Round, number: int) -> str:
    learnt = ", ".join(f"{name} {value:.3g}" for name, value in done.metrics.items())
    return (
        f"round {done.number + 1} of {number}, {done.stage}: {done.final:.1%} of what could be gained was; "
        f"{done.decisions} decisions, {done.cpu_seconds:.0f} CPU s; {learnt}"
    )


def render_pretraining(facts: Mapping[str, Any]) -> str:
    """For people."""
    return (
        f"{facts['prior']}: {facts['bytes']} bytes, SHA-256 {facts['sha256'][:16]}...; "
        f"{facts['decisions']} decisions in {facts['cpu_seconds'] / 60:.1f} CPU minutes"
    )
