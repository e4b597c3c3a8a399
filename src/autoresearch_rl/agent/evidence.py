"""What the history says about the candidates of a state: read once, for all that choose among them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from autoresearch_rl.agent.prior import log_odds
from autoresearch_rl.agent.scripts import Scripts
from autoresearch_rl.agent.surrogate import Surrogate
from autoresearch_rl.agent.tallies import Memory, gain_scale, remember
from autoresearch_rl.records import Candidate, State

SCORE_LIMIT = 6.0  # of `Evidence.score`: a factor of 400 either way

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """About n candidates, in their order.

    Attributes:
        state: before the decision.
        candidates: what it is about.
        scale: size of an ordinary gain or loss, bits per byte.
        memory: tallies of what was tried.
        mean, sd: of the gain over the leader that the surrogate expects, bits per byte, `[n]`.
        odds: log-odds of a researcher without a surrogate, `[n]`.
    """

    state: State
    candidates: Sequence[Candidate]
    scale: float
    memory: Memory
    mean: Array
    sd: Array
    odds: Array

    @property
    def score(self) -> Array:
        """What a policy starts from: odds, and the logarithm of the expected improvement, `[n]`."""
        improvement = log_expected_improvement(self.mean / self.scale, self.sd / self.scale)
        return np.clip(self.odds + improvement, -SCORE_LIMIT, SCORE_LIMIT)


class Reader:
    """Keeps what it has read of a growing history."""

    def __init__(self) -> None:
        self.scripts = Scripts()
        self._surrogate = Surrogate(self.scripts)

    def read(self, state: State, candidates: Sequence[Candidate] | None = None) -> Evidence:
        """The evidence about the state's candidates, or about others for its script.

        The history has to be the one of the last call, or that and more.
        """
        candidates = state.candidates if candidates is None else candidates
        self.scripts.read(state.history)
        scale = gain_scale(state)
        memory = remember(state.history, scale, state.incumbent_bpb)
        return self._about(candidates, state, scale, memory)

    def extend(self, evidence: Evidence, more: Sequence[Candidate]) -> Evidence:
        """The same evidence with that about other candidates behind."""
        if not more:
            return evidence
        other = self._about(more, evidence.state, evidence.scale, evidence.memory)
        return replace(
            evidence,
            candidates=[*evidence.candidates, *more],
            mean=np.concatenate([evidence.mean, other.mean]),
            sd=np.concatenate([evidence.sd, other.sd]),
            odds=np.concatenate([evidence.odds, other.odds]),
        )

    def _about(self, candidates: Sequence[Candidate], state: State, scale: float, memory: Memory) -> Evidence:
        mean, sd = self._surrogate.predict(state, candidates, scale)
        odds = np.array([log_odds(candidate, memory) for candidate in candidates])
        return Evidence(state, candidates, scale, memory, mean, sd, odds)


def log_expected_improvement(mean: Array, sd: Array) -> Array:
    """Of normal gains over none (Jones et al. 1998, equation 15), at least -12."""
    sd = np.maximum(sd, 1e-9)
    z = mean / sd
    # Where this cancels, far below zero, it is less than the least for any deviation that there is.
    expected = np.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi) + z * ndtr(z)
    result: Array = np.maximum(np.log(sd) + np.log(np.maximum(expected, 1e-300)), -12.0)
    return result
