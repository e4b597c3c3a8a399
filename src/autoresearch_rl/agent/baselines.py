"""Baselines that learn without a network: what an agent trained by PPO has to beat."""

from __future__ import annotations

import numpy as np

from autoresearch_rl.agent.evidence import Reader
from autoresearch_rl.agent.proposals import compose
from autoresearch_rl.agent.slate import by_odds, draw_slate, require_some
from autoresearch_rl.agent.stateless import Stateless
from autoresearch_rl.agent.tallies import Memory, gain_scale, remember
from autoresearch_rl.records import Candidate, State

SLATE = 64  # candidates that are compared: enough for the best of them to be good
EPSILON = 0.1
OPTIMISM = 0.3  # what an untried edit is expected to gain, squashed: 2.3 ordinary effects
FAILURE = -0.5  # what one that failed has gained


class GreedyAgent(Stateless):
    """Optimistic epsilon-greedy: mostly what has gained most so far, and what is untried before what lost.

    (Sutton & Barto 2018, sections 2.2 and 2.6.) An arm is a topic and a direction.
    """

    name = "greedy"

    def propose(self, state: State) -> Candidate:
        """See `Agent.propose`; of equals, the one that was drawn first."""
        slate = draw_slate(state.candidates, SLATE, self._rng, by_odds, state.shares)
        if self._rng.random() < EPSILON:
            return slate[0]
        memory = remember(state.history, gain_scale(state), state.incumbent_bpb)
        return max(slate, key=lambda candidate: _expected(candidate, memory))


def _expected(candidate: Candidate, memory: Memory) -> float:
    """The mean effect at its places so far, squashed; of a compound edit the mean over its parts.

    Their sum would make three untried parts look better than one that is known to be good.
    """
    values = [_worth(memory, topic, s.direction) for s in candidate.singles for topic in s.topics]
    return sum(values) / max(1, len(values))


def _worth(memory: Memory, topic: str, direction: int) -> float:
    tally = memory.at.get((topic, direction))
    if tally is None:
        return OPTIMISM
    return (tally.effects + FAILURE * (tally.tries - tally.measured)) / tally.tries


class ImprovementAgent(Stateless):
    """What the score says that PPO starts from: odds and expected improvement on the surrogate."""

    name = "improvement"

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._reader = Reader()

    def propose(self, state: State) -> Candidate:
        """See `Agent.propose`: the best of all candidates."""
        require_some(state.candidates)
        evidence = self._reader.read(state)
        evidence = self._reader.extend(evidence, compose(evidence, self._rng))
        score = evidence.score
        return evidence.candidates[int(np.lexsort((self._rng.random(len(score)), score))[-1])]

    def restore(self, data: bytes) -> None:
        """See `Agent.restore`."""
        super().restore(data)
        self._reader = Reader()
