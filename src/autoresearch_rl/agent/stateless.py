"""What agents have in common that learn from the history alone: only their random numbers have to be kept."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np

from autoresearch_rl.agent.slate import rng_from_state
from autoresearch_rl.errors import StorageError
from autoresearch_rl.records import Trial


class Stateless:
    """Implements all of `Agent` but `propose`.

    Args:
        seed: of `_rng`, which every decision draws from.
    """

    name = ""  # of the policy

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def learn(self, trial: Trial) -> Mapping[str, float]:
        """See `Agent.learn`; the next state's history says it all."""
        return {}

    def checkpoint(self) -> bytes:
        """See `Agent.checkpoint`: the state of the random number generator as JSON."""
        return json.dumps({"agent": self.name, "numpy_rng": self._rng.bit_generator.state}).encode()

    def restore(self, data: bytes) -> None:
        """See `Agent.restore`."""
        try:
            fields = json.loads(data)
            if fields["agent"] != self.name:
                raise ValueError(f"it is one of {fields['agent']}")
            self._rng = rng_from_state(fields["numpy_rng"])
        except (ValueError, KeyError, TypeError) as error:
            raise StorageError(
                f"this is not a checkpoint of the {self.name} agent, or it is damaged: {error!r}."
            ) from error
