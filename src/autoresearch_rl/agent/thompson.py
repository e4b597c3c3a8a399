"""Linear Thompson sampling on the features of the policy: a strong learner without a network."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch

from autoresearch_rl.agent import checkpoint
from autoresearch_rl.agent.evidence import Reader
from autoresearch_rl.agent.features import F_C, encode
from autoresearch_rl.agent.slate import by_odds, draw_slate, rng_from_state
from autoresearch_rl.agent.tallies import gain_scale, squash
from autoresearch_rl.errors import StorageError
from autoresearch_rl.records import Candidate, State, Trial

SLATE = 64
WIDENING = 0.3  # of the posterior that weights are drawn from; one would be for rewards of deviation one
RIDGE = 1.0


class ThompsonAgent:
    """Draws weights from their posterior and takes the candidate that is best under them.

    Agrawal & Goyal, "Thompson sampling for contextual bandits with linear payoffs" (2013), algorithm 1. The
    reward is squashed in units of the study's ordinary gain, so that one disaster does not outweigh all.

    Args:
        seed: of the slates and of the weights.
    """

    name = "thompson"

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._reader = Reader()
        self._precision = RIDGE * np.eye(F_C + 1)
        self._moment = np.zeros(F_C + 1)
        self._pending: dict[int, tuple[npt.NDArray[np.float64], float]] = {}  # by trial: features and scale

    def propose(self, state: State) -> Candidate:
        """See `Agent.propose`."""
        slate = draw_slate(state.candidates, SLATE, self._rng, by_odds, state.shares)
        seen = encode(self._reader.read(state, slate), range(len(slate))).candidate
        rows = np.hstack([seen, np.ones((len(slate), 1), dtype=np.float32)])
        factor = np.linalg.cholesky(self._precision)
        mean = np.linalg.solve(self._precision, self._moment)
        weights = mean + WIDENING * np.linalg.solve(factor.T, self._rng.standard_normal(len(mean)))
        best = int(np.argmax(rows @ weights))
        self._pending[state.number] = rows[best].astype(np.float64), gain_scale(state)
        return slate[best]

    def learn(self, trial: Trial) -> Mapping[str, float]:
        """See `Agent.learn`."""
        if trial.number in self._pending:
            row, scale = self._pending.pop(trial.number)
            self._precision += np.outer(row, row)
            self._moment += row * squash(trial.reward, scale)
        return {}

    def checkpoint(self) -> bytes:
        """See `Agent.checkpoint`: safetensors."""
        arrays = {"precision": self._precision, "moment": self._moment}
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return checkpoint.pack(tensors, {"agent": self.name, "numpy_rng": self._rng.bit_generator.state})

    def restore(self, data: bytes) -> None:
        """See `Agent.restore`."""
        tensors, fields = checkpoint.unpack(data)
        try:
            if fields["agent"] != self.name:
                raise ValueError(f"it is one of {fields['agent']}")
            precision, moment = tensors["precision"].numpy(), tensors["moment"].numpy()
            if precision.shape != self._precision.shape or moment.shape != self._moment.shape:
                raise ValueError(f"it has {len(moment)} features, this version {len(self._moment)}")
            rng = rng_from_state(fields["numpy_rng"])
        except (ValueError, KeyError, TypeError) as error:
            raise StorageError(f"this is not a checkpoint of the {self.name} agent: {error!r}.") from error
        self._precision, self._moment, self._rng, self._pending = precision, moment, rng, {}
        self._reader = Reader()
