"""The baseline that never learns."""

from __future__ import annotations

from autoresearch_rl.agent.slate import draw_one
from autoresearch_rl.agent.stateless import Stateless
from autoresearch_rl.records import Candidate, State


class RandomAgent(Stateless):
    """Draws by the shares of the generators and the odds that they give. Never learns."""

    name = "random"

    def propose(self, state: State) -> Candidate:
        """See `Agent.propose`."""
        return draw_one(state, self._rng)
