"""The replay suite: real scripts and candidates, and a surrogate of real trials in the place of training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from autoresearch_rl.agent.agents import make_agent
from autoresearch_rl.interface.policy_bench.runs import Run, trace
from autoresearch_rl.records import Trial

TELL_EVERY = 25  # trials


@dataclass(frozen=True)
class ReplaySuite:
    """A score is what the surrogate says of the incumbent, without noise, in bits per byte.

    Seeds differ in the noise and in the agent; the landscape is the same for all.

    Args:
        poor: begin with the script that the poor studies began with.
    """

    poor: bool = False
    unit: str = "bits per byte, by a surrogate of real trials"
    lower_is_better: bool = True

    @property
    def name(self) -> str:
        """Of its runs."""
        return "replay-poor" if self.poor else "replay"

    def prepare(self, policies: Sequence[str], seeds: Sequence[int]) -> None:
        """Looks whether the real trials can be read.

        Raises:
            ConfigurationError: they are damaged.
            StorageError: they cannot be read.
        """
        from autoresearch_rl.simulation.recorded import read_trials

        read_trials()

    def stored(self, policy: str, seed: int) -> Run | None:
        """Nothing: a replayed study leaves nothing behind."""
        return None

    def run(self, policy: str, seed: int, trials: int, say: Callable[[str], None]) -> Run:
        """One replayed study, from its beginning. A full trial counts for one second."""
        from autoresearch_rl.simulation.replay import shipped_problem
        from autoresearch_rl.simulation.study import SimulatedStudy

        study = SimulatedStudy(shipped_problem(self.poor), make_agent(policy, seed), seed)

        def steps() -> Iterator[tuple[Trial, float]]:
            counted = 0
            while counted < trials and (trial := study.step()):
                counted += trial.counts
                yield trial, study.best()
                if trial.counts and counted % TELL_EVERY == 0:
                    say(f"{self.name}-{policy}-{seed}: {counted} of {trials} trials, {study.best():.4f}")

        run = Run(self.name, policy, seed, 1.0, *trace(steps()))
        return run.prolonged(trials, "nothing was left to try")
