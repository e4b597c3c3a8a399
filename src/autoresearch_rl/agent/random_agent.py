"""The baseline that never learns."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

import numpy as np

from autoresearch_rl.agent.slate import draw_slate, rng_from_state
from autoresearch_rl.errors import StorageError
from autoresearch_rl.records import Candidate, State, Trial


class RandomAgent:
    """Draws by the shares of the generators and the odds that they give. Never learns."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def propose(self, state: State) -> Candidate:
        """See `Agent.propose`."""
        return draw_slate(state.candidates, 1, self._rng, lambda c: math.exp(c.odds), state.shares)[0]

    def learn(self, trial: Trial) -> Mapping[str, float]:
        """See `Agent.learn`; does nothing."""
        return {}

    def checkpoint(self) -> bytes:
        """See `Agent.checkpoint`: the state of the random number generator as JSON."""
        return json.dumps({"agent": "random", "numpy_rng": self._rng.bit_generator.state}).encode()

    def restore(self, data: bytes) -> None:
        """See `Agent.restore`."""
        try:
            self._rng = rng_from_state(json.loads(data)["numpy_rng"])
        except (ValueError, KeyError, TypeError) as error:
            raise StorageError(
                f"this is not a checkpoint of the random agent, or it is damaged: {error!r}."
            ) from error
