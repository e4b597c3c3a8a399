"""`pretrain`: makes a prior on simulated studies, and says what it learns on the way."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from autoresearch_rl.agent.agents import PRIOR_SUFFIX
from autoresearch_rl.agent.settled import settle
from autoresearch_rl.agent.shipped import load_prior, network_of, read_prior
from autoresearch_rl.errors import AutoResearchError, ConfigurationError
from autoresearch_rl.interface.live import Live
from autoresearch_rl.pretraining.own import read_own
from autoresearch_rl.pretraining.pretrain import PPO_CONFIG, Plan, Pretraining, Round
from autoresearch_rl.storage.faults import storing
from autoresearch_rl.storage.whole import write_whole


def pretrain(work: Path, out: Path, plan: Plan, own: Sequence[Path] = ()) -> dict[str, Any]:
    """Runs or goes on with a pretraining, and writes the prior.

    Args:
        work: folder of the rounds.
        out: file of the prior.
        plan: what to do.
        own: databases of past studies, to go on from the shipped prior with them.

    Raises:
        ConfigurationError: the folder holds a pretraining with another plan or of other studies, the
            studies teach nothing, the file is another prior, or no policy could have its name.
        StorageError: a file cannot be written, or is damaged.
    """
    if out.suffix != PRIOR_SUFFIX:
        raise ConfigurationError(f"expected a file that ends with {PRIOR_SUFFIX} (--out), but got {out}")
    with storing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    settle()
    number = plan.warm_rounds + plan.ppo_rounds
    with Live() as live:
        run = _with_own(work, plan, own, live) if own else Pretraining(work, plan)
        _require_free(out, run.plan)
        if run.rounds:
            live.say(f"going on after round {len(run.rounds)} of {number}")
        prior = run.run(lambda done: live.say(_line(done, number)))
    write_whole(out, prior)
    return {
        "prior": str(out),
        "bytes": len(prior),
        "sha256": hashlib.sha256(prior).hexdigest(),
        "decisions": sum(done.decisions for done in run.rounds),
        "cpu_seconds": sum(done.cpu_seconds for done in run.rounds),
        "rounds": [asdict(done) for done in run.rounds],
    }


def _require_free(out: Path, plan: Plan) -> None:
    """Raises `ConfigurationError` rather than replace a prior of another plan: studies may go on with it."""
    if not out.exists():
        return
    try:
        _, facts = network_of(read_prior(out), PPO_CONFIG.epsilon)
    except AutoResearchError:
        facts = {}
    if facts.get("plan") != asdict(plan):
        raise ConfigurationError(f"{out} is there already, and another prior: choose another file (--out)")


def _with_own(work: Path, plan: Plan, paths: Sequence[Path], live: Live) -> Pretraining:
    own = read_own(paths)
    for line in own.said:
        live.say(line)
    plan = replace(plan, own=own.digest)
    return Pretraining(work, plan, own.draw, load_prior(PPO_CONFIG.epsilon))


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
