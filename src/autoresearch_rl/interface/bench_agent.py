"""`bench agent`: what a policy costs per trial, and whether one that was restored goes on as the same."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from autoresearch_rl.agent.agents import Agent, make_agent
from autoresearch_rl.agent.settled import settle
from autoresearch_rl.records import Candidate, State, Trial


def bench_agent(policy: str, candidates: int, trials: int, seed: int) -> dict[str, Any]:
    """Lets a policy play one made problem, on one thread; half-way a second one is restored beside it.

    Args:
        policy: its name.
        candidates: about how many edits there are to choose from.
        trials: how many are played.
        seed: of the problem and of the policy.

    Raises:
        ConfigurationError: no policy has that name.
    """
    from autoresearch_rl.simulation.problem import MadeProblem, Shape
    from autoresearch_rl.simulation.study import SimulatedStudy

    player = _Watched(policy, seed, trials // 2)
    settle()
    part = candidates // 14  # a number has some ten candidates, a recipe and a mutation one each
    shape = Shape(numbers=part, recipes=2 * part, mutations=2 * part)
    study = SimulatedStudy(MadeProblem(shape, seed), player, seed).run(trials)
    return {
        "policy": policy,
        "trials": sum(trial.counts for trial in study.trials),
        "candidates": int(np.median(player.candidates)),
        "propose_ms": _milliseconds(player.propose_seconds),
        "learn_ms": _milliseconds(player.learn_seconds),
        "checkpoint_bytes": len(player.checkpoint()),
        "restored": {"proposals": len(player.same), "same": sum(player.same), "equal": player.ends_equal()},
    }


class _Watched:
    """An agent with a clock, and a second one that takes over its checkpoint and is asked the same."""

    def __init__(self, policy: str, seed: int, half: int) -> None:
        self.agent, self._half = make_agent(policy, seed), half
        self._spare = make_agent(policy, seed)
        self.second: Agent | None = None
        self.candidates: list[int] = []
        self.propose_seconds: list[float] = []
        self.learn_seconds: list[float] = []
        self.same: list[bool] = []

    def propose(self, state: State) -> Candidate:
        if self.second is None and len(self.candidates) >= self._half:
            self.second = self._spare
            self.second.restore(self.agent.checkpoint())
        self.candidates.append(len(state.candidates))
        with _clock(self.propose_seconds):
            chosen = self.agent.propose(state)
        if self.second:
            self.same.append(self.second.propose(state) == chosen)
        return chosen

    def learn(self, trial: Trial) -> Mapping[str, float]:
        with _clock(self.learn_seconds):
            metrics = self.agent.learn(trial)
            self.agent.checkpoint()  # a study stores one after every trial
        if self.second:
            self.second.learn(trial)
        return metrics

    def checkpoint(self) -> bytes:
        return self.agent.checkpoint()

    def restore(self, data: bytes) -> None:
        self.agent.restore(data)

    def ends_equal(self) -> bool | None:
        """Whether both would be stored as the same bytes; None if there was nothing left to compare."""
        return self.second.checkpoint() == self.agent.checkpoint() if self.second else None


@contextmanager
def _clock(seconds: list[float]) -> Iterator[None]:
    began = time.process_time()
    yield
    seconds.append(time.process_time() - began)


def _milliseconds(seconds: Sequence[float]) -> dict[str, float]:
    values = 1000.0 * np.array(seconds)
    return {"median": float(np.median(values)), "mean": float(values.mean()), "max": float(values.max())}


def render_agent(facts: Mapping[str, Any]) -> str:
    """The facts as lines for a terminal."""
    restored = facts["restored"]
    ends = {True: "equal to the last bit", False: "NOT equal", None: "not compared: nothing was left to try"}
    return "\n".join(
        [
            f"{facts['policy']}: {facts['trials']} trials of a made problem, "
            f"{facts['candidates']} candidates",
            "CPU ms a trial        median    mean     max",
            _row("propose", facts["propose_ms"]),
            _row("learn, checkpoint", facts["learn_ms"]),
            f"checkpoint {facts['checkpoint_bytes']:,} bytes",
            f"restored half-way: {restored['same']} of {restored['proposals']} proposals the same, "
            f"checkpoints at the end {ends[restored['equal']]}",
        ]
    )


def _row(name: str, ms: Mapping[str, float]) -> str:
    return f"{name:20s} {ms['median']:7.1f} {ms['mean']:7.1f} {ms['max']:7.1f}"
